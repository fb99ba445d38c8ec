"""Residual networks (He et al., CVPR 2016), and the Caffe ones that TorchRay uses."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import jax.numpy as jnp
from flax import nnx
from jax import Array

from extremal_jax.models.networks.layers import ConvNorm, MaxPool, named

WIDTHS = (64, 128, 256, 512)
ACTIVATIONS = ("relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool")


class BasicBlock(nnx.Module):
    """relu(x + f(x)) with f two 3x3 convolutions."""

    expansion = 1

    def __init__(self, in_features: int, width: int, stride: int, *, early_stride: bool, rngs: nnx.Rngs):
        del early_stride  # the first convolution has the stride in any case
        self.conv1 = ConvNorm(in_features, width, 3, stride, rngs=rngs)
        self.conv2 = ConvNorm(width, width, 3, rngs=rngs)
        self.downsample = _shortcut(in_features, width, stride, rngs)

    def __call__(self, x: Array) -> Array:
        y = self.conv2(nnx.relu(self.conv1(x)))
        return nnx.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nnx.Module):
    """relu(x + f(x)) with f a 1x1, a 3x3 and a 1x1 convolution; `early_stride` puts the stride into the first instead of the second."""

    expansion = 4

    def __init__(self, in_features: int, width: int, stride: int, *, early_stride: bool, rngs: nnx.Rngs):
        first, second = (stride, 1) if early_stride else (1, stride)
        self.conv1 = ConvNorm(in_features, width, 1, first, rngs=rngs)
        self.conv2 = ConvNorm(width, width, 3, second, rngs=rngs)
        self.conv3 = ConvNorm(width, self.expansion * width, 1, rngs=rngs)
        self.downsample = _shortcut(in_features, self.expansion * width, stride, rngs)

    def __call__(self, x: Array) -> Array:
        y = self.conv3(nnx.relu(self.conv2(nnx.relu(self.conv1(x)))))
        return nnx.relu(y + (x if self.downsample is None else self.downsample(x)))


def _shortcut(in_features: int, out_features: int, stride: int, rngs: nnx.Rngs) -> ConvNorm | None:
    """A 1x1 convolution where the block changes the shape."""
    return None if stride == 1 and in_features == out_features else ConvNorm(in_features, out_features, 1, stride, rngs=rngs)


Block = type[BasicBlock] | type[Bottleneck]


class ResNet(nnx.Module):
    """(B, H, W, 3) -> (B, classes).

    Args:
      block: what the layers are made of.
      depths: the number of blocks in each of the four layers.
      classes: the number of scores.
      caffe: as in Caffe: a bias in the first convolution, a max-pool that rounds up instead of padding, early strides.
      dense: keep the axes of space: (B, 1, 1, classes).
    """

    def __init__(
        self,
        block: Block,
        depths: Sequence[int],
        classes: int = 1000,
        *,
        caffe: bool = False,
        dense: bool = False,
        rngs: nnx.Rngs,
    ):
        self.dense = dense
        self.conv1 = ConvNorm(3, WIDTHS[0], 7, 2, bias=caffe, rngs=rngs)
        self.maxpool = MaxPool(3, 2, ceil=True) if caffe else MaxPool(3, 2, padding=1)
        widths = (WIDTHS[0], *(block.expansion * width for width in WIDTHS))
        for index, (depth, width, (before, after)) in enumerate(zip(depths, WIDTHS, itertools.pairwise(widths), strict=True)):
            first = block(before, width, 1 if index == 0 else 2, early_stride=caffe, rngs=rngs)
            others = [block(after, width, 1, early_stride=caffe, rngs=rngs) for _ in range(depth - 1)]
            setattr(self, f"layer{index + 1}", nnx.List([first, *others]))
        self.fc = nnx.Linear(widths[-1], classes, rngs=rngs)

    def __call__(self, images: Array) -> Array:
        x = named(nnx.relu(self.conv1(images)), "relu")
        x = named(self.maxpool(x), "maxpool")
        for name in ("layer1", "layer2", "layer3", "layer4"):
            for block in getattr(self, name):
                x = block(x)
            x = named(x, name)
        x = named(jnp.mean(x, axis=(1, 2), keepdims=self.dense), "avgpool")
        return self.fc(x)
