"""MS COCO: masks of polygons and crowds, by the category's place among the categories."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from annotated_files import write_coco
from extremal_jax.data import COCODataset
from extremal_jax.data.coco import _box


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    pytest.importorskip("pycocotools")
    return write_coco(tmp_path)


def change(path: Path, edit: Callable[[Any], Any]) -> Path:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))
    return path


def test_images_with_objects_in_the_order_of_their_numbers(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    dataset = COCODataset(*files)
    assert dataset.names == ("COCO_val2014_000000000007.jpg", "COCO_val2014_000000000042.jpg")
    assert dataset.classes == ("person", "cat", "toothbrush")
    assert [example.labels for example in dataset] == [(2,), (0, 1)]
    assert [example.load().shape[:2] for example in dataset] == [example.size for example in dataset] == [(50, 30), (40, 60)]
    assert capsys.readouterr().out == ""


def test_name(files: tuple[Path, Path]) -> None:
    assert COCODataset(*files).name == f"coco:{files[0]}:{files[1]}"


@pytest.mark.parametrize("orientation", [3, 6])
def test_masks_refer_to_the_stored_pixels(files: tuple[Path, Path], orientation: int) -> None:
    path, exif = files[0] / "COCO_val2014_000000000007.jpg", Image.Exif()
    pixels = np.zeros((50, 30, 3), np.uint8)
    pixels[:10] = 255
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(path, exif=exif, quality=100)
    loaded = COCODataset(*files)[0].load()
    assert loaded.shape == (50, 30, 3)
    assert loaded[:8].min() > 250
    assert loaded[16:].max() < 5


def test_masks(files: tuple[Path, Path]) -> None:
    tall, wide = COCODataset(*files)
    assert all(example.has_regions for example in (tall, wide))
    bands = np.zeros((50, 30), bool)
    bands[:10] = bands[40:] = True
    np.testing.assert_array_equal(tall.region(2), bands)
    squares = np.zeros((40, 60), bool)
    squares[5:25, 10:30] = squares[30:35, 40:50] = True
    np.testing.assert_array_equal(wide.region(1), squares)
    crowd = np.zeros((40, 60), bool)
    crowd[:, :2] = True
    np.testing.assert_array_equal(wide.region(0), crowd)


@pytest.mark.filterwarnings("ignore:__array__ implementation")
def test_masks_are_those_of_pycocotools(files: tuple[Path, Path]) -> None:
    api = pytest.importorskip("pycocotools.coco").COCO(str(files[1]))
    for example, number in zip(COCODataset(*files), (7, 42), strict=True):
        instances = api.loadAnns(api.getAnnIds(number))
        for thing, instance in zip(example.objects, instances, strict=True):
            np.testing.assert_array_equal(thing.mask, api.annToMask(instance))


def test_compressed_runs(files: tuple[Path, Path]) -> None:
    masks = pytest.importorskip("pycocotools.mask")
    expected = COCODataset(*files)[0].region(2)
    counts = masks.encode(np.asfortranarray(expected.astype(np.uint8)))["counts"].decode()
    path = change(files[1], lambda content: content["annotations"][3].update(segmentation={"counts": counts, "size": [50, 30]}))
    np.testing.assert_array_equal(COCODataset(files[0], path)[0].region(2), expected)


@pytest.mark.parametrize(("box", "expected"), [([10, 5, 20, 20], (5, 10, 25, 30)), ([40.0, 30.5, 10.2, 4.5], (30, 40, 35, 51))])
def test_boxes(box: Any, expected: Any) -> None:
    assert _box(box) == expected


def test_missing_files(files: tuple[Path, Path]) -> None:
    images, path = files
    with pytest.raises(FileNotFoundError, match="no folder"):
        COCODataset(images / "missing", path)
    with pytest.raises(FileNotFoundError, match="no annotation file"):
        COCODataset(images, images / "missing.json")
    (images / "COCO_val2014_000000000042.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"val2014 lacks images of the annotations: 'COCO_val2014_000000000042\.jpg'"):
        COCODataset(images, path)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda content: content.pop("annotations"), "it has no annotations; choose one such as instances_val2014.json"),
        (lambda content: content["annotations"][0].pop("segmentation"), "some annotations have no 'segmentation'"),
        (lambda content: content["annotations"][0].update(image_id=5), "an object of the image 5, which it does not list"),
        (lambda content: content["annotations"][0].update(category_id=5), "an object of the category 5, which it does not list"),
    ],
)
def test_malformed_files(files: tuple[Path, Path], edit: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        COCODataset(files[0], change(files[1], edit))


@pytest.mark.parametrize("mask", [5, {"counts": [5], "size": [3, 4]}, [["a"]], {"counts": [0, 6], "size": [2, 3]}])
def test_malformed_masks(files: tuple[Path, Path], mask: Any) -> None:
    path = change(files[1], lambda content: content["annotations"][3].update(segmentation=mask))
    with pytest.raises(ValueError, match=r"the annotation of COCO_val2014_000000000007\.jpg has a malformed mask"):
        COCODataset(files[0], path)[0]


def test_file_that_is_no_json(files: tuple[Path, Path]) -> None:
    files[1].write_text("<annotation>")
    with pytest.raises(ValueError, match="is not JSON"):
        COCODataset(*files)


def test_without_pycocotools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "pycocotools.mask", None)
    with pytest.raises(ImportError, match=r"need the package pycocotools; install it by `pip install 'extremal-jax\[coco\]'`"):
        COCODataset(*write_coco(tmp_path))
