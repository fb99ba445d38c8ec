"""Sensitivity-n: whether the sum of a map over some pixels tells how much the score falls without them."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Int

from extremal_jax.attribution.evaluations import draw_each
from extremal_jax.boundary.baselines import substitute
from extremal_jax.boundary.images import check_images
from extremal_jax.boundary.models import Model
from extremal_jax.evaluation.faithfulness.altered import (
    cells,
    for_each,
    nan_where_unknown,
    pixels,
    prepare_altered,
    ranks,
    scores_of,
)
from extremal_jax.ground.checks import as_array, check_count, check_key


def sensitivity_n(
    model: Model,
    images: Any,
    targets: Any,
    maps: Any,
    *,
    sizes: Any = None,
    num_subsets: int = 100,
    cell: int = 1,
    baseline: Any = 0.0,
    score: str = "logit",
    key: Array | None = None,
    chunk_size: int | None = None,
) -> Float[Array, "*N"]:
    """The correlation between the sums of a map over random subsets of n pixels and the falls of the score without them.

        mean over n of corr_S (Σ_{i ∈ S} φ_i, f(x) − f(x with S at the baseline)), |S| = n

    The correlation is Pearson's, over the subsets of one size; 1 is best. It asks for the amounts of a map, not only for
    their order, and suits maps that share out the score, such as integrated gradients.

    Args:
      model, images, targets, chunk_size: as in `insertion`.
      maps: (H, W), or (N, H, W).
      sizes: (T,), the numbers n of cells in a subset, each less than all; None: eight from 1 to 80 % of the cells, evenly
        on a logarithmic scale.
      num_subsets: how many subsets of each size.
      cell: the side in pixels of the square cells that subsets are drawn of; 1 for pixels, as in the paper. On a large
        image, a few pixels change a score less than rounding does; larger cells help.
      baseline: the content of removed cells, as in `insertion`.
      score: the function of the model's scores: "logit", "softmax" or "sigmoid".
      key: the random key of the subsets, which are the same for all images; None: `jax.random.key(0)`.

    Returns:
      (N,) in [−1, 1], or a number for a single image. A constant map, or a score that nothing changes, has correlation
      0; a map with NaN has NaN.

    Raises:
      TypeError, ValueError: for arguments that do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> image = jnp.arange(12.0).reshape(3, 4, 1)
      >>> exact = sensitivity_n(lambda x: x.sum(axis=(1, 2)), image, 0, image[..., 0], sizes=(2, 5))
      >>> f"{exact:.4f}"
      '1.0000'

    Source: Ancona, Ceolini, Öztireli and Gross, "Towards better understanding of gradient-based attribution methods for
      Deep Neural Networks", ICLR 2018.
    """
    images, key = check_images("images", images), check_key(key)
    check_count("num_subsets", num_subsets, 2)
    check_count("cell", cell, 1)
    total = -(-images.shape[-3] // cell) * -(-images.shape[-2] // cell)
    sizes = _sizes(sizes, total)
    call, length = prepare_altered(model, images, targets, maps, len(sizes) * num_subsets + 1, score, chunk_size)
    baselines = substitute("baseline", baseline, call.images, call.layout)
    settings = dict(length=length, score=score, cell=cell, num_subsets=num_subsets)
    return call.compute(_correlations, baselines, sizes, key, **settings)


def _sizes(sizes: Any, total: int) -> np.ndarray:
    """The sizes of subsets, checked against the number of cells."""
    if total < 2:
        raise ValueError(f"cell must leave at least two cells in the image, got {total}; take a smaller one")
    if sizes is None:
        return np.unique(np.minimum(np.rint(np.geomspace(1, max(1, 0.8 * total), 8)), total - 1)).astype(np.int32)
    values = np.asarray(as_array("sizes", sizes))
    if values.ndim != 1 or values.size == 0 or values.dtype.kind not in "iu" or not ((values >= 1) & (values < total)).all():
        raise ValueError(f"sizes must be whole numbers of cells, from 1 to {total - 1}, got {values.tolist()}")
    return values.astype(np.int32)


def _correlations(
    model: Model,
    images: Float[Array, "N H W C"],
    targets: Int[Array, " N"],
    maps: Float[Array, "N H W"],
    baselines: Float[Array, "N H W C"],
    sizes: Int[Array, " T"],
    key: Array,
    *,
    length: int,
    score: str,
    cell: int,
    num_subsets: int,
) -> Float[Array, " N"]:
    """The correlation for each image, the mean over sizes."""
    size = images.shape[1], images.shape[2]
    values = cells(maps, (cell, cell))
    values = values - values.min(axis=(1, 2), keepdims=True)  # the sums of one size shift alike, and those of constants are exact
    num_sizes = len(sizes)

    def chunk(of: Array, which: Array) -> tuple[Array, Array]:
        """The scores without subsets, and the sums over them; the last subset of each image is empty."""
        order = ranks(draw_each(key, which, values.shape[1:]))
        count = jnp.where(which < num_sizes * num_subsets, sizes[jnp.minimum(which // num_subsets, num_sizes - 1)], 0)
        subset = order < count[:, None, None]
        sums = jnp.where(subset, values[of], 0).sum(axis=(1, 2))
        removed = pixels(subset, (cell, cell), size)[..., None]
        return scores_of(model, score, jnp.where(removed, baselines[of], images[of]), targets[of]), sums

    scores, sums = for_each(chunk, len(images), num_sizes * num_subsets + 1, length)
    falls = scores[:, -1:] - scores[:, :-1]
    shape = len(images), num_sizes, num_subsets
    found = pearson(sums[:, :-1].reshape(shape), falls.reshape(shape)).mean(axis=1)
    constant = jnp.ptp(maps, axis=(1, 2)) == 0  # whose cells at the border may be smaller
    return nan_where_unknown(jnp.where(constant, 0, found), maps)


def pearson(first: Float[Array, "*N M"], second: Float[Array, "*N M"]) -> Float[Array, "*N"]:
    """Pearson's correlation along the last axis; 0 where either does not vary.

    Example:
      >>> round(float(pearson(jnp.array([1.0, 2.0, 3.0]), jnp.array([5.0, 3.0, 1.0]))), 6)
      -1.0
    """
    flat = (jnp.ptp(first, axis=-1) == 0) | (jnp.ptp(second, axis=-1) == 0)
    first, second = (unit(part - part.mean(axis=-1, keepdims=True)) for part in (first, second))
    return jnp.where(flat, 0, jnp.clip((first * second).sum(axis=-1), -1, 1))


def unit(vectors: Float[Array, "*N M"]) -> Float[Array, "*N M"]:
    """Vectors of length one, through their largest entry, so that no square overflows; zero stays zero."""
    tiny = np.finfo(np.float32).tiny
    scaled = vectors / jnp.maximum(jnp.abs(vectors).max(axis=-1, keepdims=True), tiny)
    return scaled * lax.rsqrt(jnp.maximum(jnp.square(scaled).sum(axis=-1, keepdims=True), tiny))
