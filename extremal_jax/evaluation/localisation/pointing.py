"""The pointing game: whether the highest point of a map lies on the object, by TorchRay's rules, averaged over classes."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Bool, Float, Int, Num

from extremal_jax.evaluation.calls import as_floats, check_maps
from extremal_jax.evaluation.localisation.overlap import check_rank, check_regions
from extremal_jax.ground.checks import as_array, check_count, check_flag, check_positive, values_of
from extremal_jax.operators.axes import IMAGE, Axes, check_axes, masked, names


def highest_point(maps: Any, *, axes: Axes | str = "image") -> Int[Array, "*N axes"]:
    """The row and column of the highest pixel of each map.

    Args:
      maps: (N, H, W), or (H, W) for a single image.
      axes: the axes of the inputs, if they are not images, as in `extremal_perturbation`: maps have the masked ones in place
        of (H, W), and points a place along each.

    Returns:
      (N, 2), or (2,) for a single image, int32: row and column, from 0. Of equal pixels it is the first in reading
      order, so a constant map points at (0, 0). A map with NaN has no highest pixel: it gives (-1, -1), a miss for
      `is_hit`.

    Raises:
      TypeError, ValueError: if maps are not such an array.

    Example:
      >>> highest_point([[0.1, 0.2, 0.9], [0.3, 0.0, 0.9]]).tolist()
      [0, 2]
    """
    rank = check_rank("maps", np.shape(maps), axes)
    return _highest_point(jnp.asarray(check_maps("maps", maps, np.shape(maps))), rank)


def is_hit(points: Any, regions: Any, tolerance: float | tuple[float, ...] = 15, *, axes: Axes | str = "image") -> Bool[Array, "*N"]:
    """Whether a pixel of the region lies strictly within `tolerance` pixels of the point.

    Args:
      points: (N, 2), or (2,) for a single image: row and column, which may lie between pixels.
      regions: (N, H, W), or (H, W); True, or not zero, in the region.
      tolerance: the distance in pixels of the region, positive. With 1, the pixel itself must lie in the region. Of other
        axes, a number holds along the smooth ones, and along the others, such as features, the place itself counts; a
        tuple has a distance for each masked axis, the half axes of an ellipsoid.
      axes: as in `highest_point`.

    Returns:
      (N,), or () for a single image. An empty region is a miss, and so is a point outside of the image, such as the one
      of a map with NaN.

    Raises:
      TypeError, ValueError: if an argument is of another form.

    Example:
      >>> region = jnp.zeros((40, 40), bool).at[20, 20].set(True)
      >>> is_hit([[20, 5], [20, 6]], jnp.stack([region, region])).tolist()
      [False, True]

    Source: Zhang et al., "Top-down Neural Attention by Excitation Backprop", ECCV 2016; the rule is TorchRay's.
    """
    regions = check_regions(regions, axes)
    own = masked(check_axes(axes))
    distances = tolerance if isinstance(tolerance, tuple) else tuple(tolerance if axis.smooth else 1.0 for axis in own)
    if len(distances) != len(own):
        raise ValueError(f"tolerance must be a number, or one for each of {', '.join(names(own))}, got {tolerance!r}")
    for distance in distances:
        check_positive("tolerance", distance, " of pixels")
    points, wanted = as_floats("points", points), (*regions.shape[: -len(own)], len(own))
    if points.shape != wanted:
        what = "a row and a column" if check_axes(axes) == IMAGE else f"({', '.join(names(own))})"
        raise ValueError(f"points must be {what} for each region, {wanted}, got the shape {points.shape}")
    return _is_hit(jnp.asarray(points), jnp.asarray(regions), jnp.asarray(distances, jnp.float32))


class ClassAccuracy(NamedTuple):
    """The accuracy of a pointing game, class by class.

    Attributes:
      mean: () the mean of the accuracies over classes; NaN if no class was met.
      accuracies: (K,), the share of hits of each class; NaN for absent classes.
      counts: (K,), int32, the number of image-class pairs of each class.
      absent: (K,), the classes that were never met.
    """

    mean: Float[Array, ""]
    accuracies: Float[Array, " K"]
    counts: Int[Array, " K"]
    absent: Bool[Array, " K"]


def class_accuracy(hits: Any, labels: Any, num_classes: int, torchray_average: bool = False) -> ClassAccuracy:
    """The accuracy of a pointing game: the share of hits in each class, and its mean over classes.

    Args:
      hits: (N,), booleans, one for each pair of an image and a class in it.
      labels: (N,), the classes, from 0 to num_classes - 1.
      num_classes: K.
      torchray_average: whether an absent class counts as 0 in the mean, as in TorchRay. Otherwise the mean is over the
        classes that were met.

    Returns:
      `ClassAccuracy`. No pairs at all are allowed: then all classes are absent, and the mean is NaN, or 0 with
      `torchray_average`.

    Raises:
      TypeError, ValueError: if an argument is of another form, or labels are out of range.

    Example:
      >>> found = class_accuracy([True, False, True], [0, 0, 2], 4)
      >>> found.accuracies.tolist(), float(found.mean), found.absent.tolist()
      ([0.5, nan, 1.0, nan], 0.75, [False, True, False, True])
      >>> float(class_accuracy([True, False, True], [0, 0, 2], 4, torchray_average=True).mean)
      0.375
    """
    check_count("num_classes", num_classes, 1)
    check_flag("torchray_average", torchray_average)
    hits, labels = as_array("hits", hits), as_array("labels", labels)
    if hits.ndim != 1 or labels.shape != hits.shape:
        raise ValueError(f"hits and labels must have one shape, (N,), got {hits.shape} and {labels.shape}")
    if len(hits) and hits.dtype != bool:
        raise TypeError(f"hits must be booleans, got {hits.dtype}; TorchRay's +1 and -1 are hits > 0")
    if len(labels) and not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(f"labels must be whole numbers, got {labels.dtype}")
    values = values_of(labels)
    if values is not None and len(values) and not 0 <= values.min() <= values.max() < num_classes:
        raise ValueError(f"labels must be from 0 to {num_classes - 1}, got values from {values.min()} to {values.max()}")
    return _class_accuracy(jnp.asarray(hits, bool), jnp.asarray(labels, jnp.int32), num_classes, torchray_average)


@functools.partial(jax.jit, static_argnums=(2, 3))
def _class_accuracy(hits: Bool[Array, " N"], labels: Int[Array, " N"], num_classes: int, torchray_average: bool) -> ClassAccuracy:
    counts = jnp.zeros(num_classes, jnp.int32).at[labels].add(1)
    found = jnp.zeros(num_classes, jnp.int32).at[labels].add(hits.astype(jnp.int32))
    met = counts > 0
    shares = found.astype(jnp.float32) / jnp.maximum(counts, 1).astype(jnp.float32)
    number = jnp.float32(num_classes) if torchray_average else met.sum().astype(jnp.float32)
    return ClassAccuracy(shares.sum() / number, jnp.where(met, shares, jnp.nan), counts, ~met)


@functools.partial(jax.jit, static_argnums=1)
def _highest_point(maps: Float[Array, "..."], rank: int) -> Int[Array, "..."]:
    *batch, size = *maps.shape[:-rank], maps.shape[-rank:]
    flat = maps.reshape(*batch, math.prod(size))
    left, point = flat.argmax(axis=-1).astype(jnp.int32), list[Array]()
    for side in reversed(size):
        left, place = jnp.divmod(left, jnp.int32(side))
        point.insert(0, place)
    return jnp.where(jnp.isnan(flat).any(axis=-1, keepdims=True), jnp.int32(-1), jnp.stack(point, axis=-1))


@jax.jit
def _is_hit(points: Num[Array, "..."], regions: Bool[Array, "..."], tolerance: Float[Array, " axes"]) -> Bool[Array, "..."]:
    rank, largest = len(tolerance), tolerance.max()
    squares, inside = jnp.float32(0), jnp.ones(points.shape[:-1], bool)
    for axis, side in enumerate(regions.shape[-rank:]):
        point = points[..., axis].astype(jnp.float32)
        places = lax.broadcasted_iota(jnp.float32, regions.shape, regions.ndim - rank + axis)
        away = (places - jnp.expand_dims(point, range(-rank, 0))) * (largest / tolerance[axis])  # times 1 in images
        squares += jnp.square(away)
        inside &= (point >= 0) & (point <= side - 1)
    near = squares < jnp.square(largest)
    return (near & regions).any(axis=tuple(range(-rank, 0))) & inside
