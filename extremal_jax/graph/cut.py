"""A function in two parts, before and after a named value that everything passes through."""

from __future__ import annotations

import collections
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from extremal_jax.graph.activations import Activation, activation_of, check_names, check_replacement, name_of
from extremal_jax.graph.interpreter import opened, read, run, trace, unchanged


class Parts(NamedTuple):
    """The two parts of a function.

    Attributes:
      before: from the function's arguments to the named value.
      after: from the named value to the function's outputs.
      activation: the named value's name, shape and dtype.
    """

    before: Callable[..., Array]
    after: Callable[[Array], Any]
    activation: Activation


def split(function: Callable[..., Any], name: str, *example: Any) -> Parts:
    """Split a function at a named value.

    Args:
      function: of pytrees of arrays.
      name: of a value that cuts the function in two: the outputs depend on the arguments through this value only.
      example: arguments, arrays or `jax.ShapeDtypeStruct`s; both parts are for these shapes only.

    Returns:
      The two parts, with `after(before(*example))` equal to `function(*example)`. Each runs only the equations that it
      needs. Custom derivatives (`custom_jvp`, `custom_vjp`) are kept, except in calls that contain the name.

    Raises:
      ValueError: if the name is not there, is given twice, or lies within control flow; if the value does not cut the
        function, with the value that passes around it; or, when a part is called, if it is given other shapes.

    Example:
      >>> import jax.numpy as jnp
      >>> from jax.ad_checkpoint import checkpoint_name
      >>> parts = split(lambda x: checkpoint_name(2 * x, "doubled") + 1, "doubled", jnp.ones(2))
      >>> parts.before(jnp.ones(2)).tolist(), parts.after(jnp.zeros(2)).tolist()
      ([2.0, 2.0], [1.0, 1.0])
    """
    traced = trace(function, *example)
    surface = opened(traced.closed, lambda equation: name_of(equation) == name)
    check_names(surface, [name])
    jaxpr, constants = surface.jaxpr, dict(zip(surface.jaxpr.constvars, surface.consts, strict=True))
    [cut] = [equation for equation in jaxpr.eqns if name_of(equation) == name]
    around = _passing_around(jaxpr, cut)
    if around is not None:
        names = ", ".join(repr(activation.name) for activation in _all_cuts(traced.closed))
        raise ValueError(
            f"the activation {name!r} does not cut the function: {around} passes around it to the outputs;"
            f" {'these do: ' + names if names else 'nor does any other activation'}"
        )
    head, tail = _needed(jaxpr.eqns, cut.outvars), _needed(jaxpr.eqns, jaxpr.outvars, given=cut.outvars)

    def before(*arguments: Any) -> Array:
        values = jax.tree.leaves(arguments)
        expected, came = [aval.shape for aval in traced.closed.in_avals], [jnp.shape(value) for value in values]
        if expected != came:
            known, got = (f"{len(shapes)} of {', '.join(map(str, shapes))}" if shapes else "none" for shapes in (expected, came))
            raise ValueError(f"before() takes arrays of the example's shapes, {known}, got {got}; split the function for these shapes")
        environment = {**constants, **dict(zip(jaxpr.invars, values, strict=True))}
        run(head, environment, unchanged)
        return read(environment, cut.outvars[0])

    def after(value: Array) -> Any:
        check_replacement(name, cut.outvars[0].aval, value)
        environment = {**constants, cut.outvars[0]: value}
        run(tail, environment, unchanged)
        return jax.tree.unflatten(traced.structure, [read(environment, atom) for atom in jaxpr.outvars])

    return Parts(before, after, activation_of(cut))


def cuts(function: Callable[..., Any], *example: Any) -> tuple[Activation, ...]:
    """List the named values at which a function can be split, in the order in which they are computed.

    Args:
      function: of pytrees of arrays.
      example: arguments, arrays or `jax.ShapeDtypeStruct`s.

    Returns:
      One record for each name.

    Example:
      >>> import jax.numpy as jnp
      >>> from jax.ad_checkpoint import checkpoint_name
      >>> def residual(x):
      ...     return checkpoint_name(x + checkpoint_name(jnp.sin(x), "branch"), "sum") * 2
      >>> [activation.name for activation in cuts(residual, jnp.ones(2))]
      ['sum']
    """
    return _all_cuts(trace(function, *example).closed)


def _all_cuts(closed: ClosedJaxpr) -> tuple[Activation, ...]:
    """The activations that cut a jaxpr and whose names are given once; all calls that contain a name are opened."""
    jaxpr = opened(closed, lambda equation: name_of(equation) is not None).jaxpr
    named = [equation for equation in jaxpr.eqns if name_of(equation) is not None]
    count = collections.Counter(map(name_of, named))
    cutting = (equation for equation in named if count[name_of(equation)] == 1 and _passing_around(jaxpr, equation) is None)
    return tuple(map(activation_of, cutting))


def _needed(equations: Iterable[JaxprEqn], wanted: Iterable[Any], given: Iterable[Any] = ()) -> list[JaxprEqn]:
    """The equations, in order, that compute the wanted values from the given ones."""
    given = set(given)
    open_ends = _variables(wanted) - given
    needed = []
    for equation in reversed(list(equations)):
        if not open_ends.isdisjoint(equation.outvars):
            needed.append(equation)
            open_ends |= _variables(equation.invars) - given
    return needed[::-1]


def _passing_around(jaxpr: Jaxpr, cut: JaxprEqn) -> str | None:
    """The value, in words, through which the outputs depend on the arguments around the cut; None if there is none."""
    at = next(index for index, equation in enumerate(jaxpr.eqns) if equation is cut)
    early: dict[Any, str] = dict.fromkeys(jaxpr.invars, "an argument")  # the values before the cut that depend on the arguments
    for equation in jaxpr.eqns[:at]:
        if not early.keys().isdisjoint(_variables(equation.invars)):
            name = name_of(equation)
            title = f"the output of {equation.primitive.name!r}" if name is None else f"the activation {name!r}"
            early.update(dict.fromkeys(equation.outvars, title))
    late = _needed(jaxpr.eqns[at + 1 :], jaxpr.outvars)
    passing = [atom for equation in late for atom in equation.invars] + list(jaxpr.outvars)
    found = next((atom for atom in passing if not isinstance(atom, Literal) and atom in early), None)
    return None if found is None else f"{early[found]}, {found.aval.str_short()},"


def _variables(atoms: Iterable[Any]) -> set[Any]:
    return {atom for atom in atoms if not isinstance(atom, Literal)}
