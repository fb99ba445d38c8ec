"""Channel attribution: what it finds where the answer is known, and its contract."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.ad_checkpoint import checkpoint_name

import channel_networks as networks
import extremal_jax as ej
import small
from extremal_jax import ChannelConfig
from extremal_jax.optimise import driver
from small import CHANNEL_CONFIG, IMAGES, MODEL, channels

SEARCHED = 30  # random networks
SGD = optax.sgd(1.0)
SOFT = dataclasses.replace(CHANNEL_CONFIG, swap_rounds=0)


# What it finds


@pytest.mark.parametrize(
    "config",
    [
        ChannelConfig(),
        ChannelConfig(game="delete"),
        ChannelConfig.paper(game="dual", num_steps=100, area_weight=ej.perturbation.Linear(0.0, 5.0, 0.5)),
    ],
    ids=["preserve", "delete", "paper"],
)
def test_finds_the_channels_that_carry_the_target(config: Any) -> None:
    images = np.random.default_rng(0).uniform(1, 2, (3, 4, 4, 8)).astype(np.float32)
    result = channels(images, 1, (len(networks.CARRIERS),), model=networks.carried, at="x", config=config)
    assert result.channels(len(networks.CARRIERS)).tolist() == [list(networks.CARRIERS)] * 3
    assert result.status.ok


@pytest.fixture(scope="module")
def searched() -> Any:
    """Random networks, each with an image of its own, in one program: their weights, images and results."""
    weights, images = networks.random_weights(1, SEARCHED, 10), networks.random_images(2, SEARCHED, 10)

    @jax.jit
    @jax.vmap
    def solve(weights: Any, image: Any) -> Any:
        return channels(image, 0, (1, 3, 5), model=jax.tree_util.Partial(networks.network, weights), at="x", config=ChannelConfig())

    return weights, images, solve(weights, images)


def test_as_good_as_trying_all_sets(searched: Any) -> None:
    """A small version of benchmarks/channels.py, where 97 % of the sets are as good as the best one."""
    weights, images, result = searched
    best = networks.best_responses(weights, images, (1, 3, 5))
    ours = networks.responses(weights, images, result.binary_masks())
    assert (ours >= best - 0.01 * jnp.abs(best)).mean() > 0.9
    np.testing.assert_allclose(result.rewards, ours, rtol=1e-4, atol=1e-5)


def test_inside_jit_and_vmap(searched: Any) -> None:
    weights, images, result = searched
    model = jax.tree_util.Partial(networks.network, [w[0] for w in weights])
    one = channels(images[0], 0, (1, 3, 5), model=model, at="x", config=ChannelConfig())
    np.testing.assert_array_equal(one.masks, result.masks[0])
    np.testing.assert_allclose(one.history.rewards, result.history.rewards[0], rtol=1e-3, atol=1e-4)


# The contract


def test_shapes_of_a_batch() -> None:
    result = channels()
    shapes = {name: getattr(result, name).shape for name in ("masks", "params", "rewards", "areas", "requested_areas", "image_rewards")}
    assert shapes == dict(masks=(2, 2, 8), params=(2, 2, 8), rewards=(2, 2), areas=(2, 2), requested_areas=(2, 2), image_rewards=(2,))
    assert result.history.rewards.shape == result.history.area_losses.shape == (2, 4, 2)
    assert (result.at, result.config, len(result)) == (small.LAYER, CHANNEL_CONFIG, 2)
    assert result[1].masks.shape == (2, 8)
    assert result.status.message == "finished"


def test_one_image_in_chunks() -> None:
    result = channels(IMAGES[0], 1, chunk_size=1)
    assert result.masks.shape == (2, 8)
    assert result.targets.shape == result.image_rewards.shape == ()
    with pytest.raises(TypeError, match="single image"):
        len(result)
    np.testing.assert_allclose(result.masks, channels().masks[0], atol=1e-5)
    np.testing.assert_allclose(result.rewards, channels().rewards[0], rtol=1e-4)


@pytest.mark.parametrize("config", [CHANNEL_CONFIG, SOFT], ids=["searched", "soft"])
def test_sets_are_of_exactly_the_count(config: Any) -> None:
    result = channels(areas=(0.5, 8), config=config)
    assert result.requested_areas.tolist() == [[4, 8]] * 2
    np.testing.assert_allclose(result.areas, result.requested_areas, atol=1e-4)
    binary = np.asarray(result.binary_masks())
    assert set(np.unique(binary)) == {0, 1}
    np.testing.assert_array_equal(binary.sum(axis=-1), result.requested_areas)
    assert result.channels(4).shape == (2, 4)
    for image, found in enumerate(result.channels(4)):
        assert np.flatnonzero(binary[image, 0]).tolist() == found.tolist()
    with pytest.raises(ValueError, match="count must be one of the counts that were asked for, 4, 8, for all images alike, got 2"):
        result.channels(2)


@pytest.mark.parametrize(("game", "reward"), [("preserve", "logit"), ("dual", "contrastive")])
def test_rewards_are_responses(game: str, reward: str) -> None:
    """Anyone can compute the result's numbers by intervening in the model."""
    result = channels(config=dataclasses.replace(SOFT, game=game, reward=reward))
    masks = np.asarray(result.masks).reshape(4, 8)
    images, targets = jnp.asarray(IMAGES[[0, 0, 1, 1]]), jnp.array([1, 1, 3, 3])

    def responses(masks: Any) -> Any:
        scores = ej.graph.intervene(MODEL, {small.LAYER: lambda x: x * masks[:, None, None]})(images)
        return ej.perturbation.reward(reward, scores, targets)

    kept, left = responses(masks), responses(1 - masks)
    expected = kept - left if game == "dual" else kept
    np.testing.assert_allclose(result.rewards.reshape(-1), expected, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(result.image_rewards, responses(np.ones_like(masks))[::2], rtol=1e-4)


def test_each_image_has_its_own_target_and_counts() -> None:
    result = channels(areas=[[1, 3], [2, 5]])
    assert result.requested_areas.tolist() == [[1, 3], [2, 5]]
    np.testing.assert_array_equal(result.masks[0], channels().masks[0])
    np.testing.assert_array_equal(result.masks[1], channels(areas=(2, 5)).masks[1])
    assert result[0].channels(3).shape == (3,)
    with pytest.raises(ValueError, match="for all images alike, got 3"):
        result.channels(3)


@pytest.mark.parametrize(
    "changes",
    [
        dict(anneal=1.0),
        dict(ramp=0.7),
        dict(learning_rate=0.01),
        dict(area_weight=30.0),
        dict(spread=0.5),
        dict(optimizer=SGD, learning_rate=0.01),
        dict(exact_area=False),
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_settings_matter(changes: Any) -> None:
    """`test_swaps` has those of the search."""
    assert not np.array_equal(channels(config=SOFT).masks, channels(config=dataclasses.replace(SOFT, **changes)).masks)


def test_a_random_start() -> None:
    """The key draws it; without a spread, nothing is random."""

    def params(spread: Any, **options: Any) -> Any:
        return np.asarray(channels(config=dataclasses.replace(SOFT, spread=spread), **options).params)

    keys = jax.random.key(0), jax.random.key(1)
    np.testing.assert_array_equal(params(0.2), params(0.2, key=keys[0]))
    assert not np.array_equal(params(0.2, key=keys[0]), params(0.2, key=keys[1]))
    np.testing.assert_array_equal(params(0.0, key=keys[0]), params(0.0, key=keys[1]))
    batch = channels(config=dataclasses.replace(SOFT, spread=0.5))
    alone = channels(small.IMAGES[1], small.TARGETS[1], config=dataclasses.replace(SOFT, spread=0.5))
    np.testing.assert_allclose(alone.params, batch.params[1], atol=1e-5)  # an image starts alike in any batch
    start = np.full((2, 2, 8), 0.9, np.float32)  # takes the place of a random start
    np.testing.assert_array_equal(params(0.2, initial_params=start), params(0.0, initial_params=start))


def test_other_images_targets_counts_and_weights_compile_nothing(compilations: list[str]) -> None:
    channels()
    other, images = small.model(1), small.images(seed=1)
    del compilations[:]
    channels(images, (0, 2), (2, 5), model=other, config=dataclasses.replace(CHANNEL_CONFIG, learning_rate=0.05, area_weight=1.0))
    assert not compilations


def test_progress_and_warm_start(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    config = dataclasses.replace(SOFT, optimizer=SGD, learning_rate=0.05, anneal=0.0, ramp=0.5)
    first = channels(config=config, progress=seen.append)
    assert seen[-1].step == 4
    second = channels(config=config, initial_params=first.params)
    monkeypatch.setattr(driver, "chunks", lambda _: [slice(0, 4), slice(4, 8)])  # which are compiled already
    whole = channels(config=dataclasses.replace(config, num_steps=8))
    np.testing.assert_allclose(second.params, whole.params, atol=1e-4)


@pytest.mark.parametrize("shape", [(16, 8), (8,)], ids=["tokens", "vectors"])
def test_tokens_and_vectors(shape: Any) -> None:
    """After the layer the model is linear, so the best channels are those of the largest terms."""

    def model(images: Any) -> Any:
        pooled = jnp.abs(images).reshape(len(images), -1, *shape).mean(axis=1)
        return checkpoint_name(pooled, "x").reshape(len(images), -1, 8).mean(axis=1) @ small.weights()["head"]

    images = small.images(channels=8, height=4, width=4)
    terms = np.abs(images).mean(axis=(1, 2)) * np.asarray(small.weights()["head"])[:, list(small.TARGETS)].T
    result = channels(images, model=model, at="x", config=dataclasses.replace(CHANNEL_CONFIG, num_steps=10))
    for image in range(2):
        assert set(result.channels(3)[image]) == set(np.argsort(-terms[image])[:3])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(game="preserv"), "did you mean 'preserve'"),
        (dict(reward="logits"), "did you mean 'logit'"),
        (dict(num_steps=0), "num_steps must be a whole number, at least 1, got 0"),
        (dict(anneal=2), "anneal must be a share of the steps"),
        (dict(ramp=0.0), "ramp must be a positive number, or positive at every step"),
        (dict(ramp=[1.0, 0.5]), "ramp must give one number for each of the 20 steps"),
        (dict(area_weight=-1.0), "area_weight must be finite and not negative"),
        (dict(swap_rounds=-1), "swap_rounds must be a whole number, at least 0"),
        (dict(swaps=0), "swaps must be a whole number, at least 1"),
        (dict(spread=1.5), "spread must be a share of the full mask, from 0 to 1, got 1.5"),
    ],
)
def test_bad_settings(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ChannelConfig(**settings)


def test_bad_initial_parameters() -> None:
    with pytest.raises(ValueError, match=r"initial_params must have the shape \(2, 2, 8\)"):
        channels(initial_params=np.ones((2, 2, 7)))


def test_the_papers_settings() -> None:
    paper = ChannelConfig.paper(game="delete")
    assert (paper.game, paper.num_steps, paper.exact_area, paper.swap_rounds) == ("delete", 300, False, 0)
    schedules = paper.schedules()
    np.testing.assert_allclose(schedules["area_weight"][[0, 75, 150, 299]], [0, 750, 1500, 1500])
    np.testing.assert_allclose(schedules["learning_rate"], 0.01)
