"""Datasets by a short text, as the command line gives them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from extremal_jax.data.coco import COCODataset
from extremal_jax.data.examples import Dataset
from extremal_jax.data.photographs import PhotographDataset, PictureDataset
from extremal_jax.data.prepared import PreparedDataset
from extremal_jax.data.scene_examples import SEED, SceneDataset
from extremal_jax.data.voc import VOCDataset
from extremal_jax.ground.checks import check_count, nearest

FORMS = "scenes, scenes:SEED, DIR, DIR:CSV, voc:DIR, coco:DIR:JSON, tfds:NAME or tfds:NAME@DATA_DIR"
SCENES = 500  # unless limited
_PATH = r"(?:[A-Za-z]:[\\/])?[^:]+"  # perhaps with a drive


def open_dataset(specification: str, classes: Sequence[str], *, limit: int | None = None, labelled: bool = True) -> Dataset:
    """Open the dataset that a text describes.

    Args:
      specification: "scenes" or "scenes:SEED", generated ones; "DIR", a folder of photographs whose names begin with the
        index of a class, or "DIR:CSV" with their labels in a CSV file; "voc:DIR", the test split of PASCAL VOC 2007;
        "coco:DIR:JSON", images and annotations of COCO; "tfds:NAME" or "tfds:NAME@DATA_DIR", the test split of a dataset
        that TensorFlow Datasets has prepared.
      classes: the names of the classifier's classes, by index. Those of the dataset correspond by name.
      limit: the number of examples to keep, from the first; None: all, or 500 scenes.
      labelled: whether labels are needed. If not, photographs of a folder may have any name, and the classes of a dataset
        need not be among the classifier's; labels are then the dataset's own indices.

    Returns:
      A dataset whose labels are indices of `classes`.

    Raises:
      ValueError: if the text has no such form, the classifier does not know a class, or as the readers raise it.
      FileNotFoundError, ImportError: as the readers raise them.

    Example:
      >>> from extremal_jax.data.scenes import CLASSES
      >>> open_dataset("scenes:7", CLASSES, limit=3).names
      ('scene-7-000000.png', 'scene-7-000001.png', 'scene-7-000002.png')
    """
    if limit is not None:
        check_count("limit", limit, 1)
    dataset = _open(os.fspath(specification), classes, limit, labelled)
    dataset = dataset.with_classes(classes) if labelled else dataset
    return dataset if limit is None or limit >= len(dataset) else dataset.select(range(limit))


def _open(specification: str, classes: Sequence[str], limit: int | None, labelled: bool) -> Dataset:
    kind, _, rest = specification.partition(":")
    readers: dict[str, Callable[[], Dataset]] = {
        "scenes": lambda: SceneDataset(SCENES if limit is None else limit, seed=_seed(rest, specification)),
        "voc": lambda: VOCDataset(_required(rest, specification)),
        "coco": lambda: COCODataset(*_parts(rest, specification)),
        "tfds": lambda: _prepared(_required(rest, specification)),
    }
    if kind in readers:
        return readers[kind]()
    if specification and Path(specification).is_dir():
        return PhotographDataset(specification, classes) if labelled else PictureDataset(specification, classes)
    found = re.fullmatch(f"({_PATH}):({_PATH})", specification)
    if found and Path(found[1]).is_dir():
        return PhotographDataset(found[1], classes, labels=found[2])
    if found and len(kind) > 1:
        raise ValueError(f"unknown data {specification!r}: {kind!r} is neither a folder nor a kind; {nearest(kind, readers)}")
    raise FileNotFoundError(f"no folder {specification}; data must be one of {FORMS}")


def _seed(text: str, specification: str) -> int:
    if text and not (text.isascii() and text.isdigit()):
        raise ValueError(f"scenes must be followed by a seed, a whole number, as in scenes:7, got {specification!r}")
    return int(text) if text else SEED


def _required(text: str, specification: str) -> str:
    if not text:
        raise ValueError(f"{specification!r} is not complete; data must be one of {FORMS}")
    return text


def _parts(text: str, specification: str) -> tuple[str, str]:
    found = re.fullmatch(f"({_PATH}):({_PATH})", text)
    if not found:
        raise ValueError(f"coco must be followed by a folder and a file, as in coco:val2014:instances_val2014.json, got {specification!r}")
    return found[1], found[2]


def _prepared(text: str) -> Dataset:
    name, _, data_dir = text.partition("@")
    return PreparedDataset(name, data_dir=data_dir or None)
