"""The commands `scenes` and `convert`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import extremal_jax as ej
from command_line import fails, files, invoke, succeeds
from extremal_jax.data.scenes import CLASSES, generate
from extremal_jax.models.formats.pytorch import read_tensors


def test_scenes(folder: Any) -> None:
    assert "wrote 3 scenes" in succeeds("scenes", "--count", 3, "--seed", 7, "--size", 48, "--objects", 2, "--out", "made")
    contents = json.loads((folder / "made" / "labels.json").read_text())
    assert list(contents) == [f"scene-7-00{index}.png" for index in range(3)]
    masks = {name.replace(".png", f"-{label}.png") for name, labels in contents.items() for label in labels}
    assert set(files("made")) == {"labels.json", *contents, *masks}
    for scene, (name, labels) in zip(generate(7, 3, 48, objects=2), contents.items(), strict=True):
        np.testing.assert_array_equal(ej.data.load_image(f"made/{name}"), scene.images[0])
        assert {CLASSES[index] for index in np.flatnonzero(scene.labels[0])} == set(labels)
        for label in labels:
            mask = ej.data.load_image(f"made/{name.replace('.png', f'-{label}.png')}")
            np.testing.assert_array_equal(mask[..., 0], 255 * scene.masks[0, CLASSES.index(label)])


def test_scenes_have_defaults(folder: Any) -> None:
    succeeds("scenes")
    assert ej.data.load_image("out/scene-0-003.png").shape == (128, 128, 3)
    labels = json.loads(Path("out/labels.json").read_text()).values()
    assert len(labels) == 4
    assert {len(names) for names in labels} <= {1, 2, 3}


@pytest.mark.parametrize("option", ["--count=0", "--seed=-1", "--size=31", "--objects=7", "--objects=0", "--count=many"])
def test_bad_scenes(folder: Any, option: str) -> None:
    fails(invoke("scenes", option), 2, option.split("=")[0])
    assert not Path("out").exists()


def test_scenes_join_those_of_the_folder(folder: Any) -> None:
    succeeds("scenes", "--count", 2, "--size", 32)
    first = json.loads(Path("out/labels.json").read_text())
    succeeds("scenes", "--count", 1, "--size", 32, "--seed", 1)
    both = json.loads(Path("out/labels.json").read_text())
    assert list(both) == ["scene-0-000.png", "scene-0-001.png", "scene-1-000.png"]
    assert {name: both[name] for name in first} == first


@pytest.mark.parametrize("content", ['{"a.png": "dog"}', "[]", '{"a.png": [1]}', "no JSON", '{"classes": {}}'])
def test_a_list_of_something_else_is_kept(folder: Any, content: str) -> None:
    Path("out").mkdir()
    Path("out/labels.json").write_text(content)
    fails(invoke("scenes"), 2, "--out", "out/labels.json is not a list of scenes that this command wrote; choose another folder")
    assert (files(), Path("out/labels.json").read_text()) == (["labels.json"], content)


def test_a_list_that_cannot_be_written(folder: Any) -> None:
    Path("out/labels.json").mkdir(parents=True)
    fails(invoke("scenes"), 1, "cannot write out/labels.json: Is a directory")
    assert files() == ["labels.json"]


def test_convert(folder: Any) -> None:
    source = Path(__file__).parents[1] / "golden" / "pytorch_files" / "checkpoint.pth.tar"
    expected = read_tensors(source)
    assert f"wrote {len(expected)} tensors to copy.safetensors" in succeeds("convert", source, "copy.safetensors")
    copy = load_file("copy.safetensors")
    assert copy.keys() == expected.keys()
    fails(invoke("convert", source, "copy.npz"), 2, "must end in .safetensors, got 'copy.npz'")
    fails(invoke("convert", "missing.pth", "copy.safetensors"), 2, "'missing.pth' does not exist")
