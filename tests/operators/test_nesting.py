"""Nested masks: one order of pixels for masks of growing area."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from extremal_jax.operators.nesting import rank_pixels, rank_places

rank = jax.jit(rank_pixels)


def test_nested_masks_contain_each_other_and_have_exact_areas() -> None:
    masks = np.round(np.random.default_rng(0).random((3, 60), np.float32), 1)  # many ties
    order = np.asarray(rank(jnp.asarray(masks), jnp.array([0.5, 0.1, 0.25]), jnp.zeros(60)))
    assert sorted(order) == list(range(60))
    first, second = order < 6, order < 15
    assert masks[1][first].min() >= masks[1][~first].max()
    assert masks[2][second & ~first].min() >= masks[2][~second].max()  # the best of the next mask among the remaining pixels
    for start, stop, mask in ((0, 6, masks[1]), (6, 15, masks[2]), (15, 30, masks[0])):
        assert np.all(np.diff(mask[np.argsort(order)[start:stop]]) <= 0)  # within a level, by value


def test_importance_decides_between_equals() -> None:
    importance = jnp.asarray(np.random.default_rng(1).random(60), jnp.float32)
    order = np.asarray(rank(jnp.ones((1, 60)), jnp.array([1.0]), importance))
    np.testing.assert_array_equal(order, np.argsort(np.argsort(-np.asarray(importance))))


def test_maps_of_a_batch() -> None:
    rng = np.random.default_rng(2)
    masks, importance = jnp.asarray(rng.random((2, 3, 4, 5)), jnp.float32), jnp.asarray(rng.random((2, 4, 5)), jnp.float32)
    areas = jnp.array([[0.1, 0.5, 0.2], [0.3, 0.6, 0.9]])
    ranked = jax.jit(rank_places)(masks, areas, importance)
    for i in range(2):
        alone = rank(masks[i].reshape(3, 20), areas[i], importance[i].reshape(20))
        np.testing.assert_array_equal(ranked[i].reshape(20), alone)
