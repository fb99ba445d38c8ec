"""The search over sets of channels by swaps."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import channel_networks as networks
import small
from extremal_jax import ChannelConfig
from extremal_jax.extremal import channels
from extremal_jax.extremal.channels import check_channels, pose_channels
from extremal_jax.extremal.swaps import best_swaps, search, swapped
from extremal_jax.operators.masks import ChannelMasks

COUNT, CHANNELS = 3, 10


@pytest.fixture(scope="module")
def problem() -> Any:
    """Thirty images of one random network."""
    model = jax.tree_util.Partial(networks.network, [w[0] for w in networks.random_weights(1, 1, CHANNELS)])
    task, counts = check_channels(model, networks.random_images(2, 30, CHANNELS), 0, (COUNT,), ChannelConfig(), None, "x")
    return pose_channels(task, ChannelMasks(CHANNELS), counts)


@functools.partial(jax.jit, static_argnums=(1, 2))
def searched(problem: Any, rounds: Any, swaps: Any) -> Any:
    """The sets found from random parameters, and their rewards."""
    masks = search(problem, jax.random.uniform(jax.random.key(0), (30, CHANNELS)), None, rounds, swaps)
    return masks, problem.rewards(masks, None)


def test_more_rounds_and_more_swaps_find_more(problem: Any) -> None:
    found = [searched(problem, rounds, swaps) for rounds, swaps in ((0, 1), (1, 2), (1, 24), (4, 24))]
    for masks, _ in found:
        assert set(np.unique(masks)) == {0, 1}
        np.testing.assert_array_equal(masks.sum(axis=1), COUNT)
    means = [float(rewards.mean()) for _, rewards in found]
    assert means == sorted(set(means))
    assert np.all(found[-1][1] >= found[0][1])  # no round makes a set worse


def test_one_round_makes_the_best_of_all_swaps(problem: Any) -> None:
    """With as many swaps as there are, a round is a full search of the neighbourhood."""
    start, _ = searched(problem, 0, 1)
    _, best = searched(problem, 1, COUNT * (CHANNELS - COUNT))
    image = 4
    tried = [start[image]]
    for out in np.flatnonzero(start[image]):
        tried += [swapped(start[image : image + 1], jnp.array([out]), jnp.array([into]))[0] for into in np.flatnonzero(start[image] == 0)]
    rewards = jax.jit(problem.rewards)(jnp.stack(tried), jnp.full(len(tried), image))
    np.testing.assert_allclose(best[image], rewards.max(), rtol=1e-5)


def test_there_may_be_fewer_swaps_than_asked_for() -> None:
    out, into, valid = best_swaps(jnp.array([[1.0, 0.0, 0.0]]), jnp.array([[0.0, jnp.nan, 2.0]]), 24)
    assert valid.sum() == 2
    assert set(zip(out[valid].tolist(), into[valid].tolist(), strict=True)) == {(0, 1), (0, 2)}


def test_the_settings_reach_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = set()

    def recorded(problem: Any, params: Any, elements: Any, rounds: Any, swaps: Any) -> Any:
        seen.add((rounds, swaps))
        return params

    monkeypatch.setattr(channels, "search", recorded)
    config = dataclasses.replace(small.CHANNEL_CONFIG, swap_rounds=5, swaps=7)
    jax.eval_shape(lambda images: small.channels(images, config=config).masks, small.IMAGES)
    assert seen == {(5, 7)}
