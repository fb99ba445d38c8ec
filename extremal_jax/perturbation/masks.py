"""The family of smooth masks: a lattice of parameters, spread by a smooth max-convolution.

    m(u) = smax_v k(u − v) m̄(v),      smax f = Σ f e^{f/T} / Σ e^{f/T}
    k(z) = exp(−2 max(z − ½, 0)²),    z = distance / σ

The lattice of parameters m̄ has the pitch `step`. A pixel sees the (2r + 1)² lattice points around it, r the kernel's radius on the
lattice, and the weight of each depends only on the pixel's phase, its position modulo `step`. So the canvas (the image and a margin of σ
around it) is computed block by block: one block of step² pixels per lattice point, all blocks with one table of weights.

Source: Fong, Patrick and Vedaldi (2019), section 3.3; the geometry is that of TorchRay's MaskGenerator.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float

from extremal_jax.graph.fence import fenced


class _Region(NamedTuple):
    """A rectangle of blocks: the index of its first block along both axes, and its rows and columns of blocks."""

    first: int
    rows: int
    columns: int


@dataclass(frozen=True)
class SmoothMasks:
    """Smooth masks of one image size, as a function of their parameters.

    Attributes:
      shape: (H, W) of the image, in pixels.
      step: pitch of the lattice, in pixels.
      sigma: radius of the kernel, in pixels: the smallest detail that a mask can have.
      temperature: T of the smooth maximum; the lower, the closer to the maximum.

    Raises:
      ValueError: if the kernel is smaller than the pitch, so that masks would have gaps between lattice points.

    Example:
      >>> import jax.numpy as jnp
      >>> smooth = SmoothMasks((28, 28), step=7, sigma=21)
      >>> smooth.lattice, smooth(jnp.ones((3, 4, 4))).shape, smooth.with_margin(jnp.ones((3, 4, 4))).shape
      ((4, 4), (3, 28, 28), (3, 64, 64))
    """

    shape: tuple[int, int]
    step: int
    sigma: float
    temperature: float = 1 / 20

    def __post_init__(self) -> None:
        if self.sigma < self.step:
            raise ValueError(f"sigma must be at least the step of {self.step} pixels, or masks have gaps, got {self.sigma}")

    @property
    def lattice(self) -> tuple[int, int]:
        """(h, w): the shape of one mask's parameters."""
        return math.ceil(self.shape[0] / self.step), math.ceil(self.shape[1] / self.step)

    @property
    def margin(self) -> int:
        """Pixels from the canvas's border to the image's."""
        return round(self.sigma)

    @property
    def canvas(self) -> tuple[int, int]:
        """(H', W'): the shape of a mask with its margin."""
        region = self._region_of_canvas
        rows, columns = (self.step * (blocks - 1) + 1 for blocks in (region.rows, region.columns))
        return max(rows, self.margin + self.shape[0]), max(columns, self.margin + self.shape[1])

    def __call__(self, params: Float[Array, "*masks h w"]) -> Float[Array, "*masks H W"]:
        """The masks on the image.

        Args:
          params: (..., h, w) in [0, 1].

        Returns:
          (..., H, W) in [0, 1].
        """
        phase = self.margin % self.step
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

    @property
    def _padding(self) -> int:
        """Zero parameters around the lattice, on each side."""
        return 1 + math.ceil(2 * self.sigma / self.step)

    @property
    def _radius(self) -> int:
        return 1 + math.ceil(self.sigma / self.step)

    @property
    def _taps(self) -> int:
        return 2 * self._radius + 1

    @property
    def _region_of_canvas(self) -> _Region:
        rows, columns = (n + 2 * self._padding - 2 * self._radius for n in self.lattice)
        return _Region(0, rows, columns)

    @property
    def _region_of_image(self) -> _Region:
        first, phase = divmod(self.margin, self.step)
        rows, columns = (math.ceil((phase + n) / self.step) for n in self.shape)
        return _Region(first, rows, columns)

    @property
    def _kernel(self) -> np.ndarray:
        """(taps², step², 1): the weight k of every tap at every phase."""
        phases, taps = np.arange(self.step), np.arange(self._taps)
        offset = phases - self.sigma - self.step * (taps[:, None] - self._padding)
        distance = np.hypot(offset[:, None, :, None], offset[None, :, None, :]) / self.sigma
        return np.exp(-2 * np.maximum(distance - 0.5, 0) ** 2).reshape(self._taps**2, self.step**2, 1)

    @functools.partial(jax.jit, static_argnums=(0, 2))  # outside a program too, where each tap would be compiled by itself
    def _pixels(self, params: Array, region: _Region) -> Array:
        """(..., step rows, step columns): the blocks of a region, put in place."""
        *batch, _, _ = params.shape
        flat = params.reshape(-1, *self.lattice).astype(jnp.promote_types(params.dtype, jnp.float32))
        blocks = _smooth_max(self, region, flat)
        pixels = blocks.reshape(-1, self.step, self.step, region.rows, region.columns).transpose(0, 3, 1, 4, 2)
        return pixels.reshape(*batch, region.rows * self.step, region.columns * self.step).astype(params.dtype)


# Blocks are computed phase by phase, (K, step², n), with the rows of the region laid end to end: n = rows * pitch, where the pitch leaves
# room for the taps beyond the last column. A tap is then a shift of one flat array, and every loop is long and contiguous.


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _smooth_max(smooth: SmoothMasks, region: _Region, params: Array) -> Array:
    """(K, h, w) -> (K, step², rows, columns)."""
    return _smooth_max_forward(smooth, region, params)[0]


def _smooth_max_forward(smooth: SmoothMasks, region: _Region, params: Array) -> tuple[Array, tuple[Array, ...]]:
    pitch = region.columns + smooth._taps - 1
    length = region.rows * pitch
    padding, first = smooth._padding, region.first
    padded = jnp.pad(params, ((0, 0), (padding, padding), (padding, padding)))
    window = padded[:, first : first + region.rows + smooth._taps - 1, first : first + pitch]
    flat = jnp.pad(window.reshape(len(params), 1, -1), ((0, 0), (0, 0), (0, smooth._taps)))
    logits = (smooth._kernel / smooth.temperature).astype(params.dtype)

    def exponents(flat: Array) -> Iterable[Array]:  # f / T, tap by tap
        for logit, (row, column) in zip(logits, np.ndindex(smooth._taps, smooth._taps), strict=True):
            start = row * pitch + column
            yield flat[:, :, start : start + length] * logit

    def sums(
        flat: Array,
    ) -> Array:  # Σ f/T e^{f/T} + i Σ e^{f/T}: one complex number, so that the two share one loop and their exponentials
        return sum(lax.complex(f * jnp.exp(f), jnp.exp(f)) for f in exponents(flat))  # type: ignore[return-value]

    # No maximum is subtracted from the exponents: they are at most 1/T.
    both = fenced(sums)(flat)
    denominator = both.imag
    smax = jnp.clip(both.real / denominator * smooth.temperature, 0, 1)
    out = smax.reshape(len(params), -1, region.rows, pitch)[..., : region.columns]
    return out, (params, smax, denominator)


def _smooth_max_backward(smooth: SmoothMasks, region: _Region, residuals: tuple[Array, ...], cotangent: Array) -> tuple[Array]:
    """The gradient of the parameters, with the exponentials computed again: cheaper than keeping (2r + 1)² of them for each pixel.

    ∂m/∂m̄(v) = k e^{f/T} (1 + (f − m)/T) / Σ e^{f/T}, f = k m̄(v). Seen from a lattice point, the taps run backwards over the blocks.
    """
    params, smax, denominator = residuals
    (height, width), taps, temperature = smooth.lattice, smooth._taps, smooth.temperature
    pitch = region.columns + taps - 1
    scale = jnp.pad(cotangent, ((0, 0), (0, 0), (0, 0), (0, taps - 1))).reshape(smax.shape) / denominator
    rest = (1 - smax / temperature) * scale

    lattice = jnp.pad(params, ((0, 0), (0, 0), (0, pitch - width))).reshape(len(params), 1, -1)
    length = lattice.shape[-1]
    origin = (smooth._padding - region.first) * (pitch + 1)  # of the lattice, in the flat window of the forward pass
    before = max(0, (taps - 1) * (pitch + 1) - origin)
    after = max(0, origin + length - scale.shape[-1])
    scale, rest = (jnp.pad(x, ((0, 0), (0, 0), (before, after))) for x in (scale, rest))
    logits = (smooth._kernel / temperature).astype(params.dtype)

    def total(lattice: Array, scale: Array, rest: Array) -> Array:
        gradient = jnp.zeros(())
        for logit, (row, column) in zip(logits, np.ndindex(taps, taps), strict=True):
            start = before + origin - row * pitch - column
            here = slice(start, start + length)
            f = lattice * logit
            gradient = gradient + jnp.exp(f) * (f * scale[..., here] + rest[..., here]) * logit
        return gradient

    gradient = fenced(total)(lattice, scale, rest).sum(axis=1) * temperature
    return (gradient.reshape(len(params), height, pitch)[..., :width],)


_smooth_max.defvjp(_smooth_max_forward, _smooth_max_backward)
