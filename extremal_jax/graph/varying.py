"""Arrays under `shard_map`: over which axes of the device mesh one varies is part of its type.

What goes round a loop must keep its type, and the operands of one primitive must agree; `jax.numpy` sees to the latter, a jaxpr that was
traced elsewhere does not.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.core import Tracer


def varying_alike(*trees: Any) -> Any:
    """The same trees of arrays, each array (other leaves are left alone) varying over all axes that any of them varies over. Outside
    `shard_map`, the very same.

    Example:
      >>> import jax.numpy as jnp
      >>> varying_alike(jnp.ones(2), [jnp.zeros(1)])
      (Array([1., 1.], dtype=float32), [Array([0.], dtype=float32)])
    """
    axes = frozenset[Any]().union(*(_axes(leaf) for leaf in jax.tree.leaves(trees)))
    if not axes:
        return trees
    return jax.tree.map(lambda leaf: lax.pcast(leaf, tuple(axes - _axes(leaf)), to="varying") if hasattr(leaf, "dtype") else leaf, trees)


def like(shape: jax.ShapeDtypeStruct, array: Any) -> jax.ShapeDtypeStruct | Array:
    """An example of a shape that varies as an array does: the shape itself, or under `shard_map` an array of zeros."""
    if not _axes(array):
        return shape
    zeros, _ = varying_alike(jnp.zeros(shape.shape, shape.dtype), array)
    return zeros


def _axes(leaf: Any) -> frozenset[Any]:
    return jax.typeof(leaf).manual_axis_type.varying if isinstance(leaf, Tracer) else frozenset()
