"""Functions in a form that XLA's CPU backend runs well: convolutions and gradients of max-pools, in loops too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
from jax import Array, lax
from jax.extend.core import JaxprEqn

from extremal_jax.graph.convolutions import canonical_convolution
from extremal_jax.graph.interpreter import Rule, evaluate, flat_inputs, trace, unchanged
from extremal_jax.graph.pooling import max_pool_gradient

Function = TypeVar("Function", bound=Callable[..., Any])
_FORMS = {"conv_general_dilated": canonical_convolution, "select_and_scatter_add": max_pool_gradient}


def canonical(function: Function) -> Function:
    """Rewrite the convolutions and max-pools of a function in canonical form where it is compiled for a CPU.

    The results are the same up to rounding; on other devices the function is unchanged. Apply it outermost, to the
    function that is compiled, gradients included: `canonical(jax.value_and_grad(objective))`.

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

        def with_rule(rule: Rule) -> Callable[..., list[Any]]:
            return lambda *values: evaluate(traced.closed, values, rule)

        values = flat_inputs(*arguments, **keywords)
        outputs = lax.platform_dependent(*values, cpu=with_rule(_canonical), default=with_rule(unchanged))
        return jax.tree.unflatten(traced.structure, outputs)

    return platform_dependent  # type: ignore[return-value]


def _canonical(equation: JaxprEqn, values: Sequence[Any]) -> list[Array] | None:
    form = _FORMS.get(equation.primitive.name)
    return form and form(equation, values)
