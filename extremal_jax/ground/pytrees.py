"""Frozen dataclasses that JAX sees as pytrees."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, TypeVar, dataclass_transform

import jax
import numpy as np

AnyArray = jax.Array | np.ndarray
Class = TypeVar("Class", bound=type)


@dataclass_transform(frozen_default=True)
def pytree(*, static: Iterable[str] = (), prints: bool = True) -> Callable[[Class], Class]:
    """Make a class a frozen dataclass and a pytree.

    `jax.tree_util.register_dataclass` calls the constructor whenever it puts an object together, also with the
    placeholders that transformations use in place of arrays. Here that passes the constructor by, so that it may check
    its arguments.

    Args:
      static: the fields that are part of the structure rather than children; they must be hashable.
      prints: whether the class prints all its fields; False: it inherits how it is printed.

    Example:
      >>> @pytree(static=("name",))
      ... class Point:
      ...     x: float
      ...     name: str
      >>> jax.tree.map(lambda x: 2 * x, Point(1.5, "p"))
      Point(x=3.0, name='p')
    """
    static = tuple(static)

    def decorate(cls: Class) -> Class:
        dataclasses.dataclass(frozen=True, repr=prints)(cls)
        children = tuple(field.name for field in dataclasses.fields(cls) if field.name not in static)

        def flatten(self: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
            keyed = tuple((jax.tree_util.GetAttrKey(name), getattr(self, name)) for name in children)
            return keyed, tuple(getattr(self, name) for name in static)

        def unflatten(structure: tuple[Any, ...], values: Iterable[Any]) -> Any:
            self: Any = object.__new__(cls)
            for name, value in zip((*children, *static), (*values, *structure), strict=True):
                object.__setattr__(self, name, value)
            return self

        jax.tree_util.register_pytree_with_keys(cls, flatten, unflatten)
        return cls

    return decorate
