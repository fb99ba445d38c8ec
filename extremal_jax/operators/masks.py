"""The family of smooth masks: a lattice of parameters, spread by a smooth max-convolution.

    m(u) = smax_v k(u − v) m̄(v),      smax f = Σ f e^{f/T} / Σ e^{f/T}
    k(z) = exp(−2 max(z − ½, 0)²),    z = distance / σ

The parameters m̄ lie on a lattice of pitch `pitch`. A pixel sees the (2r + 1)² lattice points around it, r the kernel's
radius on the lattice. The weight of each depends only on the pixel's phase, its position modulo the pitch. So the
canvas (the image and a margin of σ around it) is computed block by block: one block of pitch² pixels per lattice point,
all blocks with one table of weights.

Clips, volumes and series have one to three axes instead of two, and each may have its own pitch and σ; the distance of
the kernel is then √Σ (zᵢ/σᵢ)². Along an axis with σ = 0, neighbours have nothing in common.

The masks of a layer's channels have no geometry: channels have no order, so each has a parameter of its own
(`ChannelMasks`).

Source: Fong, Patrick and Vedaldi (2019), section 3.3; the geometry is that of TorchRay's MaskGenerator.
"""

from __future__ import annotations

import functools
import math
import operator
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
from extremal_jax.operators.axes import Axis, Length, Pitch, check_gaps

_LOG_2 = math.log(2)
_LARGEST = 119  # of the power of two of an exponent f, so that sums of f 2^f, f up to 120, stay finite in single precision
_AddRow = Callable[[Array, list[Array], Array], Array]


class _Region(NamedTuple):
    """A box of blocks: the index of its first block along each axis, and how many blocks it has there."""

    first: tuple[int, ...]
    blocks: tuple[int, ...]


@renamed(step="pitch")
@dataclass(frozen=True)
class SmoothMasks:
    """Smooth masks of one size, as a function of their parameters.

    Attributes:
      shape: (H, W) of the image, in pixels; or one to three other lengths, (D1, ..., Dn).
      pitch: distance between lattice points, in pixels; a tuple has one for each axis.
      sigma: radius of the kernel, in pixels: the smallest detail that a mask can have; a tuple has one for each axis,
        and 0 where neighbours have nothing in common.
      temperature: T of the smooth maximum; the lower, the closer to the maximum.
      places: the positions of the masks' axes among those of the input, counted from the end, such as (-3, -2); None: the
        first ones.

    Raises:
      ValueError: if the kernel is smaller than the pitch, so that masks would have gaps between lattice points.

    Example:
      >>> smooth = SmoothMasks((28, 28), pitch=7, sigma=21)
      >>> smooth.lattice, smooth(jnp.ones((3, 4, 4))).shape, smooth.with_margin(jnp.ones((3, 4, 4))).shape
      ((4, 4), (3, 28, 28), (3, 64, 64))
      >>> clips = SmoothMasks((8, 28, 28), pitch=(2, 7, 7), sigma=(4, 21, 21))
      >>> clips.lattice, clips(jnp.ones((3, 4, 4, 4))).shape
      ((4, 4, 4), (3, 8, 28, 28))
    """

    shape: tuple[int, ...]
    pitch: Pitch
    sigma: Length
    temperature: float = 1 / 20
    places: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        for name in ("pitch", "sigma"):
            if isinstance(given := getattr(self, name), tuple) and len(given) != len(self.shape):
                raise ValueError(f"{name} must be a number, or one for each of {len(self.shape)} axes, got {given}")
        check_gaps(self.pitch, self.sigma, tuple(Axis(f"axis{number}") for number in range(len(self.shape))))
        least = 1 / (_LOG_2 * (_LARGEST - math.log2(math.prod(self._taps))))
        if self.temperature < least:
            raise ValueError(f"temperature must be at least {least:.3g}, or sums of exponentials overflow, got {self.temperature:g}")

    @property
    def lattice(self) -> tuple[int, ...]:
        """(h, w): the shape of one mask's parameters."""
        return tuple(math.ceil(n / pitch) for n, pitch in zip(self.shape, self.pitches, strict=True))

    @property
    def margin(self) -> tuple[int, ...]:
        """Pixels from the canvas's border to the image's, along each axis."""
        return tuple(round(sigma) for sigma in self.sigmas)

    @property
    def canvas(self) -> tuple[int, ...]:
        """(H', W'): the shape of a mask with its margin."""
        sides = zip(self._region_of_canvas.blocks, self.pitches, self.margin, self.shape, strict=True)
        return tuple(max(pitch * (blocks - 1) + 1, margin + n) for blocks, pitch, margin, n in sides)

    def __call__(self, params: Float[Array, "..."]) -> Float[Array, "..."]:
        """The masks on the image.

        Args:
          params: (..., h, w) in [0, 1].

        Returns:
          (..., H, W) in [0, 1].
        """
        phases = (margin % pitch for margin, pitch in zip(self.margin, self.pitches, strict=True))
        within = [slice(phase, phase + n) for phase, n in zip(phases, self.shape, strict=True)]
        return self._pixels(params, self._region_of_image)[..., *within]

    def with_margin(self, params: Float[Array, "..."]) -> Float[Array, "..."]:
        """The masks on the whole canvas, where they fade out around the image.

        Args:
          params: (..., h, w) in [0, 1].

        Returns:
          (..., H', W') in [0, 1]; `crop` gives the part on the image.
        """
        return self._pixels(params, self._region_of_canvas)[..., *map(slice, self.canvas)]

    def crop(self, masks_with_margin: Float[Array, "..."]) -> Float[Array, "..."]:
        """The part of masks with margin that lies on the image."""
        return masks_with_margin[..., *self._within]

    def uncrop(self, masks: Float[Array, "..."], masks_with_margin: Float[Array, "..."]) -> Float[Array, "..."]:
        """Masks with margin whose part on the image is that of other masks."""
        return masks_with_margin.at[..., *self._within].set(masks)

    def over(self, masks: Float[Array, "..."], rank: int) -> Float[Array, "..."]:
        """The masks as weights of values of a rank, such as 3 for (H, W, C): one for all channels of a pixel."""
        axes = range(-rank, len(self.shape) - rank) if self.places is None else self.places
        return jnp.expand_dims(masks, [axis for axis in range(-rank, 0) if axis not in axes])

    @property
    def _within(self) -> list[slice]:
        """Where the image lies on the canvas."""
        return [slice(margin, margin + n) for margin, n in zip(self.margin, self.shape, strict=True)]

    @property
    def pitches(self) -> tuple[int, ...]:
        """The pitch along each axis."""
        return self.pitch if isinstance(self.pitch, tuple) else (self.pitch,) * len(self.shape)

    @property
    def sigmas(self) -> tuple[float, ...]:
        """The kernel's radius along each axis."""
        return self.sigma if isinstance(self.sigma, tuple) else (self.sigma,) * len(self.shape)

    @property
    def _padding(self) -> tuple[int, ...]:
        """Zero parameters around the lattice, on each side."""
        sides = zip(self.sigmas, self.pitches, strict=True)
        return tuple(1 + math.ceil(2 * sigma / pitch) if sigma else 0 for sigma, pitch in sides)

    @property
    def _radius(self) -> tuple[int, ...]:
        sides = zip(self.sigmas, self.pitches, strict=True)
        return tuple(1 + math.ceil(sigma / pitch) if sigma else 0 for sigma, pitch in sides)

    @property
    def _taps(self) -> tuple[int, ...]:
        return tuple(2 * radius + 1 for radius in self._radius)

    @property
    def _region_of_canvas(self) -> _Region:
        sides = zip(self.lattice, self._padding, self._radius, strict=True)
        return _Region((0,) * len(self.shape), tuple(n + 2 * padding - 2 * radius for n, padding, radius in sides))

    @property
    def _region_of_image(self) -> _Region:
        sides = zip(self.margin, self.pitches, self.shape, strict=True)
        blocks = tuple(math.ceil((margin % pitch + n) / pitch) for margin, pitch, n in sides)
        return _Region(tuple(margin // pitch for margin, pitch in zip(self.margin, self.pitches, strict=True)), blocks)

    @property
    def _kernel(self) -> np.ndarray:
        """(taps, phases, 1), all axes' taken together: the weight k of every tap at every phase."""
        unit = next((sigma for sigma in self.sigmas if sigma), 1.0)  # the first axis with a kernel; distances are in its pixels
        taps, phases = np.indices(self._taps), np.indices(self.pitches)
        distance = np.zeros((*self._taps, *self.pitches))
        for axis, (sigma, pitch, padding) in enumerate(zip(self.sigmas, self.pitches, self._padding, strict=True)):
            if sigma:
                tap, phase = np.expand_dims(taps[axis], tuple(range(-len(self.shape), 0))), phases[axis]
                distance = np.hypot(distance, (phase - sigma - pitch * (tap - padding)) * (unit / sigma))
        weights = np.exp(-2 * np.maximum(distance / unit - 0.5, 0) ** 2)
        return weights.reshape(math.prod(self._taps), math.prod(self.pitches), 1)

    def _layout(self, region: _Region) -> tuple[tuple[int, ...], int]:
        """(strides, origin): the distance from a block to the next along each axis, where rows are laid end to end, and
        the distance from the place that the first tap of the first block reads to the first lattice point."""
        before = [padding - first for padding, first in zip(self._padding, region.first, strict=True)]  # that the first block sees
        strides = [1]
        for axis in range(len(self.shape) - 1, 0, -1):
            blocks, n, taps = region.blocks[axis], self.lattice[axis], self._taps[axis]
            strides.insert(0, strides[0] * max(blocks, n + before[axis], blocks + taps - 1 - before[axis]))
        return tuple(strides), sum(map(operator.mul, before, strides))

    def _exponents(self, dtype: DTypeLike) -> Array:
        """(rows of taps, taps, 1, phases, 1): the factors log2(e) k / T that turn a parameter into an exponent of two."""
        table = self._kernel / (self.temperature * _LOG_2)
        return jnp.asarray(table.reshape(-1, self._taps[-1], 1, table.shape[1], 1), dtype)

    def _rows(self, strides: tuple[int, ...]) -> np.ndarray:
        """The distance from the first row of taps to each."""
        return np.array([sum(map(operator.mul, row, strides)) for row in np.ndindex(*self._taps[:-1])])

    @functools.partial(jax.jit, static_argnums=(0, 2))  # outside a program too, where each tap would be compiled by itself
    def _pixels(self, params: Array, region: _Region) -> Array:
        """(..., pitch * rows, pitch * columns): the blocks of a region, put in place."""
        batch, n = params.shape[: params.ndim - len(self.shape)], len(self.shape)
        flat = params.reshape(-1, *self.lattice).astype(jnp.promote_types(params.dtype, jnp.float32))
        blocks = _smooth_max(self, region, flat)
        order = [0, *(axis for pair in zip(range(n + 1, 2 * n + 1), range(1, n + 1), strict=True) for axis in pair)]
        pixels = blocks.reshape(-1, *self.pitches, *region.blocks).transpose(order)
        sides = map(operator.mul, region.blocks, self.pitches)
        return pixels.reshape(*batch, *sides).astype(params.dtype)


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

# Blocks are computed phase by phase, (K, phases, n), with the rows of the region laid end to end. So a tap is a shift of
# one flat array, and every loop is long and contiguous. A gap of zeros after each row, and after each plane of rows,
# stands for the positions beyond their ends.


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _smooth_max(smooth: SmoothMasks, region: _Region, params: Array) -> Array:
    """(K, h, w) -> (K, phases, rows, columns)."""
    return _smooth_max_forward(smooth, region, params)[0]


def _smooth_max_forward(smooth: SmoothMasks, region: _Region, params: Array) -> tuple[Array, tuple[Array, ...]]:
    taps, (strides, origin) = smooth._taps, smooth._layout(region)
    length = region.blocks[0] * strides[0]
    flat = _end_to_end(params[:, None], strides)
    last = sum((n - 1) * stride for n, stride in zip(taps, strides, strict=True))
    after = max(0, last + length - origin - flat.shape[-1])
    flat = jnp.pad(flat, ((0, 0), (0, 0), (origin, after)))

    def add_row(sums: Array, windows: list[Array], exponents: Array) -> Array:
        [window] = windows
        for column in range(taps[-1]):
            f = window[..., column : column + length] * exponents[column]
            power = exp2(f)  # no maximum is subtracted from the exponents: they are at most log2(e) / T
            sums = sums + lax.complex(f * power, power)
        return sums

    # Σ f 2^f + i Σ 2^f: one complex number, so that both sums share one loop and their exponentials.
    exponents = smooth._exponents(params.dtype)
    sums = jnp.zeros((len(params), exponents.shape[-2], length), jnp.complex64 if params.dtype == jnp.float32 else jnp.complex128)
    sums = _over_rows(add_row, sums, [flat], smooth._rows(strides), length + taps[-1] - 1, exponents)
    denominator = sums.imag
    smax = jnp.clip(sums.real / denominator * (smooth.temperature * _LOG_2), 0, 1)
    out = _apart(smax.reshape(len(params), -1, length), strides, region.blocks)
    return out, (params, smax, denominator)


def _smooth_max_backward(smooth: SmoothMasks, region: _Region, residuals: tuple[Array, ...], cotangent: Array) -> tuple[Array]:
    """The gradient of the parameters. The exponentials are computed again, which is cheaper than keeping (2r + 1)² of
    them per pixel.

    ∂m/∂m̄(v) = k e^{f/T} (1 + (f − m)/T) / Σ e^{f/T}, f = k m̄(v). Seen from a lattice point, the taps run backwards
    over the blocks.
    """
    params, smax, denominator = residuals
    taps, temperature = smooth._taps, smooth.temperature
    strides, origin = smooth._layout(region)
    scale = _end_to_end(cotangent, strides) / denominator
    rest = (1 - smax / temperature) * scale

    lattice = _end_to_end(params[:, None], strides)
    length = lattice.shape[-1]
    before = max(0, sum((n - 1) * stride for n, stride in zip(taps, strides, strict=True)) - origin)
    after = max(0, origin + length - scale.shape[-1])
    seen = [jnp.pad(x, ((0, 0), (0, 0), (before, after))) for x in (scale * _LOG_2, rest)]

    def add_row(gradient: Array, windows: list[Array], exponents: Array) -> Array:
        for column in range(taps[-1]):
            last = taps[-1] - 1 - column
            scale, rest = (window[..., last : last + length] for window in windows)
            f = lattice * exponents[column]
            gradient = gradient + exp2(f) * (f * scale + rest) * exponents[column]
        return gradient

    exponents = smooth._exponents(params.dtype)
    gradient = jnp.zeros((len(params), exponents.shape[-2], length), params.dtype)
    starts = before + origin - (taps[-1] - 1) - smooth._rows(strides)
    gradient = _over_rows(add_row, gradient, seen, starts, length + taps[-1] - 1, exponents)
    gradient = gradient.sum(axis=1) * (temperature * _LOG_2)
    return (_apart(gradient, strides, smooth.lattice),)


_smooth_max.defvjp(_smooth_max_forward, _smooth_max_backward)


def _end_to_end(values: Array, strides: tuple[int, ...]) -> Array:
    """(..., rows, columns) -> (..., rows * stride): rows laid end to end, with zeros between them; of planes likewise."""
    batch = values.shape[: values.ndim - len(strides)]
    sides = values.shape[len(batch) :]
    for n, stride, outer in zip(sides[:0:-1], strides[:0:-1], strides[-2::-1], strict=True):
        padded = jnp.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, outer - n * stride)])
        values = padded.reshape(*padded.shape[:-2], -1)
    return values


def _apart(values: Array, strides: tuple[int, ...], sides: tuple[int, ...]) -> Array:
    """(..., rows * stride) -> (..., rows, columns): the inverse of `_end_to_end`."""
    for n, outer, inner in zip(sides[1:], strides[:-1], strides[1:], strict=True):
        values = values.reshape(*values.shape[:-1], -1, outer)[..., : n * inner]
    return values


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
