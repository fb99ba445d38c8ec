"""Names for the inner layers of Flax NNX models that give none."""

from __future__ import annotations

import functools
from typing import Any, TypeVar

import jax
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

Module = TypeVar("Module", bound=nnx.Module)


def name_submodules(model: Module) -> Module:
    """A copy of a model in which the output of each submodule bears the submodule's path as its name, for `extremal_jax.graph`.

    The arrays are shared, the model is left as it is.

    Args:
      model: any Flax NNX module. A submodule whose output is not one array but several gives them the names `path.0`, `path.1` and so on.

    Returns:
      A module of the same class and outputs.

    Example:
      >>> import jax.numpy as jnp
      >>> from extremal_jax.graph import activations
      >>> model = nnx.Sequential(nnx.Linear(3, 4, rngs=nnx.Rngs(0)), nnx.relu)
      >>> [(a.name, a.shape) for a in activations(name_submodules(model), jnp.ones((1, 3)))]
      [('layers.0', (1, 4))]
    """
    if not isinstance(model, nnx.Module):
        raise TypeError(
            f"model must be a Flax NNX module, got {type(model).__name__}; name activations by jax.ad_checkpoint.checkpoint_name"
        )
    copy = nnx.merge(*nnx.split(model))
    module: Any
    for path, module in nnx.iter_modules(copy):
        if path and callable(module):
            module.activation_name = ".".join(map(str, path))
            kind: Any = type(module)
            object.__setattr__(module, "__class__", _naming(kind))
    return copy


@functools.cache
def _naming(kind: type[nnx.Module]) -> type[nnx.Module]:
    """A subclass that names its outputs. One for each class, so that equal models stay equal."""

    def call(self: Any, *arguments: Any, **options: Any) -> Any:
        leaves, structure = jax.tree.flatten(kind.__call__(self, *arguments, **options))
        names = [self.activation_name] if len(leaves) == 1 else [f"{self.activation_name}.{index}" for index in range(len(leaves))]
        return jax.tree.unflatten(structure, map(checkpoint_name, leaves, names))

    return type(kind.__name__, (kind,), {"__call__": call, "__module__": kind.__module__, "__doc__": kind.__doc__})
