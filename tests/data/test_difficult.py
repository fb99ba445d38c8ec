"""Lists of difficult pairs, in each of their forms."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from annotated_files import VOC, write_voc
from extremal_jax.data import Dataset, Example, VOCDataset, difficult_pairs
from extremal_jax.data.voc import CLASSES

EXPECTED = {("000007.jpg", "dog"), ("000019.jpg", "chair"), ("000019.jpg", "cat")}
FLAGS = "".join(
    "\t".join([stem, *(str(int((f"{stem}.jpg", name) in EXPECTED)) for name in CLASSES)]) + "\n"  # as TorchRay's lists
    for stem in VOC
)


@pytest.fixture
def dataset(tmp_path: Path) -> VOCDataset:
    return VOCDataset(write_voc(tmp_path))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("pairs.txt", "000007 dog\n000019\tchair\n\n000019.jpg cat\n000019 cat\n"),
        ("pairs.csv", "file,label\n000007, dog\n000019.jpg,8\n000019,cat\n"),
        ("pairs.json", json.dumps({"dog": ["000007.jpg"], "chair": ["000019"], "7": ["000019"]})),
        ("flags.txt", FLAGS),
        ("flags.csv", FLAGS.replace("\t", ",")),
    ],
)
def test_forms(dataset: VOCDataset, tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    found = difficult_pairs(tmp_path / name, dataset)
    assert {(image, CLASSES[label]) for image, label in found} == EXPECTED


@pytest.mark.parametrize("text", [FLAGS, "000007 11\n000019 8\n000019 7\n", "000007 dog\n000019 chair\n000019 cat\n"])
def test_flags_and_indices_are_those_of_the_data(dataset: VOCDataset, tmp_path: Path, text: str) -> None:
    """Also in a dataset whose classes have the indices of a classifier, which may know more of them."""
    (tmp_path / "a.txt").write_text(text)
    for classes in (CLASSES[::-1], ("zebra", *CLASSES[5:], *CLASSES[:5])):
        for view in (dataset.with_classes(classes), dataset.with_classes(CLASSES[3:] + CLASSES[:3]).with_classes(classes)):
            assert {(image, classes[label]) for image, label in difficult_pairs(tmp_path / "a.txt", view)} == EXPECTED


class Pictures(Dataset):
    name, classes, names = "pictures", ("dog", "fox"), ("cat", "cat.png", "cat.jpg", "bat.png", "bat.jpg")

    def example(self, index: int) -> Example:
        return Example(self.names[index], b"", None, ())


def test_names_without_a_suffix_that_several_images_have(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("bat fox")
    with pytest.raises(ValueError, match=r"a.txt names 'bat', and pictures has several such images; add the suffixes"):
        difficult_pairs(path, Pictures())
    path.write_text("bat.png fox\ncat dog")
    assert difficult_pairs(path, Pictures()) == {("bat.png", 1), ("cat", 0)}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        (
            "a.txt",
            "000007 dog\n000001 dog\n000003 dog",
            "does not match voc:.*, which has no '000001', '000003'; is it the list of another",
        ),
        ("a.txt", FLAGS.replace("000002", "999999"), "does not match .* which has no '999999'"),
        ("a.txt", "000007 dig", "000007.jpg has the class 'dig', which the classifier does not know; did you mean 'dog'"),
        ("a.txt", "000007", "must have a name and a class in each line, or a name and 20 flags, got '000007'"),
        ("a.txt", "000007 0 1 0", "must have a name and a class in each line"),
        ("a.csv", "000007,dog,1", "must have a name and a class in each line"),
        ("a.txt", "\n", "lists no difficult pairs"),
        ("a.txt", FLAGS.replace("\t1", "\t0"), "lists no difficult pairs"),
        ("a.json", "[1]", "must hold"),
        ("a.json", "{", "is not JSON"),
    ],
)
def test_lists_that_do_not_match(dataset: VOCDataset, tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        difficult_pairs(tmp_path / name, dataset)


def test_files_that_are_no_lists(dataset: VOCDataset, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no list of difficult pairs"):
        difficult_pairs(tmp_path / "missing.txt", dataset)
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\xfd")
    with pytest.raises(ValueError, match="is not a text file"):
        difficult_pairs(tmp_path / "bytes.txt", dataset)
