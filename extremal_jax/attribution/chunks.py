"""Sums over many evaluations of a model, a chunk at a time."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from extremal_jax.graph.varying import varying_alike


def chunk_length(name: str, count: Any, chunk_size: Any, usual: int) -> int:
    """Choose how many of `count` elements to evaluate at a time: chunks of one length, with few elements left over.

    Args:
      name: of the argument that gives the count.
      count: at least 1.
      chunk_size: the most elements of a chunk, at least 1; None for the usual size.
      usual: that size.

    Raises:
      ValueError: if either is less.

    Example:
      >>> chunk_length("num_masks", 40, None, usual=32)
      20
    """
    chunk_size = usual if chunk_size is None else chunk_size
    for argument, value in ((name, count), ("chunk_size", chunk_size)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{argument} must be a whole number of at least 1, got {value!r}")
    return math.ceil(count / math.ceil(count / chunk_size))


def sum_in_chunks(function: Callable[[Array, Array], Any], count: int, length: int, alike: Any) -> Any:
    """Sum a function over the elements 0, 1, ..., count - 1.

    Args:
      function: of elements (length,) and of whether each counts (length,), bool; returns the sum over those that
        count, a pytree.
      count: the number of elements.
      length: the number of elements at a time.
      alike: arrays; the sums vary over the axes of a device mesh as these do.

    Example:
      >>> import jax.numpy as jnp
      >>> int(sum_in_chunks(lambda elements, counts: (elements * counts).sum(), 5, 2, None))
      10
    """
    elements = jnp.arange(math.ceil(count / length) * length, dtype=jnp.int32).reshape(-1, length)
    if len(elements) == 1:
        return function(elements[0], elements[0] < count)

    def add_chunk(total: Any, elements: Array) -> tuple[Any, None]:
        chunk = function(jnp.minimum(elements, count - 1), elements < count)
        return jax.tree.map(jnp.add, total, chunk), None

    shapes = jax.eval_shape(function, elements[0], elements[0] < count)
    zeros, _ = varying_alike(jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes), alike)
    return lax.scan(add_chunk, zeros, elements)[0]
