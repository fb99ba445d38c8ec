"""Old names of arguments: they keep working for one version, with a warning, or say what they are called now."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

Callee = TypeVar("Callee", bound=Callable[..., Any])


def renamed(**names: str) -> Callable[[Callee], Callee]:
    """Let a function or a dataclass accept the old names of its keyword arguments.

    Args:
      names: the new name of each old one; or, where there is no single new name, a sentence for the error.

    Example:
      >>> @renamed(steps="num_steps", size="size is now height and width")
      ... def run(*, num_steps):
      ...     return num_steps
      >>> with warnings.catch_warnings(record=True) as caught:
      ...     warnings.simplefilter("always")
      ...     run(steps=3), str(caught[0].message)
      (3, 'run: steps is now called num_steps')
      >>> run(size=3)
      Traceback (most recent call last):
      TypeError: run: size is now height and width
    """

    def decorate(callee: Callee) -> Callee:
        target: Any = vars(callee)["__init__"] if isinstance(callee, type) else callee

        @functools.wraps(target)
        def call(*arguments: Any, **keywords: Any) -> Any:
            for old in keywords.keys() & names.keys():
                new = names[old]
                if not new.isidentifier():
                    raise TypeError(f"{callee.__name__}: {new}")
                warnings.warn(f"{callee.__name__}: {old} is now called {new}", DeprecationWarning, stacklevel=2)
                keywords.setdefault(new, keywords.pop(old))
            return target(*arguments, **keywords)

        if not isinstance(callee, type):
            return call  # type: ignore[return-value]
        callee.__init__ = call  # type: ignore[misc]
        for old, new in names.items():
            if new.isidentifier():
                setattr(callee, old, property(functools.partial(_read, old, new)))
        return callee

    return decorate


def _read(old: str, new: str, record: Any) -> Any:
    warnings.warn(f"{type(record).__name__}.{old} is now called {new}", DeprecationWarning, stacklevel=2)
    return getattr(record, new)
