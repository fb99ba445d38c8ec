"""Layers that the classifiers share, for arrays (B, H, W, C)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from jax.ad_checkpoint import checkpoint_name

from extremal_jax.models.conversion import Form, Layout, pytorch

Layer = Callable[[Array], Array]


def named(x: Array, name: str) -> Array:
    """x, with a name for `extremal_jax.graph` and `jax.checkpoint`.

    Raises:
      ValueError: if x is empty: the images are too small for the network.
    """
    if 0 in x.shape:
        raise ValueError(f"the images are too small for this network: its layer {name!r} is empty; use larger images")
    return checkpoint_name(x, name)


@dataclass(frozen=True)
class Activation:
    """An activation function of `jax.nn` by its name. Unlike the function itself, it can be pickled with its network.

    Example:
      >>> Activation("relu6")(jnp.array([-1.0, 3.0, 7.0])).tolist()
      [0.0, 3.0, 6.0]
    """

    name: str

    def __call__(self, x: Array) -> Array:
        activation: Layer = getattr(jax.nn, self.name)
        return activation(x)


relu = Activation("relu")

# Compiled once for each shape, so that networks are built and traced several times faster.
_he_normal = jax.jit(nnx.initializers.he_normal(), static_argnums=(1, 2))


def conv(
    in_features: int,
    out_features: int,
    size: int,
    stride: int = 1,
    padding: int | Literal["SAME"] | None = None,
    *,
    groups: int = 1,
    bias: bool = True,
    rngs: nnx.Rngs,
) -> nnx.Conv:
    """A square convolution, centred unless a padding is given. "SAME" is TensorFlow's: with a stride, more after than before."""
    margin = size // 2 if padding is None else padding
    return nnx.Conv(
        in_features,
        out_features,
        (size, size),
        strides=stride,
        padding=margin if margin == "SAME" else [(margin, margin)] * 2,
        feature_group_count=groups,
        use_bias=bias,
        kernel_init=_he_normal,
        rngs=rngs,
    )


class ConvNorm(nnx.Module):
    """A square convolution, batch norm, None once it is folded, and an activation function, such as `relu`."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        size: int,
        stride: int = 1,
        padding: Literal["SAME"] | None = None,
        *,
        groups: int = 1,
        bias: bool = False,
        epsilon: float = 1e-5,
        activation: Layer | None = None,
        rngs: nnx.Rngs,
    ):
        self.activation = activation
        self.conv = conv(in_features, out_features, size, stride, padding, groups=groups, bias=bias, rngs=rngs)
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


def window_layout(publisher: str, heads: tuple[str, str, str], *forms: tuple[str, Form]) -> Layout:
    """A layout of a `WindowClassifier` that calls its three linear layers by these names."""
    return pytorch(publisher, *zip(("^fc1", "^fc2", "^fc3"), heads, strict=True), forms=forms)


def layer_norm(features: int, *, rngs: nnx.Rngs) -> nnx.LayerNorm:
    """Layer norm over the last axis, with the epsilon of the published networks."""
    return nnx.LayerNorm(features, epsilon=1e-6, rngs=rngs)


def adaptive_mean(x: Array, size: int) -> Array:
    """(B, H, W, C) -> (B, size, size, C): means over windows that cover the map evenly, and overlap if its sides do not divide.

    Example:
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


class SqueezeExcitation(nnx.Module):
    """Each channel times its gate: gate(expand(activation(reduce(means of the channels))))."""

    def __init__(self, features: int, squeezed: int, *, activation: Layer = relu, gate: Layer = Activation("sigmoid"), rngs: nnx.Rngs):
        self.reduce = nnx.Linear(features, squeezed, rngs=rngs)
        self.expand = nnx.Linear(squeezed, features, rngs=rngs)
        self.activation, self.gate = activation, gate

    def __call__(self, x: Array) -> Array:
        gates = self.gate(self.expand(self.activation(self.reduce(x.mean(axis=(1, 2))))))
        return x * jnp.expand_dims(gates, (1, 2))


class WindowAttention(nnx.Module):
    """Self-attention within square windows of a map, which are shifted cyclically: (B, H, W, features) -> (B, H, W, features).

    Zeros pad the map to whole windows. An axis of a single window is not shifted. Positions that the shift has brought together
    from opposite borders attend to one another with a weight e^100 times smaller.

    Args:
      features: those of each position.
      heads: the number of attention heads.
      window: the side of a window.
      shift: by how many positions the windows are shifted; 0: not at all.
    """

    def __init__(self, features: int, heads: int, window: int, shift: int, *, rngs: nnx.Rngs):
        self.heads, self.window, self.shift = heads, window, shift
        self.qkv = nnx.Linear(features, 3 * features, rngs=rngs)
        self.proj = nnx.Linear(features, features, rngs=rngs)
        self.relative_position_bias_table = nnx.Param(jnp.zeros(((2 * window - 1) ** 2, heads)))

    def __call__(self, x: Array) -> Array:
        batch, height, width, features = x.shape
        side = self.window
        rows, columns = (-(-n // side) for n in (height, width))
        shifts = tuple(0 if windows == 1 else self.shift for windows in (rows, columns))
        x = jnp.pad(x, ((0, 0), (0, rows * side - height), (0, columns * side - width), (0, 0)))
        x = jnp.roll(x, [-n for n in shifts], axis=(1, 2))
        x = x.reshape(batch, rows, side, columns, side, features).transpose(0, 1, 3, 2, 4, 5)
        x = self._attend(x.reshape(batch, rows * columns, side * side, features), _crossings((rows, columns), side, shifts))
        x = x.reshape(batch, rows, columns, side, side, features).transpose(0, 1, 3, 2, 4, 5)
        x = jnp.roll(x.reshape(batch, rows * side, columns * side, features), shifts, axis=(1, 2))
        return x[:, :height, :width]

    def _attend(self, x: Array, crossings: np.ndarray | None) -> Array:
        """(B, windows, positions, features), each window by itself; `crossings` is True for pairs that must not attend."""
        queries, keys, values = jnp.moveaxis(self.qkv(x).reshape(*x.shape[:3], 3, self.heads, -1), 3, 0)
        scores = jnp.einsum("bwqhd,bwkhd->bwhqk", queries * queries.shape[-1] ** -0.5, keys)
        bias = self.relative_position_bias_table[...][_relative_positions(self.window)]
        scores = scores + jnp.expand_dims(jnp.moveaxis(bias, -1, 0), (0, 1))
        if crossings is not None:
            scores = jnp.where(crossings[None, :, None], scores - 100, scores)
        exact = scores.astype(jnp.promote_types(x.dtype, jnp.float32))
        weights = jax.nn.softmax(exact, axis=-1).astype(x.dtype)
        return self.proj(jnp.einsum("bwhqk,bwkhd->bwqhd", weights, values).reshape(x.shape))


def _relative_positions(side: int) -> np.ndarray:
    """(side², side²): for each two positions of a window, the row of the table of biases that belongs to their difference."""
    rows, columns = np.divmod(np.arange(side * side), side)
    down, right = (place[:, None] - place[None] + side - 1 for place in (rows, columns))
    return down * (2 * side - 1) + right


def _crossings(grid: tuple[int, int], side: int, shifts: tuple[int, ...]) -> np.ndarray | None:
    """(windows, side², side²): whether two positions lay in different places before a cyclic shift; None if nothing is shifted."""
    if not any(shifts):
        return None
    parts = []
    for windows, shift in zip(grid, shifts, strict=True):
        places = np.arange(windows * side)
        parts.append((places >= (windows - 1) * side).astype(int) + (places >= windows * side - shift))
    labels = 3 * parts[0][:, None] + parts[1][None]
    labels = labels.reshape(grid[0], side, grid[1], side).transpose(0, 2, 1, 3).reshape(-1, side * side)
    return labels[:, :, None] != labels[:, None]
