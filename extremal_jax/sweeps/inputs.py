"""What is explained: a dataset of any source, and the model's inputs that are made of its pictures."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from extremal_jax.data.examples import Dataset
from extremal_jax.data.indexables import IndexableDataset
from extremal_jax.data.specifications import open_dataset
from extremal_jax.ground.checks import check_count
from extremal_jax.models.preprocessing import Preprocessing
from extremal_jax.sweeps.rows import Shape

Prepare = Callable[[np.ndarray], np.ndarray]  # from a picture (H, W, 3) uint8 to the model's input (h, w, C)


class Inputs(NamedTuple):
    """The inputs of a model.

    Attributes:
      prepare: makes them.
      shapes: of the input of each picture; None for pictures that cannot be read.
      channels: C.
      own: whether the caller's function makes them.
    """

    prepare: Prepare
    shapes: list[Shape | None]
    channels: int
    own: bool

    @property
    def known(self) -> set[Shape]:
        """The shapes."""
        return {shape for shape in self.shapes if shape}

    @property
    def largest(self) -> Shape:
        """The shape that holds all."""
        return largest(self.known)

    def digests(self, dataset: Dataset) -> list[str | None]:
        """Digests of the inputs of the first picture, one in the middle and the last, so that a sweep does not go on with
        others; None for those that cannot be read."""
        found: list[str | None] = []
        for index in sorted({0, len(dataset) // 2, len(dataset) - 1}):
            try:
                made = np.asarray(self.prepare(dataset[index].load()))
            except (OSError, ValueError, TypeError):
                found.append(None)
                continue
            found.append(hashlib.sha256(made.tobytes()).hexdigest()[:16])
        return found


def largest(shapes: set[Shape]) -> Shape:
    """The smallest shape that holds all of some.

    Example:
      >>> largest({(2, 5), (3, 4)})
      (3, 5)
    """
    height, width = (max(lengths) for lengths in zip(*shapes, strict=True))
    return height, width


def dataset_of(source: Any, classes: Sequence[str], *, limit: int | None, labelled: bool) -> Dataset:
    """The dataset that a caller gives, in any of its forms, with the classes of the model.

    For a model without names of classes, labels are indices of its scores.
    """
    if limit is not None:
        check_count("limit", limit, 1)
    if isinstance(source, str | os.PathLike):
        if labelled and not classes:
            raise ValueError(
                f"targets='labels' needs the names of the model's classes for the labels of {os.fspath(source)}, and the model has no"
                f" `classes`; set it, or choose targets='top' or the index of a class"
            )
        dataset = open_dataset(os.fspath(source), classes, limit=limit, labelled=labelled)
    elif isinstance(source, Dataset):
        dataset = source.with_classes(classes) if labelled and classes else source
    else:
        dataset = IndexableDataset(source, classes)
    if len(dataset) == 0:
        raise ValueError(f"{dataset.name} has no pictures")
    return dataset if limit is None or limit >= len(dataset) else dataset.select(range(limit))


def inputs_of(model: Any, dataset: Dataset, preprocess: Prepare | None) -> Inputs:
    """The inputs that are made of a dataset's pictures: by the function, or else by the model's own `preprocess`.

    Raises:
      TypeError: if there is neither.
      ValueError: if no picture can be read.
    """
    preprocessing = getattr(model, "preprocessing", None)
    if preprocess is None and isinstance(preprocessing, Preprocessing):
        return Inputs(model.preprocess, _shapes(dataset, preprocessing), 3, own=False)
    prepare = preprocess or getattr(model, "preprocess", None)
    if not callable(prepare):
        raise TypeError(
            "preprocess must be a function from a picture (H, W, 3) uint8 to the model's input (h, w, C), since the model has no"
            f" `preprocess` of its own, got {preprocess!r}"
        )
    height, width, channels = _first(dataset, prepare).shape
    return Inputs(prepare, [(height, width)] * len(dataset), channels, own=preprocess is not None)


def _shapes(dataset: Dataset, preprocessing: Preprocessing) -> list[Shape | None]:
    """The shapes of the inputs, for which only networks that take whole pictures need those of the pictures."""
    if preprocessing.crop is not None:
        return [preprocessing.size] * len(dataset)
    shapes: list[Shape | None] = []
    reason: Exception | None = None
    for index in range(len(dataset)):
        try:
            shapes.append(preprocessing.input_size(dataset[index].shape()))
        except (OSError, ValueError) as error:
            reason = error
            shapes.append(None)
    if not any(shapes):
        raise ValueError(f"no picture of {dataset.name} can be read: {reason}")
    return shapes


def _first(dataset: Dataset, prepare: Prepare) -> np.ndarray:
    """The input that is made of the first picture that can be read."""
    reason: Exception | None = None
    for index in range(len(dataset)):
        try:
            pixels = dataset[index].load()
        except (OSError, ValueError) as error:
            reason = error
            continue
        made = np.asarray(prepare(pixels))
        if made.ndim != 3 or made.dtype.kind != "f":
            raise ValueError(f"preprocess must make floats of shape (h, w, C) of a picture, got {made.dtype} of shape {made.shape}")
        return made
    raise ValueError(f"no picture of {dataset.name} can be read: {reason}")
