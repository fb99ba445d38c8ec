"""Clips in video files: their pixels, which frames are read, and what is refused."""

from __future__ import annotations

import struct
import wave
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from extremal_jax.data import load_video
from extremal_jax.data.files import videos

FRAMES = np.repeat(np.arange(8, dtype=np.uint8) * 30, 32 * 48 * 3).reshape(8, 32, 48, 3)  # each frame lighter than the last
FRAMES[:, :16, :24, 0] = 250  # red at the upper left


def write(path: Path, codec: str = "ffv1", pixels: str = "bgr0", frames: np.ndarray = FRAMES) -> Path:
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=8)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], pixels
        pictures = [av.VideoFrame.from_ndarray(frame, format="rgb24") for frame in frames]
        for picture in [*pictures, None]:
            container.mux(stream.encode(picture))
    return path


def test_a_codec_without_loss(tmp_path: Path) -> None:
    """Frames, rows, columns and channels are in their places."""
    found = load_video(write(tmp_path / "a.mkv"))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, FRAMES)


@pytest.mark.parametrize("codec", ["mpeg4", "libx264"])
def test_codecs_with_loss(tmp_path: Path, codec: str) -> None:
    """The lower half, without the red corner, keeps its greys to a few of 255 values. libx264 reorders frames."""
    found = load_video(write(tmp_path / "a.mp4", codec, "yuv420p"))
    assert found.shape == FRAMES.shape
    np.testing.assert_allclose(found[:, 20:].mean(axis=(1, 2, 3)), np.arange(8) * 30, atol=6)


@pytest.mark.parametrize(("frames", "kept"), [(1, [0]), (3, [0, 4, 7]), (8, range(8)), (20, range(8))])
def test_frames_are_evenly_spaced(tmp_path: Path, frames: int, kept: list[int]) -> None:
    np.testing.assert_array_equal(load_video(write(tmp_path / "a.mkv"), frames=frames), FRAMES[list(kept)])


def test_clips_are_upright(tmp_path: Path) -> None:
    """A file of a telephone that was held upright: its frames are stored lying, with a matrix that turns them by a quarter, clockwise."""
    path = write(tmp_path / "a.mp4", "mpeg4", "yuv420p")
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 44  # after the flags, times, track, duration, layer and volume of the track's header
    one = 1 << 16
    content[matrix : matrix + 36] = struct.pack(">9i", 0, one, 0, -one, 0, 0, 32 * one, 0, 1 << 30)
    path.write_bytes(content)
    found = load_video(path)
    assert found.shape == (8, 48, 32, 3)
    red = found[0, ..., 0] > 125
    np.testing.assert_array_equal(np.argwhere(red[12::24, 8::16]), [[0, 1]])  # of the four quarters, the upper right


def test_files_that_are_no_video(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"a.mp4 cannot be read as a video: Invalid data"):
        load_video(tmp_path / "a.mp4")
    with wave.open(str(tmp_path / "sound.wav"), "wb") as sound:
        sound.setparams((1, 2, 8000, 0, "NONE", ""))
        sound.writeframes(bytes(1600))
    with pytest.raises(ValueError, match=r"sound.wav has no video stream"):
        load_video(tmp_path / "sound.wav")
    with pytest.raises(FileNotFoundError, match=r"no file .*missing.mp4"):
        load_video(tmp_path / "missing.mp4")


def test_damaged_files_are_refused_by_their_name(tmp_path: Path) -> None:
    """Whatever is left of them, and whatever bytes have changed."""
    whole = write(tmp_path / "whole.mkv").read_bytes()
    rng = np.random.default_rng(0)
    for index in range(60):
        content = bytearray(whole[: rng.integers(len(whole))] if index % 2 else whole)
        for place in rng.integers(0, len(content) or 1, 0 if index % 2 else 20):
            content[place] ^= rng.integers(1, 256)
        (tmp_path / "torn.mkv").write_bytes(content)
        try:
            load_video(tmp_path / "torn.mkv")
        except ValueError as error:
            assert "torn.mkv" in str(error)  # noqa: PT017


def test_too_many_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(videos, "MAX_PIXELS", 4 * 32 * 48)
    path = write(tmp_path / "a.mkv")
    with pytest.raises(ValueError, match="has 8 frames of 32x48 pixels, too many to hold at once; take fewer, by `frames`"):
        load_video(path)
    assert len(load_video(path, frames=4)) == 4
    with pytest.raises(ValueError, match="frames must be a whole number, at least 1, got 0"):
        load_video(path, frames=0)
