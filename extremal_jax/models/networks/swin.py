"""Swin transformers (Liu et al., ICCV 2021): attention within windows, which every second block shifts by half of their side."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax.numpy as jnp
from flax import nnx
from jax import Array

from extremal_jax.models.conversion import Architecture, pytorch
from extremal_jax.models.entry import IMAGENET, Entry
from extremal_jax.models.networks.layers import Mlp, WindowAttention, conv, named

PATCH, WINDOW, HEAD = 4, 7, 32  # sides of a patch in pixels, and of a window in patches; features of an attention head
ACTIVATIONS = ("patch_embed", "stages.0", "stages.1", "stages.2", "stages.3", "norm", "avgpool")


def _norm(features: int, *, rngs: nnx.Rngs) -> nnx.LayerNorm:
    return nnx.LayerNorm(features, epsilon=1e-5, rngs=rngs)


class Block(nnx.Module):
    """Attention within windows, then a network over the features of each patch; each takes normed patches and is added to them."""

    def __init__(self, width: int, shift: int, *, rngs: nnx.Rngs):
        self.norm1 = _norm(width, rngs=rngs)
        self.attn = WindowAttention(width, width // HEAD, WINDOW, shift, rngs=rngs)
        self.norm2 = _norm(width, rngs=rngs)
        self.mlp = Mlp(width, 4 * width, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Merging(nnx.Module):
    """(B, h, w, C) -> (B, h / 2, w / 2, 2 C): a linear layer of four neighbours. Odd sides are padded with a zero."""

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        self.norm = _norm(4 * width, rngs=rngs)
        self.reduction = nnx.Linear(4 * width, 2 * width, use_bias=False, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        batch, height, width, features = x.shape
        x = jnp.pad(x, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)))
        x = x.reshape(batch, -(-height // 2), 2, -(-width // 2), 2, features)
        x = x.transpose(0, 1, 3, 4, 2, 5).reshape(batch, -(-height // 2), -(-width // 2), 4 * features)
        return self.reduction(self.norm(x))


class Swin(nnx.Module):
    """(B, H, W, 3) -> (B, classes). H and W are multiples of 4; windows that reach beyond the last patches are padded with zeros.

    Args:
      width: the number of features in the first of the four stages; each further one has twice as many.
      depths: the number of blocks in each of them.
      classes: the number of scores.
    """

    def __init__(self, width: int, depths: Sequence[int], classes: int = 1000, *, rngs: nnx.Rngs):
        self.patch_embed = nnx.List([conv(3, width, PATCH, PATCH, padding=0, rngs=rngs), _norm(width, rngs=rngs)])
        widths = [width << index for index in range(len(depths))]
        self.stages = nnx.List(
            nnx.List(Block(features, block % 2 * (WINDOW // 2), rngs=rngs) for block in range(depth))
            for features, depth in zip(widths, depths, strict=True)
        )
        self.downsample = nnx.List(Merging(features, rngs=rngs) for features in widths[:-1])
        self.norm = _norm(widths[-1], rngs=rngs)
        self.head = nnx.Linear(widths[-1], classes, rngs=rngs)

    def __call__(self, images: Array) -> Array:
        if any(n % PATCH for n in images.shape[1:3]):
            raise ValueError(f"the height and width of images must be multiples of {PATCH}, got {images.shape[1:3]}")
        x = images
        for layer in self.patch_embed:
            x = layer(x)
        x = named(x, "patch_embed")
        for index, stage in enumerate(self.stages):
            x = x if index == 0 else self.downsample[index - 1](x)
            for block in stage:
                x = block(x)
            x = named(x, f"stages.{index}")
        return self.head(named(named(self.norm(x), "norm").mean(axis=(1, 2)), "avgpool"))


_INDEX = (r"relative_position_index$", r"attn_mask$")
LAYOUTS = (
    pytorch(
        "torchvision",
        (r"^patch_embed\.0", "features.0.0"),
        (r"^patch_embed\.1", "features.0.2"),
        (r"^stages\.(\d)", lambda found: f"features.{2 * int(found[1]) + 1}"),
        (r"^downsample\.(\d)", lambda found: f"features.{2 * int(found[1]) + 2}"),
        (r"mlp\.fc1", "mlp.0"),
        (r"mlp\.fc2", "mlp.3"),
        ignored=_INDEX,
    ),
    pytorch(
        "timm",
        (r"^patch_embed\.0", "patch_embed.proj"),
        (r"^patch_embed\.1", "patch_embed.norm"),
        (r"^stages\.(\d)", r"layers.\1.blocks"),
        (r"^downsample\.(\d)", lambda found: f"layers.{int(found[1]) + 1}.downsample"),
        ("^head", "head.fc"),
        ignored=_INDEX,
    ),
)
_MEMBERS = {  # features of the first stage, blocks, parameters, and the side to which torchvision scales images
    "t": ("tiny", 96, (2, 2, 6, 2), 28_288_354, 232),
    "s": ("small", 96, (2, 2, 18, 2), 49_606_258, 246),
    "b": ("base", 128, (2, 2, 18, 2), 87_768_224, 238),
}

ENTRIES = tuple(
    Entry(
        name=f"swin_{size}",
        description=f"Swin transformer, {title}, ImageNet",
        parameters=parameters,
        activations=ACTIVATIONS,
        preprocessing=IMAGENET(crop=224 / scaled, interpolation="bicubic"),
        preprocessing_by_publisher={"timm": IMAGENET(crop=0.9, interpolation="bicubic")},
        architecture=Architecture(functools.partial(Swin, width, depths), LAYOUTS, {"classes": ("head.bias", 0)}),
    )
    for size, (title, width, depths, parameters, scaled) in _MEMBERS.items()
)
