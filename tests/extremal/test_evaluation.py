"""The evaluation of masks, against responses computed by hand; models that mix the images of a batch."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import small
from extremal_jax.extremal.channels import check_channels, pose_channels
from extremal_jax.extremal.evaluation import evaluate, some_rows
from extremal_jax.extremal.images import check_masking
from extremal_jax.extremal.run import check_call
from extremal_jax.operators.masks import ChannelMasks
from extremal_jax.operators.perturbations import blur_pyramid, perturb
from small import AREAS, CONFIG, IMAGES, MODEL, TARGETS

MASKS = jnp.asarray(np.random.default_rng(0).random((2, 4, 20, 24)), jnp.float32)  # two sets of N K masks


def posed(model: Any = MODEL, game: Any = "preserve", chunk_size: Any = None) -> Any:
    config = dataclasses.replace(CONFIG, game=game)
    task = check_call(model, IMAGES, TARGETS, len(AREAS), config, chunk_size)
    return check_masking(task, config, None, None).pose(np.array(AREAS, np.float32))


@jax.jit
def by_hand(masks: Any) -> Any:
    """(N K,): the response to each mask of its image."""
    pyramids = blur_pyramid(jnp.asarray(IMAGES), CONFIG.num_levels, small.MAX_BLUR)
    perturbed = jax.vmap(perturb)(pyramids, masks.reshape(2, 2, 20, 24)).reshape(4, 20, 24, 3)
    return MODEL(perturbed)[jnp.arange(4), jnp.repeat(jnp.array(TARGETS), 2)]


@pytest.mark.parametrize(("game", "chunk_size"), [("preserve", None), ("preserve", 3), ("dual", None)])
def test_rewards_are_the_responses_computed_by_hand(game: str, chunk_size: Any) -> None:
    evaluation = evaluate(posed(game=game, chunk_size=chunk_size), *MASKS)
    assert evaluation.rewards.shape == (2, 4)
    for masks, rewards in zip(MASKS, evaluation.rewards, strict=True):
        expected = by_hand(masks) - (by_hand(1 - masks) if game == "dual" else 0)
        np.testing.assert_allclose(rewards, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(evaluation.image_responses, by_hand(jnp.ones_like(MASKS[0])), rtol=1e-4)
    assert evaluation.depends_on_batch.tolist() == [False] * 4


def test_channels() -> None:
    task, counts = check_channels(MODEL, IMAGES, TARGETS, small.COUNTS, small.CHANNEL_CONFIG, None, small.LAYER)
    masks = jnp.asarray(np.random.default_rng(0).random((4, small.CHANNELS)), jnp.float32)
    evaluation = evaluate(pose_channels(task, ChannelMasks(small.CHANNELS), counts), masks)
    activation = small.seen()[[0, 0, 1, 1]] * np.asarray(masks)[:, None, None]
    expected = activation.mean(axis=(1, 2)) @ small.weights()["head"]
    np.testing.assert_allclose(evaluation.rewards[0], expected[np.arange(4), [1, 1, 3, 3]], rtol=1e-4)
    assert not evaluation.depends_on_batch.any()


def centred(images: Any) -> Any:
    """Scores with the mean over the batch taken away, as a batch norm in training mode does."""
    scores = MODEL(images)
    return scores - scores.mean(axis=0, keepdims=True)


def scaled(images: Any) -> Any:
    """Scores divided by their standard deviation over the batch."""
    scores = MODEL(images)
    return scores / scores.std(axis=0, keepdims=True)


def mixed(other: Any) -> Any:
    """Scores of rows that see a tenth of other rows."""
    return lambda images: MODEL(images + other(images) / 10)


MIXES = {
    "mean": mixed(lambda x: x.mean(axis=0, keepdims=True)),
    "reversed": mixed(lambda x: x[::-1]),
    "rolled by 1": mixed(lambda x: jnp.roll(x, 1, 0)),
    "rolled by 2": mixed(lambda x: jnp.roll(x, 2, 0)),
    "first row": mixed(lambda x: x[:1]),
    "last row": mixed(lambda x: x[-1:]),
    "centred": centred,
    "scaled": scaled,
}


@pytest.mark.parametrize("model", MIXES.values(), ids=MIXES)
@pytest.mark.parametrize("chunk_size", [None, 3])
def test_a_model_that_mixes_the_batch(model: Any, chunk_size: Any) -> None:
    assert evaluate(posed(model, chunk_size=chunk_size), MASKS[0]).depends_on_batch.any()


@pytest.mark.parametrize("count", [*range(2, 65), 100, 1000])
def test_every_mix_of_rows_puts_a_chosen_row_beside_another(count: int) -> None:
    chosen, rows = some_rows(count), np.arange(count)
    assert 0 < chosen.sum() <= count // 2
    assert (chosen != chosen[::-1]).any()
    for divisor in (d for d in range(2, count + 1) if count % d == 0):  # groups of neighbours, and of rows equally far apart
        assert (chosen.reshape(-1, divisor).sum(axis=1) % divisor != 0).any()
        assert (chosen.reshape(divisor, -1).sum(axis=0) % divisor != 0).any()
    for distance in range(1, count):
        assert (chosen != np.roll(chosen, distance)).any()
        partners = rows ^ distance
        assert (chosen != chosen[partners]).any() if partners.max() < count else True


def test_the_terms_of_a_game_may_mix_too() -> None:
    assert evaluate(posed(MIXES["reversed"], game="dual", chunk_size=1), MASKS[0]).depends_on_batch.all()


def test_a_batch_of_one_row() -> None:
    assert not some_rows(1).any()


def test_one_image_at_a_time_cannot_mix() -> None:
    assert not evaluate(posed(centred, chunk_size=1), MASKS[0]).depends_on_batch.any()
