"""Rank correlation and structural similarity: laws, recorded numbers, and maps that rank nothing."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import small
from extremal_jax.evaluation.calls import unit_range
from extremal_jax.evaluation.sanity.similarity import rank_correlation, ssim
from golden_data import GOLDEN

RNG = np.random.default_rng(0)
A = RNG.standard_normal((3, 14, 12)).astype(np.float32)
B = (A + RNG.standard_normal(A.shape)).astype(np.float32)
CONSTANT = np.full(A.shape, 0.3, np.float32)
each = pytest.mark.parametrize("function", [rank_correlation, ssim])


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    with np.load(GOLDEN / "evaluation" / "sanity.npz") as file:
        return {name: file[name] for name in file.files}


# In single precision, sums over some hundred pixels.


def test_scipy(golden: Any) -> None:
    """Ties among them."""
    np.testing.assert_allclose(rank_correlation(golden["a"], golden["b"]), golden["rank_correlation"], atol=1e-6)
    found = rank_correlation(golden["a"], golden["b"], absolute=True)
    np.testing.assert_allclose(found, golden["rank_correlation_absolute"], atol=1e-6)


def test_scikit_image(golden: Any) -> None:
    options: dict[str, Any] = {"data_range": float(golden["data_range"])}
    np.testing.assert_allclose(ssim(golden["a"], golden["b"], **options), golden["ssim_gaussian"], atol=1e-5)
    np.testing.assert_allclose(ssim(golden["a"], golden["b"], window=7, sigma=None, **options), golden["ssim_uniform"], atol=1e-5)


@each
def test_laws(function: Any) -> None:
    """A batch is a loop, `jit` and `vmap` change nothing, and the maps may be exchanged."""
    found = function(A, B)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(jax.jit(function)(A, B), found, atol=1e-6)
    np.testing.assert_allclose(jax.vmap(function)(A, B), found, atol=1e-6)
    np.testing.assert_allclose([function(a, b) for a, b in zip(A, B, strict=True)], found, atol=1e-6)
    np.testing.assert_allclose(function(B, A), found, atol=1e-6)
    assert function(A[0], B[0]).shape == ()
    with small.strict():
        np.testing.assert_allclose(function(A.astype(np.float64), B), found, atol=1e-6)


def test_only_the_order_counts_for_the_rank_correlation() -> None:
    np.testing.assert_array_equal(rank_correlation(np.exp(A), B), rank_correlation(A, B))
    np.testing.assert_allclose(rank_correlation(A, -A), -1, atol=1e-6)
    np.testing.assert_allclose(rank_correlation(A, -A, absolute=True), 1, atol=1e-6)
    np.testing.assert_allclose(rank_correlation([[-0.0, 0.0, 1.0]], [[0.0, -0.0, 2.0]]), 1, atol=1e-6)  # zeros are equal


def test_structural_similarity_depends_on_window_sigma_and_range() -> None:
    usual = ssim(A, B)
    for options in ({"window": 9}, {"sigma": 1.0}, {"sigma": None}, {"data_range": 2.0}):
        assert np.abs(ssim(A, B, **options) - usual).min() > 1e-4
    np.testing.assert_allclose(ssim(3 * A, 3 * B, data_range=3), usual, atol=1e-5)
    np.testing.assert_allclose(ssim(A, A), 1, atol=1e-6)


def test_constant_maps() -> None:
    """Two constant maps rank alike, a constant map and another do not."""
    np.testing.assert_array_equal(rank_correlation(CONSTANT, A), 0)
    np.testing.assert_array_equal(rank_correlation(CONSTANT, 0 * A), 1)
    np.testing.assert_allclose(ssim(CONSTANT, CONSTANT), 1, atol=1e-6)
    assert np.all(np.abs(ssim(CONSTANT, A)) < 0.2)


@each
def test_a_map_with_nan_scores_nan_alone(function: Any) -> None:
    damaged = A.copy()
    damaged[1, 0, 0] = np.nan
    for pair in ((damaged, B), (B, damaged), (damaged, CONSTANT)):
        np.testing.assert_array_equal(np.isnan(function(*pair)), [False, True, False])


def test_unit_range() -> None:
    found = unit_range(A)
    np.testing.assert_array_equal(found.min(axis=(1, 2)), 0)
    np.testing.assert_array_equal(found.max(axis=(1, 2)), 1)
    np.testing.assert_allclose(unit_range(5 * A - 2), found, atol=1e-6)
    np.testing.assert_array_equal(unit_range(CONSTANT), 0)
    assert np.isnan(unit_range(np.where(np.arange(12) == 3, np.nan, A))[0]).all()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"b": B[:2]}, ValueError, r"a and b must be maps of one shape, .*\(3, 14, 12\) and \(2, 14, 12\); resize one"),
        ({"a": A[0, 0], "b": B[0, 0]}, ValueError, r"one shape, \(N, H, W\) or \(H, W\), got \(12,\)"),
        ({"a": A > 0}, TypeError, "a must hold numbers, got bool"),
        ({"absolute": 1}, TypeError, "absolute must be True or False"),
        ({"window": 8}, ValueError, r"window must be odd and no larger than the maps, \(14, 12\), got 8"),
        ({"window": 13}, ValueError, "no larger than the maps"),
        ({"window": 1, "sigma": None}, ValueError, "window must be at least 3"),
        ({"sigma": 0}, ValueError, "sigma must be a positive number of pixels, or None"),
        ({"data_range": -1}, ValueError, "data_range must be a positive number"),
    ],
)
def test_what_does_not_fit(unchecked: None, options: Any, error: Any, message: Any) -> None:
    function = rank_correlation if "absolute" in options else ssim
    with pytest.raises(error, match=message):
        function(**{"a": A, "b": B, **options})
