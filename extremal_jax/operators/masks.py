"""The family of smooth masks: a lattice of parameters, spread by a smooth max-convolution.

    m(u) = smax_v k(u − v) m̄(v),      smax f = Σ f e^{f/T} / Σ e^{f/T}
    k(z) = exp(−2 max(z − ½, 0)²),    z = distance / σ

The parameters m̄ lie on a lattice of pitch `pitch`. A pixel sees the (2r + 1)² lattice points around it, r the kernel's
radius on the lattice. The weight of each depends only on the pixel's phase, its position modulo the pitch. So the
canvas (the image and a margin of σ around it) is computed block by block: one block of pitch² pixels per lattice point,
all blocks with one table of weights.

The masks of a layer's channels have no geometry: channels have no order, so each has a parameter of its own
(`ChannelMasks`).

Source: Fong, Patrick and Vedaldi (2019), section 3.3; the geometry is that of TorchRay's MaskGenerator.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Float

from extremal_jax.graph.varying import varying_alike
from extremal_jax.ground.exponential import exp2
from extremal_jax.ground.renamed import renamed

_LOG_2 = math.log(2)
_AddRow = Callable[[Array, list[Array], Array], Array]


class _Region(NamedTuple):
    """A rectangle of blocks: the index of its first block along both axes, and its rows and columns of blocks."""

    first: int
    rows: int
    columns: int


@renamed(step="pitch")
@dataclass(frozen=True)
class SmoothMasks:
    """Smooth masks of one image size, as a function of their parameters.

    Attributes:
      shape: (H, W) of the image, in pixels.
      pitch: distance between lattice points, in pixels.
      sigma: radius of the kernel, in pixels: the smallest detail that a mask can have.
      temperature: T of the smooth maximum; the lower, the closer to the maximum.

    Raises:
      ValueError: if the kernel is smaller than the pitch, so that masks would have gaps between lattice points.

    Example:
      >>> smooth = SmoothMasks((28, 28), pitch=7, sigma=21)
      >>> smooth.lattice, smooth(jnp.ones((3, 4, 4))).shape, smooth.with_margin(jnp.ones((3, 4, 4))).shape
      ((4, 4), (3, 28, 28), (3, 64, 64))
    """

    shape: tuple[int, int]
    pitch: int
    sigma: float
    temperature: float = 1 / 20

    def __post_init__(self) -> None:
        if self.sigma < self.pitch:
            raise ValueError(f"sigma must be at least the pitch of {self.pitch} pixels, or masks have gaps, got {self.sigma}")

    @property
    def lattice(self) -> tuple[int, int]:
        """(h, w): the shape of one mask's parameters."""
        return math.ceil(self.shape[0] / self.pitch), math.ceil(self.shape[1] / self.pitch)

    @property
    def margin(self) -> int:
        """Pixels from the canvas's border to the image's."""
        return round(self.sigma)

    @property
    def canvas(self) -> tuple[int, int]:
        """(H', W'): the shape of a mask with its margin."""
        region = self._region_of_canvas
        rows, columns = (self.pitch * (blocks - 1) + 1 for blocks in (region.rows, region.columns))
        return max(rows, self.margin + self.shape[0]), max(columns, self.margin + self.shape[1])

    def __call__(self, params: Float[Array, "*masks h w"]) -> Float[Array, "*masks H W"]:
        """The masks on the image.

        Args:
          params: (..., h, w) in [0, 1].

        Returns:
          (..., H, W) in [0, 1].
        """
        phase = self.margin % self.pitch
        return self._pixels(params, self._region_of_image)[..., phase : phase + self.shape[0], phase : phase + self.shape[1]]

    def with_margin(self, params: Float[Array, "*masks h w"]) -> Float[Array, "*masks H2 W2"]:
        """The masks on the whole canvas, where they fade out around the image.

        Args:
          params: (..., h, w) in [0, 1].

        Returns:
          (..., H', W') in [0, 1]; `crop` gives the part on the image.
        """
        height, width = self.canvas
        return self._pixels(params, self._region_of_canvas)[..., :height, :width]

    def crop(self, masks_with_margin: Float[Array, "*masks H2 W2"]) -> Float[Array, "*masks H W"]:
        """The part of masks with margin that lies on the image."""
        return masks_with_margin[..., self.margin : self.margin + self.shape[0], self.margin : self.margin + self.shape[1]]

    def uncrop(self, masks: Float[Array, "*masks H W"], masks_with_margin: Float[Array, "*masks H2 W2"]) -> Float[Array, "*masks H2 W2"]:
        """Masks with margin whose part on the image is that of other masks."""
        rows, columns = (slice(self.margin, self.margin + side) for side in self.shape)
        return masks_with_margin.at[..., rows, columns].set(masks)

    def over(self, masks: Float[Array, "*masks H W"], rank: int) -> Float[Array, "*masks H W 1"]:
        """The masks as weights of values (H, W, C), whose rank is 3: one for all channels of a pixel."""
        return masks[..., None]

    @property
    def _padding(self) -> int:
        """Zero parameters around the lattice, on each side."""
        return 1 + math.ceil(2 * self.sigma / self.pitch)

    @property
    def _radius(self) -> int:
        return 1 + math.ceil(self.sigma / self.pitch)

    @property
    def _taps(self) -> int:
        return 2 * self._radius + 1

    @property
    def _region_of_canvas(self) -> _Region:
        rows, columns = (n + 2 * self._padding - 2 * self._radius for n in self.lattice)
        return _Region(0, rows, columns)

    @property
    def _region_of_image(self) -> _Region:
        first, phase = divmod(self.margin, self.pitch)
        rows, columns = (math.ceil((phase + n) / self.pitch) for n in self.shape)
        return _Region(first, rows, columns)

    @property
    def _kernel(self) -> np.ndarray:
        """(taps², pitch², 1): the weight k of every tap at every phase."""
        phases, taps = np.arange(self.pitch), np.arange(self._taps)
        offset = phases - self.sigma - self.pitch * (taps[:, None] - self._padding)
        distance = np.hypot(offset[:, None, :, None], offset[None, :, None, :]) / self.sigma
        return np.exp(-2 * np.maximum(distance - 0.5, 0) ** 2).reshape(self._taps**2, self.pitch**2, 1)

    def _layout(self, region: _Region) -> tuple[int, int]:
        """(stride, origin): the distance from one row to the next where rows are laid end to end, and the distance from
        the place that the first tap of the first block reads to the first lattice point."""
        before = self._padding - region.first  # lattice points that the first block sees before the first, in rows and in columns
        stride = max(region.columns, self.lattice[1] + before, region.columns + self._taps - 1 - before)
        return stride, before * (stride + 1)

    def _exponents(self, dtype: DTypeLike) -> Array:
        """(taps, taps, 1, pitch², 1): the factors log2(e) k / T that turn a parameter into an exponent of two."""
        table = self._kernel / (self.temperature * _LOG_2)
        return jnp.asarray(table.reshape(self._taps, self._taps, 1, -1, 1), dtype)

    @functools.partial(jax.jit, static_argnums=(0, 2))  # outside a program too, where each tap would be compiled by itself
    def _pixels(self, params: Array, region: _Region) -> Array:
        """(..., pitch * rows, pitch * columns): the blocks of a region, put in place."""
        *batch, _, _ = params.shape
        flat = params.reshape(-1, *self.lattice).astype(jnp.promote_types(params.dtype, jnp.float32))
        blocks = _smooth_max(self, region, flat)
        pixels = blocks.reshape(-1, self.pitch, self.pitch, region.rows, region.columns).transpose(0, 3, 1, 4, 2)
        return pixels.reshape(*batch, region.rows * self.pitch, region.columns * self.pitch).astype(params.dtype)


@dataclass(frozen=True)
class ChannelMasks:
    """Masks of a layer's channels, with the members of `SmoothMasks`: the parameters are the masks.

    Attributes:
      channels: C, of the layer.

    Example:
      >>> ChannelMasks(5).lattice, ChannelMasks(5).over(jnp.ones((2, 5)), 3).shape
      ((5,), (2, 1, 1, 5))
    """

    channels: int

    @property
    def lattice(self) -> tuple[int]:
        """(C,): the shape of one mask's parameters."""
        return (self.channels,)

    def __call__(self, params: Float[Array, "*masks C"]) -> Float[Array, "*masks C"]:
        """The masks: one value per channel."""
        return params

    def over(self, masks: Float[Array, "*masks C"], rank: int) -> Float[Array, "... C"]:
        """The masks as weights of values (..., C) of a rank: one for all positions of a channel."""
        return masks.reshape(*masks.shape[:-1], *(1,) * (rank - 1), self.channels)


Masks = SmoothMasks | ChannelMasks

# Blocks are computed phase by phase, (K, pitch², n), with the rows of the region laid end to end: n = rows * stride. So
# a tap is a shift of one flat array, and every loop is long and contiguous. A gap of zeros between two rows stands for
# the positions beyond their ends.


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _smooth_max(smooth: SmoothMasks, region: _Region, params: Array) -> Array:
    """(K, h, w) -> (K, pitch², rows, columns)."""
    return _smooth_max_forward(smooth, region, params)[0]


def _smooth_max_forward(smooth: SmoothMasks, region: _Region, params: Array) -> tuple[Array, tuple[Array, ...]]:
    taps, (stride, origin) = smooth._taps, smooth._layout(region)
    length = region.rows * stride
    flat = _end_to_end(params[:, None], stride)
    after = max(0, (taps - 1) * (stride + 1) + length - origin - flat.shape[-1])
    flat = jnp.pad(flat, ((0, 0), (0, 0), (origin, after)))

    def add_row(sums: Array, windows: list[Array], exponents: Array) -> Array:
        [window] = windows
        for column in range(taps):
            f = window[..., column : column + length] * exponents[column]
            power = exp2(f)  # no maximum is subtracted from the exponents: they are at most log2(e) / T
            sums = sums + lax.complex(f * power, power)
        return sums

    # Σ f 2^f + i Σ 2^f: one complex number, so that both sums share one loop and their exponentials.
    sums = jnp.zeros((len(params), smooth.pitch**2, length), jnp.complex64 if params.dtype == jnp.float32 else jnp.complex128)
    sums = _over_rows(add_row, sums, [flat], stride * np.arange(taps), length + taps - 1, smooth._exponents(params.dtype))
    denominator = sums.imag
    smax = jnp.clip(sums.real / denominator * (smooth.temperature * _LOG_2), 0, 1)
    out = smax.reshape(len(params), -1, region.rows, stride)[..., : region.columns]
    return out, (params, smax, denominator)


def _smooth_max_backward(smooth: SmoothMasks, region: _Region, residuals: tuple[Array, ...], cotangent: Array) -> tuple[Array]:
    """The gradient of the parameters. The exponentials are computed again, which is cheaper than keeping (2r + 1)² of
    them per pixel.

    ∂m/∂m̄(v) = k e^{f/T} (1 + (f − m)/T) / Σ e^{f/T}, f = k m̄(v). Seen from a lattice point, the taps run backwards
    over the blocks.
    """
    params, smax, denominator = residuals
    (height, width), taps, temperature = smooth.lattice, smooth._taps, smooth.temperature
    stride, origin = smooth._layout(region)
    scale = _end_to_end(cotangent, stride) / denominator
    rest = (1 - smax / temperature) * scale

    lattice = _end_to_end(params[:, None], stride)
    length = lattice.shape[-1]
    before = max(0, (taps - 1) * (stride + 1) - origin)
    after = max(0, origin + length - scale.shape[-1])
    seen = [jnp.pad(x, ((0, 0), (0, 0), (before, after))) for x in (scale * _LOG_2, rest)]

    def add_row(gradient: Array, windows: list[Array], exponents: Array) -> Array:
        for column in range(taps):
            last = taps - 1 - column
            scale, rest = (window[..., last : last + length] for window in windows)
            f = lattice * exponents[column]
            gradient = gradient + exp2(f) * (f * scale + rest) * exponents[column]
        return gradient

    gradient = jnp.zeros((len(params), smooth.pitch**2, length), params.dtype)
    starts = before + origin - (taps - 1) - stride * np.arange(taps)
    gradient = _over_rows(add_row, gradient, seen, starts, length + taps - 1, smooth._exponents(params.dtype))
    gradient = gradient.sum(axis=1) * (temperature * _LOG_2)
    return (gradient.reshape(len(params), height, stride)[..., :width],)


_smooth_max.defvjp(_smooth_max_forward, _smooth_max_backward)


def _end_to_end(values: Array, stride: int) -> Array:
    """(..., rows, columns) -> (..., rows * stride): rows laid end to end, with zeros between them."""
    *batch, rows, columns = values.shape
    padded = jnp.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, stride - columns)])
    return padded.reshape(*batch, rows * stride)


def _over_rows(add_row: _AddRow, total: Array, arrays: list[Array], starts: np.ndarray, length: int, exponents: Array) -> Array:
    """A sum over all taps, one row of taps per turn of a loop: `total = add_row(total, windows, exponents)`.

    A row's windows are the `length` values of each array, (..., n), from the row's start on; exponents are (taps,
    ...).
    """
    total, arrays, exponents = varying_alike(total, arrays, exponents)

    def row_at(index: Array | int) -> tuple[list[Array], Array]:
        start = lax.dynamic_index_in_dim(jnp.asarray(starts), index, keepdims=False)
        windows = [lax.dynamic_slice_in_dim(array, start, length, axis=-1) for array in arrays]
        return windows, lax.dynamic_index_in_dim(exponents, index, keepdims=False)

    # Each row is sliced one turn ahead. A slice inside the sum, at a place that the compiler does not know, would keep
    # XLA's CPU backend from using vector instructions there.
    def turn(index: Any, carry: Any) -> Any:
        total, row = carry
        return add_row(total, *row), row_at(index + 1)

    total, _ = lax.fori_loop(0, len(starts), turn, (total, row_at(0)))
    return total
