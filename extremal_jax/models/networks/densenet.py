"""Densely connected networks (Huang et al., CVPR 2017)."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from extremal_jax.models.conversion import Architecture, pytorch
from extremal_jax.models.entry import Entry, timm
from extremal_jax.models.networks.layers import ConvNorm, MaxPool, conv, named

STEM, GROWTH, BOTTLENECK = 64, 32, 4
_STAGES = ("denseblock1", "transition1", "denseblock2", "transition2", "denseblock3", "transition3", "denseblock4")
ACTIVATIONS = ("features.relu0", "features.pool0", *(f"features.{name}" for name in _STAGES), "features")


class DenseLayer(nnx.Module):
    """New features from a map: norm, ReLU, 1x1 convolution, norm, ReLU, 3x3 convolution."""

    def __init__(self, in_features: int, *, rngs: nnx.Rngs):
        self.norm1 = nnx.BatchNorm(in_features, rngs=rngs)
        self.conv1 = ConvNorm(in_features, BOTTLENECK * GROWTH, 1, rngs=rngs)
        self.conv2 = conv(BOTTLENECK * GROWTH, GROWTH, 3, bias=False, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        return self.conv2(nnx.relu(self.conv1(nnx.relu(self.norm1(x)))))


class DenseBlock(nnx.Module):
    """Layers that each take the features of all layers before them."""

    def __init__(self, in_features: int, depth: int, *, rngs: nnx.Rngs):
        self.layers = nnx.List(DenseLayer(in_features + i * GROWTH, rngs=rngs) for i in range(depth))

    def __call__(self, x: Array) -> Array:
        for layer in self.layers:
            x = jnp.concatenate([x, layer(x)], axis=-1)
        return x


class Transition(nnx.Module):
    """Halve the features and the sides of the map."""

    def __init__(self, in_features: int, *, rngs: nnx.Rngs):
        self.norm = nnx.BatchNorm(in_features, rngs=rngs)
        self.conv = conv(in_features, in_features // 2, 1, bias=False, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        return nnx.pool(self.conv(nnx.relu(self.norm(x))), 0.0, jax.lax.add, (2, 2), (2, 2), "VALID") / 4


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


_NAMES = (
    (r"^(?!classifier)", "features."),
    (r"\.layers\.(\d+)", lambda found: f".denselayer{int(found[1]) + 1}"),
    (r"conv0\.norm", "norm0"),
    (r"conv1\.norm", "norm2"),
    (r"conv([01])\.conv", r"conv\1"),
)
LAYOUTS = (
    pytorch("torchvision and timm", *_NAMES),
    pytorch("torchvision, as first published", *_NAMES, (r"(denselayer\d+)\.(norm|conv)(\d)", r"\1.\2.\3")),
)

_MEMBERS = {
    121: ((6, 12, 24, 16), 7_978_856),
    169: ((6, 12, 32, 32), 14_149_480),
    201: ((6, 12, 48, 32), 20_013_928),
}
_PINS = {
    121: ("f0d0f2698a02cb133b09d48396db6e1e46fe9f3b", "c894c6d9caa317a8ca1942986dee7a16a86c77734a4d691d2abe05389cfef358"),
    169: ("8c033a1f91d746e37e23229bf0445fff2125c89e",),
}

ENTRIES = tuple(
    Entry(
        name=f"densenet{depth}",
        description=f"densely connected network of {depth} layers, ImageNet",
        parameters=parameters,
        activations=ACTIVATIONS,
        architecture=Architecture(functools.partial(DenseNet, depths), LAYOUTS, {"classes": ("classifier.bias", 0)}),
        hub=timm(f"densenet{depth}.tv_in1k", *_PINS.get(depth, ())),
    )
    for depth, (depths, parameters) in _MEMBERS.items()
)
