"""Perturbations and the filters below them."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from extremal_jax.ground.filters import gaussian_blur, resize
from extremal_jax.operators.perturbations import blur_pyramid, perturb, reference_pyramid

IMAGE = np.random.default_rng(0).standard_normal((11, 14, 3)).astype(np.float32)


def literal_blur(image: np.ndarray, sigma: float, padding: str) -> np.ndarray:
    """Pixel by pixel, from the definition of the Gaussian, in double precision."""
    radius = int(np.ceil(4 * sigma))
    taps = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    kernel = np.outer(taps, taps) / taps.sum() ** 2
    pad = [(radius, radius), (radius, radius), (0, 0)]
    padded = np.pad(image.astype(np.float64), pad, **({"mode": "edge"} if padding == "edge" else {}))
    out = np.zeros_like(image, np.float64)
    for i, j in np.ndindex(kernel.shape):
        out += kernel[i, j] * padded[i : i + image.shape[0], j : j + image.shape[1]]
    return out


@pytest.mark.parametrize("padding", ["edge", "zeros"])
@pytest.mark.parametrize("sigma", [0.7, 3.0, 20.0])
def test_blur(sigma, padding):
    np.testing.assert_allclose(gaussian_blur(jnp.asarray(IMAGE), sigma, padding), literal_blur(IMAGE, sigma, padding), atol=1e-5)


def test_blur_of_batches_and_of_nothing():
    batch = jnp.asarray(np.stack([IMAGE, 2 * IMAGE]))
    np.testing.assert_allclose(gaussian_blur(batch, 2.0)[1], 2 * gaussian_blur(batch[0], 2.0), atol=1e-5)
    np.testing.assert_array_equal(gaussian_blur(batch, 0.0), batch)


def test_resize_of_a_ramp():
    """Bilinear interpolation keeps a ramp a ramp, between the outermost centres."""
    ramp = jnp.arange(8.0)[None, :, None]
    np.testing.assert_allclose(resize(ramp, (1, 16))[0, 1:-1, 0], np.arange(0.25, 7, 0.5), atol=1e-6)


def test_pyramid_levels():
    pyramid = blur_pyramid(jnp.asarray(IMAGE), num_levels=5, max_blur=4.0)
    assert pyramid.shape == (5, *IMAGE.shape)
    np.testing.assert_array_equal(pyramid[-1], IMAGE)
    np.testing.assert_allclose(pyramid[1], literal_blur(IMAGE, 3.0, "edge"), atol=1e-5)
    zeros = blur_pyramid(jnp.asarray(IMAGE), num_levels=5, max_blur=4.0, padding="zeros")
    np.testing.assert_allclose(zeros[0], literal_blur(IMAGE, 4.0, "zeros"), atol=1e-5)


def test_constant_masks_are_levels():
    pyramid = blur_pyramid(jnp.asarray(IMAGE), num_levels=4, max_blur=4.0)
    for level in range(4):
        np.testing.assert_allclose(perturb(pyramid, jnp.full(IMAGE.shape[:2], level / 3)), pyramid[level], atol=1e-5)
    between = perturb(pyramid, jnp.full(IMAGE.shape[:2], 0.5))
    np.testing.assert_allclose(between, (pyramid[1] + pyramid[2]) / 2, atol=1e-5)


def test_every_pixel_reads_its_own_level():
    pyramid = reference_pyramid(jnp.asarray(IMAGE), 7.0)
    mask = jnp.asarray(np.random.default_rng(1).random(IMAGE.shape[:2], np.float32))
    np.testing.assert_allclose(perturb(pyramid, mask), mask[..., None] * IMAGE + (1 - mask[..., None]) * 7, atol=1e-5)
    np.testing.assert_array_equal(reference_pyramid(jnp.asarray(IMAGE))[0], 0)


@pytest.mark.parametrize("value", [0.0, 1 / 3, 0.5, 1.0])
def test_gradient_never_vanishes_by_a_tie(value):
    """At the ends and at the levels the gradient is one-sided: that of a neighbouring piece."""
    pyramid = blur_pyramid(jnp.asarray(IMAGE), num_levels=4, max_blur=4.0)
    gradient = jax.grad(lambda mask: perturb(pyramid, mask)[3, 5, 0])(jnp.full(IMAGE.shape[:2], value))[3, 5]
    piece = min(int(value * 3), 2)
    np.testing.assert_allclose(gradient, 3 * (pyramid[piece + 1] - pyramid[piece])[3, 5, 0], rtol=1e-4)


def test_batches_of_masks_and_transformations():
    pyramid = blur_pyramid(jnp.asarray(IMAGE), num_levels=4, max_blur=4.0)
    masks = jnp.asarray(np.random.default_rng(1).random((2, 3, *IMAGE.shape[:2]), np.float32))
    whole = perturb(pyramid, masks)
    assert whole.shape == (2, 3, *IMAGE.shape)
    mapped = jax.jit(jax.vmap(perturb, in_axes=(None, 0)))(pyramid, masks)
    np.testing.assert_allclose(mapped, whole, atol=1e-6)
