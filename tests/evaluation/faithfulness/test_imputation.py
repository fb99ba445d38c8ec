"""Noisy linear imputation, against pytorch-grad-cam's direct solver and by its laws."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from extremal_jax.evaluation.faithfulness.imputation import WEIGHTS, impute
from golden_data import GOLDEN

with np.load(GOLDEN / "evaluation" / "faithfulness.npz") as file:
    IMAGE, REMOVED, FILLED = (file[f"imputation/{name}"] for name in ("image", "removed", "filled"))
IMAGES = np.stack([IMAGE] * len(REMOVED))


def filled(**options: Any) -> jax.Array:
    return impute(IMAGES, REMOVED, **{"noise": 0.0, **options})


def test_recorded_fillings() -> None:
    """To 1e-4 of the image's range, which the tolerance of the solver allows. With a lower tolerance, single precision is the limit, by
    which the last picture, of which two pixels are left, is off by 3e-5."""
    span = np.ptp(IMAGE)
    np.testing.assert_allclose(filled(), FILLED, rtol=0, atol=1e-4 * span)
    np.testing.assert_allclose(filled(tolerance=1e-7), FILLED, rtol=0, atol=5e-5 * span)


def test_what_is_left_stays_to_the_last_bit() -> None:
    np.testing.assert_array_equal(np.asarray(filled(noise=0.1))[~REMOVED], IMAGES[~REMOVED])


def test_every_removed_pixel_is_the_mean_of_its_neighbours() -> None:
    values = np.asarray(filled(tolerance=1e-7))[0, ..., 0]
    for y, x in np.argwhere(REMOVED[0]):
        np.testing.assert_allclose(values[y, x], (WEIGHTS * values[y - 1 : y + 2, x - 1 : x + 2]).sum(), atol=1e-4)


def test_a_batch_is_a_loop_inside_jit_and_vmap() -> None:
    usual = filled(noise=0.1)
    mapped = jax.jit(jax.vmap(lambda image, removed: impute(image, removed, noise=0.1)))(IMAGES, REMOVED)
    np.testing.assert_allclose(mapped, usual, atol=1e-3)
    np.testing.assert_allclose(impute(IMAGES[1], REMOVED[1], noise=0.1), usual[1], atol=1e-3)
    assert jax.eval_shape(impute, jnp.asarray(IMAGES, jnp.bfloat16), REMOVED).dtype == jnp.bfloat16


def test_noise_and_key() -> None:
    noisy, other = filled(noise=0.5), filled(noise=0.5, key=jax.random.key(1))
    added = np.asarray(noisy - filled())[REMOVED]
    assert abs(added.std() - 0.5) < 0.05
    assert np.abs(noisy - other).max() > 0.1
    np.testing.assert_array_equal(noisy, filled(noise=0.5))


def test_limits() -> None:
    assert np.abs(filled(max_iterations=1) - FILLED).max() > 0.1
    assert np.abs(filled(tolerance=0.5) - FILLED).max() > 0.1
    everything = impute(IMAGE, np.ones(IMAGE.shape[:2], bool), noise=0.0)
    np.testing.assert_array_equal(everything, np.zeros_like(IMAGE))
    np.testing.assert_array_equal(impute(IMAGE, np.zeros(IMAGE.shape[:2], bool)), IMAGE)


@pytest.mark.parametrize(
    ("removed", "options", "sentence"),
    [
        (REMOVED[0].astype(np.float32), {}, "removed must hold True where a pixel is removed"),
        (REMOVED, {}, r"removed must have the shape of the images without their channels, \(40, 33\)"),
        (REMOVED[0], {"noise": -1}, "noise must be zero or a positive number in units of the images, got -1"),
        (REMOVED[0], {"tolerance": 0}, "tolerance must be a positive number, got 0"),
        (REMOVED[0], {"max_iterations": 0}, "max_iterations must be a whole number, at least 1, got 0"),
    ],
)
def test_refusals(removed: Any, options: Any, sentence: str, unchecked: None) -> None:
    with pytest.raises((TypeError, ValueError), match=sentence):
        impute(IMAGE, removed, **options)
