"""Datasets that TensorFlow Datasets has prepared, read without TensorFlow."""

from __future__ import annotations

import importlib
import io
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from extremal_jax.data.examples import Dataset, Example, Object
from extremal_jax.data.images import image_size
from extremal_jax.data.scene_examples import objects_of
from extremal_jax.ground.checks import nearest
from extremal_jax.ground.files import as_path

_BOXES = ("bbox", "is_difficult", "label")  # of the objects of `voc`


class PreparedDataset(Dataset):
    """Examples that TensorFlow Datasets has prepared: `voc/2007` and `voc/2012`, or those of `extremal_jax.data.builders`.

    They are those of `VOCDataset` and `SceneDataset`, sorted by name, as the official lists of VOC are: TensorFlow Datasets
    shuffles images and divides boxes by the image's size, and here the order and the integers are restored. The names are
    read when the dataset is opened, at about a millisecond per image. Needs `pip install 'extremal-jax[datasets]'`, but
    not TensorFlow.

    Args:
      name: as `tfds.builder` takes it, such as "voc/2007" or "voc/2007:5.0.0".
      data_dir: the folder in which it is prepared; None: the default of TensorFlow Datasets.
      split: such as "test" or "test[:100]".

    Raises:
      ImportError: if tensorflow_datasets is not installed.
      FileNotFoundError: if the dataset is not prepared.
      ValueError: if it is prepared in a format that only TensorFlow reads, or has no such split, or no images with boxes
        of VOC or a segmentation.

    Example:
      >>> dataset = PreparedDataset("voc/2007", data_dir="tensorflow_datasets")  # doctest: +SKIP
      >>> dataset.names[0]  # doctest: +SKIP
      '000001.jpg'
    """

    def __init__(self, name: str, *, data_dir: str | os.PathLike[str] | None = None, split: str = "test") -> None:
        tfds = tensorflow_datasets()
        builder = _builder(tfds, name, None if data_dir is None else as_path(data_dir))
        features = builder.info.features
        encoded = {key: tfds.decode.SkipDecoding() for key in ("image", "segmentation") if key in features}
        self.name, self.classes = _name(builder, data_dir, split), _classes(name, features)
        self._source = _source(builder, name, split, encoded)
        names = [record["image/filename"].decode() for record in self._source]
        self._order = sorted(range(len(names)), key=names.__getitem__)
        self.names = tuple(names[place] for place in self._order)

    def example(self, index: int) -> Example:
        """As in `Dataset`. Raises a ValueError that names the image if its size or its segmentation cannot be read."""
        record, name = self._source[self._order[index]], self.names[index]
        file = io.BytesIO(record["image"])
        file.name = name  # for messages
        size = image_size(file, upright=False)
        if "segmentation" in record:
            return Example(name, record["image"], size, objects_of(_segmentation(record["segmentation"], name)))
        return Example(name, record["image"], size, _objects(record["objects"], size))


def tensorflow_datasets() -> Any:
    """The package tensorflow_datasets, imported when a dataset needs it.

    Raises:
      ImportError: if it is not installed.
    """
    try:
        return importlib.import_module("tensorflow_datasets")
    except ImportError as error:
        advice = "install it by `pip install 'extremal-jax[datasets]'`; TensorFlow is not needed"
        raise ImportError(f"prepared datasets need the package tensorflow_datasets: {error}; {advice}") from error


def _builder(tfds: Any, name: str, data_dir: Path | None) -> Any:
    """The builder that the prepared files describe, whose code need not be there."""
    try:
        return tfds.core.read_only_builder.builder_from_files(name, data_dir=data_dir)
    except tfds.core.registered.DatasetNotFoundError as error:
        where = "the default folder of TensorFlow Datasets" if data_dir is None else data_dir
        raise FileNotFoundError(
            f"the dataset {name} is not prepared in {where}; prepare it there, as `extremal_jax.data.builders.voc` does for VOC, or give"
            " the folder that holds it as data_dir"
        ) from error


def _name(builder: Any, data_dir: str | os.PathLike[str] | None, split: str) -> str:
    """The name of the data: with the version, since a newer one that is prepared beside it would be read in its place."""
    name, _, version = builder.info.full_name.rpartition("/")
    return f"tfds:{name}:{version}" + ("" if data_dir is None else f"@{as_path(data_dir)}") + ("" if split == "test" else f" split={split}")


def _classes(name: str, features: Any) -> tuple[str, ...]:
    """The names of the classes; raises a ValueError if the features are others than those of VOC or of scenes."""
    if {"image", "image/filename", "segmentation"} <= {*features}:
        return tuple(features["segmentation"].names[1:])  # the first is the background
    if {"image", "image/filename", "objects"} <= {*features} and all(key in features["objects"].feature for key in _BOXES):
        return tuple(features["objects"].feature["label"].names)
    raise ValueError(
        f"the dataset {name} must have the features image, image/filename and objects with {', '.join(_BOXES)}, as voc/2007 has, or a"
        f" segmentation; it has {', '.join(features)}; COCO is read from its own files, by COCODataset"
    )


def _source(builder: Any, name: str, split: str, encoded: dict[str, Any]) -> Any:
    """The records of a split, by index."""
    prepared = builder.info.available_file_formats()
    if not any(found.value in ("array_record", "parquet") for found in prepared):
        raise ValueError(
            f"the dataset {name} is prepared as {', '.join(found.value for found in prepared)}, which only TensorFlow reads; where"
            f" TensorFlow is installed, convert it by `tfds convert_format --dataset_version_dir={builder.data_dir}"
            f" --out_file_format=array_record`, or prepare it by `tfds build {name} --file_format=array_record`"
        )
    known = [*builder.info.splits]
    if split.split("[")[0] not in known:
        raise ValueError(f"the dataset {name} has no split {split!r}; {nearest(split, known)}")
    return builder.as_data_source(split, decoders=encoded)


def _segmentation(content: bytes, name: str) -> np.ndarray:
    """(H, W), the index of the class of each pixel, -1 for the background, from a PNG."""
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as segmentation:
            return np.asarray(segmentation).astype(int) - 1
    except Exception as error:  # Pillow reports a broken file in many ways
        raise ValueError(f"the segmentation of {name} must be a PNG file, and cannot be read: {error}") from error


def _objects(things: Any, size: tuple[int, int]) -> tuple[Object, ...]:
    found = zip(things["label"], things["bbox"], things["is_difficult"], strict=True)
    return tuple(Object(int(label), _restored(box, size), difficult=bool(difficult)) for label, box, difficult in found)


def _restored(box: Any, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """VOC's integers, from shares of the image's height and width, and with them the pixels, counted from zero."""
    ymin, xmin, ymax, xmax = np.rint(np.asarray(box, np.float64) * (size * 2)).astype(int).tolist()
    return ymin - 1, xmin - 1, ymax, xmax
