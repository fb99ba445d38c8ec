"""Channels of classes: the mean of the smallest sufficient sets."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

import extremal_jax as ej
from extremal_jax import ChannelConfig
from extremal_jax.operators.rewards import REWARDS

# Two classes of eight channels: class 0 needs channels 1 and 4, class 1 needs 4, 5 and 6; no class needs the rest.
WEIGHTS = np.zeros((8, 2), np.float32)
WEIGHTS[[1, 4], 0] = 1
WEIGHTS[[4, 5, 6], 1] = 1
PROJECTION = np.abs(np.random.default_rng(0).standard_normal((3, 8))).astype(np.float32)
IMAGES = 1 + np.random.default_rng(1).random((5, 4, 4, 3), np.float32)
TARGETS = [0, 1, 0, 1, 1]
COUNTS = (1, 2, 3)


def linear(weights: Any, images: Any) -> Any:
    return checkpoint_name(images @ PROJECTION, "hidden").mean(axis=(1, 2)) @ weights


MODEL = jax.tree_util.Partial(linear, jnp.asarray(WEIGHTS))
CONFIG = ChannelConfig(num_steps=10)


def found(model: Any = MODEL, **options: Any) -> Any:
    return ej.class_channels(model, IMAGES, TARGETS, **dict[str, Any](counts=COUNTS, at="hidden", config=CONFIG) | options)


def test_the_sets_are_those_that_suffice() -> None:
    result = found()
    assert result.classes.tolist() == [0, 1]
    assert result.counts.tolist() == [2, 3, 2, 3, 3]
    assert result.reached.all()
    assert result.images_per_class.tolist() == [2, 3]
    np.testing.assert_array_equal(result.attributions, (WEIGHTS.T > 0).astype(np.float32))


def test_top_and_overlap() -> None:
    result = found()
    assert set(result.top(2)[0]) == {1, 4}
    assert set(result.top(3)[1]) == {4, 5, 6}
    assert set(result.top(3)[0]) == {1, 4, -1}, "a channel in no set is no top channel"
    np.testing.assert_allclose(np.diag(result.overlap(3)), 1)
    assert result.overlap(3)[0, 1] == result.overlap(3)[1, 0] == 1 / 3  # channel 4, of two and of three
    for count in (9, 0):
        with pytest.raises(ValueError, match=f"count must be from 1 to the 8 channels of 'hidden', got {count}"):
            result.top(count)


def test_a_share_of_a_response_that_is_not_positive_is_undefined() -> None:
    result = found(jax.tree_util.Partial(linear, jnp.asarray(WEIGHTS * np.array([1, -1], np.float32))))
    assert result.reached.tolist() == [True, False, True, False, False]
    assert not result.attributions[1].any()


def test_threshold() -> None:
    assert (found(threshold=0.2).counts == 1).all()
    none = found(threshold=1.5)
    assert not none.reached.any()
    assert (none.counts == 8).all()
    assert none.images_per_class.tolist() == [0, 0]
    assert not none.attributions.any()
    assert (none.top(2) == -1).all()
    assert not none.overlap(2).any()  # classes without sets share nothing


def test_counts() -> None:
    """In any order; None means powers of two up to half of the channels."""
    assert found(counts=(4, 1, 4)).counts.tolist() == [4] * 5
    assert found(counts=None).counts.tolist() == [2, 4, 2, 4, 4]
    assert found(counts=(0.5, 3, 2)).counts.tolist() == [2, 3, 2, 3, 3]  # half of the channels are four


def test_a_random_start_and_chunks() -> None:
    """The sets do not depend on the start here; without a search, the key decides the path."""
    config = ChannelConfig(num_steps=10, spread=0.2)
    np.testing.assert_array_equal(found(config=config, key=jax.random.key(3)).attributions, found().attributions)
    np.testing.assert_array_equal(found(chunk_size=3).attributions, found().attributions)


def test_progress() -> None:
    seen: list[Any] = []
    found(progress=seen.append)
    assert [now.step for now in seen] == [10]


def rgb(weights: Any, images: Any) -> Any:
    return checkpoint_name(images, "rgb").mean(axis=(1, 2)) @ weights


def three(weights: Any, **options: Any) -> Any:
    """Two equal images whose score needs all of their three channels."""
    model = jax.tree_util.Partial(rgb, jnp.asarray(weights)[:, None])
    return ej.class_channels(
        model, np.ones((2, 2, 2, 3), np.float32), 0, **dict[str, Any](counts=(1, 2, 3), at="rgb", config=CONFIG) | options
    )


def test_precedence_ranks_equal_attributions() -> None:
    """The sets need all three channels, and the smaller sets take up the last of them first."""
    result = three([1.0, 2.0, 4.0])
    assert result.attributions.tolist() == [[1, 1, 1]]
    np.testing.assert_allclose(result.precedence, [[1 / 3, 2 / 3, 1]])
    assert result.top(3).tolist() == [[2, 1, 0]]


@pytest.mark.parametrize("config", [CONFIG, ChannelConfig.paper(num_steps=10), ChannelConfig(num_steps=10, swap_rounds=0)])
def test_sets_decide_and_not_soft_masks(config: Any) -> None:
    """The paper's masks may keep more than they were asked for; of the three channels that are needed, one does not suffice."""
    assert three([1e5, 1e5, 1e5], threshold=0.9, config=config).counts.tolist() == [3, 3]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": float("nan")}, "threshold must be a positive, finite share of the response, got nan"),
        ({"threshold": 0}, "got 0"),
        ({"config": ChannelConfig(game="delete")}, "which is the game 'preserve', got 'delete'"),
        ({"config": ChannelConfig(reward="margin")}, "one class per image, got the reward 'margin'"),
        ({"counts": (9,)}, "counts must be whole numbers of channels"),
    ],
    ids=["nan", "zero", "game", "reward", "counts"],
)
def test_errors(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        found(**options)


def test_images_that_are_no_batch() -> None:
    with pytest.raises(ValueError, match=r"images must be a batch \(N, H, W, C\)"):
        ej.class_channels(MODEL, IMAGES[0], 0, at="hidden")
    with pytest.raises(TypeError, match="counts on the host: call it outside of jit"):
        jax.jit(lambda images: ej.class_channels(MODEL, images, TARGETS, at="hidden").attributions)(IMAGES)


@pytest.mark.slow
def test_similar_classes_share_channels(classifier: ej.models.Classifier) -> None:
    """Two animals, two vehicles or two fruits have more top channels in common than an animal and a vehicle: of five in two scenes each
    of seed 33, 6.7 % against 1.5 %, in the mean over pairs."""
    groups = (("dog", "wolf", "fox"), ("car", "bus", "truck"), ("apple", "tomato", "peach"))
    family = {classifier.classes.index(name): index for index, names in enumerate(groups) for name in names}
    scenes = ej.data.scenes.generate(33, 160, objects=1)
    labels = scenes.labels.argmax(axis=1)
    chosen = np.concatenate([np.flatnonzero(labels == index)[:2] for index in family])
    images = np.stack([classifier.preprocess(scenes.images[index]) for index in chosen])
    result = ej.class_channels(classifier, images, labels[chosen], (4, 8, 16), at="blocks.2", threshold=0.9)
    families = np.array([family[index] for index in result.classes])
    alike = families[:, None] == families
    shared = result.overlap(5)
    pairs = np.triu(np.ones_like(alike), 1)
    assert shared[alike & pairs].mean() > 2 * shared[~alike & pairs].mean()


def test_counts_for_each_image_and_rewards_of_several_classes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"counts must be numbers of channels \(K,\), the same for all images, got the shape \(5, 2\)"):
        found(counts=[[1, 2]] * 5)
    for reward in ("margin", REWARDS["margin"]):
        with pytest.raises(ValueError, match="class_channels explains one class per image, got the reward"):
            found(config=ChannelConfig(num_steps=10, reward=reward))
