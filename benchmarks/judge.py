"""The judge of masks on photographs: what exactly binary masks of equal areas are worth, on the network they were made for and on another.

It is `ej.evaluation.reward_at_areas`: of each mask the round(a n) highest pixels are kept, whatever the mask was
optimised with, and the rest of the image is blurred.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

import extremal_jax as ej
from extremal_jax.evaluation.faithfulness.exact_areas import binary_masks, pieces


class Judgement(NamedTuple):
    """The worth of the masks of images, for K areas each.

    Attributes:
      feathered: (N, K), the target's logit when the binary, feathered masks are shown.
      sharp: (N, K), the same without feathers.
      transferred: (N, K), the feathered masks shown to another network.
      pieces: (N, K), how many connected pieces each binary mask has.
    """

    feathered: np.ndarray
    sharp: np.ndarray
    transferred: np.ndarray
    pieces: np.ndarray


def judge(
    model: ej.models.Classifier,
    other: ej.models.Classifier,
    images: np.ndarray,
    other_images: np.ndarray,
    targets: np.ndarray,
    masks: np.ndarray,
    areas: tuple[float, ...],
) -> Judgement:
    """Judge masks (N, K, H, W) of images (N, H, W, C); `other_images` are the same, as the other network takes them."""
    feathered, sharp, transferred = (
        np.asarray(ej.evaluation.reward_at_areas(network, inputs, targets, masks, areas, edge=edge))
        for network, inputs, edge in ((model, images, "feathered"), (model, images, "sharp"), (other, other_images, "feathered"))
    )
    return Judgement(feathered, sharp, transferred, pieces(binary_masks(jnp.asarray(masks), jnp.asarray(areas, jnp.float32))))


class Grid(NamedTuple):
    """A square of images of different classes, with one of them as the target.

    Attributes:
      image: (2 h, 2 w, C).
      target: the class of the target's cell.
      cell: its row and column.
    """

    image: np.ndarray
    target: int
    cell: tuple[int, int]

    def share(self, saliency: np.ndarray) -> float:
        """The share of a map's positive part that lies in the target's cell."""
        positive = np.maximum(saliency, 0)
        return float(positive[self._cell(saliency)].sum() / max(positive.sum(), np.finfo(np.float32).tiny))

    def hit(self, saliency: np.ndarray) -> bool:
        """Whether the highest point of a map lies in the target's cell."""
        return bool(saliency[self._cell(saliency)].max() >= saliency.max())

    def _cell(self, saliency: np.ndarray) -> tuple[slice, slice]:
        rows, columns = (side // 2 for side in saliency.shape)
        row, column = self.cell
        return slice(row * rows, (row + 1) * rows), slice(column * columns, (column + 1) * columns)


def grids(cells: np.ndarray, classes: np.ndarray, count: int, seed: int = 0) -> list[Grid]:
    """2x2 grids of cells (M, h, w, C) of distinct classes; the target's cell takes turns."""
    rng = np.random.default_rng(seed)
    made = []
    for index in range(count):
        distinct = np.unique(classes)
        chosen = [rng.choice(np.flatnonzero(classes == label)) for label in rng.choice(distinct, 4, replace=False)]
        top, bottom = (np.concatenate(cells[pair], axis=1) for pair in (chosen[:2], chosen[2:]))
        made.append(Grid(np.concatenate([top, bottom]), int(classes[chosen[index % 4]]), divmod(index % 4, 2)))
    return made
