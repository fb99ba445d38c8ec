"""A fence for XLA's CPU fusion: a function evaluated in a computation of its own.

XLA's CPU backend fuses a long chain of arithmetic into one loop, unless its result has several users: then each of them wants the chain for
itself, the expensive links in it are written to memory one by one instead, and the loop becomes an order of magnitude slower.
`lax.optimization_barrier` does not help, because the CPU backend removes it before it fuses. The body of a loop is a boundary that fusion
does respect; so the function becomes the body of a loop of one turn, in a form that hides the number of turns.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax import lax

Function = TypeVar("Function", bound=Callable[..., Any])


def fenced(function: Function) -> Function:
    """The same function of arrays, in a computation of its own where it is compiled for a CPU; on other devices, itself.

    The first argument must be an array of floats, and the result floats or complex numbers: where that argument begins with NaN, all is
      NaN.

    Example:
      >>> import jax.numpy as jnp
      >>> float(fenced(jnp.sin)(jnp.zeros(3))[0])
      0.0
    """

    @jax.custom_jvp
    def on_cpu(*arguments: Any) -> Any:
        shapes = jax.eval_shape(function, *arguments)
        nothing = jax.tree.map(lambda shape: jnp.full(shape.shape, jnp.nan, shape.dtype), shapes)
        turned = jnp.isnan(arguments[0].reshape(-1)[0])  # False, but the compiler cannot know
        return lax.while_loop(lambda carry: ~carry[0], lambda _: (jnp.array(True), function(*arguments)), (turned, nothing))[1]

    on_cpu.defjvp(lambda primals, tangents: jax.jvp(function, primals, tangents))  # a loop has no reverse mode

    def platform_dependent(*arguments: Any) -> Any:
        return lax.platform_dependent(*arguments, cpu=on_cpu, default=function)

    return platform_dependent  # type: ignore[return-value]
