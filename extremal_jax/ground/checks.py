"""Checks of what callers give, and the sentences of their errors: what was expected, what came, what to try."""

from __future__ import annotations

import difflib
import math
import numbers
from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

Record = TypeVar("Record")


def nearest(name: object, options: Iterable[str]) -> str:
    """A suggestion for a name that is not among the options, or all of them if none is near.

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
      >>> check_choice("padding", "edges", ["edge", "zeros"])
      Traceback (most recent call last):
      ValueError: padding must be one of 'edge', 'zeros', got 'edges'; did you mean 'edge'?
    """
    options = list(options)
    if not isinstance(value, str) or value not in options:
        near = difflib.get_close_matches(str(value), options, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"{argument} must be one of {', '.join(map(repr, options))}, got {value!r}{hint}")


def find(argument: str, value: object, table: Mapping[str, Record], kind: type[Record]) -> Record:
    """The record that a caller names, a key of the table, or gives: a record of their own."""
    if isinstance(value, Forgotten) or isinstance(value, kind):  # noqa: SIM101 (a protocol would read attributes of the first)
        return value  # type: ignore[return-value]
    check_choice(argument, value, table)
    return table[value]  # type: ignore[index]


class Forgotten:
    """A stand-in for a function or a record that a file names but cannot hold. Using it is an error that says so."""

    def __init__(self, field: str, name: str) -> None:
        self.__field, self.__name__ = field, name

    def __call__(self, *_: Any) -> Any:
        raise ValueError(
            f"the {self.__field} of the saved run ({self.__name__}) is not in its file; set it again, with dataclasses.replace"
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self()


def is_number(value: object) -> bool:
    """Whether a value is a real number; a truth value is not."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def is_positive(value: object) -> bool:
    """Whether a value is one positive, finite number; an array without axes counts as a number."""
    number = np.asarray(value)
    return number.ndim == 0 and number.dtype.kind in "fiu" and bool(0 < number < math.inf)


def check_count(name: str, value: object, least: int) -> None:
    """Raise a ValueError unless a value is a whole number of at least `least`."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number, at least {least}, got {value!r}")


def check_shard(value: Any) -> None:
    """Raise a ValueError unless a value is (index, count) with an index from 1 to the count."""
    pair = value if isinstance(value, tuple | list) and len(value) == 2 else (0, 0)
    if not (all(isinstance(part, numbers.Integral) for part in pair) and 1 <= pair[0] <= pair[1]):
        raise ValueError(f"shard must be (index, count) with the index from 1 to the count, got {value!r}")


def check_positive(name: str, value: Any, unit: str = "") -> None:
    """Raise a ValueError unless a value is a positive, finite number."""
    if not is_number(value) or not 0 < value < math.inf:
        raise ValueError(f"{name} must be a positive number{unit}, got {value!r}")


def check_not_negative(name: str, value: Any, unit: str = "") -> None:
    """Raise a ValueError unless a value is zero or a positive, finite number."""
    if not is_number(value) or not 0 <= value < math.inf:
        raise ValueError(f"{name} must be zero or a positive number{unit}, got {value!r}")


def check_share(name: str, value: Any, of: str) -> None:
    """Raise a ValueError unless a value is a number from 0 to 1."""
    if not is_number(value) or not 0 <= value <= 1:
        raise ValueError(f"{name} must be a share of {of}, from 0 to 1, got {value!r}")


def check_flag(name: str, value: object) -> None:
    """Raise a TypeError unless a value is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")


def check_chunk_size(value: object) -> None:
    """Raise a ValueError unless a value is a positive whole number or None."""
    if value is not None:
        check_count("chunk_size", value, 1)


def check_key(key: Any) -> Array:
    """The random key that a caller gives, or `jax.random.key(0)` for None."""
    if key is None:
        return jax.random.key(0)
    dtype, rank = getattr(key, "dtype", None), getattr(key, "ndim", None)
    if dtype is None or (0 if jnp.issubdtype(dtype, jax.dtypes.prng_key) else 1 if dtype == np.uint32 else None) != rank:
        raise TypeError(f"key must be one of JAX's keys, such as jax.random.key(0), got {key!r}")
    return key


def as_array(name: str, value: Any) -> Array | np.ndarray:
    """The array that a caller gives: a JAX or NumPy array as it is, anything else converted.

    Tensors of other libraries are converted through `__array__` or DLPack, after they are detached from their own
    gradients.

    Example:
      >>> as_array("images", [[1.0, 2.0]]).shape
      (1, 2)
    """
    if isinstance(value, np.ma.MaskedArray):
        if np.ma.is_masked(value):
            raise TypeError(f"{name} must not be a masked array with missing values; fill them, as in {name}.filled(0)")
        return value.data
    if isinstance(value, np.ndarray) and not value.dtype.isnative:
        value = value.astype(value.dtype.newbyteorder("="))
    if isinstance(value, Array | Tracer) or (isinstance(value, np.ndarray) and value.dtype.kind not in "OSU"):
        return value
    if isinstance(value, list | tuple) or (isinstance(value, np.ndarray) and value.ndim):
        value = [as_array(name, part) if is_array(part) else part for part in value]
        shapes = {_shape(part) for part in value}
        if len(shapes) > 1:
            hint = "; resize them first" if max(map(len, shapes)) > 1 else ""
            raise ValueError(f"{name} must have one shape, got a sequence of {', '.join(map(str, sorted(shapes)))}{hint}")
    value = value.detach() if hasattr(value, "detach") else value
    value = value.cpu() if hasattr(value, "cpu") else value
    try:
        array = np.asarray(value)
        if array.dtype == object and hasattr(value, "__dlpack__"):
            return jnp.from_dlpack(value)
    except ValueError as error:
        raise ValueError(f"{name} must have one shape, got a ragged sequence ({error})") from error
    except Exception as error:
        try:
            return jnp.from_dlpack(value)
        except Exception:
            raise TypeError(f"{name} must be an array of numbers, got {type(value).__name__} ({error})") from error
    if array.dtype.kind in "OSU":
        raise TypeError(f"{name} must be an array of numbers, got {value!r}")
    return array


def is_array(value: object) -> bool:
    """Whether a value is an array, or a tensor of another library; a NumPy scalar, which may be text, is not."""
    return not isinstance(value, np.generic) and (hasattr(value, "__array__") or hasattr(value, "__dlpack__"))


def _shape(value: Any) -> tuple[int, ...]:
    """The shape of an array or of nested lists; of ragged lists, as far as it goes."""
    try:
        return np.shape(value)
    except ValueError:
        return (len(value),)


def values_of(array: Any, dtype: Any = None) -> np.ndarray | None:
    """The values of an array where they are known: None under a trace."""
    return None if isinstance(array, Tracer) else np.asarray(array, dtype)


def quoted(names: Collection[object]) -> str:
    """Names in quotes, with commas between them."""
    return ", ".join(map(repr, names))
