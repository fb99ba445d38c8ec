"""Sums over many evaluations of a model, so many at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from extremal_jax.graph.varying import varying_alike


def chunk_length(name: str, count: Any, chunk_size: Any) -> int:
    """How many of `count` elements are evaluated at a time: at most `chunk_size`, in chunks of one length with as few left over as can be.

    Args:
      name: of the argument that gave the count.
      count: at least 1.
      chunk_size: at least 1, or None for all.

    Raises:
      ValueError: if either is less.

    Example:
      >>> chunk_length("num_masks", 40, 32)
      20
    """
    for argument, value in ((name, count), ("chunk_size", chunk_size)):
        if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ValueError(f"{argument} must be a whole number of at least 1, got {value!r}")
    return count if chunk_size is None else math.ceil(count / math.ceil(count / chunk_size))


def sum_in_chunks(function: Callable[[Array, Array], Any], count: int, length: int, alike: Any) -> Any:
    """The sum over elements 0, 1, ..., count - 1 of a function.

    Args:
      function: of elements (length,) and whether each counts (length,), bool; it gives the sum over those that count, a pytree.
      count: how many elements there are.
      length: how many are evaluated at a time.
      alike: what the sums vary over the devices of a mesh like.

    Example:
      >>> import jax.numpy as jnp
      >>> int(sum_in_chunks(lambda elements, counts: (elements * counts).sum(), 5, 2, None))
      10
    """
    elements = jnp.arange(math.ceil(count / length) * length).reshape(-1, length)
    if len(elements) == 1:
        return function(elements[0], elements[0] < count)

    def turn(total: Any, elements: Array) -> tuple[Any, None]:
        chunk = function(jnp.minimum(elements, count - 1), elements < count)
        return jax.tree.map(jnp.add, total, chunk), None

    shapes = jax.eval_shape(function, elements[0], elements[0] < count)
    nothing, _ = varying_alike(jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes), alike)
    return lax.scan(turn, nothing, elements)[0]
