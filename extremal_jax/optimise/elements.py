"""Elements: the N K masks of N images and K areas, along one leading axis, image by image."""

from __future__ import annotations

import math
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


@dataclass(frozen=True)
class Chunks:
    """The elements in chunks, of which each takes as many from every block of consecutive elements.

    Where images are sharded, a device has some of the blocks, and computes its own part of every chunk. The blocks are
    as many as divide the elements, the chunk and the devices, so a mesh whose size divides all three holds whole blocks.
    With one device, chunks are of consecutive elements, which read the fewest images.

    Example:
      >>> chunks = Chunks(12, 4, 4)
      >>> [chunks.elements(position).tolist() for position in chunks.positions()]
      [[[0], [3], [6], [9]], [[1], [4], [7], [10]], [[2], [5], [8], [11]]]
      >>> chunks = Chunks(5, 3, 4)
      >>> [chunks.elements(position).tolist() for position in chunks.positions()]
      [[[0, 1, 2]], [[3, 4, 4]]]
    """

    count: int  # E
    size: int  # of a chunk, less than E
    devices: int  # of all, whether or not the elements are sharded, which a trace cannot see

    @property
    def blocks(self) -> int:
        return math.gcd(self.count, self.size, self.devices)

    def positions(self) -> Array:
        """(chunks, size / blocks): the places in a block that each chunk takes, the last one again where there are no more."""
        length, each = self.count // self.blocks, self.size // self.blocks
        return jnp.minimum(jnp.arange(-(-length // each) * each), length - 1).reshape(-1, each)

    def elements(self, positions: Array) -> Array:
        """(blocks, size / blocks): the elements at some places of every block."""
        return jnp.arange(self.blocks)[:, None] * (self.count // self.blocks) + positions[None]

    def joined(self, values: Array) -> Array:
        """(chunks, size, ...) -> (E, ...)."""
        inner = values.shape[2:]
        blocks = jnp.moveaxis(values.reshape(len(values), self.blocks, -1, *inner), 0, 1).reshape(self.blocks, -1, *inner)
        return blocks[:, : self.count // self.blocks].reshape(self.count, *inner)


def take(values: Array, elements: Array | None) -> Array:
    """The values (R, ...) of some elements, or of all; or of their images, where values and elements are numbered by image.

    Args:
      values: (E, ...), or (N, ...).
      elements: (R,), any; or (blocks, R / blocks), those of `Chunks`, at the same places of every block, so that no
        value leaves its block; or None for all.

    Example:
      >>> values = jnp.arange(6) * 10
      >>> take(values, jnp.array([4, 4, 1])).tolist(), take(values, jnp.array([[1], [4]])).tolist()
      ([40, 40, 10], [10, 40])
    """
    if elements is None:
        return values
    if elements.ndim == 1 or len(elements) == 1:
        return values[elements.reshape(-1)]
    blocks = math.gcd(len(values), len(elements))  # fewer and longer where an image has several
    places = elements.reshape(blocks, -1)[0]
    return values.reshape(blocks, -1, *values.shape[1:])[:, places].reshape(-1, *values.shape[1:])
