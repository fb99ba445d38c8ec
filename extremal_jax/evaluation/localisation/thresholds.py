"""Tests of localisation that cut a map at every threshold: precision and recall, and the information on the region.

    AUP = ∫ precision(τ) dτ,    AUR = ∫ recall(τ) dτ,    over the thresholds τ from the least to the largest value of the map

The tests of attributions of series with an exact truth are these, for maps (T, F) of times and features.

Source: Crabbé and van der Schaar, "Explaining Time Series Predictions with Dynamic Masks", ICML 2021, section 4.1.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float

from extremal_jax.evaluation.localisation.overlap import check_pairs
from extremal_jax.ground.checks import check_choice, check_flag, values_of

RULES = ("trapezoid", "step")
_EPSILON = 1e-5  # of the paper's code: keeps logarithms and quotients finite


def aup(maps: Any, regions: Any, *, rule: str = "trapezoid", normalize: bool = True) -> Float[Array, "*N"]:
    """The area under the precision: the share of the pixels above a threshold that lie in the region, over all thresholds.

    Args:
      maps: (N, H, W), or (H, W) for a single image; (T, F) of a series.
      regions: the same shape; True, or not zero, in the region.
      rule: how the integral is taken. "trapezoid" is linear between the values of the map, as is published; a map of
        zeros and ones that marks the region exactly then scores (1 + share of the region) / 2, since there is no value
        in between. "step" is the integral itself, 1 for such a map.
      normalize: whether each map is scaled from its least and largest value to 0 and 1. Otherwise its values must lie in
        [0, 1], and thresholds beyond them do not count. The range is enlarged by 1e-5, as in
        time-interpret, so multiply maps of tiny values first.

    Returns:
      (N,), or () for a single image, in [0, 1]; higher is better. An empty region and a constant map score 0, and a map
      with NaN or infinity scores NaN.

    Raises:
      TypeError, ValueError: if maps and regions are not such arrays, or their shapes differ; if values are not in [0, 1]
        and are not to be scaled; for another rule.

    Example:
      >>> maps, regions = [[1.0, 0.0], [0.0, 0.0]], [[True, False], [False, False]]
      >>> round(float(aup(maps, regions)), 3), round(float(aup(maps, regions, rule="step")), 3)
      (0.625, 1.0)

    Source: section 4.1 of the paper above.

    Differences from time-interpret: one number for each map, while it pools the pixels of all maps.
    """
    return _scored("precision", maps, regions, normalize, rule)


def aur(maps: Any, regions: Any, *, rule: str = "trapezoid", normalize: bool = True) -> Float[Array, "*N"]:
    """The area under the recall: the share of the region's pixels that are above a threshold, over all thresholds.

    Args:
      maps, regions, rule, normalize: as in `aup`. By the step rule, it is the mean of the map in the region.

    Returns:
      (N,), or () for a single image, in [0, 1], as `aup`.

    Raises:
      TypeError, ValueError: as `aup` does.

    Example:
      >>> maps, regions = [[1.0, 0.5], [0.0, 0.0]], [[True, True], [False, False]]
      >>> round(float(aur(maps, regions)), 3), round(float(aur(maps, regions, rule="step")), 3)
      (0.875, 0.75)

    Source: section 4.1 of the paper above.

    Differences from time-interpret: as for `aup`.
    """
    return _scored("recall", maps, regions, normalize, rule)


def average_precision(maps: Any, regions: Any) -> Float[Array, "*N"]:
    """The area under precision as a function of recall: it depends on the order of the pixels alone.

        Σ_n (R_n − R_{n−1}) P_n,   P_n and R_n at the n-th largest of the map's distinct values

    Args:
      maps, regions: as in `aup`.

    Returns:
      (N,), or () for a single image, in [0, 1], as `aup`. A constant map scores the region's share.

    Raises:
      TypeError, ValueError: as `aup` does.

    Example:
      >>> float(average_precision([[0.9, 0.8], [0.7, 0.1]], [[True, False], [False, False]]))
      1.0
    """
    return _scored("average", maps, regions, True)


def region_information(maps: Any, regions: Any, *, normalize: bool = True) -> Float[Array, "*N"]:
    """The information of a map on the region, in bits: −Σ log2(1 − m + ε) over its pixels, ε = 1e-5.

    Args:
      maps, regions, normalize: as in `aup`.

    Returns:
      (N,), or () for a single image; higher is better: a pixel of value 1 counts 16.6 bits, and of value 0 none.

    Raises:
      TypeError, ValueError: as `aup` does.

    Example:
      >>> round(float(region_information([[0.5, 0.5], [0.0, 0.75]], [[True, False], [False, True]], normalize=False)), 2)
      3.0

    Source: section 4.1 of the paper above.

    Differences from time-interpret: as for `aup`.
    """
    return _scored("information", maps, regions, normalize)


def region_entropy(maps: Any, regions: Any, *, normalize: bool = True) -> Float[Array, "*N"]:
    """The entropy of a map on the region, in bits: −Σ m log2(ε + m) + (1 − m) log2(ε + 1 − m) over its pixels, ε = 1e-5.

    Args:
      maps, regions, normalize: as in `aup`.

    Returns:
      (N,), or () for a single image; lower is better: a pixel of value 0 or 1 counts none, and of value 1/2 one bit.

    Raises:
      TypeError, ValueError: as `aup` does.

    Example:
      >>> round(float(region_entropy([[0.5, 0.5], [0.0, 1.0]], [[True, False], [False, True]], normalize=False)), 3)
      1.0

    Source: section 4.1 of the paper above.

    Differences from time-interpret: as for `aup`.
    """
    return _scored("entropy", maps, regions, normalize)


def _scored(score: str, maps: Any, regions: Any, normalize: bool, rule: str = RULES[0]) -> Float[Array, "*N"]:
    """Check the arguments of a test, scale the maps, and score them."""
    check_flag("normalize", normalize)
    check_choice("rule", rule, RULES)
    maps, regions = check_pairs(maps, regions)
    values = None if normalize else values_of(maps)
    if values is not None and (values.min() < 0 or values.max() > 1):
        raise ValueError(
            f"maps must lie in [0, 1] unless they are normalized, got values from {values.min():g} to {values.max():g}; pass normalize=True"
        )
    return _scores(score, rule, normalize, maps, regions)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _scores(score: str, rule: str, normalize: bool, maps: Float[Array, "*N H W"], regions: Bool[Array, "*N H W"]) -> Float[Array, "*N"]:
    flat, kept = (values.reshape(-1, maps.shape[-2] * maps.shape[-1]) for values in (maps, regions))
    if normalize and score != "average":  # the order of pixels beside an outlier might be lost
        low, high = flat.min(axis=-1, keepdims=True), flat.max(axis=-1, keepdims=True)
        flat = (flat - low) / (high - low + _EPSILON)
    if score == "information":
        values = jnp.where(kept, jnp.abs(jnp.log2(1 - flat + _EPSILON)), 0).sum(axis=-1)
    elif score == "entropy":
        logarithms = jnp.abs(jnp.log2(_EPSILON + flat)), jnp.abs(jnp.log2(_EPSILON + 1 - flat))
        values = jnp.where(kept, flat * logarithms[0] + (1 - flat) * logarithms[1], 0).sum(axis=-1)
    else:
        values = jax.vmap(functools.partial(_under, score, rule))(flat, kept)
    return jnp.where(jnp.isfinite(flat).all(axis=-1), values, jnp.nan).reshape(maps.shape[:-2])


def _under(score: str, rule: str, values: Float[Array, " n"], kept: Bool[Array, " n"]) -> Float[Array, ""]:
    """The area under precision or recall, or the average precision, of one map: its values are the thresholds."""
    order = jnp.argsort(values)
    values, kept = values[order], kept[order]
    first = jnp.searchsorted(values, values)  # of the pixels that reach the threshold of each: equal pixels share it
    reached = values.size - first
    found = jnp.cumsum(kept[::-1])[::-1][first]
    total = kept.sum()
    precision = found.astype(values.dtype) / reached.astype(values.dtype)
    if score == "average":
        return jnp.where(kept, precision, 0).sum() / jnp.maximum(total, 1).astype(values.dtype)
    curve = precision if score == "precision" else found.astype(values.dtype) / jnp.maximum(total, 1).astype(values.dtype)
    heights = (curve[:-1] + curve[1:]) / 2 if rule == "trapezoid" else curve[1:]
    return (jnp.diff(values) * heights).sum()
