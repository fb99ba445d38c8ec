"""Named values inside a function: list them, read them, replace them.

A model names an inner value with `jax.ad_checkpoint.checkpoint_name(value, "layer3")`, which computes nothing. The
name is an equation of the traced function, so that it is found there, in models of any framework and without changing
them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from jax import Array
from jax.ad_checkpoint import checkpoint_name
from jax.extend.core import ClosedJaxpr, JaxprEqn

from extremal_jax.graph.interpreter import Rewriting, inside, interpreted, opened, trace
from extremal_jax.ground.checks import nearest

_NAMELESS = (
    "the function names no values: jax.ad_checkpoint.checkpoint_name(value, name) names one in the code, and"
    " ej.models.name_submodules(model) names the outputs of all submodules of a Flax or Equinox model by their paths"
)


class Activation(NamedTuple):
    """A named value.

    Attributes:
      name: given by `checkpoint_name`.
      shape: of the value.
      dtype: of the value.
      within: the control flow in whose body it is computed ("scan", "while", "cond", ...), where it can be neither
        read nor replaced; "" for none.
    """

    name: str
    shape: tuple[int, ...]
    dtype: Any
    within: str = ""


def activations(function: Callable[..., Any], *example: Any, **keywords: Any) -> tuple[Activation, ...]:
    """List the named values of a function, in the order in which they are computed.

    Args:
      function: of pytrees of arrays.
      example, keywords: its arguments, arrays or `jax.ShapeDtypeStruct`s; only their shapes and dtypes matter.

    Returns:
      One record for each place that gives a name: a name that is given twice is listed twice.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jax.ad_checkpoint import checkpoint_name
      >>> f = jax.jit(lambda x: checkpoint_name(2 * x, "doubled") + 1)
      >>> [(a.name, a.shape) for a in activations(f, jax.ShapeDtypeStruct((3,), jnp.float32))]
      [('doubled', (3,))]
    """
    return _listed(opened(trace(function, *example, **keywords).closed, lambda equation: name_of(equation) is not None))


def capture(function: Callable[..., Any], names: str | Iterable[str]) -> Callable[..., Any]:
    """Make a function also return named values.

    Args:
      function: of pytrees of arrays.
      names: of values in it.

    Returns:
      A function of the same arguments that returns (outputs, {name: value}).

    Raises:
      ValueError: when called, as for `intervene`.

    Example:
      >>> import jax.numpy as jnp
      >>> from jax.ad_checkpoint import checkpoint_name
      >>> outputs, values = capture(lambda x: checkpoint_name(2 * x, "doubled") + 1, ["doubled"])(jnp.ones(2))
      >>> outputs.tolist(), values["doubled"].tolist()
      ([3.0, 3.0], [2.0, 2.0])
    """
    names = (names,) if isinstance(names, str) else tuple(names) if isinstance(names, Iterable) else (names,)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"names must be the names of activations, such as ('stem', 'blocks.1'), got {name!r}")

    def captured(*arguments: Any, **keywords: Any) -> tuple[Any, dict[str, Array]]:
        taken: dict[str, Array] = {}
        taps = {name: functools.partial(taken.setdefault, name) for name in names}  # each keeps the value, and returns it
        outputs = intervene(function, taps)(*arguments, **keywords)
        return outputs, {name: taken[name] for name in names}

    return captured


def intervene(function: Callable[..., Any], replacements: Mapping[str, Callable[[Array], Any]]) -> Callable[..., Any]:
    """Replace named values in a function.

    Args:
      function: of pytrees of arrays.
      replacements: for each name, a function from its value to one of the same shape and dtype. The new value has the
        name.

    Returns:
      A function of the same arguments and outputs. A call with a custom derivative (`custom_jvp`, `custom_vjp`) or
      rematerialisation (`remat`) that contains a name loses it, and is differentiated like its body.

    Raises:
      ValueError: when called, if a name is not there (near ones are listed), is given twice, or lies within control
        flow; or if a new value has another shape or dtype.

    Example:
      >>> import jax.numpy as jnp
      >>> from jax.ad_checkpoint import checkpoint_name
      >>> intervene(lambda x: checkpoint_name(2 * x, "doubled") + 1, {"doubled": jnp.zeros_like})(jnp.ones(2)).tolist()
      [1.0, 1.0]
    """

    if not isinstance(replacements, Mapping):
        raise TypeError(f"replacements must be a mapping from names to functions, such as {{'stem': jnp.zeros_like}}, got {replacements!r}")
    for name, replacement in replacements.items():
        if not callable(replacement):
            raise TypeError(f"the replacement of {name!r} must be a function of its value, got {type(replacement).__name__}")

    def rule(equation: JaxprEqn, values: Sequence[Any]) -> list[Array] | None:
        name = name_of(equation)
        if name is None or name not in replacements:
            return None
        new = replacements[name](values[0])
        check_replacement(name, values[0], new)
        return [checkpoint_name(new, name)]

    def plan(closed: ClosedJaxpr) -> tuple[ClosedJaxpr, Rewriting]:
        surface = opened(closed, lambda equation: name_of(equation) in replacements)
        check_names(surface, replacements)
        return surface, rule

    return interpreted(function, plan)


def name_of(equation: JaxprEqn) -> str | None:
    """The name that an equation gives to its value; None if it gives none."""
    return equation.params["name"] if equation.primitive.name == "name" else None


def activation_of(equation: JaxprEqn, within: str = "") -> Activation:
    """The value to which an equation gives a name."""
    value: Any = equation.outvars[0].aval
    return Activation(equation.params["name"], value.shape, value.dtype, within)


def check_name(argument: str, name: Any) -> None:
    """Raise a TypeError unless this can be the name of an activation.

    Example:
      >>> check_name("at", 3)
      Traceback (most recent call last):
      TypeError: at must be the name of one activation, as graph.activations(model, images) lists them, got 3
    """
    if not isinstance(name, str):
        raise TypeError(f"{argument} must be the name of one activation, as graph.activations(model, images) lists them, got {name!r}")


def check_names(closed: ClosedJaxpr, names: Iterable[str]) -> None:
    """Raise a ValueError unless each name is given once in an opened jaxpr, and outside control flow."""
    listed = _listed(closed)
    for name in names:
        found = [activation for activation in listed if activation.name == name]
        if not found:
            known = [activation.name for activation in listed]
            hint = nearest(name, known) if known else _NAMELESS
            raise ValueError(f"unknown activation {name!r}; {hint}")
        if len(found) > 1:
            raise ValueError(f"the activation {name!r} is computed {len(found)} times, and its name does not tell which is meant")
        if found[0].within:
            raise ValueError(f"the activation {name!r} is computed within a {found[0].within}, where it can be neither read nor replaced")


def check_replacement(name: str, value: Any, new: Any) -> None:
    """Raise a ValueError unless a new value has the shape and dtype of the old one."""
    old, came = (f"{x.dtype}{list(x.shape)}" if hasattr(x, "dtype") else type(x).__name__ for x in (value, new))
    if old != came:
        raise ValueError(f"the activation {name!r} must be replaced by {old}, got {came}")


def _listed(closed: ClosedJaxpr) -> tuple[Activation, ...]:
    listed: list[Activation] = []
    for equation in closed.jaxpr.eqns:
        listed += [activation_of(equation)] if name_of(equation) is not None else []
        listed += [activation_of(inner, equation.primitive.name) for inner in inside(equation) if name_of(inner) is not None]
    return tuple(listed)
