"""The record by which a module declares a method of attribution."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

from jax import Array


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
        return frozenset(name for name, parameter in self._parameters.items() if parameter.kind is parameter.KEYWORD_ONLY)

    @property
    def needs(self) -> frozenset[str]:
        """The names of the options that must be given."""
        return frozenset(name for name in self.options if self._parameters[name].default is inspect.Parameter.empty)

    @property
    def layers(self) -> bool:
        """Whether the method makes maps of layers."""
        return "at" in self.options

    @property
    def _parameters(self) -> dict[str, inspect.Parameter]:
        return dict(inspect.signature(self.function).parameters)
