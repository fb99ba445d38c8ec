"""Rewrite any JAX function, equation by equation.

A traced function is data: a jaxpr, a list of equations, each a primitive applied to values. `rewrite` walks it, lets rules replace
equations, and follows calls (`jit`, `custom_jvp`, `custom_vjp`, `remat`) and control flow (`scan`, `while_loop`, `cond`) into their bodies,
whose structure it keeps. Nothing of the caller's is patched, and the result is a function like any other: it can be jitted, mapped and
differentiated.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

Rule = Callable[[JaxprEqn, Sequence[Any]], Sequence[Any] | None]
Function = TypeVar("Function", bound=Callable[..., Any])


def rewrite(function: Function, rule: Rule) -> Function:
    """The same function with some of its equations replaced.

    Args:
      function: of pytrees of arrays.
      rule: called with an equation and the values of its inputs; it returns the values of its outputs, or None to leave the equation as it
        is.

    Returns:
      A function of the same signature. It traces `function` when called, so under `jit` that happens once.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> def double_sines(equation, values):
      ...     return [2 * jnp.sin(values[0])] if equation.primitive.name == "sin" else None
      >>> f = jax.jit(lambda x: jnp.sin(x) + 1)
      >>> float(rewrite(f, double_sines)(jnp.pi / 2))
      3.0
    """

    @functools.wraps(function)
    def rewritten(*arguments: Any) -> Any:
        values, structure = jax.tree.flatten(arguments)
        closed, shape = jax.make_jaxpr(lambda *flat: function(*jax.tree.unflatten(structure, flat)), return_shape=True)(*values)
        return jax.tree.unflatten(jax.tree.structure(shape), evaluate(closed, values, rule))

    return rewritten  # type: ignore[return-value]


def evaluate(closed: ClosedJaxpr, arguments: Sequence[Any], rule: Rule) -> list[Any]:
    """The outputs of a jaxpr, its equations passed through a rule."""
    jaxpr, constants = closed.jaxpr, closed.consts
    environment = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*constants, *arguments), strict=True))

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else environment[atom]

    for equation in jaxpr.eqns:
        values = [read(atom) for atom in equation.invars]
        with equation.ctx.manager:
            outputs = rule(equation, values)
            if outputs is None:
                parameters = {name: _rewritten(value, rule) for name, value in equation.params.items()}
                outputs = equation.primitive.bind(*values, **equation.primitive.get_bind_params(parameters))
                outputs = outputs if equation.primitive.multiple_results else [outputs]
        environment.update(zip(equation.outvars, outputs, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _rewritten(parameter: Any, rule: Rule) -> Any:
    """A parameter of an equation, rewritten where it is the body of a call or of control flow."""
    if type(parameter) is tuple:  # the branches of `cond`; not a named tuple
        return tuple(_rewritten(part, rule) for part in parameter)
    if isinstance(parameter, ClosedJaxpr):
        return jax.make_jaxpr(lambda *values: evaluate(parameter, values, rule))(*parameter.in_avals)
    if isinstance(parameter, Jaxpr):  # an open one, as in `remat`
        return _rewritten(ClosedJaxpr(parameter, ()), rule).jaxpr
    return parameter
