"""Perturbations: the pyramids, and how masks read them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from extremal_jax.ground.filters import gaussian_blur, moving_average
from extremal_jax.operators.perturbations import (
    PERTURBATIONS,
    Blur,
    Fade,
    Perturbation,
    Reference,
    blur_pyramid,
    perturb,
    reference_pyramid,
)

IMAGE = np.random.default_rng(0).standard_normal((11, 14, 3)).astype(np.float32)


def test_pyramid_levels() -> None:
    pyramid = blur_pyramid(jnp.asarray(IMAGE), num_levels=5, max_blur=4.0)
    assert pyramid.shape == (5, *IMAGE.shape)
    np.testing.assert_array_equal(pyramid[-1], IMAGE)
    np.testing.assert_allclose(pyramid[1], gaussian_blur(jnp.asarray(IMAGE), 3.0), atol=1e-5)
    zeros = blur_pyramid(jnp.asarray(IMAGE), num_levels=5, max_blur=4.0, padding="zeros")
    np.testing.assert_allclose(zeros[0], gaussian_blur(jnp.asarray(IMAGE), 4.0, "zeros"), atol=1e-5)


def test_constant_masks_are_levels() -> None:
    pyramid = blur_pyramid(jnp.asarray(IMAGE), num_levels=4, max_blur=4.0)
    for level in range(4):
        np.testing.assert_allclose(perturb(pyramid, jnp.full(IMAGE.shape[:2], level / 3)), pyramid[level], atol=1e-5)
    between = perturb(pyramid, jnp.full(IMAGE.shape[:2], 0.5))
    np.testing.assert_allclose(between, (pyramid[1] + pyramid[2]) / 2, atol=1e-5)


def test_each_pixel_reads_its_own_level() -> None:
    pyramid = reference_pyramid(jnp.asarray(IMAGE), 7.0)
    mask = jnp.asarray(np.random.default_rng(1).random(IMAGE.shape[:2], np.float32))
    np.testing.assert_allclose(perturb(pyramid, mask), mask[..., None] * IMAGE + (1 - mask[..., None]) * 7, atol=1e-5)
    np.testing.assert_array_equal(reference_pyramid(jnp.asarray(IMAGE))[0], 0)


@pytest.mark.parametrize("value", [0.0, 1 / 3, 0.5, 1.0])
def test_gradient_never_vanishes_by_a_tie(value: Any) -> None:
    """At the ends and at the levels, the gradient is the one of a neighbouring piece."""
    pyramid = blur_pyramid(jnp.asarray(IMAGE), num_levels=4, max_blur=4.0)
    gradient = jax.grad(lambda mask: perturb(pyramid, mask)[3, 5, 0])(jnp.full(IMAGE.shape[:2], value))[3, 5]
    piece = min(int(value * 3), 2)
    np.testing.assert_allclose(gradient, 3 * (pyramid[piece + 1] - pyramid[piece])[3, 5, 0], rtol=1e-4)


def test_batches_of_masks_and_transformations() -> None:
    pyramid = blur_pyramid(jnp.asarray(IMAGE), num_levels=4, max_blur=4.0)
    masks = jnp.asarray(np.random.default_rng(1).random((2, 3, *IMAGE.shape[:2]), np.float32))
    whole = perturb(pyramid, masks)
    assert whole.shape == (2, 3, *IMAGE.shape)
    mapped = jax.jit(jax.vmap(perturb, in_axes=(None, 0)))(pyramid, masks)
    np.testing.assert_allclose(mapped, whole, atol=1e-6)


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_records_of_the_table(name: Any) -> None:
    """The last level is the image itself, and the first what a mask of zeros shows."""
    record, images = PERTURBATIONS[name], jnp.asarray(np.stack([IMAGE, 2 * IMAGE]))
    reference = images[0] - 1 if record.needs_reference else None
    levels = record.levels(images, reference)
    assert isinstance(record, Perturbation)
    assert record.name == name
    assert record.description
    np.testing.assert_array_equal(levels[:, -1], images)
    expected = {
        "blur": gaussian_blur(images, 20.0),
        "fade": 0 * images,
        "reference": jnp.stack([images[0] - 1] * 2),
        "moving_average": moving_average(images, 20.0),
        "past_mean": jnp.stack([images[:, : row + 1].mean(axis=1) for row in range(images.shape[1])], axis=1),
    }
    first = expected[name]
    np.testing.assert_allclose(levels[:, 0], first, atol=1e-5)


def test_settings_of_the_blur() -> None:
    levels = Blur(num_levels=3, max_blur=2.0, padding="zeros").levels(jnp.asarray(IMAGE[None]))
    np.testing.assert_array_equal(levels[0], blur_pyramid(jnp.asarray(IMAGE), 3, 2.0, "zeros"))


def test_a_reference_for_each_image_and_a_fade_of_vectors() -> None:
    images = jnp.asarray(np.stack([IMAGE, 2 * IMAGE]))
    np.testing.assert_array_equal(Reference().levels(images, 3 * images)[:, 0], 3 * images)
    assert Fade().levels(jnp.ones((2, 7))).shape == (2, 2, 7)
