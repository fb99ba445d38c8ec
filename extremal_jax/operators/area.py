"""Areas: the loss that draws a mask to the area asked for, and the projection that makes the area exact.

    R_a(m) = mean((sort(m) − r_a)²),   r_a: ⌊(1 − a) n⌋ zeros, then ones
           = (Σ m² − 2 Σ top(m) + n_a) / n,   top(m): the n_a = n − ⌊(1 − a) n⌋ largest values

so a selection is enough, not a sort. The selection is exact: it finds the threshold bit by bit, since non-negative
floats are ordered like their bits. That takes thirty counting passes, which are cheap on CPUs and also on TPUs, where
sorting is slow.

Source: Fong, Patrick and Vedaldi (2019), section 3.2; the mean is TorchRay's, the paper writes the squared norm.
"""

from __future__ import annotations

import functools
import operator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int

from extremal_jax.graph.varying import varying_alike
from extremal_jax.ground.filters import gaussian_blur
from extremal_jax.operators.axes import Length

REGIONS = ("image", "canvas")
TIES = ("share", "position")
_ONE = 0x3F800000  # the bits of 1.0
_ALIKE = 1e-5  # mask values no further apart than this are equal but for rounding
_FOLDS = 8
_ROUNDING = 0.01  # of a pixel: what single precision may add to (1 − a) n


@dataclass(frozen=True)
class AreaRule:
    """How masks are held to the areas asked for.

    Attributes:
      exact: whether the model is shown masks of exactly the area asked for, through `ramp`. Otherwise the area loss
        alone draws them there.
      over: the region that the area is a share of: "image", or "canvas" with the margin around it.
      ties: where ties go in the area loss, as for `select_top`.
      relative: whether the area loss counts as a share of the area, R_a / a.
      smoothing: with `exact`, standard deviation in pixels of the Gaussian that smooths masks before the ramp; a tuple
        has one for each axis of the masks.
      feather: with `exact`, standard deviation in pixels of the Gaussian that softens the ramp's edges, likewise.
    """

    exact: bool = True
    over: str = "image"
    ties: str = "share"
    relative: bool = False
    smoothing: Length = 0.0
    feather: Length = 0.0

    def smoothed(self, masks: Float[Array, "K *n"]) -> Float[Array, "K *n"]:  # noqa: F821
        """Masks before the ramp, without small details."""
        return _softened(masks, self.smoothing) if self.exact else masks

    def feathered(self, masks: Float[Array, "K *n"]) -> Float[Array, "K *n"]:  # noqa: F821
        """Masks after the ramp, with soft edges: a sharp edge is evidence to a network by itself."""
        return _softened(masks, self.feather) if self.exact else masks


def _softened(masks: Float[Array, "K *n"], sigma: Length) -> Float[Array, "K *n"]:  # noqa: F821
    """Masks blurred by a Gaussian that keeps their areas."""
    if isinstance(sigma, tuple):
        return gaussian_blur(masks, sigma, "mirror")
    return gaussian_blur(masks[..., None], sigma, "mirror")[..., 0] if sigma else masks


def num_kept(areas: Float[Array, " K"], n: int) -> Int[Array, " K"]:
    """How many of n values a mask of each area keeps: n − ⌊(1 − a) n⌋."""
    return n - jnp.floor((1 - areas) * n + _ROUNDING).astype(jnp.int32)


@functools.partial(jax.jit, static_argnames="ties")  # outside a program too, where each operation would be compiled by itself
def select_top(values: Float[Array, "K n"], counts: Int[Array, " K"], ties: str = "share") -> Float[Array, "K n"]:
    """Mark the largest values of each row.

    Args:
      values: (K, n) in [0, 1].
      counts: (K,) how many to mark, from 0 to n.
      ties: where ties go, when not all values equal to the smallest marked one fit. "share" marks each by the same
        fraction, which keeps the result equivariant to flips and shifts; values within 1e-5 count as equal, since
        rounding would choose among them otherwise. "position" marks the last ones, as a stable ascending sort does.

    Returns:
      (K, n): 1 where marked, 0 where not, a fraction for shared ties. Each row sums to its count.

    Example:
      >>> values = jnp.array([[0.5, 1.0, 0.5, 0.0]])
      >>> select_top(values, jnp.array([2])).tolist(), select_top(values, jnp.array([2]), "position").tolist()
      ([[0.5, 1.0, 0.5, 0.0]], [[0.0, 1.0, 1.0, 0.0]])
    """
    bits = lax.bitcast_convert_type(values.astype(jnp.float32), jnp.int32)
    threshold = _kth_largest(bits, counts, _ONE.bit_length())
    if ties == "position":
        above, tied = bits > threshold, bits == threshold
        left = counts - above.sum(axis=1, dtype=jnp.int32)
        places = jnp.where(tied, jnp.arange(values.shape[1], dtype=jnp.int32)[None], -1)
        return (above | (places >= _kth_largest(places, left, values.shape[1].bit_length()))).astype(values.dtype)
    smallest = lax.bitcast_convert_type(threshold, jnp.float32)
    above, below = values > smallest + _ALIKE, values < smallest - _ALIKE
    left, alike = counts - above.sum(axis=1, dtype=jnp.int32), (~above & ~below).sum(axis=1, dtype=jnp.int32)
    share = left.astype(values.dtype) / jnp.maximum(alike, 1).astype(values.dtype)
    return jnp.where(above, 1, jnp.where(below, 0, share[:, None]))


def _kth_largest(keys: Int[Array, "K n"], k: Int[Array, " K"], num_bits: int) -> Int[Array, "K 1"]:
    """The k-th largest key of each row, bit by bit: the largest t in [0, 2^num_bits) that at least k keys reach."""
    # XLA's CPU backend sums a row number by number, but adds arrays by vector instructions. So the row is folded, and
    # its folds are added.
    padded = jnp.pad(keys, ((0, 0), (0, -keys.shape[1] % _FOLDS)), constant_values=-1)
    folds = jnp.split(padded, _FOLDS, axis=1)

    def try_bit(t: Array, bit: Array) -> tuple[Array, None]:
        reached = functools.reduce(operator.add, [(fold >= t + bit).astype(jnp.int32) for fold in folds]).sum(axis=1, dtype=jnp.int32)
        return jnp.where((reached >= k)[:, None], t + bit, t), None

    start, _ = varying_alike(jnp.zeros((len(keys), 1), jnp.int32), (keys, k))
    bits = jnp.left_shift(jnp.int32(1), jnp.arange(num_bits, dtype=jnp.int32)[::-1])
    return lax.scan(try_bit, start, bits)[0]


def area_loss(masks: Float[Array, "K n"], areas: Float[Array, " K"], ties: str = "share") -> Float[Array, " K"]:
    """The area-ranking loss R_a(m) of each mask.

    Args:
      masks: (K, n) in [0, 1]: masks as rows.
      areas: (K,) in (0, 1]: the share of the n values that should be one.
      ties: "share" or "position", as for `select_top`. It decides gradients only.

    Returns:
      (K,). It is zero exactly when a mask is binary and keeps as many pixels as asked.

    Example:
      >>> area_loss(jnp.array([[0.0, 1.0, 0.0, 0.5]]), jnp.array([0.25])).tolist()
      [0.0625]
    """
    n = masks.shape[1]
    kept = num_kept(areas, n)
    target = select_top(lax.stop_gradient(masks), kept, ties)
    return (jnp.square(masks).sum(axis=1) - 2 * (target * masks).sum(axis=1) + kept.astype(masks.dtype)) / n


def binarize(masks: Float[Array, "K n"], areas: Float[Array, " K"]) -> Float[Array, "K n"]:
    """The largest round(a n) values of each mask as ones, the rest as zeros.

    Args:
      masks: (K, n) in [0, 1]: masks as rows.
      areas: (K,) in (0, 1]: the share of the n values to keep.

    Returns:
      (K, n), 0 and 1. Among ties, the last ones by position are kept.

    Example:
      >>> binarize(jnp.array([[0.1, 0.9, 0.8, 0.3]]), jnp.array([0.5])).tolist()
      [[0.0, 1.0, 1.0, 0.0]]
    """
    counts = jnp.round(areas * masks.shape[1]).astype(jnp.int32)
    return select_top(masks, counts, "position")


def area_threshold(masks: Float[Array, "K n"], areas: Float[Array, " K"], width: float | Array = 0.5) -> Float[Array, " K"]:
    """The threshold t at which the mean of `ramp(masks, t, width)` is the area asked for.

    Bisection finds it; its gradient is the one of the implicit function mean(ramp(m, t)) = a.

    Args:
      masks: (K, n) in [0, 1]: masks as rows.
      areas: (K,) in (0, 1]: the share of the n values that the ramped mask should sum to.
      width: of the ramp, in units of mask value, positive.

    Returns:
      (K,), from −width to 1 + width.

    Example:
      >>> masks = jnp.array([[0.1, 0.4, 0.6, 0.7]])
      >>> threshold = area_threshold(masks, jnp.array([0.25]))
      >>> round(float(ramp(masks, threshold).mean()), 4)
      0.25
    """
    values = lax.stop_gradient(masks)

    def halve(_: Any, bounds: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = bounds
        middle = (low + high) / 2
        large = ramp(values, middle, width).mean(axis=1) > areas
        return jnp.where(large, middle, low), jnp.where(large, high, middle)

    bounds = jnp.full_like(areas, -width), jnp.full_like(areas, 1 + width)
    low, high = lax.fori_loop(0, 26, halve, bounds)
    threshold = (low + high) / 2
    mean = ramp(masks, threshold, width).mean(axis=1)
    position = (values - threshold[:, None]) / width
    slope = (jnp.abs(position) < 0.5).astype(masks.dtype).mean(axis=1) / width  # −∂mean/∂t
    return threshold + (mean - lax.stop_gradient(mean)) / jnp.maximum(slope, 1 / masks.shape[1])


def ramp(masks: Float[Array, "K *n"], threshold: Float[Array, " K"], width: float | Array = 0.5) -> Float[Array, "K *n"]:  # noqa: F821
    """clip((m − t) / width + ½, 0, 1): monotone in m, so a mask keeps its level sets, and with them its smoothness.

    Args:
      masks: (K, ...) in [0, 1].
      threshold: (K,).
      width: the range of values around the threshold that stay between 0 and 1. The smaller it is, the closer the
        result to a binary mask.

    Returns:
      (K, ...) in [0, 1].

    Example:
      >>> ramp(jnp.array([[0.2, 0.5, 0.8]]), jnp.array([0.5])).tolist()
      [[0.0, 0.5, 1.0]]
    """
    threshold = threshold.reshape(-1, *[1] * (masks.ndim - 1))
    return jnp.clip((masks - threshold) / width + 0.5, 0, 1)
