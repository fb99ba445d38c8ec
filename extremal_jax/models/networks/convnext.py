"""ConvNeXt (Liu et al., CVPR 2022)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import jax.numpy as jnp
from flax import nnx
from jax import Array

from extremal_jax.models.networks.layers import Mlp, conv, layer_norm, named

ACTIVATIONS = ("stem", "stages.0", "stages.1", "stages.2", "stages.3", "avgpool")


class Block(nnx.Module):
    """x + gamma f(x), with f a 7x7 convolution of each channel by itself, a norm, and a network over the channels of each place."""

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        self.conv_dw = conv(width, width, 7, groups=width, rngs=rngs)
        self.norm = layer_norm(width, rngs=rngs)
        self.mlp = Mlp(width, 4 * width, rngs=rngs)
        self.gamma = nnx.Param(jnp.full(width, 1e-6))

    def __call__(self, x: Array) -> Array:
        return x + self.gamma * self.mlp(self.norm(self.conv_dw(x)))


class Stage(nnx.Module):
    """Blocks of one width, behind a norm and a 2x2 convolution of stride 2 where the width changes."""

    def __init__(self, before: int, width: int, depth: int, *, rngs: nnx.Rngs):
        down = [layer_norm(before, rngs=rngs), conv(before, width, 2, 2, padding=0, rngs=rngs)]
        self.downsample = nnx.List([] if before == width else down)
        self.blocks = nnx.List(Block(width, rngs=rngs) for _ in range(depth))

    def __call__(self, x: Array) -> Array:
        for layer in (*self.downsample, *self.blocks):
            x = layer(x)
        return x


class ConvNeXt(nnx.Module):
    """(B, H, W, 3) -> (B, classes).

    Args:
      depths: the number of blocks in each of the four stages.
      widths: the number of features there.
      classes: the number of scores.
    """

    def __init__(self, depths: Sequence[int], widths: Sequence[int], classes: int = 1000, *, rngs: nnx.Rngs):
        self.stem = nnx.List([conv(3, widths[0], 4, 4, padding=0, rngs=rngs), layer_norm(widths[0], rngs=rngs)])
        pairs = itertools.pairwise((widths[0], *widths))
        self.stages = nnx.List(Stage(before, width, depth, rngs=rngs) for (before, width), depth in zip(pairs, depths, strict=True))
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
