"""Channels of classes: the mean of the smallest sufficient sets."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

import extremal_jax as ej

# Two classes of eight channels: class 0 needs channels 1 and 4, class 1 needs 4, 5 and 6; the rest counts for nothing.
WEIGHTS = np.zeros((8, 2), np.float32)
WEIGHTS[[1, 4], 0] = 1
WEIGHTS[[4, 5, 6], 1] = 1
PROJECTION = np.abs(np.random.default_rng(0).standard_normal((3, 8))).astype(np.float32)


def model(images):
    hidden = checkpoint_name(images @ PROJECTION, "hidden")
    return hidden.mean(axis=(1, 2)) @ WEIGHTS


IMAGES = 1 + np.random.default_rng(1).random((5, 4, 4, 3), np.float32)
TARGETS = [0, 1, 0, 1, 1]


def found(**options):
    return ej.class_channels(model, IMAGES, TARGETS, "hidden", **{"counts": (1, 2, 3, 4), **options})


def test_the_sets_are_those_that_suffice():
    result = found()
    assert result.classes.tolist() == [0, 1]
    assert result.counts.tolist() == [2, 3, 2, 3, 3]
    assert result.reached.all()
    assert result.images_per_class.tolist() == [2, 3]
    np.testing.assert_array_equal(result.attributions, (WEIGHTS.T > 0).astype(np.float32))


def test_top_and_overlap():
    result = found()
    assert set(result.top(2)[0]) == {1, 4}
    assert set(result.top(3)[1]) == {4, 5, 6}
    assert set(result.top(3)[0]) == {1, 4, -1}, "what no set holds is no top channel"
    np.testing.assert_allclose(np.diag(result.overlap(3)), 1)
    assert result.overlap(3)[0, 1] == result.overlap(3)[1, 0] == 1 / 3  # channel 4, of two and of three
    for count in (9, 0):
        with pytest.raises(ValueError, match=f"count must be from 1 to the 8 channels of 'hidden', got {count}"):
            result.top(count)


def test_a_response_that_is_not_positive_has_no_share():
    result = ej.class_channels(lambda images: model(images) * jnp.array([1, -1]), IMAGES, TARGETS, "hidden", counts=(1, 2, 3))
    assert result.reached.tolist() == [True, False, True, False, False]
    assert not result.attributions[1].any()


def test_a_class_without_sets_shares_nothing():
    none = found(threshold=1.5)
    assert (none.top(2) == -1).all()
    assert not none.overlap(2).any()


def test_among_equals_those_come_first_that_smaller_sets_take_up():
    """All three channels are needed, the last of them most."""
    weights = np.array([[1.0], [2.0], [4.0]], np.float32)

    def model(images):
        return checkpoint_name(images, "rgb").mean(axis=(1, 2)) @ weights

    result = ej.class_channels(model, np.ones((2, 2, 2, 3), np.float32), 0, "rgb", counts=(1, 2, 3))
    assert result.attributions.tolist() == [[1, 1, 1]]
    np.testing.assert_allclose(result.precedence, [[1 / 3, 2 / 3, 1]])
    assert result.top(3).tolist() == [[2, 1, 0]]


def test_sets_decide_and_not_soft_masks():
    """The paper's masks may keep more than they were asked for; of the three channels that are needed, one does not suffice."""

    def model(images):
        x = checkpoint_name(images, "rgb").mean(axis=(1, 2))
        return 1e5 * x.sum(axis=1, keepdims=True)

    images = np.ones((2, 2, 2, 3), np.float32)
    for config in (None, ej.ChannelConfig.paper(num_steps=30), ej.ChannelConfig(swap_rounds=0)):
        result = ej.class_channels(model, images, 0, "rgb", threshold=0.9, counts=(1, 2, 3), config=config)
        assert result.counts.tolist() == [3, 3]


def test_threshold():
    assert (found(threshold=0.2).counts == 1).all()
    none = found(threshold=1.5)
    assert not none.reached.any()
    assert (none.counts == 8).all()
    assert none.images_per_class.tolist() == [0, 0]
    assert not none.attributions.any()


def test_counts():
    assert found(counts=(4, 1)).counts.tolist() == [4] * 5
    assert found(counts=None).counts.tolist() == [2, 4, 2, 4, 4]  # powers of two
    assert found(counts=3).counts.tolist() == [3] * 5
    assert found(counts=(0.5, 3, 2)).counts.tolist() == [2, 3, 2, 3, 3]  # half of the channels are four


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": float("nan")}, "threshold must be a positive, finite share of the response, got nan"),
        ({"threshold": 0}, "got 0"),
        ({"config": ej.ChannelConfig(game="delete")}, "which is the game 'preserve', got 'delete'"),
        ({"config": ej.ChannelConfig(reward="margin")}, "one class per image, got the reward 'margin'"),
        ({"counts": (9,)}, "areas"),
    ],
    ids=["nan", "zero", "game", "reward", "counts"],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        found(**options)
    with pytest.raises(ValueError, match=r"images must be a batch \(N, H, W, C\)"):
        ej.class_channels(model, IMAGES[0], 0, "hidden")
    with pytest.raises(TypeError, match="counts on the host: call it outside of jit"):
        jax.jit(lambda images: ej.class_channels(model, images, TARGETS, "hidden").attributions)(IMAGES)


def test_a_random_start():
    """Where the paths differ, and the key decides; without one, nothing is random."""

    def params(key):
        config = ej.ChannelConfig(num_steps=1, swap_rounds=0)
        return np.asarray(ej.channel_perturbation(model, IMAGES[0], 0, "hidden", [2], config=config, key=key).params)

    assert not np.array_equal(params(jax.random.key(0)), params(jax.random.key(1)))
    np.testing.assert_array_equal(params(jax.random.key(1)), params(jax.random.key(1)))
    np.testing.assert_array_equal(params(None), params(None))
    result = ej.channel_perturbation(model, jnp.asarray(IMAGES[0]), 1, "hidden", [3], key=jax.random.key(2))
    assert set(result.channels(3)) == {4, 5, 6}


def test_classes_that_are_alike_share_channels(classifier):
    """Two animals, two vehicles or two fruits have more of their top channels in common than an animal and a vehicle: of five in two scenes
    each of seed 33, 6.7 % against 1.5 %, in the mean over pairs."""
    groups = (("dog", "wolf", "fox"), ("car", "bus", "truck"), ("apple", "tomato", "peach"))
    family = {classifier.classes.index(name): index for index, names in enumerate(groups) for name in names}
    scenes = ej.data.scenes.generate(33, 160, objects=1)
    labels = scenes.labels.argmax(axis=1)
    chosen = np.concatenate([np.flatnonzero(labels == index)[:2] for index in family])
    images = np.stack([classifier.preprocess(scenes.images[index]) for index in chosen])
    result = ej.class_channels(classifier, images, labels[chosen], "blocks.2", threshold=0.9, counts=(4, 8, 16))
    families = np.array([family[index] for index in result.classes])
    alike = families[:, None] == families
    shared = result.overlap(5)
    pairs = np.triu(np.ones_like(alike), 1)
    assert shared[alike & pairs].mean() > 2 * shared[~alike & pairs].mean()
