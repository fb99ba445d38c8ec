"""A picture as a sum of waves: the parametrisation in which feature inversion searches.

    x = sigmoid( A · F⁻¹( s(f) ẑ ) ),    s(f) ∝ 1 / f^decay

The spectrum of natural images falls with the frequency, and their colour channels are correlated. Both are divided out
of ẑ, so that ascent along ẑ moves all frequencies and colours as much as they vary in nature. Ascent along the pixels
themselves ends in noise of high frequency. A is the root of a covariance of colours in which each pair of the C
channels has the same correlation ρ:

    A² = (1 − ρ) I + ρ 1 1ᵀ,    A = √(1 − ρ) I + (√(1 + (C − 1) ρ) − √(1 − ρ)) / C · 1 1ᵀ

so brightness is scaled by √(1 + (C − 1) ρ), and the deviations from grey by √(1 − ρ).

The parametrisation is that of Olah, Mordvintsev and Schubert, "Feature Visualization", Distill 2017; the covariance is
ours.
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
      spectra: (..., 2, H, W // 2 + 1, C), real and imaginary parts. Spectra of independent values of variance one make
        pictures of variance one before the sigmoid, whatever their size.
      width: W, which the spectrum's shape determines only up to one pixel.
      decay: how fast the waves' amplitudes fall with their frequency; 0 is white noise, 1 the fall of natural images.
      correlation: ρ of each pair of channels, at least 0 and below 1.

    Returns:
      (..., H, W, C) in (0, 1), periodic: the right edge continues at the left, the lower at the upper.

    Example:
      >>> pictures(jnp.zeros((2, 8, 4, 3)), 6).shape
      (8, 6, 3)
    """
    height, channels = spectra.shape[-3], spectra.shape[-1]
    scale = _scale(height, width, decay).astype(spectra.dtype).reshape(*(1,) * (spectra.ndim - 3), height, -1, 1)
    waves = jax.lax.complex(*jnp.moveaxis(scale * spectra, -4, 0))
    pixels = jnp.fft.irfft2(waves, s=(height, width), axes=(-3, -2), norm="ortho")
    apart, together = jnp.sqrt(1 - correlation), jnp.sqrt(1 + (channels - 1) * correlation)
    return jax.nn.sigmoid(apart * pixels + (together - apart) * pixels.mean(axis=-1, keepdims=True))  # of A times the colours


def _scale(height: int, width: int, decay: float | Array) -> Array:
    """(H, W // 2 + 1): s(f), scaled so that waves of variance one make pixels of variance one."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    scale = jnp.asarray(np.maximum(frequency, 1 / max(height, width)), jnp.float32) ** -decay
    # A wave of the half spectrum stands for its mirror image as well. In the columns that hold both, only the symmetric
    # half counts.
    own = np.isin(np.arange(width // 2 + 1), [0, width / 2])
    power = (jnp.asarray(np.where(own, 1, 4), scale.dtype)[None] * scale**2).sum() / (height * width)
    return scale / jnp.sqrt(power)
