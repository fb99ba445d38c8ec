"""Baselines: what stands in for the parts of an input that are hidden, as callers give it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from extremal_jax.boundary.layouts import Layout
from extremal_jax.ground.checks import as_array, check_choice, values_of
from extremal_jax.ground.filters import along_axes, gaussian_blur
from extremal_jax.ground.pytrees import AnyArray
from extremal_jax.operators.perturbations import PastMean

_BLUR = 20 / 224  # the standard deviation of "blur", as a share of the shorter side
_KERNEL, _SIGMA = 11, 5.0  # of RISE's blur


def _blur(folded: Array, layout: Layout) -> Array:
    return gaussian_blur(folded, layout.lengths(_BLUR))


def _mean(folded: Array, layout: Layout) -> Array:
    smooth = [1 + place for place, along in enumerate(layout.smooth) if along]
    return jnp.broadcast_to(folded.mean(axis=smooth, keepdims=True), folded.shape)


def _past_mean(folded: Array, layout: Layout) -> Array:
    return PastMean().levels(folded)[:, 0]


def _rise_blur(folded: Array, layout: Layout) -> Array:
    return rise_blur(folded, tuple(1 + place for place, along in enumerate(layout.smooth) if along))


BASELINES: dict[str, Callable[[Array, Layout], Array]] = {
    "blur": _blur,  # by a Gaussian along the smooth axes
    "mean": _mean,  # along the smooth axes: a colour, or a level for each feature
    "past_mean": _past_mean,  # of the values up to each, along the first axis of masks
    "rise_blur": _rise_blur,
}


def substitute(name: str, value: Any, folded: Float[AnyArray, "N ... C"], layout: Layout) -> Float[AnyArray, "N ... C"]:
    """Make the inputs that stand in for hidden ones, in their layout.

    The value of the argument `name` must be finite, and of one of the forms that `fill` of `occlusion` may have.

    Example:
      >>> from extremal_jax.operators.axes import IMAGE
      >>> image = np.ones((1, 2, 2, 3), np.float32)
      >>> substitute("baseline", (0.0, 0.5, 1.0), image, Layout(IMAGE, (2, 2, 3)))[0, 0, 0].tolist()
      [0.0, 0.5, 1.0]
    """
    if isinstance(value, str):
        check_choice(name, value, BASELINES)
        return BASELINES[value](jnp.asarray(folded), layout)
    shape = len(folded), *layout.shape
    value = as_array(name, value)
    is_real = jnp.issubdtype(value.dtype, jnp.floating) or jnp.issubdtype(value.dtype, jnp.integer)
    if not is_real or value.shape not in ((), shape[-1:], shape[1:], shape):
        known = ", ".join(f'"{one}"' for one in BASELINES)
        raise ValueError(
            f"{name} must be a number, an array of the shape {shape[-1:]}, {shape[1:]} or {shape}, or one of {known},"
            f" got {value.dtype}{list(value.shape)}"
        )
    check_finite(name, value)
    return layout.fold(jnp.broadcast_to(jnp.asarray(value, jax.dtypes.canonicalize_dtype(folded.dtype)), shape))


def rise_blur(images: Float[AnyArray, "N ..."], axes: tuple[int, ...] = (1, 2)) -> Float[Array, "N ..."]:
    """Images blurred along axes by RISE's kernel: 11 pixels, σ 5, mirrored into them so that it sums to one. Beyond the
    border is nothing, so that the border darkens."""
    from scipy.ndimage import gaussian_filter1d

    kernel = gaussian_filter1d(np.eye(_KERNEL)[_KERNEL // 2], _SIGMA)

    def matrix(n: int) -> np.ndarray:
        return sum(weight * np.eye(n, k=k - _KERNEL // 2) for k, weight in enumerate(kernel))

    return along_axes(jnp.asarray(images), [(axis, matrix(images.shape[axis])) for axis in axes])


def check_finite(name: str, array: Any) -> None:
    """Raise a ValueError if an array, whose values are known, holds NaN or infinity."""
    values = values_of(array, np.float32)
    if values is not None and not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity")
