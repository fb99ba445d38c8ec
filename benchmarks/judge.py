"""The judge of masks on photographs: what exactly binary masks of equal areas are worth, on the network they were made for and on another.

Of each mask the round(a n) highest pixels are kept, whatever the mask was optimised with. Their edges are feathered by
a Gaussian, because a sharp edge is evidence to a network by itself, and a judge with sharp edges would reward the masks
that were optimised with them. The rest of the image is blurred.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.ndimage
from jax import Array

import extremal_jax as ej
from extremal_jax.ground.filters import gaussian_blur, resize
from extremal_jax.operators.area import binarize

FEATHER, BLUR = 5 / 224, 20 / 224  # standard deviations, as shares of the shorter side


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
    binary = binary_masks(masks, areas)
    soft = feathered(binary)
    parts = [
        _Part(
            shown_logits(model, image, target, mine),
            shown_logits(model, image, target, cut),
            shown_logits(other, other_image, target, resize(mine[..., None], other_image.shape[:2])[..., 0]),
        )
        for image, other_image, target, mine, cut in zip(images, other_images, targets, soft, binary, strict=True)
    ]
    pieces = [[scipy.ndimage.label(mask, np.ones((3, 3)))[1] for mask in group] for group in np.asarray(binary)]
    return Judgement(*map(np.stack, zip(*parts, strict=True)), np.array(pieces))  # type: ignore[arg-type]


class _Part(NamedTuple):
    feathered: Array
    sharp: Array
    transferred: Array


def binary_masks(masks: np.ndarray, areas: tuple[float, ...]) -> Array:
    """(N, K, H, W): the round(a n) highest pixels of each mask as ones."""
    flat = jnp.asarray(masks, jnp.float32).reshape(-1, masks.shape[-2] * masks.shape[-1])
    low, high = flat.min(axis=1, keepdims=True), flat.max(axis=1, keepdims=True)
    unit = (flat - low) / jnp.maximum(high - low, jnp.finfo(jnp.float32).tiny)  # maps of attribution have any range
    return binarize(unit, jnp.tile(jnp.asarray(areas, jnp.float32), len(masks))).reshape(masks.shape)


def feathered(masks: Array) -> Array:
    """Masks (..., H, W) with soft edges."""
    return gaussian_blur(masks[..., None], FEATHER * min(masks.shape[-2:]))[..., 0]


@jax.jit
def shown_logits(model: ej.models.Classifier, image: Array, target: Array, masks: Array) -> Array:
    """(K,): the target's logit when only what masks (K, H, W) keep of an image is shown, the rest blurred."""
    blurred = gaussian_blur(image, BLUR * min(image.shape[:2]))
    kept = masks[..., None]
    return model(kept * image + (1 - kept) * blurred)[:, target]


def growing(rewards: np.ndarray) -> float:
    """The share of neighbouring areas whose larger one has the larger reward, of rewards (N, K)."""
    return float((np.diff(rewards, axis=1) >= 0).mean())


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
