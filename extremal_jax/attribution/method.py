"""The record by which a module declares a method of attribution, and the table of all of them.

To add a method, write its module, which declares a `Method` in a tuple `METHODS`, and its page in docs/methods.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable
from dataclasses import dataclass

from jax import Array

_FIRST = "extremal_saliency"


@dataclass(frozen=True)
class Method:
    """A method of attribution.

    Attributes:
      name: the key in `METHODS`, the name on the command line, and the name of its page in docs/methods.
      description: the map in one line.
      function: of (model, images, targets), and options by keyword; returns (N, h, w), or (h, w) for a single image.
      signed: whether negative values of a map are evidence against the target.
      needs_gradient: whether the model must be differentiable.
    """

    name: str
    description: str
    function: Callable[..., Array]
    signed: bool = False
    needs_gradient: bool = True

    @property
    def options(self) -> frozenset[str]:
        """The names of the options that the function takes: `at`, `key`, `chunk_size` and so on."""
        parameters = inspect.signature(self.function).parameters
        return frozenset(name for name, parameter in parameters.items() if parameter.kind is parameter.KEYWORD_ONLY)

    @property
    def needs(self) -> frozenset[str]:
        """The names of the options that must be given."""
        parameters = inspect.signature(self.function).parameters
        return frozenset(name for name in self.options if parameters[name].default is inspect.Parameter.empty)

    @property
    def layers(self) -> bool:
        """Whether the method makes maps of layers."""
        return "at" in self.options


def collect() -> dict[str, Method]:
    """Find the methods of all modules of this folder: extremal perturbation first, then the others by module.

    Raises:
      ValueError: if two methods have one name.
    """
    folder = sys.modules[__package__ or ""].__path__
    found: dict[str, Method] = {}
    for name in sorted((module.name for module in pkgutil.iter_modules(folder)), key=lambda name: (name != _FIRST, name)):
        for method in getattr(importlib.import_module(f"{__package__}.{name}"), "METHODS", ()):
            if method.name in found:
                raise ValueError(f"two methods of attribution are called {method.name!r}")
            found[method.name] = method
    return found
