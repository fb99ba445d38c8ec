"""Names for the inner layers of Flax and Equinox models that give none."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax.ad_checkpoint import checkpoint_name

from extremal_jax.boundary.models import CONVERSIONS, other_framework


class SelfNamed:
    """A model that names its layers itself."""


def name_submodules(model: Any) -> Any:
    """A copy of a model that names the output of each submodule by the submodule's path, for `extremal_jax.graph`.

    The copy shares the arrays and has the same outputs. If a submodule returns several arrays, their names are `path.0`, `path.1`
    and so on.

    Args:
      model: a Flax NNX module; a Flax Linen module, for `functools.partial(named.apply, variables)`, or one that is bound to its
        variables; an Equinox module; or what `from_torch` or `from_keras` has made, which has its names already.

    Returns:
      An NNX or Equinox module of the same class name and fields; of a Linen module, an object with the same methods, whose
      `apply` names activations. What has its names is returned as it is.

    Raises:
      TypeError: for any other model.

    Example:
      >>> import jax.numpy as jnp
      >>> from extremal_jax.graph import activations
      >>> model = nnx.Sequential(nnx.Linear(3, 4, rngs=nnx.Rngs(0)), nnx.relu)
      >>> [(a.name, a.shape) for a in activations(name_submodules(model), jnp.ones((1, 3)))]
      [('layers.0', (1, 4))]
    """
    if isinstance(model, SelfNamed):
        return model
    if isinstance(model, nnx.Module):
        return _named_nnx(model)
    linen, equinox = sys.modules.get("flax.linen"), sys.modules.get("equinox")
    if linen is not None and isinstance(model, linen.Module):
        if model.scope is None:
            return NamedLinen(model)
        module, variables = model.unbind()
        return functools.partial(NamedLinen(module).apply, variables)
    if equinox is not None and isinstance(model, equinox.Module):
        return _named_equinox(model, "")
    framework = other_framework(model)
    advice = (
        f"{CONVERSIONS[framework]}, which names its layers"
        if framework
        else "in other models, name activations by jax.ad_checkpoint.checkpoint_name(x, name)"
    )
    kind = f"a module of {framework}" if framework else type(model).__name__
    raise TypeError(f"model must be a Flax NNX, Flax Linen or Equinox module, got {kind}; {advice}")


def name_array(value: Any, name: str) -> Any:
    """The same value; an array bears the name."""
    return checkpoint_name(value, name) if isinstance(value, jax.Array | np.ndarray) else value


def named_outputs(outputs: Any, path: str, name: Callable[[Any, str], Any] = name_array) -> Any:
    """The same outputs, in which each leaf is `name(leaf, its name)`: the path, with a number where there are several.

    Example:
      >>> named_outputs(("a", {"b": "c"}), "layer1", lambda leaf, name: f"{leaf} is {name}")
      ('a is layer1.0', {'b': 'c is layer1.1'})
    """
    leaves, structure = jax.tree.flatten(outputs)
    names = [path] if len(leaves) == 1 else [f"{path}.{index}" for index in range(len(leaves))]
    return jax.tree.unflatten(structure, map(name, leaves, names))


@functools.cache
def _naming(kind: Any, path: str) -> Any:
    """A subclass that names its outputs. The class holds the path, so that a module's fields stay as they are."""

    def call(self: Any, *arguments: Any, **options: Any) -> Any:
        return named_outputs(kind.__call__(self, *arguments, **options), path)

    def reduce(self: Any, protocol: Any) -> Any:
        function, _, *rest = kind.__reduce_ex__(self, max(protocol, 2))
        return _unpickled, (function, kind, path), *rest

    names = {"__call__": call, "__reduce_ex__": reduce, "__module__": kind.__module__, "__doc__": kind.__doc__}
    return type(kind)(kind.__name__, (kind,), names)


def _unpickled(function: Any, kind: Any, path: str) -> Any:
    return function(_naming(kind, path))


def _named_nnx(model: nnx.Module) -> nnx.Module:
    copied = nnx.merge(*nnx.split(model))
    module: Any
    for path, module in nnx.iter_modules(copied):
        if path and callable(module):
            kind: Any = type(module)
            object.__setattr__(module, "__class__", _naming(kind, ".".join(map(str, path))))
    return copied


@dataclasses.dataclass(frozen=True)
class NamedLinen:
    """A Linen module whose `apply` names the outputs of its submodules; everything else is the module's own."""

    module: Any

    def apply(self, variables: Any, *arguments: Any, **options: Any) -> Any:
        """As `flax.linen.Module.apply`, with names."""
        from flax import linen

        def name(call: Any, arguments: Any, options: Any, context: Any) -> Any:
            outputs, path = call(*arguments, **options), context.module.path
            return named_outputs(outputs, ".".join(path)) if path and context.method_name == "__call__" else outputs

        with linen.intercept_methods(name):
            return self.module.apply(variables, *arguments, **options)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # which copy and pickle look up before there is a module
            raise AttributeError(name)
        return getattr(self.module, name)


def _named_equinox(value: Any, path: str) -> Any:
    """A value in which each callable module names its outputs by its path."""
    from equinox import Module

    def inner(key: object, item: Any) -> Any:
        return _named_equinox(item, f"{path}.{key}" if path else str(key))

    kind: Any = type(value)
    if kind in (list, tuple):
        return kind(inner(index, item) for index, item in enumerate(value))
    if kind is dict:
        return {key: inner(key, item) for key, item in value.items()}
    if not isinstance(value, Module):
        return value
    copied = object.__new__(_naming(kind, path) if path and callable(value) else kind)
    for field, item in vars(value).items():
        object.__setattr__(copied, field, inner(field, item))
    return copied
