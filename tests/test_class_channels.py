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
    np.testing.assert_allclose(np.diag(result.overlap(3)), 1)
    shared = len(set(result.top(2)[0]) & set(result.top(2)[1])) / 2
    assert result.overlap(2)[0, 1] == result.overlap(2)[1, 0] == shared
    with pytest.raises(ValueError, match="count must be from 1 to the 8 channels of 'hidden', got 9"):
        result.top(9)


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": float("nan")}, "threshold must be a positive, finite share of the response, got nan"),
        ({"threshold": 0}, "got 0"),
        ({"config": ej.ChannelConfig(game="delete")}, "which is the game 'preserve', got 'delete'"),
        ({"counts": (9,)}, "areas"),
    ],
    ids=["nan", "zero", "game", "counts"],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        found(**options)
    with pytest.raises(ValueError, match=r"images must be a batch \(N, H, W, C\)"):
        ej.class_channels(model, IMAGES[0], 0, "hidden")


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
    each of seed 33, 13.3 % against 1.5 %, in the mean over pairs."""
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
