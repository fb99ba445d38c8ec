"""Ranks of pixels, cells, and chunks of altered images."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from extremal_jax.attribution.evaluations import draw_each
from extremal_jax.evaluation.faithfulness.altered import cells, for_each, pixels, ranks


def test_ranks_are_stable_and_put_nan_last() -> None:
    values = np.random.default_rng(0).integers(0, 5, (3, 6, 7)).astype(np.float32)
    expected = np.argsort(np.argsort(-values.reshape(3, -1), axis=1, kind="stable"), axis=1, kind="stable")
    np.testing.assert_array_equal(ranks(jnp.asarray(values)), expected.reshape(values.shape))
    assert ranks(jnp.array([[0.0, jnp.nan, -0.0, jnp.inf, -jnp.inf]])).tolist() == [[1, 4, 2, 0, 3]]


def test_cells_and_pixels() -> None:
    values = jnp.arange(35.0).reshape(5, 7)
    sums = cells(values, (3, 3))
    assert sums.shape == (2, 3)
    assert sums[1, 2] == values[3:, 6:].sum()
    np.testing.assert_array_equal(pixels(sums, (3, 3), (5, 7))[3:, 6:], sums[1, 2])
    assert pixels(sums, (3, 3), (5, 7)).shape == (5, 7)


@pytest.mark.parametrize("length", [1, 4, 6])
def test_for_each(length: int) -> None:
    found = for_each(lambda of, which: {"a": 10 * of + which, "b": jnp.stack([of, which], axis=-1)}, 2, 3, length)
    assert found["a"].tolist() == [[0, 1, 2], [10, 11, 12]]
    assert found["b"][1, 2].tolist() == [1, 2]


@pytest.mark.parametrize("kind", ["threefry2x32", "unsafe_rbg"])
def test_drawn_numbers_do_not_depend_on_the_chunk(kind: str) -> None:
    key = jax.random.key(0, impl=kind)
    whole = draw_each(key, jnp.arange(4), (3, 2))
    np.testing.assert_array_equal(draw_each(key, jnp.arange(2, 4), (3, 2)), whole[2:])
    assert np.ptp(whole, axis=0).min() > 0
