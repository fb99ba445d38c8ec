"""Layers that the classifiers share, for arrays (B, H, W, C)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.ad_checkpoint import checkpoint_name

Layer = Callable[[Array], Array]


def named(x: Array, name: str) -> Array:
    """x, with a name for `extremal_jax.graph` and `jax.checkpoint`.

    Raises:
      ValueError: if x is empty: the images are too small for the network.
    """
    if 0 in x.shape:
        raise ValueError(f"the images are too small for this network: its layer {name!r} is empty; use larger images")
    return checkpoint_name(x, name)


def relu(x: Array) -> Array:
    """max(x, 0), as a function that can be copied and pickled with its network."""
    return nnx.relu(x)


# Compiled once for each shape, so that networks are built and traced several times faster.
_he_normal = jax.jit(nnx.initializers.he_normal(), static_argnums=(1, 2))


def conv(
    in_features: int,
    out_features: int,
    size: int,
    stride: int = 1,
    padding: int | None = None,
    *,
    groups: int = 1,
    bias: bool = True,
    rngs: nnx.Rngs,
) -> nnx.Conv:
    """A square convolution, centred unless a padding is given."""
    padding = size // 2 if padding is None else padding
    return nnx.Conv(
        in_features,
        out_features,
        (size, size),
        strides=stride,
        padding=[(padding, padding)] * 2,
        feature_group_count=groups,
        use_bias=bias,
        kernel_init=_he_normal,
        rngs=rngs,
    )


class ConvNorm(nnx.Module):
    """A square, centred convolution, batch norm, None once it is folded, and an activation function, such as `relu`."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        size: int,
        stride: int = 1,
        *,
        groups: int = 1,
        bias: bool = False,
        epsilon: float = 1e-5,
        activation: Layer | None = None,
        rngs: nnx.Rngs,
    ):
        self.activation = activation
        self.conv = conv(in_features, out_features, size, stride, groups=groups, bias=bias, rngs=rngs)
        self.norm: nnx.BatchNorm | None = nnx.data(nnx.BatchNorm(out_features, momentum=0.95, epsilon=epsilon, rngs=rngs))

    def __call__(self, x: Array) -> Array:
        x = self.conv(x)
        x = x if self.norm is None else self.norm(x)
        return x if self.activation is None else self.activation(x)


class Identity(nnx.Module):
    """x itself: the place in a `Chain` of a batch norm that is folded."""

    def __call__(self, x: Array) -> Array:
        return x


class MaxPool(nnx.Module):
    """The largest value in each window.

    Args:
      ceil: keep a last window that reaches beyond the padded border, as in Caffe.
    """

    def __init__(self, size: int, stride: int, padding: int = 0, *, ceil: bool = False):
        self.size, self.stride, self.padding, self.ceil = size, stride, padding, ceil

    def __call__(self, x: Array) -> Array:
        return nnx.max_pool(x, (self.size,) * 2, (self.stride,) * 2, [self._margins(n) for n in x.shape[1:3]])

    def _margins(self, length: int) -> tuple[int, int]:
        """The padding before and after an axis of this length."""
        if not self.ceil:
            return self.padding, self.padding
        windows = -(-(length + 2 * self.padding - self.size) // self.stride) + 1
        if (windows - 1) * self.stride >= length + self.padding:  # the last one would lie in the padding
            windows -= 1
        return self.padding, max((windows - 1) * self.stride + self.size - length - self.padding, 0)


class Chain(nnx.List):
    """A sequence of layers whose outputs are named `features.0`, `features.1` and so on, for the name `features`."""

    def __init__(self, name: str, layers: Iterable[Layer]):
        super().__init__(layers)
        self.name = name

    def __call__(self, x: Array) -> Array:
        for index, layer in enumerate(self):
            x = named(layer(x), f"{self.name}.{index}")
        return x


class WindowClassifier(nnx.Module):
    """(B, H, W, 3) -> (B, classes): a chain of layers, whose map is resized to a window, and three linear layers.

    Args:
      layers: the chain.
      window: side of the window.
      features: of the map.
      classes: the number of scores.
      first: the place of the first linear layer among the layers of `classifier`; a dropout precedes it or follows it.
      dense: slide the linear layers over the map instead of resizing it: (B, h, w, classes).
    """

    def __init__(
        self, layers: Iterable[Layer], window: int, features: int, classes: int, *, first: int, dense: bool = False, rngs: nnx.Rngs
    ):
        self.window, self.first, self.dense = window, first, dense
        self.features = Chain("features", layers)
        self.fc1 = conv(features, 4096, window, padding=0, rngs=rngs)
        self.fc2 = nnx.Linear(4096, 4096, rngs=rngs)
        self.fc3 = nnx.Linear(4096, classes, rngs=rngs)

    def __call__(self, images: Array) -> Array:
        x = self.features(images)
        if self.dense:
            x = self.fc1(x)
        else:
            x = named(adaptive_mean(x, self.window), "avgpool").reshape(len(x), -1)
            kernel, bias = self.fc1.kernel[...], self.fc1.bias
            assert bias is not None
            x = x @ kernel.reshape(-1, kernel.shape[-1]) + bias[...][None]
        x = named(x, f"classifier.{self.first}")
        x = named(nnx.relu(x), f"classifier.{self.first + 1}")
        x = named(self.fc2(x), f"classifier.{self.first + 3}")
        return self.fc3(named(nnx.relu(x), f"classifier.{self.first + 4}"))


class Mlp(nnx.Module):
    """Two linear layers over the last axis, with a GELU between them."""

    def __init__(self, features: int, hidden: int, *, rngs: nnx.Rngs):
        self.fc1 = nnx.Linear(features, hidden, rngs=rngs)
        self.fc2 = nnx.Linear(hidden, features, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        return self.fc2(nnx.gelu(self.fc1(x), approximate=False))


def layer_norm(features: int, *, rngs: nnx.Rngs) -> nnx.LayerNorm:
    """Layer norm over the last axis, with the epsilon of the published networks."""
    return nnx.LayerNorm(features, epsilon=1e-6, rngs=rngs)


def adaptive_mean(x: Array, size: int) -> Array:
    """(B, H, W, C) -> (B, size, size, C): means over windows that cover the map evenly, and overlap if its sides do not divide.

    Example:
      >>> import jax.numpy as jnp
      >>> adaptive_mean(jnp.arange(3.0).reshape(1, 1, 3, 1), 2)[0, 0, :, 0].tolist()
      [0.5, 1.5]
    """
    if x.shape[1:3] == (size, size):
        return x
    rows, columns = (_window_means(n, size).astype(x.dtype) for n in x.shape[1:3])
    return jnp.einsum("ih,jw,bhwc->bijc", rows, columns, x, precision=jax.lax.Precision.HIGHEST)


def _window_means(length: int, windows: int) -> np.ndarray:
    """(windows, length): row i is the mean over [floor(i length / windows), ceil((i + 1) length / windows))."""
    positions, i = np.arange(length), np.arange(windows)[:, None]
    inside = (positions >= i * length // windows) & (positions < -(-(i + 1) * length // windows))
    return inside / inside.sum(axis=1, keepdims=True)
