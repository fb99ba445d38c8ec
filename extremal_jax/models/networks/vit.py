"""Vision transformers (Dosovitskiy et al., ICLR 2021). DeiT is the same network."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from extremal_jax.models.networks.layers import Mlp, conv, layer_norm, named

PATCH, HEAD = 16, 64  # the side of a patch in pixels; the features of an attention head


class Attention(nnx.Module):
    """Every token looks at all tokens. (B, N, width) -> (B, N, width)."""

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        self.qkv = nnx.Linear(width, 3 * width, rngs=rngs)
        self.proj = nnx.Linear(width, width, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        queries, keys, values = jnp.moveaxis(self.qkv(x).reshape(*x.shape[:2], 3, -1, HEAD), 2, 0)
        return self.proj(jax.nn.dot_product_attention(queries, keys, values).reshape(x.shape))


class Block(nnx.Module):
    """Attention, then a network over the features of each token; both on normed tokens and added to them."""

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        self.norm1 = layer_norm(width, rngs=rngs)
        self.attn = Attention(width, rngs=rngs)
        self.norm2 = layer_norm(width, rngs=rngs)
        self.mlp = Mlp(width, 4 * width, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ViT(nnx.Module):
    """(B, H, W, 3) -> (B, classes). H and W are multiples of 16.

    The embedding of positions is resized to the image's grid of patches where that is not the one of the weights.

    Args:
      width: the features of a token.
      depth: the number of blocks.
      classes: the number of scores.
      positions: one for the class token and one for each patch of a square image.
    """

    def __init__(self, width: int, depth: int = 12, classes: int = 1000, positions: int = 1 + (224 // PATCH) ** 2, *, rngs: nnx.Rngs):
        self.side = math.isqrt(positions - 1)
        if positions != 1 + self.side**2:
            raise ValueError(f"positions must be one more than a square number, got {positions}")
        self.cls_token = nnx.Param(jnp.zeros((1, 1, width)))
        self.pos_embed = nnx.Param(0.02 * jax.random.normal(rngs.params(), (1, positions, width)))
        self.patch_embed = conv(3, width, PATCH, PATCH, padding=0, rngs=rngs)
        self.blocks = nnx.List(Block(width, rngs=rngs) for _ in range(depth))
        self.norm = layer_norm(width, rngs=rngs)
        self.head = nnx.Linear(width, classes, rngs=rngs)

    def __call__(self, images: Array) -> Array:
        batch, *size, _ = images.shape
        if any(n % PATCH for n in size):
            raise ValueError(f"the height and width of images must be multiples of {PATCH}, got {tuple(size)}")
        patches = self.patch_embed(images)
        cls = jnp.broadcast_to(self.cls_token[...], (batch, 1, patches.shape[-1]))
        x = jnp.concatenate([cls, patches.reshape(batch, -1, patches.shape[-1])], axis=1) + self._positions(patches.shape[1:3])
        for index, block in enumerate(self.blocks):
            x = named(block(x), f"blocks.{index}")
        return self.head(named(self.norm(x)[:, 0], "norm"))

    def _positions(self, grid: tuple[int, ...]) -> Array:
        """(1, 1 + h w, width): the embedding of positions for a grid of (h, w) patches, by antialiased bicubic interpolation."""
        embedding = self.pos_embed[...]
        if grid == (self.side, self.side):
            return embedding
        width = embedding.shape[-1]
        square = embedding[:, 1:].reshape(1, self.side, self.side, width).astype(jnp.float32)
        resized = jax.image.resize(square, (1, *grid, width), "cubic").astype(embedding.dtype)
        return jnp.concatenate([embedding[:, :1], resized.reshape(1, -1, width)], axis=1)


def activations(depth: int = 12) -> tuple[str, ...]:
    """The names of the inner layers of such a network."""
    return (*(f"blocks.{i}" for i in range(depth)), "norm")
