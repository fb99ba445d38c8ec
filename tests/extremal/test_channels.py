"""Channel attribution: what it finds where the answer is known, its contract, and what it says to bad input."""

from __future__ import annotations

import dataclasses
import functools

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

WEIGHTS = small.weights()
IMAGES = small.images()
QUICK = ChannelConfig(num_steps=4, swap_rounds=1, swaps=4)
SEARCHED = 30  # random networks


def layered(weights, images):
    """The small classifier: `x` has 8 channels and cuts it, `branch` does not, `twice` is given twice, `whole` has no channels."""
    x = checkpoint_name(small.features({**weights, "head": jnp.eye(8)}, images), "x")
    x = x + checkpoint_name(jnp.sin(x), "branch")
    x = checkpoint_name(checkpoint_name(x, "twice"), "twice").mean(axis=(1, 2))
    return checkpoint_name(x.argmax(axis=-1), "whole")[:, None] * 0 + x @ weights["head"]


MODEL = jax.tree_util.Partial(layered, WEIGHTS)


def run(images=IMAGES, targets=(1, 3), areas=(1, 3), at="x", model=MODEL, config=QUICK, **options):
    return ej.channel_perturbation(model, images, targets, at, areas, config=config, **options)


# What it finds


@pytest.mark.parametrize("config", [ChannelConfig(), ChannelConfig.paper(area_weight=ej.perturbation.Linear(0.0, 5.0, 0.5))])
@pytest.mark.parametrize("game", ["preserve", "delete", "dual"])
def test_finds_the_channels_that_carry_the_target(game, config):
    images = np.random.default_rng(0).uniform(1, 2, (3, 4, 4, 8)).astype(np.float32)
    result = run(images, 1, (len(networks.CARRIERS),), model=networks.carried, config=dataclasses.replace(config, game=game))
    assert result.channels(len(networks.CARRIERS)).tolist() == [list(networks.CARRIERS)] * 3
    assert result.status.ok


@pytest.fixture(scope="module")
def searched():
    """Random networks, each with an image of its own, in one program: their weights, images and results."""
    weights, images = networks.random_weights(1, SEARCHED, 10), networks.random_images(2, SEARCHED, 10)

    @jax.jit
    @jax.vmap
    def solve(weights, image):
        return run(image, 0, (1, 3, 5), model=jax.tree_util.Partial(networks.network, weights), config=ChannelConfig())

    return weights, images, solve(weights, images)


def test_as_good_as_trying_all_sets(searched):
    """A small version of benchmarks/channels.py, where 97 % of the sets are as good as the best one."""
    weights, images, result = searched
    best = networks.best_responses(weights, images, (1, 3, 5))
    ours = networks.responses(weights, images, result.binary_masks())
    assert (ours >= best - 0.01 * jnp.abs(best)).mean() > 0.9
    np.testing.assert_allclose(result.rewards, ours, rtol=1e-4, atol=1e-5)


def test_inside_jit_and_vmap(searched):
    weights, images, result = searched
    one = run(images[0], 0, (1, 3, 5), model=jax.tree_util.Partial(networks.network, [w[0] for w in weights]), config=ChannelConfig())
    np.testing.assert_array_equal(one.masks, result.masks[0])
    np.testing.assert_allclose(one.history.rewards, result.history.rewards[0], rtol=1e-3, atol=1e-4)


# Its contract


def test_shapes_of_a_batch():
    result = run()
    shapes = {name: getattr(result, name).shape for name in ("masks", "params", "rewards", "areas", "requested_areas", "image_rewards")}
    assert shapes == dict(masks=(2, 2, 8), params=(2, 2, 8), rewards=(2, 2), areas=(2, 2), requested_areas=(2, 2), image_rewards=(2,))
    assert result.history.rewards.shape == result.history.area_losses.shape == (2, 4, 2)
    assert (result.at, result.config, len(result)) == ("x", QUICK, 2)
    assert result[1].masks.shape == (2, 8)
    assert result.status.message == "finished"


def test_shapes_of_one_image():
    result = run(IMAGES[0], 1, 3)
    assert result.masks.shape == (1, 8)
    assert result.targets.shape == result.image_rewards.shape == ()
    with pytest.raises(TypeError, match="single image"):
        len(result)
    np.testing.assert_allclose(result.masks, run().masks[0, 1:], atol=1e-5)


def test_sets_are_of_exactly_the_count():
    for config in (QUICK, dataclasses.replace(QUICK, swap_rounds=0)):
        result = run(areas=(1, 3, 0.5, 8), config=config)
        assert result.requested_areas.tolist() == [[1, 3, 4, 8]] * 2
        np.testing.assert_allclose(result.areas, result.requested_areas, atol=1e-4)
        binary = np.asarray(result.binary_masks())
        assert set(np.unique(binary)) == {0, 1}
        np.testing.assert_array_equal(binary.sum(axis=-1), result.requested_areas)
        assert result.channels(3).shape == (2, 3)
        for image, channels in enumerate(result.channels(3)):
            assert np.flatnonzero(binary[image, 1]).tolist() == channels.tolist()
    with pytest.raises(ValueError, match="count must be one of the counts that were asked for, 1, 3, 4, 8, for all images alike, got 2"):
        result.channels(2)


@pytest.mark.parametrize("game", ["preserve", "delete", "dual"])
def test_rewards_are_responses(game):
    """What the result says is what anyone can compute by intervening in the model."""
    result = run(config=dataclasses.replace(QUICK, game=game, swap_rounds=0))
    for i, target in enumerate((1, 3)):

        def response(mask, i=i, target=target):
            return ej.graph.intervene(MODEL, {"x": lambda x: x * mask})(IMAGES[i : i + 1])[0, target]

        for mask, reward in zip(result.masks[i], result.rewards[i], strict=True):
            kept, left = response(mask), response(1 - mask)
            np.testing.assert_allclose(reward, {"preserve": kept, "delete": -left, "dual": kept - left}[game], rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(result.image_rewards[i], response(jnp.ones(8)), rtol=1e-4)


def test_each_image_has_its_own_target_and_counts():
    result = run(areas=[[1, 3], [2, 5]])
    assert result.requested_areas.tolist() == [[1, 3], [2, 5]]
    for i, (target, areas) in enumerate([(1, (1, 3)), (3, (2, 5))]):
        np.testing.assert_allclose(result.masks[i], run(IMAGES[i], target, areas).masks, atol=1e-5)
    assert result[0].channels(3).shape == (3,)
    with pytest.raises(ValueError, match="for all images alike, got 3"):
        result.channels(3)


@pytest.mark.parametrize(
    "changes",
    [
        dict(game="delete"),
        dict(reward="log_probability"),
        dict(num_steps=5),
        dict(exact_area=False),
        dict(anneal=1.0),
        dict(ramp=0.7),
        dict(optimizer=optax.sgd(0.01)),
        dict(learning_rate=0.01),
        dict(area_weight=30.0),
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_settings_matter(changes):
    plain = dataclasses.replace(QUICK, swap_rounds=0)
    assert not np.array_equal(run(config=plain).masks, run(config=dataclasses.replace(plain, **changes)).masks)


def test_search_improves_step_by_step(searched):
    """More rounds, and more exchanges in a round, reach more."""
    weights, images, best = searched

    def mean(**changes):
        config = ChannelConfig(num_steps=2, **changes)
        solve = jax.vmap(lambda w, x: run(x, 0, (3,), model=jax.tree_util.Partial(networks.network, w), config=config).rewards)
        return float(jax.jit(solve)(weights, images).mean())

    ascended, narrow, more = (mean(swap_rounds=rounds, swaps=swaps) for rounds, swaps in ((0, 1), (1, 2), (1, 24)))
    assert ascended < narrow < more < float(best.rewards[:, 1].mean())


def test_chunks_change_nothing():
    for whole, parts in ((run(), run(chunk_size=3)), (run(IMAGES[0], 1), run(IMAGES[0], 1, chunk_size=1))):
        np.testing.assert_allclose(whole.masks, parts.masks, atol=1e-5)
        np.testing.assert_allclose(whole.rewards, parts.rewards, rtol=1e-4)


def test_other_images_targets_counts_and_weights_compile_nothing(compilations):
    run()
    other = jax.tree_util.Partial(layered, small.weights(1))
    images = small.images(seed=1)
    before = len(compilations)
    run(images, (0, 2), (2, 5), model=other, config=dataclasses.replace(QUICK, learning_rate=0.05, area_weight=1.0))
    assert len(compilations) == before


def test_progress_and_warm_start():
    seen = []
    config = dataclasses.replace(QUICK, optimizer=optax.sgd(1.0), learning_rate=0.05, anneal=0.0, ramp=0.5)
    first = run(config=config, progress=seen.append)
    assert seen[-1].step == 4
    second = run(config=config, initial_params=first.params)
    whole = run(config=dataclasses.replace(config, num_steps=8))
    np.testing.assert_allclose(second.params, whole.params, atol=1e-4)


def test_tokens_and_vectors():
    def model(images, shape):
        x = checkpoint_name(jnp.abs(images).reshape(len(images), *shape), "x")
        return x.reshape(len(images), -1, 8).mean(axis=1) @ WEIGHTS["head"]

    images = small.images(channels=8, height=4, width=4)
    results = [run(images, model=functools.partial(model, shape=shape)) for shape in ((4, 4, 8), (16, 8))]
    np.testing.assert_allclose(results[0].masks, results[1].masks, atol=1e-5)
    one = run(small.images(channels=8, height=1, width=1), model=functools.partial(model, shape=(8,)))
    assert one.masks.shape == (2, 2, 8)


def test_what_goes_wrong_is_told():
    def model(images):
        x = checkpoint_name(jnp.abs(images), "x").mean(axis=(1, 2))
        return x * jnp.where(x[:, :1] > 1.5, jnp.nan, 1)

    images = np.stack([np.ones((4, 4, 5)), np.full((4, 4, 5), 3)]).astype(np.float32)
    result = run(images, model=model, areas=(2,))
    assert not result.status.ok
    assert "image 1, area 0: the reward or its gradient was not finite at step 0" in result.status.message
    assert np.isfinite(result.masks).all()
    np.testing.assert_allclose(result.masks[0], run(images[:1], (1,), (2,), model=model).masks[0])


# Bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(areas=(1, 9)), "areas must be whole numbers of channels, from 1 to the layer's 8, or shares of them between 0 and 1, got 9"),
        (dict(areas=(0,)), "areas must be whole numbers .* got 0"),
        (dict(areas=(-3,)), "areas must be whole numbers .* got -3"),
        (dict(areas=(2.5,)), "areas must be whole numbers .* got 2.5"),
        (dict(areas=(np.nan,)), "areas must be whole numbers .* got nan"),
        (dict(areas=()), r"areas must have the shape \(K,\) or \(2, K\), with at least one count, got \(0,\)"),
        (dict(areas=np.ones((3, 1))), r"areas must have the shape \(K,\) or \(2, K\)"),
        (dict(at="y"), "at: unknown activation 'y'; choose from 'first', 'second', 'x'"),
        (dict(at="twice"), "at: the activation 'twice' is computed 2 times"),
        (dict(at="branch"), "at: the activation 'branch' does not cut the function"),
        (dict(chunk_size=0), "chunk_size must be a whole number, at least 1, got 0"),
        (dict(initial_params=np.ones((2, 2, 7))), r"initial_params must have the shape \(2, 2, 8\)"),
        (dict(targets=(1, 5)), "targets must be class indices from 0 to 4, got 5"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        run(**arguments)


def test_a_model_that_fails_before_the_layer():
    def model(images):
        raise ZeroDivisionError("no luck")

    with pytest.raises(ValueError, match=r"model failed when called with images of shape .*: no luck"):
        ej.channel_perturbation(model, IMAGES, (1, 3), "x", (1,))


def test_arguments_of_the_wrong_type():
    with pytest.raises(TypeError, match=r"areas must be numbers of channels, such as .* got 'many'"):
        run(areas="many")


def test_a_layer_without_channels():
    def model(images):
        brightness = checkpoint_name(images.mean(axis=(1, 2, 3)), "x")
        return jnp.stack([brightness, -brightness], axis=1)

    with pytest.raises(ValueError, match=r"at: the activation 'x' has no channels: it must be floats of shape \(B, ..., C\), got float32"):
        run(model=model, targets=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(game="preserv"), "did you mean 'preserve'"),
        (dict(reward="logits"), "did you mean 'logit'"),
        (dict(num_steps=0), "num_steps must be a whole number, at least 1, got 0"),
        (dict(anneal=2), "anneal must be a share of the steps"),
        (dict(ramp=0.0), "ramp must be positive at every step"),
        (dict(ramp=[1.0, 0.5]), "ramp must give one number for each of the 20 steps"),
        (dict(area_weight=-1.0), "area_weight must be finite and not negative"),
        (dict(swap_rounds=-1), "swap_rounds must be a whole number, at least 0"),
        (dict(swaps=0), "swaps must be a whole number, at least 1"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        ChannelConfig(**settings)


def test_the_papers_settings():
    paper = ChannelConfig.paper(game="delete")
    assert (paper.game, paper.num_steps, paper.exact_area, paper.swap_rounds) == ("delete", 300, False, 0)
    schedules = paper.schedules()
    np.testing.assert_allclose(schedules["area_weight"][[0, 75, 150, 299]], [0, 750, 1500, 1500])
    np.testing.assert_allclose(schedules["learning_rate"], 0.01)
