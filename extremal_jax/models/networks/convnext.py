"""ConvNeXt (Liu et al., CVPR 2022)."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Sequence

import jax.numpy as jnp
from flax import nnx
from jax import Array

from extremal_jax.models.conversion import CHANNELS_OF_MAPS, Architecture, pytorch
from extremal_jax.models.entry import IMAGENET, Entry, timm
from extremal_jax.models.networks.layers import Mlp, conv, layer_norm, named

ACTIVATIONS = ("stem", "stages.0", "stages.1", "stages.2", "stages.3", "avgpool")


class Block(nnx.Module):
    """x + gamma f(x), with f a 7x7 depthwise convolution, a norm, and a network over the channels of each pixel."""

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        self.conv_dw = conv(width, width, 7, groups=width, rngs=rngs)
        self.norm = layer_norm(width, rngs=rngs)
        self.mlp = Mlp(width, 4 * width, rngs=rngs)
        self.gamma = nnx.Param(jnp.full(width, 1e-6))

    def __call__(self, x: Array) -> Array:
        return x + jnp.expand_dims(self.gamma[...], (0, 1, 2)) * self.mlp(self.norm(self.conv_dw(x)))


class Stage(nnx.Module):
    """Blocks of one width, preceded by a norm and a 2x2 convolution of stride 2 if the width changes."""

    def __init__(self, before: int, width: int, depth: int, *, block: Callable[..., nnx.Module], rngs: nnx.Rngs):
        down = [layer_norm(before, rngs=rngs), conv(before, width, 2, 2, padding=0, rngs=rngs)]
        self.downsample = nnx.List([] if before == width else down)
        self.blocks = nnx.List(block(width, rngs=rngs) for _ in range(depth))

    def __call__(self, x: Array) -> Array:
        for layer in (*self.downsample, *self.blocks):
            x = layer(x)
        return x


class ConvNeXt(nnx.Module):
    """(B, H, W, 3) -> (B, classes).

    Args:
      depths: the number of blocks in each of the four stages.
      widths: the number of features in each of them.
      classes: the number of scores.
      block: makes a block of a width.
    """

    def __init__(
        self,
        depths: Sequence[int],
        widths: Sequence[int],
        classes: int = 1000,
        *,
        block: Callable[..., nnx.Module] = Block,
        rngs: nnx.Rngs,
    ):
        self.stem = nnx.List([conv(3, widths[0], 4, 4, padding=0, rngs=rngs), layer_norm(widths[0], rngs=rngs)])
        pairs = itertools.pairwise((widths[0], *widths))
        self.stages = nnx.List(
            Stage(before, width, depth, block=block, rngs=rngs) for (before, width), depth in zip(pairs, depths, strict=True)
        )
        self.norm = layer_norm(widths[-1], rngs=rngs)
        self.fc = nnx.Linear(widths[-1], classes, rngs=rngs)

    def __call__(self, images: Array) -> Array:
        x = images
        for layer in self.stem:
            x = layer(x)
        x = named(x, "stem")
        for index, stage in enumerate(self.stages):
            x = named(stage(x), f"stages.{index}")
        return self.fc(self.norm(named(x.mean(axis=(1, 2)), "avgpool")))


LAYOUTS = (
    pytorch("timm", (r"^(norm|fc)", r"head.\1")),
    pytorch(
        "torchvision",
        ("^stem", "features.0"),
        (r"^stages\.(\d)\.downsample", lambda found: f"features.{2 * int(found[1])}"),
        (r"^stages\.(\d)\.blocks", lambda found: f"features.{2 * int(found[1]) + 1}"),
        ("^norm", "classifier.0"),
        ("^fc", "classifier.2"),
        ("gamma", "layer_scale"),
        ("conv_dw", "block.0"),
        (r"(\d)\.norm", r"\1.block.2"),
        (r"mlp\.fc1", "block.3"),
        (r"mlp\.fc2", "block.5"),
        forms=((r"gamma$", CHANNELS_OF_MAPS),),
    ),
)

_MEMBERS = {
    "tiny": ((3, 3, 9, 3), (96, 192, 384, 768), 28_589_128, 236),
    "small": ((3, 3, 27, 3), (96, 192, 384, 768), 50_223_688, 230),
    "base": ((3, 3, 27, 3), (128, 256, 512, 1024), 88_591_464, 232),
}
_PINS = {
    "tiny": ("b43a6303c9fcf176d2d707478a128c2c91e93528", "08b9dc9c3a3a29421de7996761e176501896d1ae7fc3085cf56a643772329276"),
    "base": ("9868d443015978c683675b2f78030a9c943033f8",),
}

ENTRIES = tuple(
    Entry(
        name=f"convnext_{size}",
        description=f"ConvNeXt, {size}, ImageNet",
        parameters=parameters,
        activations=ACTIVATIONS,
        preprocessing=IMAGENET(crop=0.875, interpolation="bicubic"),
        preprocessing_by_publisher={"torchvision": IMAGENET(crop=224 / scaled)},
        architecture=Architecture(functools.partial(ConvNeXt, depths, widths), LAYOUTS, {"classes": ("fc.bias", 0)}),
        hub=timm(f"convnext_{size}.fb_in1k", *_PINS.get(size, ())),
    )
    for size, (depths, widths, parameters, scaled) in _MEMBERS.items()
)
