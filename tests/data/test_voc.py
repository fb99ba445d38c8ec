"""PASCAL VOC: the official tree, TorchRay's boxes, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from annotated_files import VOC, annotation, write_voc
from extremal_jax.data import VOCDataset, load_image
from extremal_jax.data.voc import CLASSES, read_annotation
from extremal_jax.models.classes import class_names


@pytest.fixture
def devkit(tmp_path: Path) -> Path:
    return write_voc(tmp_path)


def test_classes_are_those_of_the_classifiers() -> None:
    assert class_names("voc") == CLASSES


@pytest.mark.parametrize("folder", ["", "..", "VOC2007"])
def test_examples_in_the_order_of_the_split(devkit: Path, folder: str) -> None:
    dataset = VOCDataset(devkit / folder)
    assert dataset.names == tuple(f"{stem}.jpg" for stem in VOC)
    for example, (size, things) in zip(dataset, VOC.values(), strict=True):
        assert example.size == example.load().shape[:2] == size
        assert [(thing.label, thing.difficult) for thing in example.objects] == [(CLASSES.index(n), bool(d)) for n, _, d in things]
        assert all(thing.mask is None for thing in example.objects)


def test_boxes_are_torchrays(devkit: Path) -> None:
    for example, (size, things) in zip(VOCDataset(devkit), VOC.values(), strict=True):
        for label in example.labels:
            expected = np.zeros(size, bool)
            for name, (xmin, ymin, xmax, ymax), _ in things:
                if name == CLASSES[label]:
                    expected[ymin - 1 : ymax, xmin - 1 : xmax] = True
            np.testing.assert_array_equal(example.region(label), expected)


def test_pairs_whose_objects_are_all_difficult(devkit: Path) -> None:
    found = {(one.name, CLASSES[label]) for one in VOCDataset(devkit) for label in one.labels if one.all_difficult(label)}
    assert found == {("000002.jpg", "train"), ("000019.jpg", "chair")}


def test_split_and_year(tmp_path: Path) -> None:
    devkit = write_voc(tmp_path, "val", "2012")
    assert len(VOCDataset(devkit, split="val", year="2012")) == len(VOCDataset(devkit / "VOC2012", split="val")) == len(VOC)
    with pytest.raises(FileNotFoundError, match=r"split 'test' is not in .*Main; it has 'val'"):
        VOCDataset(devkit, year="2012")
    with pytest.raises(ValueError, match=r"is not a VOC tree: .* it has year '2012', and year is '2007'"):
        VOCDataset(devkit, split="val")


def test_folder_that_is_no_tree(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no folder"):
        VOCDataset(tmp_path / "missing")
    (tmp_path / "VOC2007" / "JPEGImages").mkdir(parents=True)
    with pytest.raises(ValueError, match=r"is not a VOC tree: .*VOC2007 has no Annotations, ImageSets/Main; unpack"):
        VOCDataset(tmp_path)


@pytest.mark.parametrize(("part", "suffix", "kind"), [("JPEGImages", ".jpg", "image"), ("Annotations", ".xml", "annotation")])
def test_missing_files(devkit: Path, part: str, suffix: str, kind: str) -> None:
    (devkit / "VOC2007" / part / f"000019{suffix}").unlink()
    with pytest.raises(FileNotFoundError, match=f"{part} lacks {kind}s of split 'test': '000019{suffix}'"):
        VOCDataset(devkit)


def test_empty_split(devkit: Path) -> None:
    (devkit / "VOC2007" / "ImageSets" / "Main" / "test.txt").write_text("\n")
    with pytest.raises(ValueError, match=r"test\.txt lists no images"):
        VOCDataset(devkit)


def test_image_of_another_size(devkit: Path) -> None:
    (devkit / "VOC2007" / "Annotations" / "000007.xml").write_text(annotation("000007", (64, 48), []))
    with pytest.raises(ValueError, match=r"000007\.jpg is 48x64 pixels large, but its annotation says 64x48"):
        VOCDataset(devkit)[0].load()


def test_corrupt_jpeg(devkit: Path) -> None:
    path = devkit / "VOC2007" / "JPEGImages" / "000007.jpg"
    path.write_bytes(path.read_bytes()[:300])
    example = VOCDataset(devkit)[0]
    assert example.labels == (11, 14)
    with pytest.raises(ValueError, match=r"000007\.jpg"):
        example.load()


def test_malformed_annotation_is_named(devkit: Path) -> None:
    (devkit / "VOC2007" / "Annotations" / "000007.xml").write_text("<annotation>")
    with pytest.raises(ValueError, match=r"000007\.xml is not XML"):
        VOCDataset(devkit)[0]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<name>dog</name>", "<name>dig</name>", "'dig', which VOC has not; did you mean 'dog'"),
        ("<name>dog</name>", "", "has no name in <object>"),
        ("<xmin>3</xmin>", "<xmin>0</xmin>", "has the box .* outside its image of 6x8 pixels"),
        ("<ymax>6</ymax>", "<ymax>7</ymax>", "has the box"),
        ("<ymax>6</ymax>", "<ymax>1</ymax>", "has the box"),
        ("<ymax>6</ymax>", "<ymax>six</ymax>", "must have a number as bndbox/ymax, got 'six'"),
        ("<ymax>6</ymax>", "<ymax>inf</ymax>", "must have a number as bndbox/ymax"),
        ("<ymax>6</ymax>", "<ymax>nan</ymax>", "must have a number as bndbox/ymax"),
        ("<height>6</height>", "", "has no size/height in <annotation>"),
        ("<pose>Left</pose>", "<pose>Up</pose>", "the pose in annotation 1.xml must be one of"),
    ],
)
def test_malformed_annotations(old: str, new: str, message: str) -> None:
    good = annotation("1", (6, 8), [("dog", (3, 2, 8, 6), 0)])
    assert old in good
    with pytest.raises(ValueError, match=message):
        read_annotation(good.replace(old, new, 1).encode(), "1.xml")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize(
    "definition", ['<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;">]>', '<!DOCTYPE a SYSTEM "file:///etc/hostname">', "<!DOCTYPE a>"]
)
def test_entities_are_not_read(definition: str, encoding: str) -> None:
    text = f'<?xml version="1.0" encoding="{encoding}"?>{definition}{annotation("1", (6, 8), [])}'
    with pytest.raises(ValueError, match=r"1\.xml has a document type definition"):
        read_annotation(text.encode(encoding), "1.xml")


def test_what_an_annotation_may_lack() -> None:
    lean = annotation("1", (6, 8), [("dog", (3, 2, 8, 6), 1)])
    for tag in ("<pose>Left</pose>", "<truncated>1</truncated>", "<difficult>1</difficult>"):
        lean = lean.replace(tag, "")
    _, (thing,) = read_annotation(lean.replace(">2<", "> 2.4 <").encode(), "1.xml")
    assert thing == (CLASSES.index("dog"), (2, 3, 6, 8), "unspecified", False, False)


def test_negative_index_and_repeated_reading(devkit: Path) -> None:
    dataset: Any = VOCDataset(devkit)
    assert dataset[-1].labels == dataset[3].labels


def test_name(tmp_path: Path) -> None:
    """It identifies the images: folders of one tree have one name, and other years and splits others."""
    devkit = write_voc(tmp_path)
    assert VOCDataset(devkit).name == VOCDataset(tmp_path).name == VOCDataset(devkit / "VOC2007").name == f"voc:{devkit / 'VOC2007'}"
    lists = devkit / "VOC2007" / "ImageSets" / "Main"
    (lists / "val.txt").write_text((lists / "test.txt").read_text())
    assert VOCDataset(devkit, split="val").name == f"voc:{devkit / 'VOC2007'} split=val"
    (devkit / "VOC2007").rename(devkit / "VOC2012")
    assert VOCDataset(devkit, year="2012").name == f"voc:{devkit / 'VOC2012'}"


@pytest.mark.parametrize("orientation", [3, 6])
def test_boxes_refer_to_the_stored_pixels(devkit: Path, orientation: int) -> None:
    path, exif = devkit / "VOC2007" / "JPEGImages" / "000007.jpg", Image.Exif()
    exif[0x0112] = orientation
    with Image.open(path) as image:
        picture = image.convert("RGB")
    picture.save(path)
    before = load_image(path)
    picture.save(path, exif=exif)
    assert (load_image(path).shape == before.shape) == (orientation == 3)
    np.testing.assert_array_equal(VOCDataset(devkit)[0].load(), before)
