"""Arrays under `shard_map`: the axes of the device mesh over which an array varies are part of its type.

The carry of a loop must keep its type, and the operands of a primitive must agree. `jax.numpy` makes operands agree;
a jaxpr that was traced elsewhere does not.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.core import Tracer


def varying_alike(*trees: Any) -> Any:
    """Make all arrays in trees vary over every axis that any of them varies over; outside `shard_map`, change nothing.

    Leaves that are no arrays stay as they are.

    Example:
      >>> varying_alike(jnp.ones(2), [jnp.zeros(1)])
      (Array([1., 1.], dtype=float32), [Array([0.], dtype=float32)])
    """
    axes = frozenset[Any]().union(*(_axes(leaf) for leaf in jax.tree.leaves(trees)))
    if not axes:
        return trees
    return jax.tree.map(lambda leaf: lax.pcast(leaf, tuple(axes - _axes(leaf)), to="varying") if hasattr(leaf, "dtype") else leaf, trees)


def like(shape: jax.ShapeDtypeStruct, array: Any) -> jax.ShapeDtypeStruct | Array:
    """An example of a shape that varies like an array: the shape itself, or under `shard_map` an array of zeros. NumPy's
    float64 is float32 where JAX has no float64."""
    shape = jax.ShapeDtypeStruct(shape.shape, jax.dtypes.canonicalize_dtype(shape.dtype))
    if not _axes(array):
        return shape
    zeros, _ = varying_alike(jnp.zeros(shape.shape, shape.dtype), array)
    return zeros


def _axes(leaf: Any) -> frozenset[Any]:
    return jax.typeof(leaf).manual_axis_type.varying if isinstance(leaf, Tracer) else frozenset()
