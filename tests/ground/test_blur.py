"""Gaussian blurs and resizing."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from extremal_jax.ground.filters import gaussian_blur, resize

IMAGE = np.random.default_rng(0).standard_normal((11, 14, 3)).astype(np.float32)


def literal_blur(image: np.ndarray, sigma: float, padding: str) -> np.ndarray:
    """The definition of the Gaussian, tap by tap, in double precision."""
    radius = int(np.ceil(4 * sigma))
    taps = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    kernel = np.outer(taps, taps) / taps.sum() ** 2
    pad = [(radius, radius), (radius, radius), (0, 0)]
    padded = np.pad(image.astype(np.float64), pad, "edge" if padding == "edge" else "constant")
    out = np.zeros_like(image, np.float64)
    for i, j in np.ndindex(kernel.shape):
        out += kernel[i, j] * padded[i : i + image.shape[0], j : j + image.shape[1]]
    return out


@pytest.mark.parametrize("padding", ["edge", "zeros"])
@pytest.mark.parametrize("sigma", [0.7, 3.0, 20.0])
def test_blur(sigma: float, padding: str) -> None:
    np.testing.assert_allclose(gaussian_blur(jnp.asarray(IMAGE), sigma, padding), literal_blur(IMAGE, sigma, padding), atol=1e-5)


def test_blur_of_batches_and_of_nothing() -> None:
    batch = jnp.asarray(np.stack([IMAGE, 2 * IMAGE]))
    np.testing.assert_allclose(gaussian_blur(batch, 2.0)[1], 2 * gaussian_blur(batch[0], 2.0), atol=1e-5)
    np.testing.assert_array_equal(gaussian_blur(batch, 0.0), batch)


def test_resize_of_a_ramp() -> None:
    """Bilinear interpolation of a linear ramp is the ramp, between the outermost centres."""
    ramp = jnp.arange(8.0)[None, :, None]
    np.testing.assert_allclose(resize(ramp, (1, 16))[0, 1:-1, 0], np.arange(0.25, 7, 0.5), atol=1e-6)
