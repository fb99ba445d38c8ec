"""Batch norm folded into convolutions: the same function with fewer operations."""

from __future__ import annotations

from typing import TypeVar

from flax import nnx

from extremal_jax.models.layers import ConvNorm

Module = TypeVar("Module", bound=nnx.Module)


def fold_batch_norm(module: Module) -> Module:
    """A copy of a module in which every `ConvNorm` is one convolution with a bias. The outputs stay the same, to rounding.

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
    folded = nnx.clone(module)
    for _, layer in nnx.iter_modules(folded):
        if isinstance(layer, ConvNorm):
            layer.fold()
    return folded
