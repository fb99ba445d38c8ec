"""Vision transformers (Dosovitskiy et al., ICLR 2021). DeiT is the same network."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from extremal_jax.models.conversion import Architecture, Layout, pytorch
from extremal_jax.models.entry import HALVES, IMAGENET, Entry, timm
from extremal_jax.models.networks.layers import Mlp, conv, layer_norm, named

PATCH, HEAD, DEPTH = 16, 64, 12  # side of a patch in pixels; features of an attention head; blocks
ACTIVATIONS = (*(f"blocks.{i}" for i in range(DEPTH)), "norm")


class Attention(nnx.Module):
    """Self-attention over all tokens: (B, N, width) -> (B, N, width)."""

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        self.qkv = nnx.Linear(width, 3 * width, rngs=rngs)
        self.proj = nnx.Linear(width, width, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        queries, keys, values = jnp.moveaxis(self.qkv(x).reshape(*x.shape[:2], 3, -1, HEAD), 2, 0)
        return self.proj(jax.nn.dot_product_attention(queries, keys, values).reshape(x.shape))


class Block(nnx.Module):
    """Attention, then a network over the features of each token; each takes normed tokens and is added to them."""

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

    The embedding of positions is resized to the image's grid of patches if the weights have another grid.

    Args:
      width: the features of a token.
      depth: the number of blocks.
      classes: the number of scores.
      positions: one for the class token, and one for each patch of a square image.
    """

    def __init__(self, width: int, depth: int = DEPTH, classes: int = 1000, positions: int = 1 + (224 // PATCH) ** 2, *, rngs: nnx.Rngs):
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


_TORCHVISION = (
    ("^cls_token", "class_token"),
    ("^pos_embed", "encoder.pos_embedding"),
    ("^patch_embed", "conv_proj"),
    (r"^blocks\.", "encoder.layers.encoder_layer_"),
    (r"\.norm(\d)", r".ln_\1"),
    (r"attn\.qkv\.kernel", "self_attention.in_proj_weight"),
    (r"attn\.qkv\.bias", "self_attention.in_proj_bias"),
    (r"attn\.proj", "self_attention.out_proj"),
    ("^norm", "encoder.ln"),
    ("^head", "heads.head"),
)
_BIG_VISION = (
    ("^cls_token", "cls"),
    ("^pos_embed", "pos_embedding"),
    ("^patch_embed", "embedding"),
    (r"^blocks\.(\d+)", r"Transformer.encoderblock_\1"),
    (r"\.norm1", ".LayerNorm_0"),
    (r"\.norm2", ".LayerNorm_1"),
    (r"\.attn\.qkv", ".MultiHeadDotProductAttention_0.qkv"),
    (r"\.attn\.proj", ".MultiHeadDotProductAttention_0.out"),
    (r"\.mlp\.fc1", ".MlpBlock_0.Dense_0"),
    (r"\.mlp\.fc2", ".MlpBlock_0.Dense_1"),
    ("^norm", "Transformer.encoder_norm"),
)
LAYOUTS = (
    pytorch("timm", ("^patch_embed", "patch_embed.proj")),
    pytorch("torchvision", (r"mlp\.fc1", "mlp.0"), (r"mlp\.fc2", "mlp.3"), *_TORCHVISION),
    pytorch("torchvision, as first published", (r"mlp\.fc(\d)", r"mlp.linear_\1"), *_TORCHVISION),
    Layout("big_vision", _BIG_VISION),
)

_PARAMETERS = {384: 22_050_664, 768: 86_567_656}
_MEMBERS = {
    "vit_s_16": ("vision transformer, small", 384, HALVES, "vit_small_patch16_224.augreg_in21k_ft_in1k"),
    "vit_b_16": ("vision transformer, base", 768, HALVES, "vit_base_patch16_224.augreg_in21k_ft_in1k"),
    "deit_s_16": ("DeiT, small", 384, IMAGENET, "deit_small_patch16_224.fb_in1k"),
    "deit_b_16": ("DeiT, base", 768, IMAGENET, "deit_base_patch16_224.fb_in1k"),
}
_PINS = {
    "vit_s_16": ("7e2c55630205e1266030f18370f4c6ed1a514b52", "79c03c635cdfd798a364a9d8c4e5c0b7255b975ea2c9616046d4f77ab01435aa"),
    "vit_b_16": ("b5b38b8f7dd93ce67d12e356a8771556b95c8cf9",),
    "deit_s_16": ("91327a9c99f98fe6b524cd4d397b7226b80e1365", "1e747b4a8d0df2cfbd3c450e8c97685d867448ab0c2ddbfb34b6885f5cb23e5b"),
    "deit_b_16": ("b78cc5532a69df6bcad9c3a8d76653fd20b31ac6", "cd2da27b74ed7f68b599f16c77af3e1e80f01c75f9ad96029d22ce747a247e8e"),
}

ENTRIES = tuple(
    Entry(
        name=name,
        description=f"{description}, patches of 16x16 pixels, ImageNet",
        parameters=_PARAMETERS[width],
        activations=ACTIVATIONS,
        preprocessing=normalised(crop=0.9, interpolation="bicubic"),
        preprocessing_by_publisher={
            **{layout.publisher: IMAGENET(crop=0.875) for layout in LAYOUTS[1:3]},
            "big_vision": HALVES(crop=0.875, interpolation="bilinear"),
        },
        architecture=Architecture(functools.partial(ViT, width), LAYOUTS, {"classes": ("head.bias", 0), "positions": ("pos_embed", 1)}),
        hub=timm(repository, *_PINS[name]),
    )
    for name, (description, width, normalised, repository) in _MEMBERS.items()
)
