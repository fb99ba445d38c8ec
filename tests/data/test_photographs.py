"""Photographs: classes from their names or from a CSV file, or none at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from extremal_jax.data import PhotographDataset, PictureDataset

CLASSES = ["dog", "cat", "great white shark", "dog"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for index, name in enumerate(("2_shark.png", "001_cat.jpg", "1.PNG")):
        Image.fromarray(np.full((6, 8 + index, 3), 9, np.uint8)).save(photographs / name)
    (photographs / "readme.txt").write_text("1")
    (photographs / "._1_hidden.jpg").write_bytes(b"")
    (photographs / "1_folder").mkdir()
    return photographs


def table(folder: Path, text: str) -> Path:
    path = folder.parent / "labels.csv"
    path.write_text(text)
    return path


def test_indices_in_names(folder: Path) -> None:
    dataset = PhotographDataset(folder, CLASSES)
    assert dataset.names == ("001_cat.jpg", "1.PNG", "2_shark.png")
    assert dataset.classes == tuple(CLASSES)
    assert [example.labels for example in dataset] == [(1,), (1,), (2,)]
    assert [example.load().shape for example in dataset] == [(6, 9, 3), (6, 10, 3), (6, 8, 3)]
    assert not any(example.has_regions for example in dataset)


def test_indices_in_names_are_no_names_of_classes(folder: Path) -> None:
    """A label in a table is a text, so that names come first."""
    digits = ["1", "2", "3"]
    assert [example.labels for example in PhotographDataset(folder, digits)] == [(1,), (1,), (2,)]
    assert PhotographDataset(folder, digits, labels=table(folder, "file,label\n1.PNG,1\n"))[0].labels == (0,)


def test_labels_of_a_table(folder: Path) -> None:
    path = table(folder, '\ufefffile,label\n1.PNG,cat\n2_shark.png, 0\n1.PNG,"great white shark"\n1.PNG,1\n')
    dataset = PhotographDataset(folder, CLASSES, labels=path)
    assert {example.name: example.labels for example in dataset} == {"1.PNG": (1, 2), "2_shark.png": (0,)}


def test_name(folder: Path) -> None:
    path = table(folder, "file,label\n1.PNG,cat\n")
    assert PhotographDataset(folder, CLASSES).name == str(folder)
    assert PhotographDataset(str(folder), CLASSES, labels=path).name == f"{folder}:{path}"


@pytest.mark.parametrize("orientation", [3, 6])
def test_photographs_are_upright(folder: Path, orientation: int) -> None:
    exif, pixels = Image.Exif(), np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(folder / "1.PNG", exif=exif)
    upright = pixels[::-1, ::-1] if orientation == 3 else np.rot90(pixels, -1)
    np.testing.assert_array_equal(PhotographDataset(folder, CLASSES)[1].load(), upright)


def test_no_photographs(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no folder"):
        PhotographDataset(tmp_path / "missing", CLASSES)
    with pytest.raises(ValueError, match="no image files in"):
        PhotographDataset(tmp_path, CLASSES)


def test_names_without_an_index(folder: Path) -> None:
    for name in ("cat.jpg", "dog.jpg", "e.jpg", "f.jpg"):
        (folder / name).write_bytes(b"")
    with pytest.raises(ValueError, match=r"begin with the index.*got 'cat.jpg', 'dog.jpg', 'e.jpg' and 1 more in .*; rename them"):
        PhotographDataset(folder, CLASSES)


def test_index_that_the_classifier_lacks(folder: Path) -> None:
    (folder / "281_tabby.jpg").write_bytes(b"")
    with pytest.raises(ValueError, match=r"281_tabby\.jpg has the class 281, but the classifier's classes go from 0 to 3"):
        PhotographDataset(folder, CLASSES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\n1.PNG,bat\n", "1.PNG has the class 'bat', which the classifier does not know; did you mean 'cat'"),
        ("file,label\n1.PNG,dog\n", "2 classes of the classifier have this name; give an index: 0, 3"),
        ("file,label\n1.PNG,4\n", "1.PNG has the class 4, but the classifier's classes go from 0 to 3"),
        ("file,label\n1.PNG\n", "1.PNG has the class ''"),
        ("file,labels\n1.PNG,cat\n", "must have the columns file,label, got file,labels; did you mean 'labels'"),
        ("file,label\n", "has no rows"),
        ("", "has no rows"),
    ],
)
def test_malformed_tables(folder: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PhotographDataset(folder, CLASSES, labels=table(folder, text))


@pytest.mark.parametrize("name", ["../s.jpg", "./1.PNG", "1_folder/../1.PNG", ".//1.PNG", "{folder}/1.PNG"])
def test_tables_name_photographs_in_one_way_within_the_folder(folder: Path, name: str) -> None:
    (folder.parent / "s.jpg").write_bytes((folder / "1.PNG").read_bytes())
    name = name.format(folder=folder)
    with pytest.raises(ValueError, match=f"must name photographs by their shortest paths in {folder}, as in 'a.jpg', got '{name}'"):
        PhotographDataset(folder, CLASSES, labels=table(folder, f"file,label\n1.PNG,cat\n{name},cat\n"))


def test_tables_name_photographs_of_folders_within(folder: Path) -> None:
    (folder / "1_folder" / "a.png").write_bytes((folder / "1.PNG").read_bytes())
    assert PhotographDataset(folder, CLASSES, labels=table(folder, "file,label\n1_folder/a.png,cat\n")).names == ("1_folder/a.png",)


def test_table_that_is_no_text(folder: Path) -> None:
    path = table(folder, "")
    path.write_bytes(b"file,label\n\xff\xfe\xfd")
    with pytest.raises(ValueError, match="is not a CSV file"):
        PhotographDataset(folder, CLASSES, labels=path)


def test_photographs_of_the_table_that_are_missing(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"labels\.csv names the photograph '3\.png', which is not in"):
        PhotographDataset(folder, CLASSES, labels=table(folder, "file,label\n3.png,cat\n"))
    with pytest.raises(FileNotFoundError, match="no CSV file"):
        PhotographDataset(folder, CLASSES, labels=folder / "missing.csv")


def test_corrupt_photograph_is_named_when_it_is_loaded(folder: Path) -> None:
    (folder / "3_dog.jpg").write_bytes(b"\xff\xd8 cut off")
    dataset = PhotographDataset(folder, CLASSES)
    with pytest.raises(ValueError, match=r"3_dog\.jpg"):
        dataset[-1].load()


def test_pictures_of_any_name(folder: Path) -> None:
    for name in ("cat.jpg", "Ünïcode 猫.png", "a [1].webp"):
        Image.fromarray(np.full((4, 5, 3), 9, np.uint8)).save(folder / name)
    dataset = PictureDataset(folder, CLASSES)
    assert dataset.names == ("001_cat.jpg", "1.PNG", "2_shark.png", "a [1].webp", "cat.jpg", "Ünïcode 猫.png")
    assert (dataset.name, dataset.classes) == (str(folder), tuple(CLASSES))
    assert {example.labels for example in dataset} == {()}
    assert [example.load().shape[:2] for example in dataset] == [example.shape() for example in dataset]
    assert PictureDataset(str(folder), ()).classes == ()


def test_no_pictures(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no folder"):
        PictureDataset(tmp_path / "missing", CLASSES)
    with pytest.raises(ValueError, match=r"no image files in .*; they end in \..*\.png"):
        PictureDataset(tmp_path, CLASSES)


def test_a_corrupt_picture_is_named_when_it_is_loaded(folder: Path) -> None:
    (folder / "3_dog.jpg").write_bytes(b"\xff\xd8 cut off")
    example = PictureDataset(folder, CLASSES)[3]
    for read in (example.load, example.shape):
        with pytest.raises(ValueError, match=r"3_dog\.jpg"):
            read()
