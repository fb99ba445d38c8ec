"""Clips, volumes and series on the command line: what their files and the options make reaches the library."""

from __future__ import annotations

import functools
from typing import Any

import av
import nibabel
import numpy as np
import pytest

import extremal_jax as ej
from command_line import fails, invoke
from extremal_jax.operators.axes import MOMENTS, SERIES, VIDEO, VOLUME

LOAD = functools.cache(ej.models.load)
CLIP = np.repeat(np.arange(16, dtype=np.uint8) * 10, 32 * 32 * 3).reshape(16, 32, 32, 3)  # each frame lighter than the last
SERIES_VALUES = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)


@pytest.fixture
def asked(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The arguments of each run, which ends there; the working folder is empty."""
    calls = []

    def run(model: Any, images: Any, *_: Any, **options: Any) -> None:
        calls.append((images, options))
        raise ValueError("seen")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ej.models, "load", lambda name, weights="default": LOAD(name))
    monkeypatch.setattr(ej, "extremal_perturbation", run)
    return calls


def explain(model: str, *arguments: Any) -> None:
    fails(invoke("explain", "--model", model, *arguments), 2, "seen")


def lightness(clip: np.ndarray) -> list[float]:
    """The mean of each frame, in steps between the frames of `CLIP`."""
    return (LOAD("moving_scenes").preprocessing.picture(clip).mean(axis=(1, 2, 3)) / 10).round().tolist()


def write_video(name: str) -> str:
    with av.open(name, "w") as container:
        stream: Any = container.add_stream("ffv1", rate=8)
        stream.height, stream.width, stream.pix_fmt = 32, 32, "bgr0"
        for picture in [*(av.VideoFrame.from_ndarray(frame, format="rgb24") for frame in CLIP), None]:
            container.mux(stream.encode(picture))
    return name


def test_series_by_name_and_axes(asked: Any) -> None:
    np.savez("a.npz", first=SERIES_VALUES, second=-SERIES_VALUES)
    explain("series", "a.npz:first", "a.npz:second")
    explain("series", "a.npz:second", "--axes", "moments")
    np.testing.assert_array_equal(asked[0][0], [SERIES_VALUES, -SERIES_VALUES])
    np.testing.assert_array_equal(asked[1][0], [-SERIES_VALUES])
    assert [options["axes"] for _, options in asked] == [SERIES, MOMENTS]


@pytest.mark.parametrize(
    ("arguments", "kept"), [([], 12), (["--frames", 4], 4), (["--frames", 40], 16)], ids=("as trained", "fewer", "no more than there are")
)
def test_frames_of_a_video(asked: Any, arguments: Any, kept: int) -> None:
    explain("moving_scenes", write_video("a.mkv"), *arguments)
    [(clips, options)] = asked
    assert (clips.shape, options["axes"]) == ((1, kept, 48, 48, 3), VIDEO)
    assert lightness(clips[0]) == np.linspace(0, 15, kept).round().tolist()


@pytest.mark.parametrize(("arguments", "kept"), [([], 16), (["--frames", 4], 4)], ids=("all", "fewer"))
def test_frames_of_an_array(asked: Any, arguments: Any, kept: int) -> None:
    np.save("a.npy", CLIP)
    explain("moving_scenes", "a.npy", *arguments)
    assert lightness(asked[0][0][0]) == np.linspace(0, 15, kept).round().tolist()


def test_a_volume(asked: Any) -> None:
    """A NIfTI file of grey values from 0 to 1, from the feet to the head."""
    values = CLIP[..., 0].T / np.float32(255)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([-1.0, -1, 1, 1])), "a.nii.gz")
    explain("moving_scenes", "a.nii.gz", "--axes", "volume", "--frames", 6)
    [(volumes, options)] = asked
    assert (volumes.shape, options["axes"]) == ((1, 6, 48, 48, 3), VOLUME)
    assert lightness(volumes[0]) == [0, 3, 6, 9, 12, 15]
