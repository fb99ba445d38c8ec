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

from extremal_jax.graph.varying import varying_alike

Function = TypeVar("Function", bound=Callable[..., Any])


def fenced(function: Function) -> Function:
    """The same function of arrays, in a computation of its own where it is compiled for a CPU; on other devices, itself.

    The arguments must be arrays, the first of them of floats, and the result floats or complex numbers: where the first begins with NaN,
      all
    is NaN.

    Example:
      >>> import jax.numpy as jnp
      >>> float(fenced(jnp.sin)(jnp.zeros(3))[0])
      0.0
    """

    @jax.custom_jvp
    def on_cpu(*given: Any) -> Any:
        shape = jax.eval_shape(function, *given)
        nothing = jnp.full(shape.shape, jnp.nan, shape.dtype)
        turned = jnp.isnan(given[0].reshape(-1)[0])  # False, but the compiler cannot know
        turned, nothing, *arguments = varying_alike(turned, nothing, *given)
        return lax.while_loop(lambda carry: ~carry[0], lambda carry: (~carry[0], function(*arguments)), (turned, nothing))[1]

    on_cpu.defjvp(lambda primals, tangents: jax.jvp(function, primals, tangents))  # a loop has no reverse mode

    def platform_dependent(*arguments: Any) -> Any:
        return lax.platform_dependent(*arguments, cpu=on_cpu, default=function)

    return platform_dependent  # type: ignore[return-value]
