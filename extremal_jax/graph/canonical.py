"""Functions in a form that XLA's CPU backend runs well: convolutions and gradients of max-pools, in loops too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend.core import JaxprEqn

from extremal_jax.graph.convolutions import canonical_convolution
from extremal_jax.graph.interpreter import contains, evaluate, trace, unchanged

Function = TypeVar("Function", bound=Callable[..., Any])
_MOST_TAPS = 49  # of a max-pool's window, 7x7; each tap is an operation in the program


def canonical(function: Function) -> Function:
    """Rewrite the convolutions and max-pools of a function in canonical form where it is compiled for a CPU and that pays.

    The results are the same up to rounding; on other devices, and where every convolution is fast as it is, the function
    is unchanged. Apply it outermost, to the function that is compiled, gradients included:
    `canonical(jax.value_and_grad(objective))`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> def blur(x):  # NCHW
      ...     return jax.lax.conv(x, jnp.ones((1, 1, 3, 3)) / 9, (1, 1), "SAME")
      >>> x = jnp.arange(25.0).reshape(1, 1, 5, 5)
      >>> bool(jnp.allclose(canonical(blur)(x), blur(x)))
      True
    """

    def platform_dependent(*arguments: Any, **keywords: Any) -> Any:
        traced = trace(function, *arguments, **keywords)  # once for both

        def plain(*values: Any) -> list[Any]:
            return evaluate(traced.closed, values, unchanged)

        def rewritten(*values: Any) -> list[Any]:
            return evaluate(traced.closed, values, _canonical, _has_canonical_form)

        if contains(traced.closed, _gains):
            outputs = lax.platform_dependent(*traced.inputs, cpu=rewritten, default=plain)
        else:
            outputs = plain(*traced.inputs)
        return jax.tree.unflatten(traced.structure, outputs)

    return platform_dependent  # type: ignore[return-value]


def _has_canonical_form(equation: JaxprEqn) -> bool:
    return equation.primitive.name in ("conv_general_dilated", "select_and_scatter_add")


def _gains(equation: JaxprEqn) -> bool:
    """Whether the canonical form of an equation is faster. Convolutions of images with the channels last and without groups have
    the fast layout already; where all of a function's have it, the function is a third slower in canonical form."""
    if equation.primitive.name == "conv_general_dilated":
        numbers, last = equation.params["dimension_numbers"], len(equation.params["window_strides"]) + 1
        fast = numbers.lhs_spec[1] == numbers.out_spec[1] == last == numbers.rhs_spec[0] and numbers.rhs_spec[1] == last - 1
        return not fast or equation.params["feature_group_count"] > 1 or any(step > 1 for step in equation.params["lhs_dilation"])
    return equation.primitive.name == "select_and_scatter_add"


def _canonical(equation: JaxprEqn, values: Sequence[Any]) -> list[Array] | None:
    if equation.primitive.name == "conv_general_dilated":
        return canonical_convolution(equation, values)
    return _max_pool_gradient(equation, values) if equation.primitive.name == "select_and_scatter_add" else None


def _max_pool_gradient(equation: JaxprEqn, values: Sequence[Any]) -> list[Array] | None:
    """The output of an equation `select_and_scatter_add` as a sum over the taps of the window; None if it is no max-pool's.

        ∂x_i = Σ_{o, k: i = s o + k} g_o [x_i = y_o, and no tap of the window before k is y_o]

    y is the max-pool of x, and g the cotangent of y. Of equal values, the first gets it. XLA's own form is a naive loop
    over the windows, two to five times slower.
    """
    g, x = values
    sizes, strides = equation.params["window_dimensions"], equation.params["window_strides"]
    if equation.params["select_prim"].name != "ge" or np.prod(sizes) > _MOST_TAPS or not jnp.issubdtype(x.dtype, jnp.floating):
        return None
    padding = equation.params["padding"]
    padded = lax.pad(x, jnp.full((), -jnp.inf, x.dtype), [(low, high, 0) for low, high in padding])
    y = lax.reduce_window(padded, -jnp.inf, lax.max, sizes, strides, "VALID")
    found = jnp.zeros(y.shape, bool)
    total = jnp.zeros(padded.shape, g.dtype)
    for tap in np.ndindex(*sizes):
        ends = [t + s * (n - 1) + 1 for t, s, n in zip(tap, strides, y.shape, strict=True)]
        first = (lax.slice(padded, tap, ends, strides) == y) & ~found
        found = found | first
        places = [(t, n - end, s - 1) for t, end, s, n in zip(tap, ends, strides, padded.shape, strict=True)]
        total = total + lax.pad(jnp.where(first, g, 0), jnp.zeros((), g.dtype), places)
    return [lax.pad(total, jnp.zeros((), g.dtype), [(-low, -high, 0) for low, high in padding])]
