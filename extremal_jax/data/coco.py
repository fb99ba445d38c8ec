"""MS COCO: the official annotations of instances, with masks (Lin et al.)."""

from __future__ import annotations

import importlib
import json
import math
import os
import warnings
from typing import Any

import numpy as np

from extremal_jax.data.examples import Box, Dataset, Example, Object, some
from extremal_jax.ground.checks import quoted
from extremal_jax.ground.files import as_path

_KEYS = {
    "images": ("id", "file_name", "height", "width"),
    "annotations": ("image_id", "category_id", "segmentation", "bbox"),
    "categories": ("id", "name"),
}


class COCODataset(Dataset):
    """Images of MS COCO with the masks of their objects, crowds included, in the order of their numbers.

    Images without objects are left out. Masks are decoded, by `pycocotools`, when an example is asked for. Needs
    `pip install 'extremal-jax[coco]'`.

    Args:
      folder: holds the image files, such as val2014.
      annotations: the JSON file of instances, such as instances_val2014.json.

    Attributes:
      classes: the names of the file's categories in the order of their numbers: 80 in the official files.

    Raises:
      ImportError: if pycocotools is not installed.
      FileNotFoundError: if there is no such folder or file, or an image with objects is missing.
      ValueError: if the file holds no instances, or objects of unknown images or categories.

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

    def _decode(self, segmentation: Any, size: tuple[int, int]) -> np.ndarray:
        """(H, W): polygons, or the lengths of runs, compressed or not."""
        encoded = segmentation
        if isinstance(segmentation, list):
            encoded = self._masks.merge(self._masks.frPyObjects(segmentation, *size))
        elif isinstance(segmentation["counts"], list):
            encoded = self._masks.frPyObjects(segmentation, *size)
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # pycocotools 2.0.11 lacks an argument of NumPy 2
            mask = self._masks.decode(encoded).astype(bool)
        if mask.shape != size:
            raise ValueError(f"a mask is {mask.shape[0]}x{mask.shape[1]} pixels large, and its image {size[0]}x{size[1]}")
        return mask

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
        if lacking := [key for key in keys if not all(key in entry for entry in entries)]:
            raise ValueError(f"{path} is not a file of COCO's instances: some {part} have no {quoted(lacking)}")
    return content


def _box(box: list[float]) -> Box:
    """The pixels that COCO's (x, y, width, height) touches."""
    x, y, width, height = box
    return math.floor(y), math.floor(x), math.ceil(y + height), math.ceil(x + width)
