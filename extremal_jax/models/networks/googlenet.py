"""GoogLeNet (Szegedy et al., CVPR 2015) in torchvision's form: batch norm instead of local response norm, 3x3 instead of 5x5 kernels."""

from __future__ import annotations

import functools

import jax.numpy as jnp
from flax import nnx
from jax import Array

from extremal_jax.models.conversion import Architecture, pytorch
from extremal_jax.models.entry import HALVES, Entry
from extremal_jax.models.networks.layers import ConvNorm, MaxPool, named, relu

ConvNormRelu = functools.partial(ConvNorm, epsilon=1e-3, activation=relu)
Pair = tuple[int, int]
STAGES: dict[str, dict[str, tuple[int, Pair, Pair, int]]] = {  # the features of each branch; each stage begins with a max-pool
    "maxpool2": {
        "inception3a": (64, (96, 128), (16, 32), 32),
        "inception3b": (128, (128, 192), (32, 96), 64),
    },
    "maxpool3": {
        "inception4a": (192, (96, 208), (16, 48), 64),
        "inception4b": (160, (112, 224), (24, 64), 64),
        "inception4c": (128, (128, 256), (24, 64), 64),
        "inception4d": (112, (144, 288), (32, 64), 64),
        "inception4e": (256, (160, 320), (32, 128), 128),
    },
    "maxpool4": {
        "inception5a": (256, (160, 320), (32, 128), 128),
        "inception5b": (384, (192, 384), (48, 128), 128),
    },
}
ACTIVATIONS = (
    *("conv1", "maxpool1", "conv2", "conv3"),
    *(name for pool, modules in STAGES.items() for name in (pool, *modules)),
    "avgpool",
)


class Inception(nnx.Module):
    """Four parallel branches: a 1x1 convolution; a 1x1 and a 3x3, twice; a max-pool and a 1x1."""

    def __init__(self, in_features: int, first: int, second: Pair, third: Pair, fourth: int, *, rngs: nnx.Rngs):
        self.branch1 = ConvNormRelu(in_features, first, 1, rngs=rngs)
        self.branch2 = nnx.List([ConvNormRelu(in_features, second[0], 1, rngs=rngs), ConvNormRelu(*second, 3, rngs=rngs)])
        self.branch3 = nnx.List([ConvNormRelu(in_features, third[0], 1, rngs=rngs), ConvNormRelu(*third, 3, rngs=rngs)])
        self.pool = MaxPool(3, 1, padding=1)
        self.branch4 = ConvNormRelu(in_features, fourth, 1, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        branches = [self.branch1(x), *(wide(narrow(x)) for narrow, wide in (self.branch2, self.branch3)), self.branch4(self.pool(x))]
        return jnp.concatenate(branches, axis=-1)


class GoogLeNet(nnx.Module):
    """(B, H, W, 3) -> (B, classes)."""

    def __init__(self, classes: int = 1000, *, rngs: nnx.Rngs):
        self.conv1 = ConvNormRelu(3, 64, 7, 2, rngs=rngs)
        self.maxpool1 = MaxPool(3, 2, ceil=True)
        self.conv2 = ConvNormRelu(64, 64, 1, rngs=rngs)
        self.conv3 = ConvNormRelu(64, 192, 3, rngs=rngs)
        features = 192
        for pool, modules in STAGES.items():
            setattr(self, pool, MaxPool(2 if pool == "maxpool4" else 3, 2, ceil=True))
            for name, (first, second, third, fourth) in modules.items():
                setattr(self, name, Inception(features, first, second, third, fourth, rngs=rngs))
                features = first + second[1] + third[1] + fourth
        self.fc = nnx.Linear(features, classes, rngs=rngs)

    def __call__(self, images: Array) -> Array:
        x = images
        for name in ACTIVATIONS[:-1]:
            x = named(getattr(self, name)(x), name)
        return self.fc(named(x.mean(axis=(1, 2)), "avgpool"))


LAYOUTS = (
    pytorch(
        "torchvision",
        ("branch4", "branch4.1"),
        (r"\.norm\.", ".bn."),
        ignored=(r"^aux[12]\.",),  # the auxiliary heads serve training
    ),
)

ENTRIES = (
    Entry(
        name="googlenet",
        description="GoogLeNet, ImageNet",
        parameters=6_624_904,
        activations=ACTIVATIONS,
        preprocessing=HALVES(crop=0.875),  # torchvision's network normalises its input to that itself
        architecture=Architecture(GoogLeNet, LAYOUTS, {"classes": ("fc.bias", 0)}),
    ),
)
