"""A picture as the sum of its waves: the prior under which feature inversion looks for one.

    x = sigmoid( A · F⁻¹( s(f) ẑ ) ),    s(f) ∝ 1 / f^decay

Natural images have a spectrum that falls with the frequency, and colour channels that go together. Ascent along ẑ, in which both are
divided out, moves all frequencies and colours of a picture at the pace at which nature varies them; ascent along the pixels themselves ends
in noise of high frequency. A is the root of a covariance of colours in which each pair of the C channels has the same correlation ρ:

    A² = (1 − ρ) I + ρ 1 1ᵀ,    A = √(1 − ρ) I + (√(1 + (C − 1) ρ) − √(1 − ρ)) / C · 1 1ᵀ

so brightness moves with √(1 + (C − 1) ρ), and the colours that differ from grey with √(1 − ρ).

The parametrisation is that of Olah, Mordvintsev and Schubert, "Feature Visualization", Distill 2017; the covariance is ours.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float


def spectrum_shape(height: int, width: int, channels: int) -> tuple[int, ...]:
    """The shape of one picture's parameters: real and imaginary parts of its waves.

    Example:
      >>> spectrum_shape(8, 6, 3)
      (2, 8, 4, 3)
    """
    return 2, height, width // 2 + 1, channels


def pictures(
    spectra: Float[Array, "*N 2 H F C"], width: int, *, decay: float | Array = 1.0, correlation: float | Array = 0.8
) -> Float[Array, "*N H W C"]:
    """The pictures of spectra.

    Args:
      spectra: (..., 2, H, W // 2 + 1, C), real and imaginary parts. Spectra of independent values of variance one make pictures of variance
        one before the sigmoid, whatever their size.
      width: W, which the spectrum's shape leaves open by one pixel.
      decay: how fast the waves' amplitudes fall with their frequency; 0 is white noise, 1 the fall of natural images.
      correlation: ρ of each pair of channels, at least 0 and below 1.

    Returns:
      (..., H, W, C) in (0, 1), periodic: the right edge goes on at the left, the lower at the upper.

    Example:
      >>> pictures(jnp.zeros((2, 8, 4, 3)), 6).shape
      (8, 6, 3)
    """
    height, channels = spectra.shape[-3], spectra.shape[-1]
    scale = _scale(height, width, decay).astype(spectra.dtype)[..., None]
    waves = scale * jax.lax.complex(spectra[..., 0, :, :, :], spectra[..., 1, :, :, :])
    pixels = jnp.fft.irfft2(waves, s=(height, width), axes=(-3, -2), norm="ortho")
    return jax.nn.sigmoid(_coloured(pixels, correlation, channels))


def _coloured(pixels: Array, correlation: float | Array, channels: int) -> Array:
    """A times the colours."""
    apart, together = jnp.sqrt(1 - correlation), jnp.sqrt(1 + (channels - 1) * correlation)
    return apart * pixels + (together - apart) * pixels.mean(axis=-1, keepdims=True)


def _scale(height: int, width: int, decay: float | Array) -> Array:
    """(H, W // 2 + 1): s(f), such that waves of variance one in each part make pixels of variance one."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    scale = jnp.asarray(np.maximum(frequency, 1 / max(height, width)), jnp.float32) ** -decay
    # A wave of the half spectrum stands for its mirror image as well. In the columns that hold both, only what agrees counts: half.
    own = np.isin(np.arange(width // 2 + 1), [0, width / 2])
    power = (np.where(own, 1, 4) * scale**2).sum() / (height * width)
    return scale / jnp.sqrt(power)
