"""MS COCO: the official annotations of instances, with masks (Lin et al.)."""

from __future__ import annotations

import importlib
import json
import math
import os
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from extremal_jax.data.examples import Box, Dataset, Example, Object, some
from extremal_jax.ground.checks import is_number, quoted
from extremal_jax.ground.files import as_path

_KEYS = {
    "images": ("id", "file_name", "height", "width"),
    "annotations": ("image_id", "category_id", "segmentation", "bbox"),
    "categories": ("id", "name"),
}
_Form = tuple[str, Callable[[Any], bool]]  # what a value must be, and whether it is
_ID: _Form = ("a number or a text", lambda value: isinstance(value, int | float | str) and not isinstance(value, bool))
_TEXT: _Form = ("a text", lambda value: isinstance(value, str))
_LENGTH: _Form = ("a positive whole number", lambda value: isinstance(value, int) and not isinstance(value, bool) and value > 0)
_FORMS = {
    **dict.fromkeys(("id", "image_id", "category_id"), _ID),
    **dict.fromkeys(("file_name", "name"), _TEXT),
    **dict.fromkeys(("height", "width"), _LENGTH),
}


class COCODataset(Dataset):
    """Images of MS COCO with the masks of their objects, crowds included, in the order of their numbers.

    Images without objects are left out. Masks are decoded, polygons by `pycocotools`, when an example is asked for. An object
    with an empty segmentation has its box alone. Needs `pip install 'extremal-jax[coco]'`.

    Args:
      folder: holds the image files, such as val2014.
      annotations: the JSON file of instances, such as instances_val2014.json.

    Attributes:
      classes: the names of the file's categories in the order of their numbers: 80 in the official files.

    Raises:
      ImportError: if pycocotools is not installed.
      FileNotFoundError: if there is no such folder or file, or an image with objects is missing.
      ValueError: if the file holds no instances, or objects of unknown images or categories, or values of a wrong kind.

    Example:
      >>> dataset = COCODataset("val2014", "annotations/instances_val2014.json")  # doctest: +SKIP
      >>> dataset[0].region(dataset[0].labels[0]).shape  # doctest: +SKIP
      (478, 640)
    """

    def __init__(self, folder: str | os.PathLike[str], annotations: str | os.PathLike[str]) -> None:
        try:
            self._masks: Any = importlib.import_module("pycocotools.mask")  # the rest of the package prints
        except ImportError as error:
            raise ImportError("masks of COCO need the package pycocotools; install it by `pip install 'extremal-jax[coco]'`") from error
        self._folder = as_path(folder)
        if not self._folder.is_dir():
            raise FileNotFoundError(f"no folder {self._folder}")
        content = _read(annotations)
        categories = sorted(content["categories"], key=lambda category: category["id"])
        labels = {category["id"]: index for index, category in enumerate(categories)}
        images = {image["id"]: image for image in content["images"]}
        self._objects: dict[int, list[tuple[int, Any, Any]]] = {}
        for found in content["annotations"]:
            if found["image_id"] not in images or found["category_id"] not in labels:
                what = "image" if found["image_id"] not in images else "category"
                raise ValueError(f"{annotations} has an object of the {what} {found[f'{what}_id']}, which it does not list")
            self._objects.setdefault(found["image_id"], []).append((labels[found["category_id"]], found["segmentation"], found["bbox"]))
        self._images = [images[number] for number in sorted(self._objects)]
        self.name, self.classes = f"coco:{folder}:{annotations}", tuple(category["name"] for category in categories)
        self.names = tuple(image["file_name"] for image in self._images)
        self._check_images()

    def example(self, index: int) -> Example:
        """As in `Dataset`. Raises a ValueError that names the image if a mask is malformed."""
        image = self._images[index]
        size = image["height"], image["width"]
        try:
            objects = tuple(Object(label, _box(box), self._decode(mask, size)) for label, mask, box in self._objects[image["id"]])
        except Exception as error:  # the decoder, which is compiled, reports malformed masks in many ways
            raise ValueError(f"the annotation of {self.names[index]} has a malformed mask or box: {error}") from error
        return Example(self.names[index], self._folder / self.names[index], size, objects)

    def _decode(self, segmentation: Any, size: tuple[int, int]) -> np.ndarray | None:
        """(H, W): polygons, or the lengths of runs, compressed or not; None where there are none."""
        if segmentation == []:
            return None
        if not isinstance(segmentation, list):
            return _of_runs(segmentation, size)
        _check_polygons(segmentation, size)
        encoded = self._masks.merge(self._masks.frPyObjects(segmentation, *size))
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # pycocotools 2.0.11 lacks an argument of NumPy 2
            return self._masks.decode(encoded).astype(bool)

    def _check_images(self) -> None:
        present = {entry.name for entry in os.scandir(self._folder)}
        if missing := [name for name in self.names if name not in present]:
            raise FileNotFoundError(f"{self._folder} lacks images of the annotations: {some(missing)}")


def _read(annotations: str | os.PathLike[str]) -> dict[str, Any]:
    """The content of an annotation file, with the keys that are needed."""
    path = as_path(annotations)
    if not path.is_file():
        raise FileNotFoundError(f"no annotation file {path}")
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    for part, keys in _KEYS.items():
        entries = content.get(part) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not entries:
            raise ValueError(f"{path} is not a file of COCO's instances: it has no {part}; choose one such as instances_val2014.json")
        if others := [entry for entry in entries if not isinstance(entry, dict)]:
            raise ValueError(f"{path} is not a file of COCO's instances: its {part} must be objects of JSON, got {others[0]!r}")
        if lacking := [key for key in keys if not all(key in entry for entry in entries)]:
            raise ValueError(f"{path} is not a file of COCO's instances: some {part} have no {quoted(lacking)}")
        for key in (key for key in keys if key in _FORMS):
            _check(f"{path} is not a file of COCO's instances: {key} of its {part}", (entry[key] for entry in entries), *_FORMS[key])
        if len({isinstance(entry.get("id"), str) for entry in entries}) > 1:
            raise ValueError(f"{path} is not a file of COCO's instances: id of its {part} must be numbers or texts, got both")
    return content


def _check(subject: str, values: Iterable[Any], wanted: str, fits: Callable[[Any], bool]) -> None:
    for value in values:
        if not fits(value):
            raise ValueError(f"{subject} must be {wanted}, got {value!r}")


def _check_polygons(polygons: list[Any], size: tuple[int, int]) -> None:
    """Raise a ValueError unless polygons are points in or near the image: the decoder walks along their sides, pixel by pixel."""
    farthest = 10 * max(size)
    for polygon in polygons:
        if not isinstance(polygon, list) or not polygon or len(polygon) % 2:
            raise ValueError(f"a polygon must be a list of x and y in turn, got {str(polygon)[:40]}")
        near = f"a number from {-farthest} to {farthest}"
        _check("a coordinate of a polygon", polygon, near, lambda value: is_number(value) and abs(value) <= farthest)


def _of_runs(encoded: Any, size: tuple[int, int]) -> np.ndarray:
    """(H, W) from the lengths of runs of zeros and of ones in turn, column by column."""
    height, width = encoded["size"]
    if (height, width) != size:
        raise ValueError(f"a mask is {height}x{width} pixels large, and its image {size[0]}x{size[1]}")
    lengths = encoded["counts"] if isinstance(encoded["counts"], list) else _lengths(encoded["counts"])
    _check("the length of a run", lengths, "a whole number, at least 0", lambda length: type(length) is int and length >= 0)
    if sum(lengths) != height * width:
        raise ValueError(f"the runs of a mask must add up to the {height * width} pixels of its image, got {sum(lengths)}")
    return np.repeat(np.arange(len(lengths)) % 2 == 1, lengths).reshape(width, height).T


def _lengths(text: str) -> list[int]:
    """The lengths of runs in COCO's compressed form: five bits in each character, the lowest first; from the fourth length on, the
    difference from the last but one.

    Example:
      >>> _lengths("5:a`c0")
      [5, 10, 19985]
    """
    lengths: list[int] = []
    value = shift = 0
    for code in (character - 48 for character in text.encode()):
        if not 0 <= code < 64:
            raise ValueError(f"compressed runs must be characters from '0' to 'o', got {text[:40]!r}")
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:  # the last character of this length, whose highest bit is the sign
            value -= (code & 16) << (shift - 4)
            lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError(f"compressed runs end in the middle of a length, {text[-40:]!r}")
    return lengths


def _box(box: list[float]) -> Box:
    """The pixels that COCO's (x, y, width, height) touches."""
    x, y, width, height = box
    return math.floor(y), math.floor(x), math.ceil(y + height), math.ceil(x + width)
