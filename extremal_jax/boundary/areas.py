"""Areas, checked: shares of an image, or numbers of channels. Under a trace, shapes are checked, and bad shares become NaN."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from extremal_jax.ground.checks import as_array, values_of
from extremal_jax.ground.pytrees import AnyArray

USUAL_AREAS = (0.025, 0.05, 0.1, 0.2)  # of saliency maps, as in TorchRay's pointing game


def check_areas(areas: Any, count: int | None) -> AnyArray:
    """Areas as a float32 array in (0, 1], (K,) or, for a batch of `count` images, (N, K)."""
    areas = _numbers(areas, count, "numbers in (0, 1], such as (0.05, 0.1)", "area")
    values = values_of(areas, np.float64)
    if values is not None:
        bad = values[~((values > 0) & (values <= 1))]
        if bad.size:
            raise ValueError(f"areas must be shares of the image in (0, 1], got {bad.flat[0]:g}; 5 % is 0.05")
        return areas.astype(np.float32)
    return jnp.where((areas > 0) & (areas <= 1), areas, jnp.nan).astype(np.float32)  # which the status of a run tells of


def num_areas(areas: Any) -> int:
    """K, of areas that are still to be checked; 1 where they are not numbers."""
    try:
        shape = np.shape(areas)
    except ValueError:
        return 1
    return max(1, shape[-1]) if shape else 1


def check_cells(areas: AnyArray, num_places: int, cell: int) -> None:
    """Raise a ValueError if an area is smaller than a cell of the lattice, of so many places."""
    values = values_of(areas, np.float64)
    if values is not None and np.rint(values.min() * num_places) < cell:
        raise ValueError(
            f"areas must be at least a cell of the lattice, {cell} of the {num_places} places or {cell / num_places:.2g}, got"
            f" {values.min():g}; give a larger area, or a smaller pitch"
        )


def check_pixels(areas: AnyArray, num_pixels: int) -> None:
    """Raise a ValueError if an area rounds to no pixel at all."""
    values = values_of(areas, np.float64)
    if values is not None and np.rint(values.min() * num_pixels) < 1:
        raise ValueError(f"areas must be at least a pixel, {1 / num_pixels:.2g} of the {num_pixels} pixels, got {values.min():g}")


def check_counts(areas: Any, count: int | None, channels: int, name: str = "areas") -> AnyArray:
    """Numbers of channels from 1 to C as an int32 array, (K,) or (N, K). Shares below 1 are rounded to whole channels,
    at least one.

    Example:
      >>> check_counts((1, 5, 0.5), None, 12).tolist()
      [1, 5, 6]
    """
    areas = _numbers(areas, count, "numbers of channels, such as (1, 5, 25)", "count", name)
    values = values_of(areas, np.float64)
    if values is not None:
        areas = values
        bad = areas[~((areas > 0) & (areas <= channels) & ((areas < 1) | (areas == np.round(areas))))]
        if bad.size:
            raise ValueError(
                f"{name} must be whole numbers of channels, from 1 to the layer's {channels}, or shares of them between 0 and 1, got"
                f" {bad.flat[0]:g}"
            )
    xp: Any = jnp if isinstance(areas, Tracer) else np
    return xp.where(areas < 1, xp.maximum(1, xp.round(areas * channels)), areas).astype(np.int32)


def _numbers(areas: Any, count: int | None, expected: str, one: str, name: str = "areas") -> AnyArray:
    """Numbers of the shape (K,) or (N, K)."""
    if not isinstance(areas, Array):
        wrong = TypeError(f"{name} must be {expected}, got {areas!r}")
        try:
            areas = as_array(name, areas)
        except TypeError as error:
            raise wrong from error
        if areas.dtype.kind in "bc":
            raise wrong
        areas = np.asarray(areas, np.float64)
    areas = areas.reshape(1) if areas.ndim == 0 else areas
    if areas.ndim not in ((1,) if count is None else (1, 2)) or areas.size == 0 or (areas.ndim == 2 and areas.shape[0] != count):
        shapes = "(K,)" if count is None else f"(K,) or ({count}, K)"
        raise ValueError(f"{name} must have the shape {shapes}, with at least one {one}, got {areas.shape}")
    return areas
