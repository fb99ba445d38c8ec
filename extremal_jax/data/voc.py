"""PASCAL VOC: the official tree of images, annotations and splits (Everingham et al.)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from extremal_jax.data.examples import Box, Dataset, Example, Object, some
from extremal_jax.ground.checks import check_choice, nearest, quoted
from extremal_jax.ground.files import as_path

CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
POSES = ("frontal", "rear", "left", "right", "unspecified")
PARTS = ("Annotations", "ImageSets/Main", "JPEGImages")


class VOCDataset(Dataset):
    """Images of PASCAL VOC, with the boxes of their objects. The archive of the split is enough: the test archive for "test".

    A box covers the pixels [ymin - 1 : ymax, xmin - 1 : xmax] of VOC's integers, which count from one, as in TorchRay.

    Args:
      folder: VOCdevkit, or its folder VOC2007, or the folder that holds VOCdevkit.
      split: the name of a list in ImageSets/Main: "test", "train", "val" or "trainval".
      year: of the folder within VOCdevkit; has no effect where `folder` is that folder itself.

    Raises:
      FileNotFoundError: if there is no such folder or split, or an image or annotation of the split is missing.
      ValueError: if the folder is not a VOC tree; the message says what is missing.

    Example:
      >>> dataset = VOCDataset("VOCdevkit")  # doctest: +SKIP
      >>> dataset[0].labels  # doctest: +SKIP
      (11, 14)
    """

    classes = CLASSES

    def __init__(self, folder: str | os.PathLike[str], *, split: str = "test", year: str = "2007") -> None:
        self._tree = find_tree(as_path(folder), year)
        self.name = f"voc:{self._tree}" + ("" if split == "test" else f" split={split}")
        stems = read_split(self._tree, split)
        self.names = tuple(f"{stem}.jpg" for stem in stems)
        for part, suffix, kind in (("Annotations", ".xml", "annotation"), ("JPEGImages", ".jpg", "image")):
            present = {entry.name for entry in os.scandir(self._tree / part)}
            if missing := [stem + suffix for stem in stems if stem + suffix not in present]:
                raise FileNotFoundError(f"{self._tree / part} lacks {kind}s of split {split!r}: {some(missing)}")

    def example(self, index: int) -> Example:
        """As in `Dataset`. Raises a ValueError that names the annotation if it is malformed."""
        name = self.names[index]
        path = (self._tree / "Annotations" / name).with_suffix(".xml")
        size, things = read_annotation(path.read_bytes(), str(path))
        return Example(name, self._tree / "JPEGImages" / name, size, tuple(thing.as_object() for thing in things))


class VOCObject(NamedTuple):
    """An object as VOC states it.

    Attributes:
      label: the index of its class.
      box: (ymin, xmin, ymax, xmax): pixels counted from one, the last ones included.
      pose: one of `POSES`.
      truncated: whether it reaches beyond the box.
      difficult: whether it is difficult to recognise.
    """

    label: int
    box: Box
    pose: str
    truncated: bool
    difficult: bool

    def as_object(self) -> Object:
        """The object as all datasets state it."""
        ymin, xmin, ymax, xmax = self.box
        return Object(self.label, (ymin - 1, xmin - 1, ymax, xmax), difficult=self.difficult)


def find_tree(folder: Path, year: str) -> Path:
    """The folder VOC<year> in or around `folder`.

    Raises:
      FileNotFoundError: if there is no such folder.
      ValueError: if it holds no VOC tree.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"no folder {folder}")
    candidates = [folder, folder / f"VOC{year}", folder / "VOCdevkit" / f"VOC{year}"]
    for candidate in candidates:
        if all((candidate / part).is_dir() for part in PARTS):
            return candidate
    nearest_tree = max(reversed(candidates), key=lambda candidate: sum((candidate / part).is_dir() for part in (*PARTS, "")))
    missing = [part for part in PARTS if not (nearest_tree / part).is_dir()]
    years = sorted(path.name[3:] for path in (*folder.glob("VOC[0-9]*"), *folder.glob("VOCdevkit/VOC[0-9]*")))
    hint = f"it has year {quoted(years)}, and year is {year!r}" if years and year not in years else "unpack the archive of the split there"
    raise ValueError(f"{folder} is not a VOC tree: {nearest_tree} has no {', '.join(missing)}; {hint}")


def read_split(tree: Path, split: str) -> list[str]:
    """The stems of a split's files, in the order of its list.

    Raises:
      FileNotFoundError: if the tree has no such split.
      ValueError: if its list is empty.
    """
    path = tree / "ImageSets" / "Main" / f"{split}.txt"
    if not path.is_file():
        present = sorted(other.stem for other in path.parent.glob("*.txt") if "_" not in other.stem)  # those with _ are of one class
        raise FileNotFoundError(f"split {split!r} is not in {path.parent}; it has {quoted(present) or 'none'}")
    return stems_of(path.read_text("utf-8"), str(path))


def stems_of(listing: str, name: str) -> list[str]:
    """The stems in the list of a split, which may have a flag after each. Raises a ValueError, with the list's name, if there are none.

    Example:
      >>> stems_of("000007 -1\\n000002  1\\n", "dog_test.txt")
      ['000007', '000002']
    """
    stems = [line.split()[0] for line in listing.splitlines() if line.strip()]
    if not stems:
        raise ValueError(f"{name} lists no images")
    return stems


def read_annotation(content: bytes, name: str) -> tuple[tuple[int, int], tuple[VOCObject, ...]]:
    """The size (height, width) of an image, and its objects, from the content of a VOC annotation.

    Coordinates with decimals, which some annotations of later years have, are rounded.

    Raises:
      ValueError: if it is not a VOC annotation, or defines entities, which could expand without end; `name` names it.

    Example:
      >>> read_annotation(b"<annotation><size><width>8</width><height>6</height></size></annotation>", "1.xml")
      ((6, 8), ())
    """
    try:
        root = ElementTree.fromstring(content, ElementTree.XMLParser(target=_PlainTree()))
    except ElementTree.ParseError as error:
        raise ValueError(f"annotation {name} is not XML: {error}") from error
    except _DoctypeError as error:
        raise ValueError(f"annotation {name} has a document type definition, which VOC's annotations have not; it is not read") from error
    size = _integer(root, "size/height", name), _integer(root, "size/width", name)
    return size, tuple(_read_object(element, size, name) for element in root.findall("object"))


def _read_object(element: ElementTree.Element, size: tuple[int, int], name: str) -> VOCObject:
    label = _text(element, "name", name).lower()
    if label not in CLASSES:
        raise ValueError(f"annotation {name} has an object of the class {label!r}, which VOC has not; {nearest(label, CLASSES)}")
    ymin, xmin, ymax, xmax = (_integer(element, f"bndbox/{side}", name) for side in ("ymin", "xmin", "ymax", "xmax"))
    if not (1 <= ymin <= ymax <= size[0] and 1 <= xmin <= xmax <= size[1]):
        raise ValueError(f"annotation {name} has the box {(ymin, xmin, ymax, xmax)}, outside its image of {size[0]}x{size[1]} pixels")
    pose = (element.findtext("pose") or "unspecified").strip().lower()
    check_choice(f"the pose in annotation {name}", pose, POSES)
    truncated, difficult = ((element.findtext(flag) or "0").strip() == "1" for flag in ("truncated", "difficult"))
    return VOCObject(CLASSES.index(label), (ymin, xmin, ymax, xmax), pose, truncated, difficult)


def _text(element: ElementTree.Element, path: str, name: str) -> str:
    text = (element.findtext(path) or "").strip()
    if not text:
        raise ValueError(f"annotation {name} has no {path} in <{element.tag}>")
    return text


def _integer(element: ElementTree.Element, path: str, name: str) -> int:
    text = _text(element, path, name)
    try:
        return round(float(text))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"annotation {name} must have a number as {path}, got {text!r}") from error


class _DoctypeError(Exception):
    pass


class _PlainTree(ElementTree.TreeBuilder):
    """A tree of elements, from XML without a document type definition: entities are defined only there."""

    def doctype(self, *_: Any) -> None:
        raise _DoctypeError
