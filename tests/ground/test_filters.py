"""Blur and resize: dtypes, and JAX's strict promotion. `operators/test_pyramid.py` tests their values."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from extremal_jax.ground.exponential import exp2
from extremal_jax.ground.filters import gaussian_blur, resize

IMAGES = np.random.default_rng(0).random((2, 6, 9, 3), np.float32)


@pytest.fixture(params=["float16", "bfloat16", "float32", "float64"])
def images(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Images of each dtype, under the strictest of JAX's switches."""
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        yield jnp.asarray(IMAGES, request.param)


def test_blur(images: jax.Array) -> None:
    blurred = gaussian_blur(images, 1.5)
    assert blurred.dtype == images.dtype
    expected = gaussian_blur(jnp.asarray(IMAGES), 1.5)
    np.testing.assert_allclose(np.asarray(blurred, np.float32), expected, atol=1e-2 if images.dtype.itemsize == 2 else 1e-6)


@pytest.mark.parametrize("sigma", [0.0, 0.3, 2.0, 6.0])
def test_a_mirrored_blur_keeps_the_mean(sigma: float) -> None:
    images = np.random.default_rng(1).random((3, 12, 17, 1), np.float32) ** 4
    blurred = gaussian_blur(jnp.asarray(images), sigma, "mirror")
    np.testing.assert_allclose(blurred.mean(axis=(1, 2)), images.mean(axis=(1, 2)), rtol=1e-5)
    assert np.array_equal(blurred, images) == (sigma == 0)


def test_resize(images: jax.Array) -> None:
    resized = resize(images, (12, 4))
    assert (resized.dtype, resized.shape) == (images.dtype, (2, 12, 4, 3))


def test_powers_and_their_derivatives(images: jax.Array) -> None:
    powers, slopes = jax.jvp(exp2, (images,), (jnp.ones_like(images),))
    assert powers.dtype == slopes.dtype == images.dtype
    np.testing.assert_allclose(np.asarray(slopes, np.float64), np.log(2) * np.asarray(powers, np.float64), rtol=1e-2)


def test_derivative_in_double_precision() -> None:
    with jax.enable_x64(True):
        assert float(jax.grad(exp2)(jnp.asarray(0.5, jnp.float64))) == pytest.approx(np.log(2) * np.sqrt(2), rel=1e-14)
