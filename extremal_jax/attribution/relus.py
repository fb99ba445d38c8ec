"""Which maxima with zero, max(x, 0), are ReLUs, and which are parts of something else.

A maximum is a ReLU where its value is the activation. It is not where another activation is computed with it:
hard-swish, x min(max(x + 3, 0), 6) / 6, or a PReLU, max(x, 0) - a max(-x, 0). Neither is the maximum that keeps a
variance from falling below zero before its root is taken.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import JaxprEqn

from extremal_jax.graph.interpreter import bodies, scope_of
from extremal_jax.graph.rules import Site, Surface

_LAYOUT = {"broadcast_in_dim", "expand_dims", "reshape", "squeeze", "transpose"}
_PLACE_BY_PLACE = _LAYOUT.union(
    {"add", "add_any", "div", "max", "min", "mul", "pow", "rem", "sub", "atan2", "nextafter"},
    {"abs", "cbrt", "ceil", "cos", "cosh", "erf", "erf_inv", "erfc", "exp", "exp2", "expm1", "floor", "integer_pow", "is_finite"},
    {"log", "log1p", "logistic", "neg", "round", "rsqrt", "sign", "sin", "sinh", "sqrt", "square", "tan", "tanh"},
    {"and", "clamp", "eq", "ge", "gt", "le", "lt", "ne", "not", "or", "select_n"},
    {"convert_element_type", "copy", "name", "optimization_barrier", "pvary", "reduce_precision", "stop_gradient"},
)
_GUARDED = {"log", "rsqrt", "sqrt"}  # functions that are given nothing below zero


def is_relu(site: Site) -> bool:
    """Whether an equation max(x, 0) is a ReLU.

    Its value may be clipped from above, as in ReLU6, and the clip keeps its derivative. A maximum before a root, a
    logarithm or a division is none, and keeps its derivative.

    Raises:
      ValueError: if it is a part of another activation: by its name, or by the operation that combines it with another
        function of x.
    """
    if not is_max_with_zero(site):
        return False
    if site.surface is None:  # within control flow
        return True
    flow = _Flow(site.surface, site.equation)
    if flow.is_guard():
        return False
    found = _named(site.equation) or flow.combination()
    if found is not None:
        raise ValueError(
            f"a max(x, 0) of the model is not a ReLU but a part of {found}, to which this method does not apply;"
            f" `gradient` takes any activation"
        )
    return True


def is_max_with_zero(site: Site) -> bool:
    """Whether one input is an active x of floats, and the other is zero everywhere."""
    output: Any = site.equation.outvars[0].aval
    if not jnp.issubdtype(output.dtype, jnp.floating):
        return False
    return sum(site.active) == 1 and site.literals[site.active.index(False)] == 0


def _named(equation: JaxprEqn) -> str | None:
    """The activation of `jax.nn` that an equation was written in, with its other names; None for ReLU and ReLU6."""
    for name in (scope.rpartition(" ")[0] for scope in scope_of(equation)):
        activation = getattr(jax.nn, name, None)
        if callable(activation) and name not in ("relu", "relu6"):
            names = (other for other in dir(jax.nn) if getattr(jax.nn, other) is activation)
            return "the activation " + " or ".join(f"`{other}`" for other in names)
    return None


class _Flow:
    """Where the value of a maximum goes, place by place, up to the next layer."""

    def __init__(self, surface: Surface, maximum: JaxprEqn):
        self.surface, self.maximum = surface, maximum

    def is_guard(self) -> bool:
        """Whether the value, perhaps scaled and shifted, goes into a root, a logarithm or a denominator."""
        return any(
            equation.primitive.name in _GUARDED or (equation.primitive.name == "div" and equation.invars[1] is variable)
            for variable, equation in self._onward(one_input=True)
        )

    def combination(self) -> str | None:
        """How the value is combined with another function of the same x, or gates another value; None if it does neither."""
        [x] = self.surface.active(self.maximum)
        sources = self._back(x, one_input=True)
        clipped = set()
        for variable, equation in self._onward():
            name = equation.primitive.name
            if variable in clipped or name in ("min", "clamp"):
                clipped.update(equation.outvars)
            for other in (atom for atom in self.surface.active(equation) if atom is not variable):
                if not sources.isdisjoint(self._back(other)):
                    return f"{self._title(equation)}, in which {name!r} combines it with another function of x"
                if name == "mul" and variable in clipped and not self._is_spread(other, equation.outvars[0]):
                    return f"{self._title(equation)}, a gate that multiplies another value"
        return None

    def _onward(self, one_input: bool = False) -> Iterator[tuple[Any, JaxprEqn]]:
        """The uses of the value, and of what is computed from it place by place, by operations of one active input alone
        if so asked: pairs of a variable and an equation that reads it."""
        found = list(self.maximum.outvars)
        for variable in found:
            for equation in self.surface.readers[variable]:
                if _is_place_by_place(equation):
                    yield variable, equation
                    if not one_input or len(self.surface.active(equation)) == 1:
                        found += [output for output in equation.outvars if output not in found]

    def _back(self, variable: Any, one_input: bool = False) -> set[Any]:
        """What a value is computed from, place by place, otherwise than through the maximum; itself included."""
        found, open_ends = set(), [variable]
        while open_ends:
            variable = open_ends.pop()
            maker = self.surface.makers.get(variable)
            if variable in found or maker is self.maximum:
                continue
            found.add(variable)
            inputs = [] if maker is None or not _is_place_by_place(maker) else self.surface.active(maker)
            open_ends += inputs if not one_input or len(inputs) == 1 else []
        return found

    def _is_spread(self, variable: Any, product: Any) -> bool:
        """Whether a factor has fewer elements than its product, or had before it was broadcast."""
        maker = self.surface.makers.get(variable)
        source: Any = maker.invars[0] if maker is not None and maker.primitive.name == "broadcast_in_dim" else variable
        return source.aval.size < product.aval.size

    def _title(self, equation: JaxprEqn) -> str:
        """The function in which both the maximum and another equation were written, if it has a name."""
        both = [a for a, b in zip(scope_of(self.maximum), scope_of(equation), strict=False) if a == b]
        return f"another activation (`{both[-1].rpartition(' ')[0]}`)" if both else "another activation"


def _is_place_by_place(equation: JaxprEqn) -> bool:
    inner = bodies(equation)
    if inner:
        return equation.primitive.name.startswith("custom_") and all(_is_place_by_place(e) for body in inner for e in body.jaxpr.eqns)
    return equation.primitive.name in _PLACE_BY_PLACE
