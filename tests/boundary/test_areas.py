"""Areas and counts of channels: what is taken, and what is refused in which sentence."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import small
from extremal_jax.boundary.areas import check_areas, check_counts, check_pixels
from extremal_jax.optimise import solver


@pytest.mark.parametrize(
    ("areas", "error", "message"),
    [
        ((0.1, 0.0), ValueError, r"areas must be shares of the image in \(0, 1\], got 0; 5 % is 0.05"),
        ((-0.1,), ValueError, "areas must be shares"),
        ((5,), ValueError, r"areas must be shares of the image in \(0, 1\], got 5; 5 % is 0.05"),
        ((0.1, np.nan), ValueError, "areas must be shares .* got nan"),
        ((np.inf,), ValueError, "areas must be shares .* got inf"),
        ((), ValueError, r"areas must have the shape \(K,\) or \(2, K\), with at least one area, got \(0,\)"),
        (np.full((3, 1), 0.1), ValueError, r"areas must have the shape \(K,\) or \(2, K\), with at least one area, got \(3, 1\)"),
        (np.full((1, 1, 1), 0.1), ValueError, "areas must have the shape"),
        ("many", TypeError, r"areas must be numbers in \(0, 1\], such as \(0.05, 0.1\), got 'many'"),
        ("0.1", TypeError, r"areas must be numbers in \(0, 1\], such as \(0.05, 0.1\), got '0.1'"),
        (True, TypeError, r"areas must be numbers in \(0, 1\], such as \(0.05, 0.1\), got True"),
        ([[0.1], [0.1, 0.2]], ValueError, r"areas must have one shape, got a sequence of \(1,\), \(2,\)"),
        (np.ma.masked_less([0.1, 0.2], 0.15), TypeError, r"areas must be numbers in \(0, 1\], .* got masked_array"),
        (None, TypeError, r"areas must be numbers in \(0, 1\], such as \(0.05, 0.1\), got None"),
        ([0.1, None], TypeError, r"areas must be .* got \[0.1, None\]"),
        ((0.1, 0.001), ValueError, r"areas must be at least a pixel, 0.0021 of the 480 pixels, got 0.001"),
    ],
)
def test_bad_areas(areas: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        small.explain(areas=areas)


class Tensor:
    """A number of another library, behind `detach`."""

    def detach(self) -> Any:
        return np.array(0.1)

    def __array__(self, *_: Any, **__: Any) -> None:
        raise RuntimeError("it requires a gradient")


@pytest.mark.parametrize(
    "areas",
    [0.1, [0.1], np.float64(0.1), np.array([0.1], np.float16), jnp.array(0.1), jnp.array([0.1], jnp.bfloat16), Tensor(), [Tensor()], 1],
    ids=lambda areas: type(areas).__name__,
)
def test_areas_of_any_type(areas: Any) -> None:
    checked = check_areas(areas, 2)
    assert checked.shape == (1,)
    assert checked.dtype == np.float32
    assert checked[0] == pytest.approx(1 if areas == 1 else 0.1, rel=1e-2)  # bfloat16 has eight bits


def test_the_least_area_is_one_that_rounds_to_a_pixel() -> None:
    check_pixels(np.array([0.6 / 480]), 480)
    with pytest.raises(ValueError, match="areas must be at least a pixel"):
        check_pixels(np.array([0.4 / 480]), 480)


def test_a_sweep_of_areas_below_a_pixel() -> None:
    with pytest.raises(ValueError, match="areas must be at least a pixel"):
        small.smallest(areas=(0.001, 0.5))


@pytest.mark.parametrize(
    ("counts", "error", "message"),
    [
        ((1, 9), ValueError, "areas must be whole numbers of channels, from 1 to the layer's 8, or shares of them between 0 and 1, got 9"),
        ((0,), ValueError, "areas must be whole numbers .* got 0"),
        ((-3,), ValueError, "areas must be whole numbers .* got -3"),
        ((2.5,), ValueError, "areas must be whole numbers .* got 2.5"),
        ((np.nan,), ValueError, "areas must be whole numbers .* got nan"),
        ((), ValueError, r"areas must have the shape \(K,\) or \(2, K\), with at least one count, got \(0,\)"),
        (np.ones((3, 1)), ValueError, r"areas must have the shape \(K,\) or \(2, K\)"),
        ("many", TypeError, r"areas must be numbers of channels, such as \(1, 5, 25\), got 'many'; give the layer by its name, at='many'"),
        (None, TypeError, "areas must be numbers of channels"),
    ],
)
def test_bad_counts(counts: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        small.channels(areas=counts)


def test_counts_of_classes_go_by_their_own_name() -> None:
    with pytest.raises(ValueError, match="counts must be whole numbers of channels, from 1 to the layer's 8"):
        small.class_channels(counts=(9,))


def test_shares_of_channels() -> None:
    assert check_counts((0.5, 0.01, 0.99, 3, 8), None, 8).tolist() == [4, 1, 8, 3, 8]
    assert check_counts([[1, 2], [3, 0.5]], 2, 8).tolist() == [[1, 2], [3, 4]]


def test_traced_areas_are_checked_for_their_shape() -> None:
    with pytest.raises(ValueError, match="areas must have the shape"):
        jax.eval_shape(lambda areas: small.explain(areas=areas).masks, jnp.zeros((0,)))
    with pytest.raises(ValueError, match="areas must have the shape"):
        jax.eval_shape(lambda areas: small.channels(areas=areas).masks, jnp.zeros((3, 2)))


def test_traced_areas_out_of_range_are_faults() -> None:
    """Their values are not known before the run, and the status of the run tells of them."""
    found = jax.jit(lambda areas: small.explain(areas=areas))(jnp.array([0.1, 5.0]))
    assert np.isfinite(found.rewards[:, 0]).all()
    assert (np.asarray(found.status.nonfinite_step) == [[solver.NEVER, 0]] * 2).all()
