"""The three formats of `torch.save`: where the pickle is, and where the numbers are.

They are the zip archive (since PyTorch 1.6), a sequence of pickles and numbers (before it), and a tar archive of such (until 0.1.10).
"""

from __future__ import annotations

import io
import os
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol, runtime_checkable

from extremal_jax.models.formats import pickles
from extremal_jax.models.formats.tensors import ADMITTED, MAX_DIMENSIONS, Storage, Tensor, storage, tensor

_MAX_PICKLE = 16 * 2**20  # ResNet-152's is 150 kB
_MAX_RECORD = 2**16  # of the small pickles and texts around it
_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PROTOCOL_VERSION = 1001
_BROKEN = (  # what the libraries raise on files that are
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    OverflowError,
    UnicodeDecodeError,
)
_OTHER_KINDS = {
    b"\x89HDF": "an HDF5 file",
    b"\x1f\x8b": "a gzip archive; unpack it first",
    b"<": "a web page, so its download went wrong",
    b"version https://git-lfs": "a pointer of Git LFS; fetch the file that it stands for",
}


@dataclass(frozen=True)
class Opened:
    """An open file.

    Attributes:
      content: what its pickle builds.
      read: the bytes of a whole storage, or fewer where the file ends.
      big_endian: their order.
    """

    content: object
    read: Callable[[Storage], bytes]
    big_endian: bool = False


@contextmanager
def opened(file: io.BufferedReader) -> Iterator[Opened]:
    """Open a file in the format that its first bytes show.

    Raises:
      RefusedError: if its pickle asks for anything but tensors and containers.
      ValueError: if it is truncated, corrupted or something else; also from within the block.
    """
    head = file.read(512)
    bounded = _Bounded(file)
    try:
        if head.startswith(b"PK\x03\x04"):
            with zipfile.ZipFile(bounded) as archive:
                yield _open_zip(archive)
        elif head[257:262] == b"ustar":
            with tarfile.open(fileobj=bounded, mode="r:") as tar:  # type: ignore[call-overload]
                yield _open_tar(tar)
        elif head.startswith(b"\x80"):
            yield _open_pickles(bounded)
        else:
            _refuse_kind(head, file.name)
    except _BROKEN as error:
        raise ValueError(f"it is truncated or corrupted ({str(error) or type(error).__name__}); fetch it again") from error


def _refuse_kind(head: bytes, name: str) -> NoReturn:
    if not head:
        raise ValueError("it is empty; fetch it again")
    if head[8:9] == b"{":
        done = name.endswith(".safetensors")
        raise ValueError(
            f"it looks like a safetensors file{', so there is nothing to convert' if done else '; give it the ending .safetensors'}"
        )
    for magic, kind in _OTHER_KINDS.items():
        if head.startswith(magic):
            raise ValueError(f"it looks like {kind}")
    raise ValueError(f"a file written by torch.save was expected, but it begins with {head[:8]!r}")


@runtime_checkable
class _File(Protocol):
    """What is asked of an open file."""

    def read(self, size: int, /) -> bytes: ...
    def seek(self, offset: int, whence: int = ..., /) -> object: ...
    def tell(self) -> int: ...


class _Bounded:
    """A file whose reads take no more memory than it has bytes left, whatever sizes it declares; at its beginning."""

    def __init__(self, file: io.BufferedReader) -> None:
        self.file = file
        self.size = file.seek(0, os.SEEK_END)
        file.seek(0)

    def read(self, size: int = -1, /) -> bytes:
        left = self.size - self.tell()
        return self.file.read(left if size < 0 else min(size, left))

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        target = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self.size}[whence]
        if not 0 <= target <= self.size:
            raise EOFError("it ends too early")
        return self.file.seek(target)

    def tell(self) -> int:
        return self.file.tell()

    def seekable(self) -> bool:
        return True


def _open_zip(archive: zipfile.ZipFile) -> Opened:
    """One folder with the pickle `data.pkl`, a file `data/KEY` for each storage, and the `byteorder`."""
    names = set(archive.namelist())
    folders = [name.removesuffix("data.pkl") for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(folders) != 1:
        raise ValueError("a zip archive written by torch.save has one pickle, 'NAME/data.pkl', and this one has not")
    folder = folders[0]
    if f"{folder}constants.pkl" in names:
        raise ValueError("it is a TorchScript archive; save the state_dict() of the model instead")

    def record(name: str, limit: int) -> bytes:
        if folder + name not in names:
            raise ValueError(f"the record {name[:100]!r} is missing in the archive")
        info = archive.getinfo(folder + name)
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or info.file_size != info.compress_size:
            raise ValueError(f"the record {name[:100]!r} is compressed or encrypted, which torch.save never does")
        if info.file_size > limit:
            raise ValueError(f"the record {name[:100]!r} has {info.file_size} bytes, and {limit} are expected")
        return archive.read(info)

    order = record("byteorder", _MAX_RECORD) if f"{folder}byteorder" in names else b"little"
    if order not in (b"little", b"big"):
        raise ValueError(f"its byte order is little or big, got {order[:20]!r}")
    content = pickles.load(io.BytesIO(record("data.pkl", _MAX_PICKLE)), ADMITTED, storage)
    return Opened(content, lambda wanted: record(f"data/{wanted.key}", wanted.nbytes), order == b"big")


def _open_pickles(file: _File) -> Opened:
    """Pickles of a magic number, a version, the system, the content and the storages' keys; then for each its count and its numbers.

    The numbers are little-endian whatever the system was.
    """
    if _program(file) != _MAGIC_NUMBER:
        raise ValueError("it is a pickle, but not one written by torch.save")
    if _program(file) != _PROTOCOL_VERSION:
        raise ValueError(f"it is not of version {_PROTOCOL_VERSION}, the one that is known")
    _program(file)
    storages: dict[str, Storage] = {}

    def declared(identifier: object) -> Storage:
        found = storage(identifier)
        return storages.setdefault(found.key, found) and found

    content = _program(file, declared, _MAX_PICKLE)
    keys = _program(file, limit=_MAX_PICKLE)
    if not isinstance(keys, list) or not all(isinstance(key, str) and key in storages for key in keys):
        raise ValueError("its list of storages does not fit its tensors")
    positions: dict[str, int] = {}
    for key in keys:
        _pass_numbers(file, storages[key], positions)
    return Opened(content, _reader(file, positions))


def _open_tar(archive: tarfile.TarFile) -> Opened:
    """Files of pickles and numbers: the storages, and views on them; the tensors; and the content, which refers to both by number."""
    numbers, shapes, content = (_member(archive, name) for name in ("storages", "tensors", "pickle"))
    positions: dict[str, int] = {}
    objects: dict[object, Storage | Tensor] = {}

    def outside(identifier: object) -> Storage | Tensor:
        known = objects.get(int(identifier)) if isinstance(identifier, str) and identifier.isdecimal() else None
        return known or (objects.get(identifier) if isinstance(identifier, int) else None) or storage(identifier)

    for _ in range(_count(_program(numbers))):
        key, _place, dtype = _numbered(_program(numbers), 3)
        (size,) = struct.unpack("<q", numbers.read(8))
        objects[key] = found = storage(("storage", dtype, str(key), None, size))
        numbers.seek(-8, os.SEEK_CUR)
        _pass_numbers(numbers, found, positions)
    views = _program(numbers)
    for view in views if isinstance(views, list | tuple) else ():
        key, root, offset, size = _numbered(view, 4)
        base = _storage_of(outside(root))
        objects[key] = storage(("storage", base.dtype, base.key, None, base.nbytes // base.dtype.itemsize, (None, offset, size)))
    for _ in range(_count(_program(shapes))):
        key, root, _kind = _numbered(_program(shapes), 3)
        (dimensions,) = struct.unpack("<i4x", shapes.read(8))
        if not 0 <= dimensions <= MAX_DIMENSIONS:
            raise ValueError(f"a tensor of it has {dimensions} dimensions")
        *sizes, offset = struct.unpack(f"<{2 * dimensions + 1}q", shapes.read(16 * dimensions + 8))
        objects[key] = tensor(_storage_of(outside(root)), offset, tuple(sizes[:dimensions]), tuple(sizes[dimensions:]))
    return Opened(_program(content, outside, _MAX_PICKLE), _reader(numbers, positions))


def _member(archive: tarfile.TarFile, name: str) -> _File:
    found = next((member for member in archive.getmembers() if member.name == name and member.isreg()), None)
    file = None if found is None else archive.extractfile(found)
    if file is None:
        raise ValueError(f"a tar archive written by torch.save holds a file {name!r}, and this one does not")
    return file


def _count(value: object) -> int:
    if not isinstance(value, int):
        raise ValueError("it does not say how many tensors it holds")
    return value


def _numbered(value: object, count: int) -> tuple[Any, ...]:
    if not isinstance(value, tuple) or len(value) != count or not isinstance(value[0], int):
        raise ValueError("its list of tensors is malformed")
    return value


def _storage_of(value: Storage | Tensor) -> Storage:
    if not isinstance(value, Storage):
        raise ValueError("its list of tensors is malformed")
    return value


def _program(file: _File, outside: Callable[[object], object] = storage, limit: int = _MAX_RECORD) -> object:
    """What the pickle at the file's position builds; the file is left behind it."""
    start = file.tell()
    head = io.BytesIO(file.read(limit))
    built = pickles.load(head, ADMITTED, outside)
    file.seek(start + head.tell())
    return built


def _pass_numbers(file: _File, numbers: Storage, positions: dict[str, int]) -> None:
    """Remember where the numbers of a storage begin, behind their count, and pass over them."""
    (count,) = struct.unpack("<q", file.read(8))
    if count * numbers.dtype.itemsize != numbers.nbytes:
        raise ValueError(f"storage {numbers.key[:100]!r} has {count} elements, where its tensors say {numbers.nbytes} bytes")
    positions[numbers.key] = file.tell()
    file.seek(numbers.nbytes, os.SEEK_CUR)


def _reader(file: _File, positions: dict[str, int]) -> Callable[[Storage], bytes]:
    def read(wanted: Storage) -> bytes:
        if wanted.key not in positions:
            raise ValueError(f"the numbers of storage {wanted.key[:100]!r} are missing")
        file.seek(positions[wanted.key])
        return file.read(wanted.nbytes)

    return read
