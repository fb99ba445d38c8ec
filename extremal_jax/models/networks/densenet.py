"""Densely connected networks (Huang et al., CVPR 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from flax import nnx
from jax import Array

from extremal_jax.models.networks.layers import ConvNorm, MaxPool, conv, named

STEM, GROWTH, BOTTLENECK = 64, 32, 4
_STAGES = ("denseblock1", "transition1", "denseblock2", "transition2", "denseblock3", "transition3", "denseblock4")
ACTIVATIONS = ("features.relu0", "features.pool0", *(f"features.{name}" for name in _STAGES), "features")


class DenseLayer(nnx.Module):
    """New features of a map: norm, ReLU, 1x1 convolution, norm, ReLU, 3x3 convolution."""

    def __init__(self, in_features: int, *, rngs: nnx.Rngs):
        self.norm1 = nnx.BatchNorm(in_features, rngs=rngs)
        self.conv1 = ConvNorm(in_features, BOTTLENECK * GROWTH, 1, rngs=rngs)
        self.conv2 = conv(BOTTLENECK * GROWTH, GROWTH, 3, bias=False, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        return self.conv2(nnx.relu(self.conv1(nnx.relu(self.norm1(x)))))


class DenseBlock(nnx.Module):
    """Layers, each of which sees the features of all before it."""

    def __init__(self, in_features: int, depth: int, *, rngs: nnx.Rngs):
        self.layers = nnx.List(DenseLayer(in_features + i * GROWTH, rngs=rngs) for i in range(depth))

    def __call__(self, x: Array) -> Array:
        for layer in self.layers:
            x = jnp.concatenate([x, layer(x)], axis=-1)
        return x


class Transition(nnx.Module):
    """Half the features, on a map of half the side."""

    def __init__(self, in_features: int, *, rngs: nnx.Rngs):
        self.norm = nnx.BatchNorm(in_features, rngs=rngs)
        self.conv = conv(in_features, in_features // 2, 1, bias=False, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        return nnx.avg_pool(self.conv(nnx.relu(self.norm(x))), (2, 2), (2, 2))


class DenseNet(nnx.Module):
    """(B, H, W, 3) -> (B, classes).

    Args:
      depths: the number of layers in each of the four dense blocks.
      classes: the number of scores.
    """

    def __init__(self, depths: Sequence[int], classes: int = 1000, *, rngs: nnx.Rngs):
        self.conv0 = ConvNorm(3, STEM, 7, 2, rngs=rngs)
        self.pool0 = MaxPool(3, 2, padding=1)
        features = STEM
        for index, depth in enumerate(depths, 1):
            setattr(self, f"denseblock{index}", DenseBlock(features, depth, rngs=rngs))
            features += depth * GROWTH
            if index < len(depths):
                setattr(self, f"transition{index}", Transition(features, rngs=rngs))
                features //= 2
        self.norm5 = nnx.BatchNorm(features, rngs=rngs)
        self.classifier = nnx.Linear(features, classes, rngs=rngs)

    def __call__(self, images: Array) -> Array:
        x = named(nnx.relu(self.conv0(images)), "features.relu0")
        x = named(self.pool0(x), "features.pool0")
        for name in _STAGES:
            x = named(getattr(self, name)(x), f"features.{name}")
        x = named(self.norm5(x), "features")
        return self.classifier(nnx.relu(x).mean(axis=(1, 2)))
