"""Any sequence of images as a dataset."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from extremal_jax.data.examples import Dataset, Example, Object, checked_index, label_index

_IMAGES, _LABELS = ("image", "pixels"), ("label", "labels")


class IndexableDataset(Dataset):
    """The items of any object with a length and an index: a list, a grain `MapDataset`, a dataset of Hugging Face.

    An item is an image, a pair of an image and a label, or a mapping with "image" and perhaps "label". An image is a path,
    the bytes of a file, a Pillow image, or an array (H, W, 3) uint8. A label is the index of a class or its name, or
    several of them. Items are taken when they are asked for, so that nothing is read in advance.

    Args:
      source: has `len(source)` and `source[index]`.
      classes: the names of the classifier's classes, by index; none if it has none, and labels are indices.
      name: identifies the data: a run is resumed only with data of the same name.

    Raises:
      TypeError: if the source has no length or no index; and when an item is asked for that is none of these.

    Example:
      >>> dataset = IndexableDataset([(np.zeros((4, 6, 3), np.uint8), "cat")], ["dog", "cat"])
      >>> dataset[0].name, dataset[0].labels
      ('000000', (1,))
    """

    def __init__(self, source: Any, classes: Sequence[str], *, name: str = "items") -> None:
        if not (hasattr(source, "__len__") and hasattr(source, "__getitem__")):
            raise TypeError(
                f"source must be a folder, a dataset, or an object with len(source) and source[index], got {type(source).__name__};"
                f" a list of it has both"
            )
        self.name, self.classes, self._source = name, tuple(classes), source
        given = getattr(source, "names", None)
        named = isinstance(given, Sequence) and len(given) == len(source)
        at_hand = source if isinstance(source, list | tuple) else [None] * len(source)  # others are not asked for their items yet
        self.names = tuple(map(str, given)) if named else tuple(map(_name, range(len(source)), at_hand))  # type: ignore[arg-type]

    def example(self, index: int) -> Example:
        """As in `Dataset`."""
        item, name = self._source[index], self.names[index]
        if isinstance(item, Example):
            return item
        image, labels = _parts(item, name)
        objects = tuple(Object(_label(label, self.classes, name)) for label in _several(labels))
        return Example(name, _image(image, name), None, objects)


def _name(index: int, item: Any) -> str:
    """The name of an item: that of its file, where it has one, or else its number."""
    path = item[0] if isinstance(item, tuple) and item else item
    return Path(path).name if isinstance(path, str | Path) else f"{index:06d}"


def _parts(item: Any, name: str) -> tuple[Any, Any]:
    """The image and the labels of an item, None where there are none."""
    if isinstance(item, Mapping):
        found = [key for key in _IMAGES if key in item]
        if not found:
            raise TypeError(f"item {name} must have the key 'image', got {', '.join(map(repr, item))}")
        return item[found[0]], next((item[key] for key in _LABELS if key in item), None)
    if isinstance(item, tuple) and len(item) == 2:
        return item
    return item, None


def _several(labels: Any) -> list[Any]:
    if labels is None:
        return []
    if isinstance(labels, str):
        return [labels]
    return list(labels) if np.ndim(labels) else [labels]


def _label(label: Any, classes: Sequence[str], name: str) -> int:
    if hasattr(label, "item"):  # a number of any library of arrays
        label = label.item()
    if not isinstance(label, str | numbers.Integral) or isinstance(label, bool):
        raise TypeError(f"the label of item {name} must be the index or the name of a class, got {label!r}")
    if isinstance(label, str):
        return label_index(label, classes, f"item {name} has the class")
    if classes:
        return checked_index(int(label), classes, f"item {name} has the class")
    if label < 0:
        raise ValueError(f"item {name} has the class {label}; indices of classes begin at 0")
    return int(label)


def _image(image: Any, name: str) -> Any:
    if isinstance(image, str):
        return Path(image)
    if isinstance(image, Path | bytes | Image.Image):
        return image
    try:
        pixels = np.asarray(image)
    except ValueError:  # a sequence of this and that
        pixels = np.asarray(None)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[-1] != 3:
        kind = f"an array of {pixels.dtype} {pixels.shape}" if pixels.dtype != object else type(image).__name__
        raise TypeError(f"the image of item {name} must be a path, bytes, a Pillow image or an array (H, W, 3) uint8, got {kind}")
    return pixels
