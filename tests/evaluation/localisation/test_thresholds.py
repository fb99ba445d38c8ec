"""Precision, recall, information and entropy of maps on regions."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from extremal_jax.evaluation.localisation.thresholds import aup, aur, average_precision, region_entropy, region_information
from golden_data import GOLDEN

TESTS: dict[str, Any] = {
    "aup": aup,
    "aur": aur,
    "average_precision": average_precision,
    "region_information": region_information,
    "region_entropy": region_entropy,
}
RECORDED: dict[str, Any] = {"aup": aup, "aur": aur, "information": region_information, "entropy": region_entropy}
# The information of a value within 1e-5 of one hangs on its last bits, which float32 rounds.
TOLERANCE = {"aup": 1e-5, "aur": 1e-5, "information": 1e-3, "entropy": 1e-5}
MAPS = np.random.default_rng(0).random((3, 5, 4), np.float32)
REGIONS = np.random.default_rng(1).random((3, 5, 4)) < 0.4

each = pytest.mark.parametrize("name", TESTS)


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    with np.load(GOLDEN / "evaluation" / "series.npz") as file:
        return dict(file)


@pytest.mark.parametrize("name", RECORDED)
def test_scores_are_those_of_time_interpret(name: str, recorded: Any) -> None:
    """Of maps with ties and of any sign."""
    np.testing.assert_allclose(RECORDED[name](recorded["maps"], recorded["regions"]), recorded[name], rtol=TOLERANCE[name])


@pytest.mark.parametrize("name", RECORDED)
def test_pooled_scores_are_those_of_maps_laid_side_by_side(name: str, recorded: Any) -> None:
    maps = recorded["maps"]
    low, high = maps.min(axis=(1, 2), keepdims=True), maps.max(axis=(1, 2), keepdims=True)
    scaled = (maps - low) / (high - low + np.float32(1e-5))
    pooled = RECORDED[name](scaled.reshape(-1, 6), recorded["regions"].reshape(-1, 6), normalize=False)
    np.testing.assert_allclose(pooled, recorded["pooled"][list(RECORDED).index(name)], rtol=TOLERANCE[name])


def test_areas_by_hand() -> None:
    """Thresholds 0, 0.2, 0.6, 1: precisions 1/2, 2/3, 1/2, 1 and recalls 1, 1, 1/2, 1/2."""
    maps, regions = np.array([[1.0, 0.6], [0.2, 0.0]]), np.array([[True, False], [True, False]])
    options: dict[str, Any] = dict(normalize=False)
    assert aup(maps, regions, **options) == pytest.approx(0.2 * (1 / 2 + 2 / 3) / 2 + 0.4 * (2 / 3 + 1 / 2) / 2 + 0.4 * 3 / 4)
    assert aup(maps, regions, rule="step", **options) == pytest.approx(0.2 * 2 / 3 + 0.4 / 2 + 0.4)
    assert aur(maps, regions, **options) == pytest.approx(0.2 + 0.4 * 3 / 4 + 0.4 / 2)
    assert aur(maps, regions, rule="step", **options) == pytest.approx(0.6)  # the mean in the region
    assert average_precision(maps, regions) == pytest.approx(1 / 2 + 1 / 2 * 2 / 3)


def test_thresholds_that_pixels_share_count_once() -> None:
    maps, regions = np.array([[1.0, 1.0], [0.0, 0.0]]), np.array([[True, False], [False, False]])
    assert aup(maps, regions, normalize=False) == pytest.approx((1 / 4 + 1 / 2) / 2)
    assert average_precision(maps, regions) == pytest.approx(1 / 2)


def test_an_outlier_does_not_hide_the_order_of_the_others() -> None:
    assert average_precision([[-1e8, 0.3], [0.2, 0.1]], [[False, True], [False, False]]) == 1


def test_information_and_entropy_by_hand() -> None:
    maps, regions = np.array([[0.75, 0.5], [0.9, 0.1]]), np.array([[True, True], [False, False]])
    assert region_information(maps, regions, normalize=False) == pytest.approx(3, abs=1e-4)
    assert region_entropy(maps, regions, normalize=False) == pytest.approx(1 + 0.811278, abs=1e-4)


@pytest.mark.parametrize("name", RECORDED)
def test_maps_are_scaled(name: str) -> None:
    test = RECORDED[name]
    np.testing.assert_allclose(
        test(5 * MAPS - 2, REGIONS), test(MAPS, REGIONS), rtol=50 * TOLERANCE[name]
    )  # ε is another share of the range
    assert not np.allclose(test(MAPS / 2, REGIONS, normalize=False), test(MAPS, REGIONS), rtol=1e-2)


@each
def test_a_batch_is_a_loop_and_a_program(name: str) -> None:
    batch = TESTS[name](MAPS, REGIONS)
    np.testing.assert_allclose(batch, [TESTS[name](a, b) for a, b in zip(MAPS, REGIONS, strict=True)], rtol=1e-6)
    np.testing.assert_allclose(jax.jit(TESTS[name])(MAPS, REGIONS), batch, rtol=1e-6)


@each
def test_maps_that_say_nothing(name: str) -> None:
    """An empty region scores 0, and a map with NaN scores NaN."""
    maps = np.stack([MAPS[0], np.where(np.arange(20).reshape(5, 4) == 7, np.nan, MAPS[0])])
    regions = np.stack([np.zeros((5, 4), bool), REGIONS[0]])
    np.testing.assert_array_equal(TESTS[name](maps, regions), [0, np.nan])
    assert np.isfinite(TESTS[name](np.ones((5, 4)), REGIONS[0]))


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        (dict(rule="steps"), ValueError, "rule must be one of 'trapezoid', 'step', got 'steps'; did you mean 'step'"),
        (
            dict(normalize=False),
            ValueError,
            r"maps must lie in \[0, 1\] unless they are normalized, got values from .* pass normalize=True",
        ),
    ],
)
def test_bad_options(options: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        aup(3 * MAPS, REGIONS, **options)
    with pytest.raises(ValueError, match="must have the shape of the images"):
        aup(MAPS[:, :2], REGIONS)
