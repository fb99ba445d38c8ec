"""Convolutions in a form that XLA's CPU backend runs well, inside loops too.

Outside loops XLA's CPU backend transposes kernels into its fast layout. Inside `while` bodies, and so in every
`lax.scan`, it does not, and the gradient of a convolution with respect to its input falls back to a naive loop, 9 to
14 times slower. In canonical form all convolutions are in the fast layout (NHWC images, HWIO kernels); 1x1
convolutions are matrix products; depthwise convolutions are sums of shifted products; and gradients of images that
were convolved with a stride do not multiply the zeros between the values. XLA moves the transpositions of kernels out
of a loop, as its invariants.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.extend.core import JaxprEqn

_FEW = 4  # channels, as in images; with more of them, interleaving is not faster
_MOST_TAPS = 121  # of a depthwise kernel, 11x11; each tap is an operation in the program


def canonical_convolution(equation: JaxprEqn, values: Sequence[Any]) -> list[Array]:
    """The output of an equation `conv_general_dilated`, computed in canonical form."""
    numbers = equation.params["dimension_numbers"]
    rank = len(numbers.lhs_spec)
    images = (0, rank - 1, *range(1, rank - 1))  # batch, space, features
    kernels = (rank - 1, rank - 2, *range(rank - 2))  # space, input features, output features
    x = jnp.transpose(values[0], _permutation(numbers.lhs_spec, images))
    w = jnp.transpose(values[1], _permutation(numbers.rhs_spec, kernels))
    parameters = dict(equation.params, dimension_numbers=lax.ConvDimensionNumbers(images, kernels, images))
    y: Array | None
    if _is_depthwise(x, w, parameters):
        y = _depthwise(x, w, parameters)
    elif _is_of_image(w, parameters):
        y = _interleaved(x, w, parameters)
    elif (y := _pointwise(x, values[1], parameters, numbers.rhs_spec)) is None:
        y = equation.primitive.bind(x, w, **parameters)
    return [jnp.transpose(y, _permutation(images, numbers.out_spec))]


def _permutation(source: Sequence[int], target: Sequence[int]) -> list[int]:
    """The transposition from the layout `source` to the layout `target`, which give the axes of batch, features, space."""
    axes = [0] * len(source)
    for s, t in zip(source, target, strict=True):
        axes[t] = s
    return axes


def _is_depthwise(x: Any, w: Any, parameters: dict[str, Any]) -> bool:
    one_each = parameters["feature_group_count"] == x.shape[-1] == w.shape[-1] and parameters["batch_group_count"] == 1
    return one_each and math.prod(w.shape[:-2]) <= _MOST_TAPS


def _depthwise(x: Any, w: Any, parameters: dict[str, Any]) -> Array:
    """A convolution of each channel with its own kernel, as a sum of shifted products.

    XLA fuses it to one loop; its own form runs channel by channel.
    """
    space = [(low, high, d - 1) for (low, high), d in zip(parameters["padding"], parameters["lhs_dilation"], strict=True)]
    padded = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *space, (0, 0, 0)])
    strides, dilation = parameters["window_strides"], parameters["rhs_dilation"]
    sizes = [(n - d * (k - 1) - 1) // s + 1 for n, d, k, s in zip(padded.shape[1:-1], dilation, w.shape, strides, strict=False)]
    total = jnp.zeros((), jnp.promote_types(x.dtype, jnp.float32))
    for tap in np.ndindex(*w.shape[:-2]):
        window = [slice(d * t, d * t + s * (n - 1) + 1, s) for d, t, s, n in zip(dilation, tap, strides, sizes, strict=True)]
        weights = jnp.expand_dims(w[(*tap, 0)].astype(total.dtype), range(x.ndim - 1))
        total = total + padded[(slice(None), *window)].astype(total.dtype) * weights
    return total.astype(parameters["preferred_element_type"] or x.dtype)


def _is_of_image(w: Any, parameters: dict[str, Any]) -> bool:
    """Whether a convolution is the gradient of an image that was convolved with a stride."""
    plain = max(*parameters["window_strides"], *parameters["rhs_dilation"], parameters["feature_group_count"]) == 1
    return plain and parameters["batch_group_count"] == 1 and max(parameters["lhs_dilation"]) > 1 and w.shape[-1] <= _FEW


def _interleaved(x: Any, w: Any, parameters: dict[str, Any]) -> Array:
    """A convolution of values with zeros between them (dilated), as a convolution of the values only.

        y_i = Σ_{k, o: s o = i + k − p} x_o w_k,    with i = s q + r:    y_{s q + r} = Σ_t x_{q + t} w_{s t + p − r}

    For each phase r, the taps that meet a value form a kernel. All phases are features of one convolution, whose
    outputs are interleaved.
    """
    rank = x.ndim - 2
    pads, kernel, outputs = [], [], []
    for n, size, s, (low, high) in zip(x.shape[1:], w.shape, parameters["lhs_dilation"], parameters["padding"], strict=False):
        count = s * (n - 1) + 1 + low + high - size + 1  # of outputs
        first = -(low // s)  # the least t of any phase
        before = s - 1 - low % s
        taps = -(-(size + before) // s)
        kernel.append((before, s * taps - size - before, 0))
        pads.append((-first, -(-count // s) + taps - 1 + first - n))
        outputs.append(count)
    w = lax.pad(w, jnp.zeros((), w.dtype), [*kernel, (0, 0, 0), (0, 0, 0)])
    dilation = parameters["lhs_dilation"]
    split = [part for size, s in zip(w.shape, dilation, strict=False) for part in (size // s, s)]
    w = jnp.flip(w.reshape(*split, *w.shape[-2:]), range(1, 2 * rank, 2))  # within s taps, the last belong to the first phase
    w = w.transpose(*range(0, 2 * rank, 2), 2 * rank, *range(1, 2 * rank, 2), 2 * rank + 1)
    cropped = [(min(low, 0), min(high, 0), 0) for low, high in pads]
    phases = lax.conv_general_dilated(
        lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *cropped, (0, 0, 0)]),
        w.reshape(*w.shape[: rank + 1], -1),
        (1,) * rank,
        [(max(low, 0), max(high, 0)) for low, high in pads],
        dimension_numbers=parameters["dimension_numbers"],
        precision=parameters["precision"],
        preferred_element_type=parameters["preferred_element_type"],
    )
    y = phases.reshape(*phases.shape[:-1], *dilation, -1)  # (B, q..., r..., features)
    y = y.transpose(0, *(axis for q in range(1, rank + 1) for axis in (q, q + rank)), 2 * rank + 1)
    y = y.reshape(len(x), *(q * s for q, s in zip(phases.shape[1:], dilation, strict=False)), -1)
    return y[(slice(None), *(slice(count) for count in outputs))]


def _pointwise(x: Any, w: Any, parameters: dict[str, Any], kernels: Sequence[int]) -> Array | None:
    """A 1x1 convolution of a canonical x, or the gradient of a strided one, as a matrix product; None for any other.

    The kernel w is in its own layout, `kernels`; the matrix product reads it without a copy.
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
