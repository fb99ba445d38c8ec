"""Average drop and increase, against the formula."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import small
from extremal_jax.evaluation.faithfulness.drop import average_drop

IMAGES = small.images(4)
TARGETS = np.array([4, 4, 3, 4])
MAPS = np.random.default_rng(0).random(IMAGES.shape[:-1]).astype(np.float32) * 3 - 1


def confidence(images: Any) -> np.ndarray:
    return np.take_along_axis(np.asarray(jax.nn.softmax(small.MODEL(jnp.asarray(images)))), TARGETS[:, None], 1)[:, 0]


def highest(area: float) -> np.ndarray:
    return np.quantile(MAPS, 1 - area, axis=(1, 2), keepdims=True) < MAPS


def expected(factors: Any) -> tuple[np.ndarray, np.ndarray]:
    whole, part = confidence(IMAGES), confidence(IMAGES * factors[..., None])
    return 100 * np.maximum(0, whole - part) / whole, part > whole


def test_the_formula() -> None:
    low, high = MAPS.min(axis=(1, 2), keepdims=True), MAPS.max(axis=(1, 2), keepdims=True)
    for found, area, factors in (
        (average_drop(small.MODEL, IMAGES, TARGETS, MAPS), None, (MAPS - low) / (high - low)),
        (average_drop(small.MODEL, IMAGES, TARGETS, MAPS, area=0.25), 0.25, highest(0.25)),
    ):
        drop, increase = expected(factors)
        np.testing.assert_allclose(found.drop, drop, atol=1e-2, err_msg=str(area))
        np.testing.assert_array_equal(found.increase, increase)


def test_constant_maps_hide_everything_and_areas_take_reading_order() -> None:
    found = average_drop(small.MODEL, IMAGES, TARGETS, np.full_like(MAPS, 7))
    np.testing.assert_allclose(found.drop, expected(np.zeros_like(MAPS))[0], atol=1e-2)
    rows = np.zeros_like(MAPS)
    rows[:, :5] = 1
    found = average_drop(small.MODEL, IMAGES, TARGETS, np.full_like(MAPS, 7), area=0.25)
    np.testing.assert_allclose(found.drop, expected(rows)[0], atol=1e-2)
    whole = average_drop(small.MODEL, IMAGES, TARGETS, MAPS, area=1.0)
    assert not np.any([*whole.drop, *whole.increase])


def test_confidence_of_another_kind_and_of_zero() -> None:
    usual = average_drop(small.MODEL, IMAGES, TARGETS, MAPS)
    assert np.abs(average_drop(small.MODEL, IMAGES, TARGETS, MAPS, score="sigmoid").drop - usual.drop).max() > 0.1
    never = average_drop(lambda images: jnp.full((len(images), 1), -1e4), IMAGES, 0, MAPS, score="sigmoid")
    np.testing.assert_array_equal(never.drop, 0)


def test_a_score_that_is_not_a_number_is_neither_a_drop_nor_an_increase() -> None:
    found = average_drop(small.MODEL, IMAGES[0], 4, np.where(MAPS[0] == MAPS[0].max(), np.inf, MAPS[0]))
    assert np.isnan(found.drop)
    assert np.isnan(found.increase)


def test_refusals(unchecked: None) -> None:
    with pytest.raises(ValueError, match="score must be one of 'softmax', 'sigmoid', got 'logit'"):
        average_drop(small.MODEL, IMAGES, TARGETS, MAPS, score="logit")
    with pytest.raises(ValueError, match="area must be a share of the image, from 0 to 1, got 2"):
        average_drop(small.MODEL, IMAGES, TARGETS, MAPS, area=2)
