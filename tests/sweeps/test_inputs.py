"""Sources in all their forms, and the model's inputs."""

from __future__ import annotations

import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from extremal_jax.data import IndexableDataset, PictureDataset, SceneDataset
from extremal_jax.data.scenes import CLASSES
from extremal_jax.models.preprocessing import Preprocessing
from extremal_jax.sweeps.inputs import dataset_of, inputs_of

PICTURES = [np.full((30, 40 + 10 * index, 3), 60 * index, np.uint8) for index in range(3)]
WHOLE = Preprocessing((16, 16), mean=(0.5,) * 3, std=(0.25,) * 3, crop=None)


def opened(source: Any, classes: Any = ("dog", "cat"), *, limit: Any = None, labelled: bool = False) -> Any:
    return dataset_of(source, classes, limit=limit, labelled=labelled)


def classifier(preprocessing: Preprocessing) -> Any:
    return types.SimpleNamespace(preprocessing=preprocessing, preprocess=lambda image: preprocessing(image))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index, name in enumerate(("0_dog.png", "1_Ünïcode 猫.png", "1_b.png")):
        Image.fromarray(PICTURES[index]).save(tmp_path / name)
    return tmp_path


def test_a_folder(folder: Path) -> None:
    for source in (folder, str(folder)):
        assert isinstance(opened(source), PictureDataset)
        assert opened(source, ()).names == ("0_dog.png", "1_b.png", "1_Ünïcode 猫.png")
        assert [example.labels for example in opened(source, labelled=True)] == [(0,), (1,), (1,)]
        assert opened(source, limit=2).names == ("0_dog.png", "1_b.png")


def test_a_text() -> None:
    for classes, labelled in ((CLASSES, True), (("dog",), False), ((), False)):
        assert opened("scenes:7", classes, limit=2, labelled=labelled).names == SceneDataset(2, seed=7).names


def test_a_dataset_has_the_classes_of_the_model() -> None:
    scenes = SceneDataset(4)
    assert opened(scenes, CLASSES[::-1], labelled=True)[0].labels == tuple(sorted(len(CLASSES) - 1 - label for label in scenes[0].labels))
    assert opened(scenes) is scenes  # whose labels are not needed
    assert opened(scenes, (), labelled=True) is scenes  # labels are indices
    assert opened(scenes, limit=3).names == scenes.names[:3]
    assert opened(scenes, limit=9) is scenes
    with pytest.raises(ValueError, match="which the classifier does not know"):
        opened(scenes, labelled=True)


def test_anything_with_a_length_and_an_index() -> None:
    dataset = opened([(PICTURES[0], "cat"), (PICTURES[1], 0)], labelled=True)
    assert isinstance(dataset, IndexableDataset)
    assert [example.labels for example in dataset] == [(1,), (0,)]
    assert len(opened(PICTURES, limit=2)) == 2
    assert opened([(picture, 7) for picture in PICTURES], (), limit=2, labelled=True)[1].labels == (7,)
    with pytest.raises(TypeError, match=r"source must be a folder, a dataset, or an object with len\(source\).*; a list of it has both"):
        opened(iter(PICTURES))


def test_no_pictures(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="items has no pictures"):
        opened([])
    with pytest.raises(ValueError, match="no image files in"):
        opened(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no folder nowhere; data must be one of"):
        opened("nowhere")
    with pytest.raises(ValueError, match=r"targets='labels' needs the names of the model's classes for the labels of scenes"):
        opened("scenes", (), labelled=True)
    with pytest.raises(ValueError, match="limit must be a whole number, at least 1, got 0"):
        opened(PICTURES, limit=0)


def test_inputs_of_a_classifier() -> None:
    """Those of one size need no look at the pictures."""
    prepare = Preprocessing((16, 20), mean=(0.5,) * 3, std=(0.25,) * 3)
    inputs = inputs_of(classifier(prepare), opened([*PICTURES, b"damaged"]), None)
    assert (inputs.shapes, inputs.channels, inputs.known, inputs.largest) == ([(16, 20)] * 4, 3, {(16, 20)}, (16, 20))
    np.testing.assert_array_equal(inputs.prepare(PICTURES[1]), prepare(PICTURES[1]))


def test_inputs_of_whole_pictures() -> None:
    inputs = inputs_of(classifier(WHOLE), opened([*PICTURES, b"damaged", PICTURES[0].transpose(1, 0, 2)]), None)
    assert inputs.shapes == [(16, 21), (16, 26), (16, 32), None, (21, 16)]
    assert [inputs.prepare(picture).shape[:2] for picture in PICTURES] == inputs.shapes[:3]
    assert inputs.largest == (21, 32)
    with pytest.raises(ValueError, match=r"no picture of items can be read: .*is not an image"):
        inputs_of(classifier(WHOLE), opened([b"damaged", b""]), None)


def test_inputs_of_a_function() -> None:
    """It goes before the model's own; its inputs have the shape of the first."""

    def grey(pixels: np.ndarray) -> np.ndarray:
        return pixels[:10, :12, :1] / np.float32(255)

    for model in (None, classifier(WHOLE), types.SimpleNamespace(preprocess=WHOLE)):
        inputs = inputs_of(model, opened([b"damaged", *PICTURES]), grey)
        assert (inputs.shapes, inputs.channels, inputs.prepare) == ([(10, 12)] * 4, 1, grey)
    own = inputs_of(types.SimpleNamespace(preprocess=grey), opened(PICTURES), None)
    assert (own.channels, own.prepare) == (1, grey)
    with pytest.raises(ValueError, match=r"no picture of items can be read: .*is not an image"):
        inputs_of(None, opened([b"damaged"]), grey)


@pytest.mark.parametrize(
    ("preprocess", "message"),
    [
        (lambda pixels: pixels, r"preprocess must make floats of shape \(h, w, C\) of a picture, got uint8 of shape \(30, 40, 3\)"),
        (lambda pixels: pixels[None] / 2, r"got float64 of shape \(1, 30, 40, 3\)"),
        (lambda _: None, r"got object of shape \(\)"),
    ],
)
def test_functions_that_make_something_else(preprocess: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        inputs_of(None, opened(PICTURES), preprocess)


@pytest.mark.parametrize("preprocess", [None, "resnet", (224, 224)])
def test_no_function(preprocess: Any, unchecked: None) -> None:
    with pytest.raises(
        TypeError, match=r"preprocess must be a function from a picture .* since the model has no `preprocess` of its own, got"
    ):
        inputs_of(lambda images: images, opened(PICTURES), preprocess)


def test_a_dataset_of_grain() -> None:
    grain = pytest.importorskip("grain")
    items = [(picture, name) for picture, name in zip(PICTURES, ("dog", "cat", "dog"), strict=True)]
    checked(grain.MapDataset.source(items))
    checked(grain.MapDataset.source(items[::-1]).map(lambda item: {"image": item[0], "label": item[1]})[::-1])


def checked(source: Any) -> None:
    """The three pictures, of which the second is a cat."""
    dataset = opened(source, labelled=True)
    assert dataset.names == ("000000", "000001", "000002")
    for index, example in enumerate(dataset):
        assert example.labels == (index % 2,)
        np.testing.assert_array_equal(example.load(), PICTURES[index])
