"""Image files without their metadata: Pillow refuses a file for a damaged chunk that no pixel needs."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
_KEPT = (b"tRNS", b"eXIf")  # transparency and orientation
_START_OF_SCAN, _COMMENT = 0xDA, 0xFE
_METADATA = range(0xE2, 0xEE)  # APP2 to APP13; APP1 has the orientation, and APP14 the colour space


def without_metadata(data: bytes) -> bytes | None:
    """Remove the metadata from a PNG or JPEG file, except for a sound orientation; None for a file of another format.

    Example:
      >>> damaged = _PNG + b"\\0\\0\\0\\1gAMA?0000" + b"\\0\\0\\0\\0IDAT0000"
      >>> without_metadata(damaged) == _PNG + b"\\0\\0\\0\\0IDAT0000"
      True
    """
    if data.startswith(_PNG):
        chunks = (chunk for chunk in _png_chunks(data) if chunk[4:5].isupper() or chunk[4:8] in _KEPT)  # capitals: critical for pixels
        return _PNG + b"".join(chunk for chunk in chunks if chunk[4:5].isupper() or zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:]))
    if data.startswith(_JPEG):
        return _JPEG + b"".join(segment for segment in _jpeg_segments(data) if segment[1] not in (*_METADATA, _COMMENT))
    return None


def _png_chunks(data: bytes) -> Iterator[bytes]:
    """The chunks: four bytes of length, four of type, the content, and four of checksum."""
    start = len(_PNG)
    while start + 8 <= len(data):
        end = start + 12 + int.from_bytes(data[start : start + 4])
        yield data[start:end]
        start = end


def _jpeg_segments(data: bytes) -> Iterator[bytes]:
    """The segments: a marker of two bytes, two of length, and the content; the last is everything from the pixels on."""
    start = len(_JPEG)
    while start + 4 <= len(data):
        pixels = data[start + 1] == _START_OF_SCAN or data[start] != 0xFF
        end = len(data) if pixels else start + 2 + int.from_bytes(data[start + 2 : start + 4])
        yield data[start:end]
        start = end
