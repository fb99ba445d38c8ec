"""Objects pasted on scenes: their attribution across models and images."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import small
from extremal_jax.data.scenes import BACKGROUND, generate
from extremal_jax.evaluation.localisation.pasted import PastedPairs, input_dependence, input_independence, model_contrast, pasted_pairs

RNG = np.random.default_rng(0)
BEFORE, AFTER = RNG.standard_normal((2, 6, 5, 7)).astype(np.float32)
REGIONS = RNG.random((6, 5, 7)) < 0.4
TESTS = {"contrast": model_contrast, "dependence": input_dependence, "independence": input_independence}
each = pytest.mark.parametrize("test", TESTS.values(), ids=TESTS)


@pytest.fixture(scope="module")
def pairs() -> PastedPairs:
    return pasted_pairs(3, 4, size=48)


def means(maps: Any) -> np.ndarray:
    return np.array([values[region].mean(dtype=np.float64) for values, region in zip(maps, REGIONS, strict=True)])


def test_scores_against_their_definitions() -> None:
    before, after = means(BEFORE), means(AFTER)
    np.testing.assert_allclose(model_contrast(BEFORE, AFTER, REGIONS), (before - after).mean(), rtol=1e-5)
    np.testing.assert_allclose(input_dependence(AFTER, BEFORE, REGIONS), (after < before).mean(), rtol=1e-6)
    small_changes = np.abs(after - before) / np.abs(before)
    for threshold in (0.1, float(np.median(small_changes)), 100.0):
        expected = (small_changes < threshold).mean()
        np.testing.assert_allclose(input_independence(BEFORE, AFTER, REGIONS, threshold), expected, rtol=1e-6)
    assert input_independence(BEFORE, AFTER, REGIONS) == input_independence(BEFORE, AFTER, REGIONS, 0.1)


def test_only_the_region_counts() -> None:
    noise = np.where(REGIONS, BEFORE, 100 * AFTER)
    assert model_contrast(BEFORE, noise, REGIONS) == 0
    assert input_dependence(BEFORE, noise, REGIONS) == 0
    assert input_independence(BEFORE, noise, REGIONS) == 1


def test_directions() -> None:
    """Higher in the first maps: a contrast, and no independence; negative attribution can be kept as well."""
    higher = BEFORE + 1
    np.testing.assert_allclose(model_contrast(higher, BEFORE, REGIONS), 1, rtol=1e-5)
    assert input_dependence(BEFORE, higher, REGIONS) == 1
    assert input_dependence(higher, BEFORE, REGIONS) == 0
    flat = np.full_like(BEFORE, -2)
    assert input_independence(flat, 1.05 * flat, REGIONS) == 1
    assert input_independence(flat, 1.15 * flat, REGIONS) == 0


def test_constant_maps_nan_and_empty_regions() -> None:
    one, zero, none = np.ones_like(BEFORE), np.zeros_like(BEFORE), np.zeros_like(REGIONS)
    assert model_contrast(3 * one, one, REGIONS) == 2
    assert input_dependence(one, one, REGIONS) == 0
    assert input_independence(one, one, REGIONS) == 1
    assert input_independence(zero, zero, REGIONS) == 0
    broken = one.copy()
    broken[0, 0, 0] = np.nan
    for maps, regions, count in ((broken, REGIONS, 5 / 6), (one, none, 0)):
        assert np.isnan(model_contrast(maps, one, regions))
        np.testing.assert_allclose(input_dependence(zero * maps, one, regions), count, rtol=1e-6)
        np.testing.assert_allclose(input_independence(maps, one, regions), count, rtol=1e-6)


@each
def test_jit_vmap_single_images_and_switches(test: Any) -> None:
    expected = test(BEFORE, AFTER, REGIONS)
    assert expected.shape == ()
    np.testing.assert_array_equal(jax.jit(test)(BEFORE, AFTER, REGIONS), expected)
    scores = jax.vmap(test)(BEFORE, AFTER, REGIONS)
    np.testing.assert_allclose(scores.mean(), expected, rtol=1e-5)
    np.testing.assert_array_equal(test(BEFORE[1], AFTER[1], REGIONS[1]), scores[1])
    with small.strict():
        np.testing.assert_allclose(test(BEFORE, AFTER, REGIONS), expected, rtol=1e-6)


def test_pairs(pairs: Any) -> None:
    scenes = generate(3, 4, 48, objects=1)
    np.testing.assert_array_equal(pairs.images_without, scenes.images)
    differ = (pairs.images_with != pairs.images_without).any(axis=-1)
    assert not differ[~pairs.regions].any()
    assert differ[pairs.regions].mean() > 0.95  # a pixel may have the colour that was there
    assert (pairs.regions.mean(axis=(1, 2)) > 0.01).all()
    own = scenes.segmentation != BACKGROUND
    assert not (own & pairs.regions).any()
    assert scenes.labels[np.arange(4), pairs.labels].all()
    assert (pairs.labels != pairs.pasted).all()
    assert len(set(pairs.pasted.tolist())) > 1


def test_seed_first_and_size(pairs: Any) -> None:
    parts = pasted_pairs(3, 1, 48), pasted_pairs(3, 3, 48, first=1)
    for whole, some in zip(pairs, zip(*parts, strict=True), strict=True):
        np.testing.assert_array_equal(np.concatenate(some), whole)
    assert not np.array_equal(pasted_pairs(4, 1, 48).images_with, parts[0].images_with)
    assert pasted_pairs(3, 1, (32, 40)).regions.shape == (1, 32, 40)


@pytest.mark.usefixtures("unchecked")
def test_bad_input() -> None:
    for test in TESTS.values():
        with pytest.raises(ValueError, match=r"maps must have the shape of the images, \(6, 5, 7\), got \(5, 5, 7\)"):
            test(BEFORE, AFTER[1:], REGIONS)
    with pytest.raises(ValueError, match="threshold must be a positive number, got 0"):
        input_independence(BEFORE, AFTER, REGIONS, 0)
    with pytest.raises(ValueError, match="count must be a whole number, at least 1, got 0"):
        pasted_pairs(0, 0)
    with pytest.raises(ValueError, match="size must be at least 32 pixels"):
        pasted_pairs(0, 1, 16)
