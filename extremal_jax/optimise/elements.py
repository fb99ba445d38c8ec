"""Elements: the N K masks of N images and K areas, along one leading axis, image by image."""

from __future__ import annotations

from dataclasses import dataclass

import jax.numpy as jnp
from jax import Array


@dataclass(frozen=True)
class Elements:
    """How elements belong to images and areas.

    Example:
      >>> Elements(2, 3).by_image(jnp.zeros(6)).shape, Elements(None, 3).path(jnp.zeros((50, 3))).shape
      ((2, 3), (50, 3))
    """

    count: int | None  # N, or None for a single image, whose results have no axis of images
    num_areas: int  # K

    def by_image(self, values: Array) -> Array:
        """(E, ...) -> (N, K, ...), or (K, ...)."""
        return values.reshape(*self._lead, self.num_areas, *values.shape[1:])

    def path(self, values: Array) -> Array:
        """(T, E) -> (N, T, K), or (T, K)."""
        return jnp.moveaxis(values.reshape(-1, *self._lead, self.num_areas), 0, -2)

    @property
    def _lead(self) -> tuple[int, ...]:
        return () if self.count is None else (self.count,)


def take(values: Array, elements: Array | None) -> Array:
    """The values of some elements, or of all."""
    return values if elements is None else values[elements]
