"""Bootstrap intervals over images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats

from extremal_jax.evaluation.suite.intervals import estimate

RNG = np.random.default_rng(0)


def test_the_interval_of_a_mean_is_scipys() -> None:
    values = RNG.normal(3, 2, 80)
    found = estimate(values, np.arange(80))
    expected = scipy.stats.bootstrap((values,), np.mean, method="percentile", n_resamples=9999, random_state=0).confidence_interval
    assert found.mean == pytest.approx(values.mean())
    np.testing.assert_allclose((found.low, found.high), expected, atol=0.05)  # two samples of 2,000 and 9,999 draws
    narrow = estimate(values, np.arange(80), level=0.5)
    assert found.low < narrow.low < narrow.high < found.high


def test_values_of_one_image_are_drawn_together() -> None:
    """Ten copies of each value say no more than one."""
    values = RNG.normal(0, 1, 40)
    copies = estimate(np.repeat(values, 10), np.repeat(np.arange(40), 10))
    once = estimate(values, np.arange(40))
    assert (copies.low, copies.high) == pytest.approx((once.low, once.high))
    assert copies.number == 400


def test_the_mean_of_classes() -> None:
    values, classes = np.array([1.0, 1, 1, 0]), np.array(["cat", "cat", "cat", "dog"])
    assert estimate(values, np.arange(4)).mean == 0.75
    assert estimate(values, np.arange(4), classes).mean == 0.5


def test_another_seed_draws_other_images() -> None:
    values = RNG.normal(0, 1, 20)
    assert estimate(values, np.arange(20)) == estimate(values, np.arange(20), seed=0) != estimate(values, np.arange(20), seed=1)


@pytest.mark.parametrize(
    ("values", "images", "shown"),
    [
        ([0.5], [0], "0.500"),
        ([np.nan], [0], "nan"),
        ([1.0, np.nan, 0.0], [0, 1, 2], "0.500 (0.000 to 1.000)"),
        ([2.0, 2.0], [0, 1], "2.000 (2.000 to 2.000)"),
    ],
)
def test_few_values(values: Any, images: Any, shown: str) -> None:
    assert str(estimate(np.array(values), np.array(images))) == shown
