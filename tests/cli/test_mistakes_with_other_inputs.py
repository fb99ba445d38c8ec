"""Mistakes in clips, volumes and series on the command line: one sentence and an exit code, before anything runs."""

from __future__ import annotations

import functools
import importlib
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import extremal_jax as ej
from command_line import fails, files, invoke

LOAD = functools.cache(ej.models.load)
VALUES = np.zeros((40, 6), np.float32)
CLIP = np.zeros((6, 32, 32, 3), np.uint8)


class Harmful:
    """An object that makes a file as soon as it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("unpickled",)


@pytest.fixture(autouse=True)
def _work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A working folder, packaged classifiers that are loaded once, and a method that must not run."""

    def run(*_: Any, **__: Any) -> None:
        pytest.fail("the run has started")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(ej.models, "load", lambda name, weights="default": LOAD(name))
    monkeypatch.setattr(ej, "extremal_perturbation", run)


def save(array: Any, name: str = "a.npy") -> str:
    np.save(name, array)
    return name


def refused(model: str, *arguments: Any, parts: Any, code: int = 2) -> None:
    fails(invoke("explain", "--model", model, *arguments), code, *parts)
    assert not Path("out").exists() or files() == []
    assert not Path("unpickled").exists()


@pytest.mark.parametrize(
    ("model", "arguments", "parts"),
    [
        ("series", ["--axes", "serie"], ["--axes", "unknown name 'serie'; did you mean 'series'?"]),
        ("series", ["--axes", "video"], ["--axes", "series takes (time, feature), and video is (time, height, width, channel)", "--model"]),
        ("scenes", ["--axes", "series"], ["--axes", "scenes takes (height, width, channel), and series is (time, feature)"]),
        ("series", ["--frames", 4], ["--frames", "applies only to clips and volumes, not to time, feature"]),
        ("scenes", ["--frames", 4], ["--frames", "applies only to clips and volumes, not to height, width, channel"]),
        ("moving_scenes", ["--frames", 1], ["--frames", "x>=2"]),
        ("series", ["--target", "rize"], ["--target", "did you mean 'rise'"]),
        ("series", ["--target", 5], ["--target", "class indices go from 0 to 4, got 5"]),
    ],
)
def test_options(model: str, arguments: Any, parts: Any) -> None:
    name = save({"series": VALUES, "moving_scenes": CLIP, "scenes": CLIP[0]}[model])
    refused(model, name, *arguments, parts=parts)


@pytest.mark.parametrize(
    ("model", "array", "parts"),
    [
        ("series", VALUES[None], ["a.npy has the shape (1, 40, 6), and (time, feature) is expected", "one by one"]),
        ("series", VALUES[0], ["a.npy has the shape (6,), and (time, feature) is expected"]),
        ("moving_scenes", CLIP[None], ["has the shape (1, 6, 32, 32, 3), and (time, height, width, channel) is expected"]),
        ("moving_scenes", np.moveaxis(CLIP, -1, 1), ["a.npy: clip must be an array (T, H, W, 3)", "move the channels last"]),
        ("moving_scenes", CLIP + 2.0, ["a.npy: clip must hold floats in [0, 1], or uint8, got values from 2 to 2"]),
        ("series", np.where(np.arange(6) == 2, np.nan, VALUES), ["a.npy: series must be finite, got NaN or infinity at 40 of 240 places"]),
        ("series", VALUES[:0], ["a.npy is empty, of the shape (0, 6)"]),
        ("series", VALUES + 1j, ["a.npy must hold real numbers, got complex numbers"]),
        ("series", VALUES.astype("U3"), ["a.npy must hold real numbers, got values of type <U3"]),
        ("series", np.array([Harmful()]), ["a.npy holds Python objects, which are not read, since they could run code"]),
    ],
)
def test_arrays(model: str, array: Any, parts: Any) -> None:
    refused(model, save(array), parts=parts)


def test_arrays_in_npz_files() -> None:
    np.savez("a.npz", first=VALUES, second=VALUES, harmful=np.array([Harmful()]))
    refused("series", "a.npz", parts=["a.npz holds 3 arrays; name one of them: 'first', 'second', 'harmful'"])
    refused("series", "a.npz:frist", parts=["a.npz holds no array 'frist'; did you mean 'first'?"])
    refused("series", "a.npz:harmful", parts=["'harmful' in a.npz holds Python objects, which are not read"])
    refused("series", "b.npz:first", parts=["'b.npz' does not exist"])
    refused("series", f"{save(VALUES)}:first", parts=["'a.npy:first' does not exist"])


@pytest.mark.parametrize(("content", "reason"), [(b"no array", "is no file of np.save or np.savez"), (b"\x93NUMPY", "a.npy is broken")])
def test_broken_arrays(content: bytes, reason: str) -> None:
    Path("a.npy").write_bytes(content)
    refused("series", "a.npy", parts=[reason])


@pytest.mark.parametrize(
    ("model", "name", "parts"),
    [
        ("series", "a.png", ["a.png is a file .png, and series takes (time, feature); give a .npy or .npz file, or another --model"]),
        ("series", "a.mp4", ["a.mp4 is a video, and series takes"]),
        ("scenes", "a.mp4", ["a.mp4 is a video, and scenes takes (height, width, channel); give a .npy or .npz file or an image file"]),
        ("scenes", "a.nii", ["a.nii is a folder or a volume, and scenes takes"]),
        ("moving_scenes", "a.png", ["a.png is a file .png", "a video file, or a NIfTI or DICOM file or folder of its slices"]),
        ("moving_scenes", "a.mp4", ["a.mp4 cannot be read as a video"]),
        ("moving_scenes", "a.nii", ["a.nii cannot be read as a NIfTI volume"]),
    ],
)
def test_files_of_another_kind(model: str, name: str, parts: Any) -> None:
    Path(name).write_bytes(b"no video or volume")
    if name.endswith(".png"):
        Image.new("RGB", (32, 32)).save(name)
    refused(model, name, parts=parts)


def test_a_folder_is_no_image() -> None:
    Path("photographs").mkdir()
    refused("scenes", "photographs", parts=["photographs is a folder or a volume, and scenes takes"])
    refused("moving_scenes", "photographs", parts=["no DICOM files in the folder photographs"])


def test_inputs_of_different_lengths() -> None:
    save(CLIP, "a.npy")
    save(CLIP[:5], "b.npy")
    parts = ["all inputs must have one shape", "(6, 48, 48, 3) for a.npy and (5, 48, 48, 3) for b.npy; run them one by one"]
    refused("moving_scenes", "a.npy", "b.npy", parts=parts)


@pytest.mark.parametrize(
    ("name", "package", "extra"), [("a.mp4", "av", "video"), ("a.nii.gz", "nibabel", "medical"), ("a.dcm", "pydicom", "medical")]
)
def test_a_missing_extra(monkeypatch: pytest.MonkeyPatch, name: str, package: str, extra: str) -> None:
    """A missing package is no mistake in the call: exit code 1, as for weights."""
    imports = importlib.import_module

    def missing(wanted: str, *arguments: Any) -> Any:
        if wanted == package:
            raise ModuleNotFoundError(f"No module named {wanted!r}")
        return imports(wanted, *arguments)

    monkeypatch.setattr(importlib, "import_module", missing)
    Path(name).write_bytes(b"anything")
    told = f"{name} is read by the package {package}; install it by `pip install 'extremal-jax[{extra}]'`"
    refused("moving_scenes", name, parts=[told], code=1)


@pytest.mark.parametrize(
    ("model", "array", "shape"), [("moving_scenes", CLIP, "time, height, width, channel"), ("series", VALUES, "time, feature")]
)
def test_maps_are_of_images(model: str, array: Any, shape: str) -> None:
    parts = ["--method", f"the maps of other methods are of images, and the inputs are ({shape})"]
    refused(model, save(array), "--method", "gradient", parts=parts)


@pytest.mark.parametrize("command", ["smallest-area", "channels", "invert"])
def test_commands_of_images_alone(command: str) -> None:
    options = [] if command == "smallest-area" else ["--at", "pool"]
    result = invoke(command, save(VALUES), "--model", "series", *options)
    fails(result, 2, "--model", "series takes (time, feature), and this command is for images; `explain` takes both")
    assert re.match("Usage: ", result.stderr)
