"""The complexity of maps, and its rise when all parameters are drawn anew."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import small
from extremal_jax.attribution import linear_approx
from extremal_jax.evaluation.sanity.complexity import complexity, efficient_randomisation
from extremal_jax.evaluation.sanity.parameters import randomise
from golden_data import GOLDEN

TARGETS = np.array([1, 3])
KEY = jax.random.key(7)


def test_complexity() -> None:
    with np.load(GOLDEN / "evaluation" / "sanity.npz") as file:
        maps, expected = file["a"], file["complexity"]
    np.testing.assert_allclose(complexity(maps)[:3], expected[:3], atol=1e-5)
    np.testing.assert_allclose(complexity(maps), expected, atol=0.01)  # in single precision some pixels are in another bin
    np.testing.assert_allclose(complexity(maps[0]), complexity(maps)[0], atol=1e-6)
    assert np.all(complexity(maps, num_bins=10) < complexity(maps))
    assert complexity(np.ones((4, 4))) == 0
    assert np.isnan(complexity([[np.nan, 1.0], [0.0, 2.0]]))
    np.testing.assert_allclose(complexity(np.arange(100.0).reshape(10, 10)), np.log(100), rtol=1e-6)


def efficient(method: Any = linear_approx, images: Any = small.IMAGES, targets: Any = TARGETS, **options: Any) -> Any:
    return efficient_randomisation(method, small.MODEL, images, targets, **options)


def test_efficient_randomisation() -> None:
    found = efficient(key=KEY)
    randomised = randomise(small.MODEL, key=KEY)
    before, after = (complexity(linear_approx(model, small.IMAGES, TARGETS)) for model in (small.MODEL, randomised))
    np.testing.assert_array_equal(found.complexity, before)
    np.testing.assert_array_equal(found.randomised, after)
    np.testing.assert_allclose(found.score, after / before - 1, rtol=1e-4)
    np.testing.assert_allclose(efficient(images=small.IMAGES[1], targets=3, key=KEY).score, found.score[1], atol=1e-2)
    for options in ({"num_bins": 20}, {"draw": "permutation"}, {"key": jax.random.key(1)}):
        assert np.abs(efficient(**{"key": KEY, **options}).score - found.score).min() > 0


def test_efficient_randomisation_of_constant_and_damaged_maps() -> None:
    maps = iter([np.zeros((2, 20, 24)), small.IMAGES[..., 0]])
    assert efficient(lambda *_: next(maps)).score.tolist() == [0, 0]
    maps = iter([small.IMAGES[..., 0], np.zeros((2, 20, 24))])
    np.testing.assert_allclose(efficient(lambda *_: next(maps)).score, -1, rtol=1e-6)
    maps = iter([np.zeros((2, 20, 24)), np.full((2, 20, 24), np.nan)])
    assert np.isnan(efficient(lambda *_: next(maps)).score).all()


def test_switches_of_jax() -> None:
    with small.strict():
        found = jax.eval_shape(lambda images: efficient(images=images), small.IMAGES)
    assert found.score.dtype == jnp.float32


def test_what_does_not_fit(unchecked: None) -> None:
    with pytest.raises(ValueError, match="num_bins must be a whole number, at least 2"):
        efficient(num_bins=1)
    with pytest.raises(ValueError, match=r"draw must be one of .* did you mean 'normal'"):
        efficient(draw="norm")
    with pytest.raises(ValueError, match=r"maps must have the shape \(N, H, W\) or \(H, W\), got \(3,\)"):
        complexity(np.ones(3))
