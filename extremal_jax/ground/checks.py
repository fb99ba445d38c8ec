"""Sentences for mistakes at the boundary: what was expected, what came, what to try."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


def nearest(name: object, options: Iterable[str]) -> str:
    """A suggestion for a name that is not among the options, or all of them when none is near.

    Example:
      >>> nearest("preserv", ["preserve", "delete"])
      "did you mean 'preserve'?"
      >>> nearest("x", ["preserve", "delete"])
      "choose from 'preserve', 'delete'"
    """
    options = list(options)
    near = difflib.get_close_matches(str(name), options, n=3)
    if near:
        return "did you mean " + " or ".join(map(repr, near)) + "?"
    return "choose from " + ", ".join(map(repr, options[:30])) + (", ..." if len(options) > 30 else "")


def check_choice(argument: str, value: object, options: Iterable[str]) -> None:
    """Raise a ValueError unless the value is one of the options.

    Example:
      >>> check_choice("game", "play", ["preserve", "delete"])
      Traceback (most recent call last):
      ValueError: game must be one of 'preserve', 'delete', got 'play'
    """
    options = list(options)
    if value not in options:
        near = difflib.get_close_matches(str(value), options, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{argument} must be one of {', '.join(map(repr, options))}, got {value!r}{hint}")


def check_key(key: Any) -> Array:
    """A key of random numbers: the one that is given, or `jax.random.key(0)` for None.

    Raises:
      TypeError: if it is no key of JAX's.
    """
    if key is None:
        return jax.random.key(0)
    dtype, rank = getattr(key, "dtype", None), getattr(key, "ndim", None)
    if dtype is None or (0 if jnp.issubdtype(dtype, jax.dtypes.prng_key) else 1 if dtype == np.uint32 else None) != rank:
        raise TypeError(f"key must be one of JAX's keys, such as jax.random.key(0), got {key!r}")
    return key
