"""ConvNeXt V2 (Woo et al., CVPR 2023)."""

from __future__ import annotations

import functools

import jax.numpy as jnp
from flax import nnx
from jax import Array

from extremal_jax.models.conversion import Architecture, pytorch
from extremal_jax.models.entry import IMAGENET, Entry
from extremal_jax.models.networks.convnext import ACTIVATIONS, ConvNeXt
from extremal_jax.models.networks.layers import conv, layer_norm

EPSILON = 1e-6


class ResponseNorm(nnx.Module):
    """Global response normalisation, x + bias + weight x n: n is the norm of a channel over the map, divided by its mean over channels."""

    def __init__(self, features: int):
        self.weight = nnx.Param(jnp.zeros(features))
        self.bias = nnx.Param(jnp.zeros(features))

    def __call__(self, x: Array) -> Array:
        norms = jnp.sqrt(jnp.square(x).sum(axis=(1, 2), keepdims=True))
        share = norms / (norms.mean(axis=-1, keepdims=True) + EPSILON)
        weight, bias = (jnp.expand_dims(value[...], (0, 1, 2)) for value in (self.weight, self.bias))
        return x + bias + weight * (x * share)


class ResponseMlp(nnx.Module):
    """Two linear layers over the last axis, with a GELU and a response norm between them."""

    def __init__(self, features: int, hidden: int, *, rngs: nnx.Rngs):
        self.fc1 = nnx.Linear(features, hidden, rngs=rngs)
        self.grn = ResponseNorm(hidden)
        self.fc2 = nnx.Linear(hidden, features, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        return self.fc2(self.grn(nnx.gelu(self.fc1(x), approximate=False)))


class Block(nnx.Module):
    """x + f(x), with f a 7x7 depthwise convolution, a norm, and a network over the channels of each pixel."""

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        self.conv_dw = conv(width, width, 7, groups=width, rngs=rngs)
        self.norm = layer_norm(width, rngs=rngs)
        self.mlp = ResponseMlp(width, 4 * width, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        return x + self.mlp(self.norm(self.conv_dw(x)))


LAYOUTS = (pytorch("timm", (r"^(norm|fc)", r"head.\1")),)
_MEMBERS = {
    "tiny": ((3, 3, 9, 3), (96, 192, 384, 768), 28_635_496),
    "base": ((3, 3, 27, 3), (128, 256, 512, 1024), 88_717_800),
}

ENTRIES = tuple(
    Entry(
        name=f"convnext_v2_{size}",
        description=f"ConvNeXt V2, {size}, ImageNet",
        parameters=parameters,
        activations=ACTIVATIONS,
        preprocessing=IMAGENET(crop=0.875, interpolation="bicubic"),
        architecture=Architecture(functools.partial(ConvNeXt, depths, widths, block=Block), LAYOUTS, {"classes": ("fc.bias", 0)}),
    )
    for size, (depths, widths, parameters) in _MEMBERS.items()
)
