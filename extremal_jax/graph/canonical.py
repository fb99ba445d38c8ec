"""Convolutions in the form that XLA's CPU backend runs well, inside loops too.

Outside loops XLA's CPU backend transposes kernels into its fast layout; inside `while` bodies, and so in every `lax.scan`, it does not, and
the gradient of a convolution with respect to its input falls back to a naive loop, 9 to 14 times slower. `canonical` rewrites all
convolutions of a function into that layout (NHWC images, HWIO kernels), 1x1 convolutions into matrix products, and depthwise ones into sums
of shifted products. The transpositions of kernels leave a loop as its invariants.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend.core import JaxprEqn

from extremal_jax.graph.interpreter import Rule, evaluate, trace, unchanged

Function = TypeVar("Function", bound=Callable[..., Any])
_MOST_TAPS = 121  # of a depthwise kernel, 11x11: each is an operation of its own in the program


def canonical(function: Function) -> Function:
    """The same function, to rounding, with its convolutions in canonical form where it is compiled for a CPU; on other devices, itself.

    Apply it outermost, to the function that is compiled, gradients included: `canonical(jax.value_and_grad(objective))`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> def blur(x):  # NCHW
      ...     return jax.lax.conv(x, jnp.ones((1, 1, 3, 3)) / 9, (1, 1), "SAME")
      >>> x = jnp.arange(25.0).reshape(1, 1, 5, 5)
      >>> bool(jnp.allclose(canonical(blur)(x), blur(x)))
      True
    """

    def platform_dependent(*arguments: Any) -> Any:
        traced = trace(function, *arguments)  # once for both

        def with_rule(rule: Rule) -> Callable[..., list[Any]]:
            return lambda *values: evaluate(traced.closed, values, rule)

        outputs = lax.platform_dependent(*jax.tree.leaves(arguments), cpu=with_rule(_canonical_convolution), default=with_rule(unchanged))
        return jax.tree.unflatten(traced.structure, outputs)

    return platform_dependent  # type: ignore[return-value]


def _canonical_convolution(equation: JaxprEqn, values: Sequence[Any]) -> list[Array] | None:
    if equation.primitive.name != "conv_general_dilated":
        return None
    numbers = equation.params["dimension_numbers"]
    rank = len(numbers.lhs_spec)
    images = (0, rank - 1, *range(1, rank - 1))  # batch, space, features
    kernels = (rank - 1, rank - 2, *range(rank - 2))  # space, input features, output features
    x = jnp.transpose(values[0], _permutation(numbers.lhs_spec, images))
    w = jnp.transpose(values[1], _permutation(numbers.rhs_spec, kernels))
    parameters = dict(equation.params, dimension_numbers=lax.ConvDimensionNumbers(images, kernels, images))
    y = _depthwise(x, w, parameters) if _is_depthwise(x, w, parameters) else _pointwise(x, values[1], parameters, numbers.rhs_spec)
    if y is None:
        y = equation.primitive.bind(x, w, **parameters)
    return [jnp.transpose(y, _permutation(images, numbers.out_spec))]


def _permutation(source: Sequence[int], target: Sequence[int]) -> list[int]:
    """The transposition of an array from the layout `source` to the layout `target`; both give the axes of batch, features and space."""
    axes = [0] * len(source)
    for s, t in zip(source, target, strict=True):
        axes[t] = s
    return axes


def _is_depthwise(x: Any, w: Any, parameters: dict[str, Any]) -> bool:
    one_each = parameters["feature_group_count"] == x.shape[-1] == w.shape[-1] and parameters["batch_group_count"] == 1
    return one_each and math.prod(w.shape[:-2]) <= _MOST_TAPS


def _depthwise(x: Any, w: Any, parameters: dict[str, Any]) -> Array:
    """A convolution of every channel by its own kernel, as a sum of shifted products: one fused loop, where XLA's own form runs channel by
    channel."""
    space = [(low, high, d - 1) for (low, high), d in zip(parameters["padding"], parameters["lhs_dilation"], strict=True)]
    padded = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *space, (0, 0, 0)])
    strides, dilation = parameters["window_strides"], parameters["rhs_dilation"]
    sizes = [(n - d * (k - 1) - 1) // s + 1 for n, d, k, s in zip(padded.shape[1:-1], dilation, w.shape, strides, strict=False)]
    total = jnp.zeros((), jnp.promote_types(x.dtype, jnp.float32))
    for tap in np.ndindex(*w.shape[:-2]):
        window = [slice(d * t, d * t + s * (n - 1) + 1, s) for d, t, s, n in zip(dilation, tap, strides, sizes, strict=True)]
        total = total + padded[(slice(None), *window)].astype(total.dtype) * w[(*tap, 0)].astype(total.dtype)
    return total.astype(parameters["preferred_element_type"] or x.dtype)


def _pointwise(x: Any, w: Any, parameters: dict[str, Any], kernels: Sequence[int]) -> Array | None:
    """A 1x1 convolution, or the gradient of a strided one, as a matrix product; None for any other.

    Args:
      x: (B, ..., C), canonical.
      w: the kernel as it was, in the layout `kernels`: the product reads a transposed matrix as it lies, and nothing is copied.
    """
    stride, dilation, padding = (parameters[name] for name in ("window_strides", "lhs_dilation", "padding"))
    grouped = parameters["feature_group_count"] > 1 or parameters["batch_group_count"] > 1
    outputs, inputs, *places = kernels
    if grouped or any(w.shape[axis] > 1 for axis in places) or any(low != 0 for low, _ in padding):
        return None
    numbers = (((x.ndim - 1,), (int(inputs > outputs),)), ((), ()))
    options = dict(precision=parameters["precision"], preferred_element_type=parameters["preferred_element_type"])
    matrix = lax.squeeze(w, places)
    if max(dilation) == 1 and all(high == 0 for _, high in padding):
        strided = (slice(None), *(slice(None, None, s) for s in stride))
        return lax.dot_general(x[strided], matrix, numbers, **options)
    if max(stride) == 1:  # the product first, then the dilation
        y = lax.dot_general(x, matrix, numbers, **options)
        space = [(0, high, d - 1) for (_, high), d in zip(padding, dilation, strict=True)]
        return lax.pad(y, jnp.zeros((), y.dtype), [(0, 0, 0), *space, (0, 0, 0)])
    return None
