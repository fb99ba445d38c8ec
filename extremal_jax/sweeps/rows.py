"""The rows of a sweep, pictures with a class each, and the batches in which they are explained."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from extremal_jax.data.examples import Dataset

UNKNOWN = -1  # the class of a picture that the model is asked for, or that has a malformed annotation
Shape = tuple[int, int]


class Row(NamedTuple):
    """A picture of the dataset and one of its classes.

    Attributes:
      place: its index in the store.
      picture: its index in the dataset.
      name: of the picture.
      label: the class, or `UNKNOWN`.
    """

    place: int
    picture: int
    name: str
    label: int = UNKNOWN


class Group(NamedTuple):
    """Rows that are explained together: always the same ones, so that a row has the same bits after a resume.

    Attributes:
      rows: at most as many as a batch holds.
      shape: (h, w) of the model's input.
    """

    rows: tuple[Row, ...]
    shape: Shape


def list_rows(dataset: Dataset, *, labelled: bool) -> list[Row]:
    """The rows of a dataset: a row for each picture, or where they are labelled, for each class that a picture shows.

    A picture whose annotation is malformed is a row without a class, which will be skipped.

    Raises:
      ValueError: if no picture has a label.

    Example:
      >>> from extremal_jax.data.scene_examples import SceneDataset
      >>> [(row.place, row.picture) for row in list_rows(SceneDataset(2, objects=2), labelled=True)]
      [(0, 0), (1, 0), (2, 1), (3, 1)]
    """
    if not labelled:
        return [Row(index, index, name) for index, name in enumerate(dataset.names)]
    pairs = [(picture, label) for picture in range(len(dataset)) for label in _labels(dataset, picture)]
    if all(label == UNKNOWN for _, label in pairs):
        raise ValueError(f"no picture of {dataset.name} has a label; targets='top' explains the class of the highest score")
    return [Row(index, picture, dataset.names[picture], label) for index, (picture, label) in enumerate(pairs)]


def _labels(dataset: Dataset, picture: int) -> Sequence[int]:
    try:
        return dataset[picture].labels
    except (OSError, ValueError):
        return (UNKNOWN,)


def grouped(rows: Iterable[Row], shapes: Sequence[Shape | None], size: int) -> list[Group]:
    """Batches of rows with inputs of one shape.

    Args:
      rows: in order.
      shapes: of the input that is made of each picture of the dataset; None for pictures that cannot be read, which go
        with the others.
      size: the most rows of a batch.

    Example:
      >>> rows = [Row(index, index, "") for index in range(3)]
      >>> [len(group.rows) for group in grouped(rows, [(8, 8), (8, 9), (8, 8)], 4)]
      [2, 1]
    """
    anything = next(shape for shape in shapes if shape)
    by_shape: dict[Shape, list[Row]] = {}
    for row in rows:
        by_shape.setdefault(shapes[row.picture] or anything, []).append(row)
    return [Group(tuple(some[start : start + size]), shape) for shape, some in by_shape.items() for start in range(0, len(some), size)]
