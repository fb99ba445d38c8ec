"""Batch norms merged into convolutions: the same function with fewer operations."""

from __future__ import annotations

from typing import TypeVar

from flax import nnx

from extremal_jax.models.networks.layers import Chain, ConvNorm

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
        if isinstance(layer, ConvNorm | Chain):
            layer.fold()
