"""Layers that the classifiers share."""

from __future__ import annotations

import jax
from flax import nnx
from jax import Array


class ConvNorm(nnx.Module):
    """A square convolution, centred, followed by batch norm. NHWC.

    `fold` turns it into one convolution with a bias, for inference.
    """

    def __init__(self, in_features: int, out_features: int, size: int, stride: int = 1, *, rngs: nnx.Rngs):
        self.conv = nnx.Conv(
            in_features,
            out_features,
            (size, size),
            strides=stride,
            padding=[(size // 2, size // 2)] * 2,
            use_bias=False,
            kernel_init=nnx.initializers.he_normal(),
            rngs=rngs,
        )
        self.norm: nnx.BatchNorm | None = nnx.data(nnx.BatchNorm(out_features, momentum=0.95, rngs=rngs))

    def __call__(self, x: Array) -> Array:
        x = self.conv(x)
        return x if self.norm is None else self.norm(x)

    def fold(self) -> None:
        """Multiply the norm's scale into the kernel and make its shift a bias, in place."""
        norm, conv = self.norm, self.conv
        if norm is None:
            return
        assert norm.scale is not None and norm.bias is not None, "ConvNorm's norm has both"  # noqa: PT018
        scale = norm.scale[...] * jax.lax.rsqrt(norm.var[...] + norm.epsilon)
        conv.kernel[...] = conv.kernel[...] * scale
        conv.bias = nnx.Param(norm.bias[...] - norm.mean[...] * scale)
        conv.use_bias = True
        self.norm = None
