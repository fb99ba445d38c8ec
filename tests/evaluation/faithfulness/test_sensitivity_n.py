"""Sensitivity-n: exact for attributions that add up, and by its options."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from extremal_jax.evaluation.faithfulness.sensitivity_n import pearson, sensitivity_n

RNG = np.random.default_rng(0)
IMAGES = RNG.standard_normal((3, 7, 8, 2)).astype(np.float32)
WEIGHTS = RNG.standard_normal((7, 8, 2)).astype(np.float32)
EXACT = (IMAGES * WEIGHTS).sum(axis=-1)  # what each pixel adds to the score
NOISY = EXACT + RNG.standard_normal(EXACT.shape).astype(np.float32)


def linear(images: Any) -> Any:
    return (images * WEIGHTS).sum(axis=(1, 2, 3))[:, None]


KEY = jax.random.key(0, impl="unsafe_rbg")  # which compiles sooner than the usual kind


def score(maps: Any = NOISY, model: Any = linear, **options: Any) -> Any:
    return sensitivity_n(model, IMAGES, 0, maps, **{"num_subsets": 12, "sizes": (3, 10), "key": KEY, **options})


def test_attributions_that_add_up() -> None:
    np.testing.assert_allclose(score(EXACT), 1, rtol=1e-5)
    np.testing.assert_allclose(score(-EXACT), -1, rtol=1e-5)
    np.testing.assert_allclose(score(5 * EXACT + 7), 1, rtol=1e-4)  # subsets have one size
    np.testing.assert_allclose(score(EXACT, cell=3, sizes=(2, 4)), 1, rtol=1e-4)
    others = (IMAGES - 0.5) * WEIGHTS
    np.testing.assert_allclose(score(others.sum(axis=-1), baseline=0.5), 1, rtol=1e-4)
    assert np.abs(score()).max() < 0.999


def test_it_is_the_mean_over_sizes_and_defined_where_nothing_varies() -> None:
    np.testing.assert_allclose(score(sizes=(10, 10)), 2 * score() - score(sizes=(3, 3)), atol=0.5)  # other subsets of size 10
    for options in ({}, {"cell": 3, "sizes": (2, 4)}):  # type: dict[str, Any]
        np.testing.assert_array_equal(score(np.full_like(EXACT, 0.1), **options), 0)
    np.testing.assert_array_equal(score(model=lambda images: jnp.zeros((len(images), 1))), 0)


def test_usual_sizes_leave_a_cell_out() -> None:
    """Also where there are only two: the sums of all cells are alike, and correlate with nothing."""
    two = np.array([[[1.0], [3.0]]], np.float32)
    assert float(sensitivity_n(lambda images: images.sum(axis=(1, 2)), two, 0, two[..., 0], num_subsets=12, key=KEY)) > 0.999


@pytest.mark.parametrize(
    "options",
    [
        {"sizes": (5, 12)},
        {"sizes": None},
        {"num_subsets": 5},
        {"cell": 2},
        {"baseline": 1.0},
        {"key": jax.random.key(1, impl="unsafe_rbg")},
        {"score": "sigmoid"},
    ],
)
def test_options_matter(options: Any) -> None:
    assert np.abs(score(**options) - score()).max() > 1e-3


def test_subsets_have_their_sizes_and_every_image_is_scored() -> None:
    """A score that counts the removed pixels falls alike for all subsets of one size."""

    def count(images: Any) -> Any:
        return (images == 0).all(axis=-1).sum(axis=(1, 2)).astype(jnp.float32)[:, None]

    np.testing.assert_array_equal(score(model=count), 0)
    assert score().shape == (3,)
    assert len(set(score().tolist())) == 3


def test_correlations_are_numpys() -> None:
    first, second = RNG.standard_normal((2, 9)).astype(np.float32), RNG.standard_normal((2, 9)).astype(np.float32)
    expected = [np.corrcoef(one, other)[0, 1] for one, other in zip(first, second, strict=True)]
    np.testing.assert_allclose(pearson(jnp.asarray(first), jnp.asarray(second)), expected, atol=1e-6)
    np.testing.assert_allclose(pearson(jnp.asarray(first * 1e-25), jnp.asarray(second * 1e25)), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"sizes": (56,)}, "sizes must be whole numbers of cells, from 1 to 55"),
        ({"sizes": (0.5,)}, "sizes must be whole numbers of cells"),
        ({"num_subsets": 1}, "num_subsets must be a whole number, at least 2, got 1"),
        ({"cell": 8}, "cell must leave at least two cells in the image, got 1"),
        ({"baseline": np.nan}, "baseline must be finite"),
    ],
)
def test_refusals(options: Any, sentence: str, unchecked: None) -> None:
    with pytest.raises(ValueError, match=sentence):
        score(**options)
