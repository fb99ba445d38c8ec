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


def test_compressed_runs_of_noise(files: tuple[Path, Path]) -> None:
    """Their lengths rise and fall, so that some of the differences are negative and take several characters."""
    masks = pytest.importorskip("pycocotools.mask")
    rng = np.random.default_rng(0)
    expected = np.repeat(rng.random(300) < 0.5, rng.integers(1, 99, 300))[:1500].reshape(30, 50).T
    counts = masks.encode(np.asfortranarray(expected.astype(np.uint8)))["counts"].decode()
    path = change(files[1], lambda content: content["annotations"][3].update(segmentation={"counts": counts, "size": [50, 30]}))
    np.testing.assert_array_equal(COCODataset(files[0], path)[0].region(2), expected)


def test_an_empty_segmentation_leaves_the_box(files: tuple[Path, Path]) -> None:
    path = change(files[1], lambda content: content["annotations"][3].update(segmentation=[], bbox=[3, 2, 5, 4]))
    example = COCODataset(files[0], path)[0]
    assert (example.objects[0].mask, example.objects[0].box) == (None, (2, 3, 6, 8))
    assert example.region(2).sum() == 20


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
        (lambda content: content["images"][0].update(height=10.0), "height of its images must be a positive whole number, got 10.0"),
        (lambda content: content["images"][0].update(width=0), "width of its images must be a positive whole number, got 0"),
        (lambda content: content["images"][0].update(file_name=7), "file_name of its images must be a text, got 7"),
        (lambda content: content["images"][0].update(id="42"), "id of its images must be numbers or texts, got both"),
        (lambda content: content["images"][0].update(id=[1]), r"id of its images must be a number or a text, got \[1\]"),
        (lambda content: content["annotations"][0].update(image_id=[1]), r"image_id of its annotations must be .*, got \[1\]"),
        (lambda content: content["images"].append(5), "its images must be objects of JSON, got 5"),
    ],
)
def test_malformed_files(files: tuple[Path, Path], edit: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        COCODataset(files[0], change(files[1], edit))


SHORT = {"counts": [5, 10], "size": [50, 30]}


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        (SHORT, "the runs of a mask must add up to the 1500 pixels of its image, got 15"),
        (SHORT | {"counts": [5, 10, 1486]}, "the runs of a mask must add up to the 1500 pixels of its image, got 1501"),
        (SHORT | {"counts": [-5, 1505]}, "the length of a run must be a whole number, at least 0, got -5"),
        (SHORT | {"counts": [5.5, 1494.5]}, "the length of a run must be a whole number, at least 0, got 5.5"),
        (SHORT | {"counts": "5:"}, "the runs of a mask must add up to the 1500 pixels of its image, got 15"),
        (SHORT | {"counts": "5:a"}, "compressed runs end in the middle of a length"),
        (SHORT | {"counts": "5 "}, "compressed runs must be characters from '0' to 'o'"),
        (SHORT | {"size": [30, 50]}, "a mask is 30x50 pixels large, and its image 50x30"),
    ],
)
def test_runs_that_do_not_fill_the_image(files: tuple[Path, Path], runs: Any, message: str) -> None:
    """The decoder of pycocotools would leave the rest of the mask as the memory was."""
    path = change(files[1], lambda content: content["annotations"][3].update(segmentation=runs))
    with pytest.raises(ValueError, match=f"the annotation of COCO_val2014_000000000007.jpg has a malformed mask or box: {message}"):
        COCODataset(files[0], path)[0]


SQUARE = [0, 0, 9, 0, 9, 9]


@pytest.mark.parametrize(
    ("polygons", "message"),
    [
        ([[*SQUARE, 0]], r"a polygon must be a list of x and y in turn, got \[0, 0, 9"),
        ([SQUARE, []], r"a polygon must be a list of x and y in turn, got \[\]"),
        ([[1e300, *SQUARE[1:]]], r"a coordinate of a polygon must be a number from -500 to 500, got 1e\+300"),
        ([[float("nan"), *SQUARE[1:]]], "a coordinate of a polygon must be a number from -500 to 500, got nan"),
    ],
)
def test_malformed_polygons(files: tuple[Path, Path], polygons: Any, message: str) -> None:
    path = change(files[1], lambda content: content["annotations"][3].update(segmentation=polygons))
    with pytest.raises(ValueError, match=f"the annotation of COCO_val2014_000000000007.jpg has a malformed mask or box: {message}"):
        COCODataset(files[0], path)[0]


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
