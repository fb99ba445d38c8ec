"""Old names of arguments: they work for one version, with a warning, or the error says what they are called now."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

Renamed = TypeVar("Renamed", bound=Callable[..., Any])


def renamed(**names: str) -> Callable[[Renamed], Renamed]:
    """Accept the old names of keyword arguments, with a `DeprecationWarning`.

    Args:
      names: the new name of each old one; or, where there is no single new name, the sentence of the error.

    Returns:
      A decorator of functions and of dataclasses, outermost, where it also serves the old names of fields. Signatures
      show the new names only.

    Raises:
      TypeError: in the call, if an argument is given by both names, or by a name that has no single new one.

    Example:
      >>> @renamed(steps="num_steps", size="size is now height and width")
      ... def run(*, num_steps=50):
      ...     return num_steps
      >>> with warnings.catch_warnings(record=True) as caught:
      ...     warnings.simplefilter("always")
      ...     run(steps=3)
      3
      >>> print(caught[0].message)
      run: `steps` is now called `num_steps`; the old name works until the next version
      >>> run(size=3)
      Traceback (most recent call last):
      TypeError: run: size is now height and width
    """

    def decorate(callee: Renamed) -> Renamed:
        if not isinstance(callee, type):
            return _wrapped(callee, callee.__name__, names)
        target: Any = callee
        target.__init__ = _wrapped(target.__init__, target.__name__, names)
        for old, new in names.items():
            if new.isidentifier():
                setattr(target, old, property(functools.partial(_read, old, new)))
        return callee

    return decorate


def _wrapped(function: Any, title: str, names: dict[str, str]) -> Any:
    @functools.wraps(function)
    def with_old_names(*arguments: Any, **keywords: Any) -> Any:
        for old in names.keys() & keywords.keys():
            new = names[old]
            if not new.isidentifier():
                raise TypeError(f"{title}: {new}")
            if new in keywords:
                raise TypeError(f"{title}: `{old}` is now called `{new}`; pass only `{new}`")
            _warn(title, old, new)
            keywords[new] = keywords.pop(old)
        return function(*arguments, **keywords)

    return with_old_names


def _read(old: str, new: str, record: Any) -> Any:
    _warn(type(record).__name__, old, new)
    return getattr(record, new)


def _warn(title: str, old: str, new: str) -> None:
    message = f"{title}: `{old}` is now called `{new}`; the old name works until the next version"
    warnings.warn(message, DeprecationWarning, stacklevel=3)
