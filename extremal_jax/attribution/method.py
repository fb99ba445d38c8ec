"""The record by which a module declares a method of attribution, and the table of all of them.

To add a method, write its module, which declares a `Method` in a tuple `METHODS`, and its page in docs/methods.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from jax import Array

from extremal_jax.boundary.axes import find_axes
from extremal_jax.boundary.models import Model
from extremal_jax.graph.activations import Activation
from extremal_jax.operators.axes import IMAGE, names

OfImages = TypeVar("OfImages", bound=Callable[..., Array])
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
      all_classes: whether the function makes maps of all classes from the same evaluations of the model, with None for the
        targets.
    """

    name: str
    description: str
    function: Callable[..., Array]
    signed: bool = False
    needs_gradient: bool = True
    all_classes: bool = False

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

    @property
    def axes(self) -> bool:
        """Whether the method explains inputs of other axes than those of images."""
        return "axes" in self.options

    def complete(self, options: Mapping[str, Any], layers: Sequence[Activation]) -> dict[str, Any]:
        """The given options that the method takes; None counts as not given.

        Where a layer must be given and is not, it is the last of the model's `layers`, in the order of computation; for
        `at`, the last with more than one place.

        Raises:
          ValueError: if no layer is suitable.
        """
        given = {name: value for name, value in options.items() if name in self.options and value is not None}
        for name in sorted(self.needs - given.keys()):
            maps = [layer for layer in layers if len(layer.shape) == 4 and layer.shape[1] * layer.shape[2] > 1]
            suitable = layers if name == "contrast_at" else maps
            if not suitable:
                known = ", ".join(layer.name for layer in layers) or "none"
                raise ValueError(f"{self.name} needs {name}, a layer of the model with more than one place; its layers: {known}")
            given[name] = suitable[-1].name
        return given


def images_only(function: OfImages) -> OfImages:
    """Make a method refuse other axes than those of images, in a sentence that names the methods that take them."""

    @functools.wraps(function)
    def of_images(model: Model, *arguments: Any, axes: Any = None, **options: Any) -> Array:
        if (found := find_axes(axes, None, model) or IMAGE) != IMAGE:
            others = ", ".join(name for name, method in collect().items() if method.axes)
            raise ValueError(
                f"{function.__name__} explains images only, got the axes {', '.join(names(found))}; these methods take them: {others}"
            )
        return function(model, *arguments, **options)

    return of_images  # type: ignore[return-value]


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
