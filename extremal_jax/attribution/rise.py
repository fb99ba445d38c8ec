"""RISE: random masks, averaged with the model's responses to the masked images as weights."""

from __future__ import annotations

import functools
import math
import string
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Int

from extremal_jax.attribution.common import Maps, Model, Resize, Smooth, number, prepare
from extremal_jax.attribution.evaluations import SCORES, check_sides, chunk_length, responses, sum_in_chunks, usual_chunk
from extremal_jax.attribution.method import Method
from extremal_jax.boundary.baselines import check_finite
from extremal_jax.ground.checks import as_array, check_choice, check_key
from extremal_jax.operators.axes import Axes


def rise(
    model: Model,
    images: Any,
    targets: Any = None,
    *,
    axes: Axes | str | None = None,
    num_masks: int = 4000,
    probability: float = 0.5,
    grid: int | tuple[int, ...] = 7,
    masks: Any = None,
    score: str = "softmax",
    key: Array | None = None,
    chunk_size: int | None = None,
    resize: Resize = False,
    smooth: Smooth = None,
) -> Float[Array, "*maps"]:
    """The mean of random masks, each weighted by the target's probability for the image multiplied by the mask.

        S = (1 / M) Σ_i p(m_i x) m_i

    A mask is a coarse grid of zeros and ones, enlarged by bilinear interpolation and shifted by a part of a cell.
    Masks are enlarged a chunk at a time, so that memory hardly grows with their number. The model need not be
    differentiable.

    Args:
      model, images, axes, resize, smooth: as in `gradient`, except that scores at several positions are averaged.
      targets: as in `gradient`; None: maps of all classes.
      num_masks: M; the paper takes 4000 to 8000.
      probability: that a cell of the grid keeps the image, in (0, 1).
      grid: the number of cells along each side of the image, or (rows, columns). Of other axes, a number holds along the
        smooth ones, and along the others, such as features, each place is a cell of its own; a tuple has a number for
        each masked axis.
      masks: (M, H, W), in place of random ones; pass either these or `num_masks`, `probability`, `grid` and `key`.
      score: the function of the model's scores that weights the masks: "softmax"; "sigmoid", for several classes in an
        image, and as in TorchRay; or "logit" for the scores themselves.
      key: of the masks, which are the same for all images; None: `jax.random.key(0)`.
      chunk_size: the most masked images that the model gets at a time, to bound memory; None for 16 on a CPU, and
        for 128 on another device.

    Returns:
      (N, H, W); with all classes, (N, classes, H, W). For a single image, without the first axis.

    Raises:
      TypeError, ValueError: for arguments that do not fit, among them a probability outside (0, 1) and masks of
        another shape.

    Example:
      >>> import jax.numpy as jnp
      >>> def model(x):  # the brightness of the left half, and of the right half
      ...     return jnp.stack([x[:, :, :8].mean((1, 2, 3)), x[:, :, 8:].mean((1, 2, 3))], axis=-1)
      >>> left, right = rise(model, jnp.ones((16, 16, 3)), num_masks=200, grid=2, score="logit")
      >>> bool(left[:, :8].mean() > left[:, 8:].mean()), bool(right[:, :8].mean() < right[:, 8:].mean())
      (True, True)

    Source: Petsiuk, Das and Saenko, "RISE: Randomized Input Sampling for Explanation of Black-box Models", BMVC 2018.

    Differences from TorchRay: masks are shifted by any part of a cell, and drawn beyond the border rather than
      mirrored; the default score is the paper's.
    """
    check_choice("score", score, SCORES)
    if masks is not None and (key is not None or (num_masks, probability, grid) != (4000, 0.5, 7)):
        raise ValueError("pass either masks or num_masks, probability, grid and key, got both")
    key = check_key(key)
    count = max(1, len(masks)) if masks is not None and np.ndim(masks) else num_masks  # an empty list is refused below
    length = chunk_length("num_masks", count, chunk_size, usual_chunk())
    task = prepare("rise", model, images, targets, resize, smooth, length, axes=axes, all_classes=True)
    layout, size = task.layout, task.layout.size
    if masks is not None:
        masks = as_array("masks", masks)
        if masks.ndim != 1 + len(size) or masks.shape[1:] != size or len(masks) == 0:
            form = "(M, H, W)" if layout.is_image else f"(M, {layout.sides[1:]}"
            raise ValueError(f"masks must have the shape {form} = (M, {', '.join(map(str, size))}), got {masks.shape}")
        check_finite("masks", masks)
        return task.compute(_mean_of_masks, masks.astype(np.float32), count=count, length=length, score=score)
    if not 0 < number(probability) < 1:
        raise ValueError(f"probability must be in (0, 1), got {probability!r}; 0.5 keeps half of the image")
    alone = tuple(None if smooth else side for side, smooth in zip(size, layout.smooth, strict=True))
    units = "cells, or (rows, columns)" if layout.is_image else f"cells, or {layout.sides}"
    cells = check_sides("grid", grid, units, layout.owner, size, alone)
    drawn = draw(key, num_masks, cells, number(probability), layout.smooth)
    return task.compute(_mean_of_masks, drawn, count=count, length=length, score=score)


class Coarse(NamedTuple):
    """Masks before they are enlarged.

    Attributes:
      cells: (M, rows + 2, columns + 2), zeros and ones; two more than the grid, so that they cover the image at any
        shift. Of other axes than those of images, likewise.
      shifts: (M, 2), down and across, in [0, 1) of a cell; one for each axis.
    """

    cells: Float[Array, "M ..."]
    shifts: Float[Array, "M axes"]


def _mean_of_masks(
    model: Model,
    images: Float[Array, "N ... C"],
    targets: Int[Array, " N"] | None,
    masks: Coarse | Float[Array, "M ..."],
    *,
    count: int,
    length: int,
    score: str,
) -> Maps:
    """The mean of masks, each weighted by a function of the scores of the image multiplied by it."""
    size = images.shape[1:-1]

    def chunk(elements: Array, counts: Array) -> Array:
        some = jax.tree.map(lambda part: part[elements], masks)
        shown = enlarge(some, size) if isinstance(some, Coarse) else some

        def weighted(pair: tuple[Array, Array | None]) -> Array:
            image, target = pair
            scores = responses(model, score, image[None] * shown[..., None].astype(image.dtype), target)
            scores = jnp.where(jnp.expand_dims(counts, range(1, scores.ndim)), scores, 0)
            return jnp.tensordot(scores, shown, (0, 0), precision=lax.Precision.HIGHEST)

        return lax.map(weighted, (images, targets))

    return Maps(sum_in_chunks(chunk, count, length, images) / count)


@functools.partial(jax.jit, static_argnums=(1, 2, 4))
def draw(
    key: Array, count: int, grid: tuple[int, ...], probability: float | Float[Array, ""], smooth: tuple[bool, ...] = (True, True)
) -> Coarse:
    """Draw `count` coarse masks of a grid (rows, columns) over the image; `probability` is that of a one in a cell. Along
    axes that are not smooth, the grid has a cell for each place, and masks are shifted so that each falls on its own."""
    nodes = tuple(cells + 2 for cells in grid)
    drawn = jax.random.uniform(key, (count, len(grid) + math.prod(nodes)), jnp.float32)
    shifts = drawn[:, : len(grid)] if all(smooth) else jnp.where(np.array(smooth)[None], drawn[:, : len(grid)], jnp.float32(0.5))
    return Coarse((drawn[:, len(grid) :] < probability).astype(jnp.float32).reshape(count, *nodes), shifts)


def enlarge(coarse: Coarse, size: tuple[int, ...]) -> Float[Array, "M ..."]:
    """Enlarge masks to (H, W), or to as many sides as they have, by bilinear interpolation.

    Example:
      >>> coarse = draw(jax.random.key(0), 500, (2, 2), jnp.float32(0.25))
      >>> masks = enlarge(coarse, (6, 8))
      >>> masks.shape, f"{masks.mean():.2f}"
      ((500, 6, 8), '0.25')
    """
    tents = [_tents(side, coarse.cells.shape[1 + axis], coarse.shifts[:, axis]) for axis, side in enumerate(size)]
    nodes, places = string.ascii_lowercase[: len(size)], string.ascii_uppercase[: len(size)]
    first, *others = (f"m{place}{node}" for place, node in zip(places, nodes, strict=True))
    product = f"{','.join([first, f'm{nodes}', *others])}->m{places}"
    return jnp.einsum(product, tents[0], coarse.cells, *tents[1:], precision=lax.Precision.HIGHEST)


def _tents(length: int, nodes: int, shifts: Float[Array, " M"]) -> Float[Array, "M length nodes"]:
    """Bilinear interpolation as a matrix: the weights at each pixel of nodes one cell apart, for shifts in cells."""
    positions = jnp.asarray((np.arange(length) + 0.5) * (nodes - 2) / length, jnp.float32)[None] + shifts[:, None]
    return jax.nn.relu(1 - jnp.abs(positions[:, :, None] - np.arange(nodes, dtype=np.float32)[None, None]))


METHODS = (Method("rise", "the mean of random masks, weighted by the model's responses", rise, needs_gradient=False, all_classes=True),)
