"""Pictures as sums of waves."""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np
import pytest

from extremal_jax.inversion.fourier import pictures, spectrum_shape


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def pixels(count: Any, height: Any, width: Any, channels: Any, decay: Any = 1.0, correlation: Any = 0.0) -> Any:
    """Pictures of random waves, before the sigmoid."""
    waves = jax.random.normal(jax.random.key(0), (count, *spectrum_shape(height, width, channels)))
    return jax.scipy.special.logit(pictures(waves, width, decay=decay, correlation=correlation))


@pytest.mark.parametrize("decay", [0.0, 1.0])
@pytest.mark.parametrize(("height", "width"), [(16, 20), (15, 33)])
def test_waves_of_variance_one_make_pictures_of_variance_one(height: int, width: int, decay: float) -> None:
    values = np.asarray(pixels(200, height, width, 3, decay))
    assert values.shape == (200, height, width, 3)
    np.testing.assert_allclose(values.var(), 1, rtol=0.1)  # each of the 200 pictures has few slow waves


def test_colours_have_the_correlation_asked_for() -> None:
    values = np.asarray(pixels(50, 32, 32, 3, 0.0, 0.6)).reshape(-1, 3)
    np.testing.assert_allclose(np.cov(values.T), 0.6 + 0.4 * np.eye(3), atol=0.05)


def test_amplitudes_fall_with_the_frequency() -> None:
    power = np.square(np.abs(np.fft.fft2(pixels(200, 32, 32, 1)[..., 0]))).mean(axis=0)
    assert power[0, 2] / power[0, 8] == pytest.approx(16, rel=0.3)
    assert power[2, 0] / power[8, 0] == pytest.approx(16, rel=0.3)
