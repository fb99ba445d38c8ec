"""Clips in video files, through PyAV."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from extremal_jax.data.files.extras import imported
from extremal_jax.ground.checks import check_count
from extremal_jax.ground.files import as_path

SUFFIXES = frozenset({".avi", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpg", ".mpeg", ".webm"})
MAX_PIXELS = 1_000_000_000  # of all frames that are read


def evenly(count: int, most: int | None) -> np.ndarray:
    """The indices of at most so many of `count` frames, evenly spaced, with the first and the last; None: of all.

    Example:
      >>> evenly(9, 3).tolist(), evenly(2, 3).tolist()
      ([0, 4, 8], [0, 1])
    """
    return np.linspace(0, count - 1, count if most is None else min(count, most)).round().astype(int)


def load_video(path: str | os.PathLike[str], *, frames: int | None = None) -> UInt8[np.ndarray, "T H W 3"]:
    """Read the frames of a video file. It needs the extra `video`.

    Args:
      path: a file of any format that FFmpeg reads. Its first video stream is read, upright.
      frames: the most frames: evenly spaced ones of a longer video, all of a shorter one. None: all.

    Returns:
      (T, H, W, 3) uint8, RGB.

    Raises:
      ImportError: if the extra `video` is not installed.
      FileNotFoundError: if there is no such file.
      ValueError: if it is no video, or its frames are too many to be held at once.

    Example:
      >>> load_video("clip.mp4")
      Traceback (most recent call last):
      FileNotFoundError: no file clip.mp4
    """
    path = as_path(path)
    if frames is not None:
        check_count("frames", frames, 1)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    av = imported("av", "video", path)
    try:
        return _read(av, path, frames)
    except (av.error.FFmpegError, UnicodeDecodeError) as error:  # of texts in damaged files
        raise ValueError(f"{path} cannot be read as a video: {getattr(error, 'strerror', None) or error}") from error


def _read(av: Any, path: Path, most: int | None) -> np.ndarray:
    with av.open(str(path)) as container:
        if not container.streams.video:
            raise ValueError(f"{path} has no video stream")
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise ValueError(f"{path} cannot be read as a video: its codec is unknown")
        height, width = stream.codec_context.height, stream.codec_context.width
        count = sum(packet.size > 0 for packet in container.demux(stream))  # counted without decoding
    kept = count if most is None else min(count, most)
    if kept * height * width > MAX_PIXELS:
        raise ValueError(f"{path} has {count} frames of {height}x{width} pixels, too many to hold at once; take fewer, by `frames`")
    found, decoded = _decode(av, path, set(evenly(count, most).tolist()))
    if decoded != count and decoded:  # a packet may hold several frames, or none that can be decoded
        found, _ = _decode(av, path, set(evenly(decoded, most).tolist()))
    if not found:
        raise ValueError(f"{path} has no frames")
    if len(shapes := {frame.shape[:2] for frame in found}) > 1:
        raise ValueError(f"{path} must have frames of one size, got {', '.join(f'{h}x{w}' for h, w in sorted(shapes))}")
    return np.stack(found)


def _decode(av: Any, path: Path, wanted: set[int]) -> tuple[list[np.ndarray], int]:
    """The frames of these indices, and the number of all."""
    found, count = [], 0
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        for frame in container.decode(video=0):
            if count in wanted:
                found.append(np.rot90(frame.to_ndarray(format="rgb24"), getattr(frame, "rotation", 0) // 90))
            count += 1
    return found, count
