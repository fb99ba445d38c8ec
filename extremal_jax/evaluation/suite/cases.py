"""The cases of a benchmark, pairs of an image and a class, in batches that a model takes at once; also of grids of images."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from extremal_jax.data.examples import Dataset, Example
from extremal_jax.evaluation.localisation.grids import arrange, cell_regions, tiled
from extremal_jax.models.classifier import Classifier
from extremal_jax.operators.rewards import image_scores

CELLS, CONFIDENT = 2, 0.8  # of a grid: the cells along each side, and the least probability of the image in a cell


class Case(NamedTuple):
    """An image and one of its classes.

    Attributes:
      name: of the image, and the index and name of the class: no other case of the dataset has it.
      file: the name of the image, or of the grid.
      image: the index of the image in the dataset, or the number of the grid.
      label: the class, as the model has it.
      share: of the image's cases, so that those of an image sum to one.
      difficult: whether the pair is among the difficult ones.
    """

    name: str
    file: str
    image: int
    label: int
    share: float = 1.0
    difficult: bool = False


class Batch(NamedTuple):
    """Cases that a model takes at once: images of one shape. A batch that is not full repeats its last image.

    Attributes:
      cases: (M,), M ≤ N.
      images: (N, H, W, C), prepared for the model.
      others: the same, as each other model takes them.
      targets: (N,), the classes.
      regions: of each case, (H', W'), the pixels of the object in the original image; None where they are not needed.
      sizes: of each case, (H', W') of the original image.
      cell: the row and column of the cell whose class is explained, where it is one for all grids; else None.
    """

    cases: list[Case]
    images: Float[np.ndarray, "N H W C"]
    others: list[Float[np.ndarray, "N H2 W2 C"]]
    targets: Int[np.ndarray, " N"]
    regions: list[Bool[np.ndarray, "H W"] | None]
    sizes: list[tuple[int, int]]
    cell: tuple[int, int] | None = None


class Skipped(NamedTuple):
    """An image that cannot be tested.

    Attributes:
      name: of the image.
      image: its index in the dataset.
      reason: the error.
    """

    name: str
    image: int
    reason: str


class _Prepared(NamedTuple):
    case: Case
    images: list[np.ndarray]  # as each model takes them
    region: np.ndarray | None
    size: tuple[int, int]  # of the original image


def batches(
    dataset: Dataset,
    images: Iterable[int],
    prepare: Sequence[Callable[[Any], np.ndarray]],
    size: int,
    *,
    with_regions: bool,
    difficult: frozenset[tuple[str, int]] = frozenset(),
) -> Iterator[Batch | Skipped]:
    """Batches of the cases of images. Classes whose objects are all marked as difficult are no cases.

    Args:
      dataset: the images, whose classes are those of the model.
      images: their indices.
      prepare: from a picture (H', W', 3) to the input of the model, and to that of each other model.
      size: the number of cases in a batch; 1 where the inputs have different shapes.
      with_regions: whether the regions of objects are needed.
      difficult: the difficult pairs of an image's name and a class.
    """
    waiting: list[_Prepared] = []
    for index in images:
        try:
            found = list(_cases(dataset[index], index, dataset.classes, prepare, with_regions, difficult))
        except (OSError, ValueError) as error:
            yield Skipped(dataset.names[index], index, str(error))
            continue
        for one in found:
            waiting.append(one)
            if len(waiting) == size:
                yield _batch(waiting, size)
                waiting = []
    if waiting:
        yield _batch(waiting, size)


def _cases(
    example: Example,
    index: int,
    classes: Sequence[str],
    prepare: Sequence[Callable[[Any], np.ndarray]],
    with_regions: bool,
    difficult: frozenset[tuple[str, int]],
) -> Iterator[_Prepared]:
    """The cases of an image, which is decoded once."""
    labels = [label for label in example.labels if not example.all_difficult(label)]
    if not labels:
        return
    picture = example.load()
    images, size = [function(picture) for function in prepare], picture.shape[:2]
    for label in labels:
        case = Case(
            f"{example.name} {label} {classes[label]}", example.name, index, label, 1 / len(labels), (example.name, label) in difficult
        )
        yield _Prepared(case, images, example.region(label) if with_regions else None, size)


def _batch(group: list[_Prepared], size: int, cell: tuple[int, int] | None = None) -> Batch:
    """A batch of a full size, for which a program is compiled once."""
    filled = [*group, *[group[-1]] * (size - len(group))]
    images, *others = (np.stack(some) for some in zip(*(one.images for one in filled), strict=True))
    targets = np.array([one.case.label for one in filled], np.int32)
    cases, regions, sizes = ([getattr(one, name) for one in group] for name in ("case", "region", "size"))
    return Batch(cases, images, others, targets, regions, sizes, cell)


class Recognised(NamedTuple):
    """The images of one class, as candidates for the cells of grids.

    Attributes:
      dataset: the images.
      prepare: makes the content of a cell, of half of the model's input size, from a picture.
      indices: (M,), of the images.
      classes: (M,), their classes.
      confidences: (M,), the probability of the class where the model finds it the likeliest in the image alone, or 0.
      skipped: the images that could not be read.
    """

    dataset: Dataset
    prepare: Callable[[Any], np.ndarray]
    indices: Int[np.ndarray, " M"]
    classes: Int[np.ndarray, " M"]
    confidences: Float[np.ndarray, " M"]
    skipped: list[Skipped]


def cell_size(model: Classifier) -> tuple[int, int]:
    """The size of the cells of a model's grids: half of its input size."""
    height, width = model.input_size
    return height // CELLS, width // CELLS


def recognise(dataset: Dataset, images: Iterable[int], model: Classifier, size: int) -> Recognised:
    """Find the images of one class that a model recognises alone.

    Args:
      dataset: the images, whose classes are those of the model.
      images: the indices of those that may stand in a grid.
      model: the one that is explained.
      size: how many images the model gets at a time.
    """
    prepare = dataclasses.replace(model.preprocessing, size=cell_size(model), crop=model.preprocessing.crop or 1.0)
    known: list[tuple[int, int, float]] = []
    skipped: list[Skipped] = []
    for found in _recognised(dataset, images, model, prepare, size):
        if isinstance(found, Skipped):
            skipped.append(found)
        else:
            known.append(found)
    indices, classes, confidences = ([one[part] for one in known] for part in range(3))
    integers = np.array(indices, np.int32), np.array(classes, np.int32)
    return Recognised(dataset, prepare, *integers, np.array(confidences, np.float64), skipped)


def grid_batches(known: Recognised, grids: Iterable[int], size: int, seed: int, *, corners: bool = False) -> Iterator[Batch | Skipped]:
    """Batches of grids of 2x2 recognised images.

    Args:
      known: the images to choose from.
      grids: the numbers of the grids; a number, the seed and the images to choose from determine a grid.
      size: the number of grids in a batch.
      seed: seeds the choice of images.
      corners: whether the class is in two opposite corners, one of which is the cell; each batch then has one cell.
        Otherwise the four classes differ.

    Raises:
      ValueError: if too few images of different classes are recognised.
    """
    _check_recognised(known, corners)
    return _grids(known, grids, size, seed, corners)


def _grids(known: Recognised, grids: Iterable[int], size: int, seed: int, corners: bool) -> Iterator[Batch | Skipped]:
    yield from known.skipped
    options: Any = dict(count=1, cells=CELLS, threshold=CONFIDENT, corners=corners, seed=seed)
    waiting: dict[tuple[int, int] | None, list[_Prepared]] = {}
    for number in grids:
        members, turns = arrange(known.classes, known.confidences, first=number, **options)
        pictures = (known.dataset[int(known.indices[member])].load() for member in members.reshape(-1))
        cells = np.stack([known.prepare(picture) for picture in pictures])
        image = np.asarray(tiled(cells.reshape(CELLS, CELLS, *cells.shape[1:])))
        label, size_of_grid = int(known.classes[members.reshape(-1)[turns[0]]]), (image.shape[0], image.shape[1])
        row, column = divmod(int(turns[0]), CELLS)
        region = np.asarray(cell_regions(np.array([row, column]), CELLS, size_of_grid))
        name = f"{'twins' if corners else 'grid'} {number}"
        cell = (row, column) if corners else None
        group = waiting.setdefault(cell, [])
        group.append(_Prepared(Case(name, name, number, label), [image], region, size_of_grid))
        if len(group) == size:
            yield _batch(waiting.pop(cell), size, cell)
    for cell, group in waiting.items():
        yield _batch(group, size, cell)


def _check_recognised(known: Recognised, corners: bool) -> None:
    """Raise a ValueError if there are too few images for grids."""
    found, counts = np.unique(known.classes[known.confidences >= CONFIDENT], return_counts=True)
    needed = CELLS**2 - corners
    if len(found) < needed or (corners and np.max(counts) < 2):
        raise ValueError(
            f"grids need images of {needed} classes{', and two of one of them,' if corners else ''} that the model recognises alone with a"
            f" probability of at least {CONFIDENT}; of the {len(known.classes)} images of one class in {known.dataset.name},"
            f" {counts.sum()} are, of {len(found)} classes; raise limit, or take other data"
        )


def _recognised(
    dataset: Dataset, images: Iterable[int], model: Classifier, prepare: Callable[[Any], np.ndarray], size: int
) -> Iterator[tuple[int, int, float] | Skipped]:
    """The images of one class: their index, their class, and its probability where it is the highest, or zero."""
    group: list[tuple[int, int, np.ndarray]] = []

    def judged() -> Iterator[tuple[int, int, float]]:
        inputs = [image for *_, image in group]
        scores = np.asarray(_scores(model, np.stack([*inputs, *[inputs[-1]] * (size - len(inputs))])))
        for (index, label, _), row in zip(group, scores, strict=False):
            yield index, label, float(row[label]) if row.argmax() == label else 0.0

    for index in images:
        try:
            example = dataset[index]
            if len(example.labels) == 1:
                group.append((index, example.labels[0], prepare(example.load())))
        except (OSError, ValueError) as error:
            yield Skipped(dataset.names[index], index, str(error))
        if len(group) == size:
            yield from judged()
            group = []
    if group:
        yield from judged()


@jax.jit
def _scores(model: Classifier, images: Float[jax.Array, "N H W C"]) -> Float[jax.Array, "N classes"]:
    return jax.nn.softmax(image_scores(model(images)))
