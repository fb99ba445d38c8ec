"""Keyword arguments that have a new name: the old one works for one version."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

Renamed = TypeVar("Renamed", bound=Callable[..., Any])


def renamed(**names: str) -> Callable[[Renamed], Renamed]:
    """Accept the old names of keyword arguments, with a `DeprecationWarning`.

    Args:
      names: the new name by the old one.

    Returns:
      A decorator of functions and of dataclasses, outermost. Signatures show the new names only.

    Raises:
      TypeError: in the call, if an argument is given by both names.

    Example:
      >>> @renamed(steps="num_steps")
      ... def run(*, num_steps=50):
      ...     return num_steps
      >>> import warnings
      >>> with warnings.catch_warnings(record=True) as caught:
      ...     warnings.simplefilter("always")
      ...     run(steps=3)
      3
      >>> print(caught[0].message)
      run: `steps` is now called `num_steps`; the old name works until the next version
    """

    def decorate(function: Renamed) -> Renamed:
        if inspect.isclass(function):
            function.__init__ = _wrapped(function.__init__, function.__name__, names)  # type: ignore[method-assign]
            return function
        return _wrapped(function, function.__name__, names)

    return decorate


def _wrapped(function: Any, title: str, names: dict[str, str]) -> Any:
    @functools.wraps(function)
    def with_old_names(*arguments: Any, **keywords: Any) -> Any:
        for old in names.keys() & keywords.keys():
            new = names[old]
            if new in keywords:
                raise TypeError(f"{title}: `{old}` is now called `{new}`; pass only `{new}`")
            message = f"{title}: `{old}` is now called `{new}`; the old name works until the next version"
            warnings.warn(message, DeprecationWarning, stacklevel=2)
            keywords[new] = keywords.pop(old)
        return function(*arguments, **keywords)

    return with_old_names
