"""Tests of localisation: how much of a map, and how many of its highest pixels, lie in the region of an object."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int

from extremal_jax.evaluation.calls import check_maps
from extremal_jax.evaluation.selection import select_highest
from extremal_jax.ground.checks import as_array, values_of
from extremal_jax.ground.pytrees import AnyArray
from extremal_jax.operators.axes import IMAGE, Axes, check_axes, masked, names

_LEAST = 1e-7  # a sum of positive attribution that is no larger counts as none


def energy(maps: Any, regions: Any, *, axes: Axes | str = "image") -> Float[Array, "*N"]:
    """The energy-based pointing game: the share of a map's positive part that lies in the region.

        Σ_{u in region} max(m_u, 0) / Σ_u max(m_u, 0)

    Args:
      maps: (N, H, W), or (H, W) for a single image.
      regions: the same shape; True, or not zero, in the region.
      axes: the axes of the inputs, if they are not images, as in `extremal_perturbation`: maps and regions have the masked
        ones in place of (H, W).

    Returns:
      (N,), or () for a single image, in [0, 1]. An empty region scores 0, and so does a map whose positive part sums to
      at most 1e-7. A constant positive map scores the region's share of the image. A map with NaN or infinity scores NaN.

    Raises:
      TypeError, ValueError: if maps or regions are not such arrays, or their shapes differ.

    Example:
      >>> float(energy([[3.0, -5.0], [1.0, 0.0]], [[True, True], [False, False]]))
      0.75

    Source: Wang et al., "Score-CAM: Score-Weighted Visual Explanations for Convolutional Neural Networks", CVPR
      Workshops 2020. The grid pointing game takes the same share, and the bound of 1e-7 is from there.
    """
    maps, regions = check_pairs(maps, regions, axes)
    return _share(maps, regions, _LEAST)


def relevance_mass(maps: Any, regions: Any, *, axes: Axes | str = "image") -> Float[Array, "*N"]:
    """The mass accuracy of CLEVR-XAI: the share of the relevance that lies in the region.

    Relevance is the positive part of a map. It is the share that `energy` takes, of however small a sum. For maps whose
    sign has no meaning, pass their absolute values.

    Args:
      maps, regions, axes: as in `energy`.

    Returns:
      (N,), or () for a single image, in [0, 1]. An empty region and a map without a positive part score 0. A constant
      positive map scores the region's share of the image. A map with NaN or infinity scores NaN.

    Raises:
      TypeError, ValueError: as `energy` does.

    Example:
      >>> float(relevance_mass([[3e-9, 0.0], [1e-9, 0.0]], [[True, True], [False, False]]))
      0.75

    Source: Arras, Osman and Samek, "CLEVR-XAI: A benchmark dataset for the ground truth evaluation of neural network
      explanations", Information Fusion 2022, which makes relevance non-negative first.

    Differences from Quantus: its sums include negative values, so its ratio of a signed map is no share: it may be
      negative or exceed one. An empty region scores 0 rather than NaN.
    """
    maps, regions = check_pairs(maps, regions, axes)
    return _share(maps, regions, 0.0)


def relevance_rank(maps: Any, regions: Any, *, axes: Axes | str = "image") -> Float[Array, "*N"]:
    """The rank accuracy of CLEVR-XAI: of as many highest pixels as the region has, the share that lies in it.

    Args:
      maps, regions, axes: as in `energy`.

    Returns:
      (N,), or () for a single image, in [0, 1]. An empty region scores 0, and a map with NaN or infinity scores NaN. Equal pixels
      rank in reading order, so a constant map ranks the pixels at the top of the image first.

    Raises:
      TypeError, ValueError: as `energy` does.

    Example:
      >>> float(relevance_rank([[0.9, 0.2], [0.8, 0.1]], [[True, True], [False, False]]))
      0.5

    Source: Arras, Osman and Samek, Information Fusion 2022; see `relevance_mass`.

    Differences from Quantus: ties are in reading order rather than undefined; an empty region scores 0 rather than NaN.
    """
    maps, regions = check_pairs(maps, regions, axes)
    return _relevance_rank(maps, regions)


def iou(maps: Any, regions: Any, areas: Any = None, *, axes: Axes | str = "image") -> Float[Array, "*N"]:
    """The intersection over union of the region with the map's binary mask of an exact area.

    The mask keeps the round(a n) highest of the map's n pixels.

    Args:
      maps, regions, axes: as in `energy`.
      areas: a, the share of the image that the mask keeps, in [0, 1]: a number, or (N,), one for each map; None: the
        region's own share.

    Returns:
      (N,), or () for a single image, in [0, 1]. An empty region scores 0, and a map with NaN or infinity scores NaN. Equal pixels
      rank in reading order, so a constant map keeps the top of the image.

    Raises:
      TypeError, ValueError: as `energy` does, and for areas that are no such numbers.

    Example:
      >>> float(iou([[0.9, 0.2], [0.8, 0.1]], [[True, True], [False, False]]))
      0.3333333432674408
      >>> float(iou([[0.9, 0.2], [0.8, 0.1]], [[True, True], [False, False]], 0.25))
      0.5
    """
    maps, regions = check_pairs(maps, regions, axes)
    return _iou(maps, regions, None if areas is None else _check_areas(areas, maps.shape[:-2]))


def check_pairs(maps: Any, regions: Any, axes: Axes | str = IMAGE) -> tuple[Float[Array, "*N H W"], Bool[Array, "*N H W"]]:
    """Maps as float32 and their regions as booleans, of one shape (N, H, W) or (H, W). Those of other axes become as flat.

    Raises:
      TypeError, ValueError: if they are not such arrays, or their shapes differ.

    Example:
      >>> maps, regions = check_pairs([[1, 2]], [[0, 1]])
      >>> str(maps.dtype), regions.tolist()
      ('float32', [[False, True]])
    """
    regions = check_regions(regions, axes)
    rank = check_rank("regions", regions.shape, axes)
    maps = check_maps("maps", maps, regions.shape)
    batch, (first, *others) = regions.shape[:-rank], regions.shape[-rank:]
    flat = *batch, first, math.prod(others)  # in the same reading order
    return jnp.asarray(maps.reshape(flat)), jnp.asarray(regions.reshape(flat))


def check_regions(regions: Any, axes: Axes | str = IMAGE) -> Bool[AnyArray, "..."]:
    """Regions (N, H, W) or (H, W), or of other axes, as booleans. A TypeError or ValueError says what else they are."""
    regions = as_array("regions", regions)
    check_rank("regions", regions.shape, axes)
    if not (regions.dtype == bool or jnp.issubdtype(regions.dtype, jnp.integer)):
        raise TypeError(f"regions must be booleans, True in the region, got {regions.dtype}; pass regions > 0.5")
    return regions.astype(bool)


def check_rank(name: str, shape: tuple[int, ...], axes: Axes | str) -> int:
    """The number of axes that maps have; a ValueError unless a shape is that of maps, or of one map."""
    own = masked(check_axes(axes))
    if len(shape) not in (len(own), len(own) + 1) or 0 in shape[-len(own) :]:
        sides = "H, W" if check_axes(axes) == IMAGE else ", ".join(names(own))
        raise ValueError(f"{name} must have the shape (N, {sides}) or ({sides}), got {shape}")
    return len(own)


def _check_areas(areas: Any, shape: tuple[int, ...]) -> Float[Array, "*N"]:
    areas = as_array("areas", areas)
    if areas.shape not in ((), shape):
        raise ValueError(f"areas must be one number, or one for each map, {shape}, got the shape {areas.shape}")
    values = values_of(areas)
    if values is not None and not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"areas must be shares of the image, from 0 to 1, got {values.tolist()}")
    return jnp.broadcast_to(jnp.asarray(areas, jnp.float32), shape)


@jax.jit
def _share(maps: Float[Array, "*N H W"], regions: Bool[Array, "*N H W"], least: float | Array) -> Float[Array, "*N"]:
    """The share of the positive part in the region; 0 where the positive part sums to no more than `least`."""
    highest = jnp.maximum(maps.max(axis=(-2, -1), keepdims=True), np.finfo(np.float32).tiny)
    positive = jnp.maximum(maps, 0) / highest  # so that no sum is too small or too large for single precision
    total = positive.sum(axis=(-2, -1))
    inside = jnp.where(regions, positive, 0).sum(axis=(-2, -1))
    enough = (total > 0) & (total * highest[..., 0, 0] > least)
    return _or_nan(maps, jnp.where(enough, inside / jnp.where(enough, total, 1), 0))


@jax.jit
def _relevance_rank(maps: Float[Array, "*N H W"], regions: Bool[Array, "*N H W"]) -> Float[Array, "*N"]:
    sizes = regions.sum(axis=(-2, -1), dtype=jnp.int32)
    return _or_nan(maps, _ratio(_highest_inside(maps, regions, sizes), sizes))


@jax.jit
def _iou(maps: Float[Array, "*N H W"], regions: Bool[Array, "*N H W"], areas: Float[Array, "*N"] | None) -> Float[Array, "*N"]:
    sizes = regions.sum(axis=(-2, -1), dtype=jnp.int32)
    counts = sizes if areas is None else jnp.round(areas * (maps.shape[-2] * maps.shape[-1])).astype(jnp.int32)
    inside = _highest_inside(maps, regions, counts)
    return _or_nan(maps, _ratio(inside, counts + sizes - inside))


def _highest_inside(maps: Float[Array, "*N H W"], regions: Bool[Array, "*N H W"], counts: Int[Array, "*N"]) -> Int[Array, "*N"]:
    """How many of the `counts` highest pixels of each map lie in its region; equal pixels rank in reading order."""
    keys, lowest = select_highest(maps.reshape(*maps.shape[:-2], maps.shape[-2] * maps.shape[-1]), counts)
    above, tied = keys > lowest, keys == lowest
    left = counts - above.sum(axis=-1, dtype=jnp.int32)
    kept = above | (tied & (jnp.cumsum(tied, axis=-1, dtype=jnp.int32) <= left[..., None]))
    return (kept & regions.reshape(keys.shape)).sum(axis=-1, dtype=jnp.int32)


def _ratio(part: Int[Array, "*N"], whole: Int[Array, "*N"]) -> Float[Array, "*N"]:
    """part / whole, and 0 where both are 0."""
    return part.astype(jnp.float32) / jnp.maximum(whole, 1).astype(jnp.float32)


def _or_nan(maps: Float[Array, "*N H W"], scores: Float[Array, "*N"]) -> Float[Array, "*N"]:
    """The scores, and NaN for maps that are not finite."""
    return jnp.where(jnp.isfinite(maps).all(axis=(-2, -1)), scores, jnp.nan)
