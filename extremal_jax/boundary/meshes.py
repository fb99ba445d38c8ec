"""Arrays of a mesh whose axes are explicit: the library leaves the layout to the compiler, and gives results back as they came."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import jax
from jax.core import Tracer
from jax.sharding import AxisType, Mesh, NamedSharding

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def laid_out_automatically(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let a function run where its arguments lie on a mesh with explicit axes.

    Under `AxisType.Explicit`, the layout of an array is part of its type, and every operation must be told the layout of
    its result. The function instead gets the same arrays on a mesh of the same devices with automatic axes, whose layouts
    the compiler propagates, and the arrays of its result return to the mesh that they came from. Nothing is copied.
    """

    @functools.wraps(function)
    def called(*arguments: Arguments.args, **keywords: Arguments.kwargs) -> Result:
        mesh = next(filter(None, map(_explicit, jax.tree.leaves((arguments, keywords)))), None)
        if mesh is None:
            return function(*arguments, **keywords)
        automatic = Mesh(mesh.devices, mesh.axis_names, axis_types=(AxisType.Auto,) * len(mesh.axis_names))
        arguments, keywords = _moved((arguments, keywords), mesh, automatic)
        with jax.set_mesh(automatic):
            result = function(*arguments, **keywords)
        return _moved(result, automatic, mesh)

    return called


def _explicit(leaf: Any) -> Mesh | None:
    """The mesh of an array, if it has an explicit axis."""
    if not isinstance(leaf, jax.Array) or isinstance(leaf, Tracer) or not isinstance(leaf.sharding, NamedSharding):
        return None
    mesh = leaf.sharding.mesh
    return mesh if isinstance(mesh, Mesh) and AxisType.Explicit in mesh.axis_types else None


def _moved(tree: Any, old: Mesh, new: Mesh) -> Any:
    """A tree whose arrays on one mesh lie on another of the same devices."""

    def moved(leaf: Any) -> Any:
        on_mesh = isinstance(leaf, jax.Array) and isinstance(leaf.sharding, NamedSharding) and leaf.sharding.mesh == old
        return jax.device_put(leaf, NamedSharding(new, leaf.sharding.spec)) if on_mesh else leaf

    return jax.tree.map(moved, tree)
