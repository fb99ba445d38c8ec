"""The gradient of max-pools in a form that XLA's CPU backend runs well.

XLA's own form is a naive loop over the windows, two to five times slower.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend.core import JaxprEqn

_MOST_TAPS = 49  # of a window, 7x7; each tap is an operation in the program


def max_pool_gradient(equation: JaxprEqn, values: Sequence[Any]) -> list[Array] | None:
    """The output of an equation `select_and_scatter_add` as a sum over the taps of the window; None if it is no max-pool's.

        ∂x_i = Σ_{o, k: i = s o + k} g_o [x_i = y_o, and no tap of the window before k is y_o]

    y is the max-pool of x, and g the cotangent of y. Of equal values, the first gets it.
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
