"""Datasets by a short text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from annotated_files import write_coco, write_voc
from extremal_jax.data import COCODataset, PhotographDataset, PictureDataset, SceneDataset, VOCDataset, open_dataset
from extremal_jax.data.scenes import CLASSES
from extremal_jax.data.voc import CLASSES as VOC_CLASSES


def test_scenes() -> None:
    assert open_dataset("scenes", CLASSES).names == SceneDataset(500).names
    assert open_dataset("scenes:7", CLASSES, limit=600).names == SceneDataset(600, seed=7).names
    (one,) = open_dataset("scenes", CLASSES[::-1], limit=1)
    assert one.labels == tuple(sorted(len(CLASSES) - 1 - label for label in SceneDataset(1)[0].labels))


def test_photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("0_dog.png", "1_cat.png", "1_other.png"):
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / name)
    (tmp_path / "labels.csv").write_text("file,label\n0_dog.png,cat\n")
    assert isinstance(open_dataset(str(tmp_path), ["dog", "cat"]), PhotographDataset)
    assert open_dataset(str(tmp_path), ["dog", "cat"], limit=2).names == ("0_dog.png", "1_cat.png")
    (one,) = open_dataset(f"{tmp_path}:{tmp_path / 'labels.csv'}", ["dog", "cat"])
    assert one.labels == (1,)
    monkeypatch.chdir(tmp_path)
    assert len(open_dataset(".:labels.csv", ["dog", "cat"])) == 1


def test_photographs_without_classes(tmp_path: Path) -> None:
    for name in ("dog.png", "1_cat.png"):
        Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / name)
    dataset = open_dataset(str(tmp_path), ["dog", "cat"], labelled=False)
    assert isinstance(dataset, PictureDataset)
    assert (dataset.names, [example.labels for example in dataset]) == (("1_cat.png", "dog.png"), [(), ()])
    assert open_dataset(str(tmp_path), ["dog", "cat"], labelled=False, limit=1).names == ("1_cat.png",)
    with pytest.raises(ValueError, match=r"begin with the index of a class.*'dog\.png'"):
        open_dataset(str(tmp_path), ["dog", "cat"])


def test_classes_that_are_not_needed(tmp_path: Path) -> None:
    """A classifier of other classes explains its own."""
    for classes in (["dog"], ()):
        assert open_dataset("scenes", classes, limit=2, labelled=False).names == SceneDataset(2).names
        assert open_dataset(f"voc:{write_voc(tmp_path / str(len(classes)))}", classes, labelled=False)[0].labels
    with pytest.raises(ValueError, match="which the classifier does not know"):
        open_dataset("scenes", ["dog"])


def test_voc(tmp_path: Path) -> None:
    devkit = write_voc(tmp_path)
    assert open_dataset(f"voc:{devkit}", VOC_CLASSES).names == VOCDataset(devkit).names
    assert open_dataset(f"voc:{devkit}", ["none", *VOC_CLASSES], limit=2)[1].labels == (19,)
    with pytest.raises(ValueError, match="has the class 'aeroplane', which the classifier does not know; did you mean 'airplane'"):
        open_dataset(f"voc:{devkit}", CLASSES)


def test_names_identify_the_data(tmp_path: Path) -> None:
    """With a limit or not, as a text or in Python: one name for the same data."""
    devkit = write_voc(tmp_path)
    assert open_dataset("scenes:7", CLASSES, limit=1).name == open_dataset("scenes:7", CLASSES).name == SceneDataset(1, seed=7).name
    assert open_dataset(f"voc:{devkit}", VOC_CLASSES, limit=1).name == open_dataset(f"voc:{tmp_path}", VOC_CLASSES).name
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "0_dog.png")
    tables = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for path in tables:
        path.write_text("file,label\n0_dog.png,0\n")
    texts = [str(tmp_path), *(f"{tmp_path}:{path}" for path in tables)]
    assert [open_dataset(text, ["dog"]).name for text in texts] == texts


@pytest.mark.parametrize("absolute", [True, False])
def test_coco(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, absolute: bool) -> None:
    pytest.importorskip("pycocotools")
    images, path = write_coco(tmp_path)
    monkeypatch.chdir(tmp_path)
    text = f"coco:{images}:{path}" if absolute else f"coco:{images.name}:{path.name}"
    assert open_dataset(text, ["person", "cat", "toothbrush"]).names == COCODataset(images, path).names


@pytest.mark.parametrize(
    ("text", "parts"), [("a:b.json", ("a", "b.json")), (r"C:\a:D:/b.json", (r"C:\a", "D:/b.json")), ("a:/b", ("a", "/b"))]
)
def test_parts_with_drives(monkeypatch: pytest.MonkeyPatch, text: str, parts: Any) -> None:
    given: list[Any] = []

    def opened(*arguments: Any) -> Any:
        given.append(arguments)
        return SceneDataset(1)

    monkeypatch.setattr("extremal_jax.data.specifications.COCODataset", opened)
    open_dataset(f"coco:{text}", CLASSES)
    assert given == [parts]


@pytest.mark.parametrize(("text", "expected"), [("voc/2007", ("voc/2007", None)), ("voc/2007@a@b", ("voc/2007", "a@b"))])
def test_prepared(monkeypatch: pytest.MonkeyPatch, text: str, expected: Any) -> None:
    given: list[Any] = []

    def opened(name: str, *, data_dir: Any) -> Any:
        given.append((name, data_dir))
        return SceneDataset(1)

    monkeypatch.setattr("extremal_jax.data.specifications.PreparedDataset", opened)
    open_dataset(f"tfds:{text}", CLASSES)
    assert given == [expected]


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("scenes:x", ValueError, "scenes must be followed by a seed, a whole number"),
        ("voc:", ValueError, "'voc:' is not complete; data must be one of scenes, scenes:SEED"),
        ("voc", ValueError, "'voc' is not complete"),
        ("tfds", ValueError, "'tfds' is not complete"),
        ("coco:a", ValueError, "coco must be followed by a folder and a file"),
        ("vok:a", ValueError, "unknown data 'vok:a': 'vok' is neither a folder nor a kind; did you mean 'voc'"),
        ("nowhere", FileNotFoundError, "no folder nowhere; data must be one of scenes"),
        ("", FileNotFoundError, "no folder ; data must be one of scenes"),
        ("voc:nowhere", FileNotFoundError, "no folder nowhere"),
    ],
)
def test_texts_of_no_form(text: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        open_dataset(text, CLASSES)


@pytest.mark.parametrize("limit", [0, -1, 1.5])
def test_limit(limit: Any, unchecked: None) -> None:
    with pytest.raises(ValueError, match="limit must be a whole number, at least 1"):
        open_dataset("scenes", CLASSES, limit=limit)
