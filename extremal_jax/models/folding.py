"""Batch norms merged into convolutions: the same function with fewer operations."""

from __future__ import annotations

import itertools
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from extremal_jax.models.networks.layers import Chain, ConvNorm, Identity

Module = TypeVar("Module", bound=nnx.Module)


def fold_batch_norm(module: Module) -> Module:
    """A copy of a module in which each batch norm is merged into the convolution before it. The outputs are equal up to rounding.

    A batch norm before a convolution, as in DenseNets, stays. `models.load` folds unless `fold=False`.

    Raises:
      TypeError: for anything but a Flax NNX module.

    Example:
      >>> from flax import nnx
      >>> import jax.numpy as jnp
      >>> layer = ConvNorm(3, 4, 3, rngs=nnx.Rngs(0))
      >>> layer.eval()
      >>> folded = fold_batch_norm(layer)
      >>> x = jnp.ones((1, 5, 5, 3))
      >>> bool(jnp.allclose(folded(x), layer(x), atol=1e-5)), folded.norm
      (True, None)
    """
    if not isinstance(module, nnx.Module):
        raise TypeError(f"module must be a Flax NNX module, such as models.load returns, got {type(module).__name__}")
    folded = nnx.clone(module)
    fold_in_place(folded)
    return folded


def fold_in_place(module: nnx.Module) -> None:
    """As `fold_batch_norm`, but changes the module itself, layer by layer, so that it takes little memory."""
    for _, layer in nnx.iter_modules(module):
        if isinstance(layer, ConvNorm) and layer.norm is not None:
            _fold(layer.conv, layer.norm)
            layer.norm = None
        elif isinstance(layer, Chain):
            for index, (before, norm) in enumerate(itertools.pairwise(layer), 1):
                if isinstance(before, nnx.Conv) and isinstance(norm, nnx.BatchNorm):
                    _fold(before, norm)
                    layer[index] = Identity()


def _fold(conv: nnx.Conv, norm: nnx.BatchNorm) -> None:
    """Merge a batch norm into the convolution before it, computed in float32 and kept in the kernel's type.

    NumPy computes it, except under a trace, because JAX would compile several programs for each shape.
    """
    assert norm.scale is not None and norm.bias is not None, "the batch norms here have both"  # noqa: PT018
    kernel = conv.kernel[...]
    xp: Any = jnp if isinstance(kernel, jax.core.Tracer) else np
    mean, var, gain, shift = (xp.asarray(x[...], np.float32) for x in (norm.mean, norm.var, norm.scale, norm.bias))
    scale = gain / xp.sqrt(var + norm.epsilon)
    offset = -mean if conv.bias is None else xp.asarray(conv.bias[...], np.float32) - mean
    conv.kernel[...] = jnp.asarray(xp.asarray(kernel, np.float32) * scale, kernel.dtype)
    conv.bias = nnx.Param(jnp.asarray(shift + offset * scale, kernel.dtype))
    conv.use_bias = True
