"""Targets: indices and names, how many, and of which reward."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import small
from extremal_jax.boundary.targets import check_targets
from extremal_jax.operators.rewards import Reward

NAMES = ("a", "wolf", "dog", "crane", "crane")


class Named:
    """The small model, with names of its classes."""

    def __init__(self, classes: Any = NAMES) -> None:
        self.classes = classes

    def __call__(self, images: Any) -> Any:
        return small.MODEL(images)


def check(targets: Any, count: Any = 2, reward: Any = "logit", names: Any = None, num_scores: Any = 5) -> Any:
    return check_targets(targets, count, num_scores, reward, names)


@pytest.mark.parametrize(
    ("targets", "error", "message"),
    [
        ((1, 5), ValueError, "targets must be class indices from 0 to 4, got 5"),
        (-1, ValueError, "targets must be class indices from 0 to 4, got -1"),
        ((1, 2, 3), ValueError, r"targets must be one class index for each of the 2 images, got the shape \(3,\)"),
        ([[1], [2]], ValueError, "targets must be one class index for each of the 2 images"),
        ([[1], [2, 3]], ValueError, r"targets must have one shape, got sequences of different lengths: \[\[1\], \[2, 3\]\]"),
        ([(1,), [2, 3]], ValueError, "targets must have one shape, got sequences of different lengths"),
        (1.0, TypeError, r"targets must be class indices \(whole numbers\) or names, got float64"),
        ([True, False], TypeError, r"targets must be class indices \(whole numbers\) or names, got bool"),
        ("dog", TypeError, "the model has no `classes` to look a name up in, got 'dog'"),
        (None, TypeError, "targets must be a class for each image, or one for all, got None"),
    ],
)
@pytest.mark.parametrize("call", [small.explain, small.channels, small.smallest])
def test_bad_targets(call: Any, targets: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        call(targets=targets)


@pytest.mark.parametrize(
    ("reward", "targets", "message"),
    [
        ("margin", [[1, 2, 3]] * 2, r"targets must be a pair of class indices for each of the 2 images, got .* \(2, 3\)"),
        ("margin", 1, r"a pair of class indices for each of the 2 images, got the shape \(\)"),
        ("labels", np.zeros((2, 0), int), "a list of class indices for each of the 2 images"),
        ("labels", [[1, 5], [0, 2]], "targets must be class indices from 0 to 4, got 5"),
        ("labels", [[1], [0, 2]], "targets must have one shape"),
    ],
)
def test_bad_targets_of_several_classes(reward: str, targets: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        small.explain(targets=targets, config=dataclasses.replace(small.CONFIG, reward=reward))


def test_one_target_for_all_images_or_one_for_each() -> None:
    assert check(3).tolist() == [3, 3]
    assert check(np.array([3, 1], np.uint8)).tolist() == [3, 1]
    assert check(3, count=None).tolist() == [3]
    assert check([1, 2], reward="margin").tolist() == [[1, 2], [1, 2]]
    assert check([[1, 2, 3], [0, 1, 2]], reward="labels").shape == (2, 3)
    with pytest.raises(ValueError, match=r"targets must be one class index for the image, got the shape \(2,\)"):
        check((1, 2), count=None)
    with pytest.raises(ValueError, match="targets must be one class index for each of the 3 images"):
        check((1, 2), count=3)


@pytest.mark.parametrize(
    "names", [NAMES, list(NAMES), np.array(NAMES), dict(enumerate(NAMES)), {2: "dog", 1: "wolf"}], ids=lambda n: type(n).__name__
)
def test_names_and_indices_together(names: Any) -> None:
    for targets in (["wolf", 2], ["wolf", np.int64(2)], ("wolf", "dog"), np.array(["wolf", "dog"]), np.array(["wolf", 2], object)):
        assert check(targets, names=names).tolist() == [1, 2]
    assert check("wolf", names=names).tolist() == [1, 1]
    for other in (2.5, True, None):
        with pytest.raises(TypeError, match=rf"targets must be class indices \(whole numbers\) or names, got {other}"):
            check(["wolf", other], names=names)


def test_a_run_takes_names() -> None:
    named = small.explain(model=Named(), targets=["wolf", 3])
    np.testing.assert_array_equal(named.masks, small.explain().masks)
    assert named.targets.tolist() == [1, 3]
    with pytest.raises(ValueError, match="targets: unknown class 'wolff'; did you mean 'wolf'"):
        small.explain(model=Named(), targets="wolff")
    with pytest.raises(ValueError, match="targets: 2 classes are called 'crane'; give an index: 3, 4"):
        small.explain(model=Named(), targets="crane")


@pytest.mark.parametrize("reward", ["log_probability", "contrastive"])
def test_a_single_score_needs_another_reward(reward: str) -> None:
    with pytest.raises(ValueError, match=f"the reward '{reward}' needs at least 2 classes, .* take reward='binary', with target 1"):
        check(0, reward=reward, num_scores=1)
    with pytest.raises(ValueError, match="needs at least 2 classes"):
        small.explain(targets=0, model=lambda x: x.mean((1, 2, 3))[:, None], config=dataclasses.replace(small.CONFIG, reward=reward))


def test_other_rewards_of_a_single_score() -> None:
    assert check(0, reward="logit", num_scores=1).tolist() == [0, 0]
    assert check([0, 1], reward="binary", num_scores=1).tolist() == [0, 1]
    with pytest.raises(ValueError, match="targets must be class indices from 0 to 0, got 1"):
        check(1, reward="logit", num_scores=1)
    with pytest.raises(ValueError, match="targets must be class indices from 0 to 1, got 2"):
        check(2, reward="binary", num_scores=1)
    with pytest.raises(ValueError, match="the reward 'margin' needs at least 2 classes, and the model has a single score"):
        check([0, 1], reward="margin", num_scores=1)
    with pytest.raises(ValueError, match="the reward 'binary' is for models of a single score, and this one has 5; take 'logit'"):
        check(1, reward="binary")


def test_targets_of_the_callers_own_reward() -> None:
    """A function gets the targets as they are; a record is checked by its arity."""
    assert check([7, 9], reward=lambda outputs, targets: outputs[:, 0]).tolist() == [7, 9]
    record = Reward(lambda scores, target: scores[target[0]], "the first of two", arity=2)
    assert check([[0, 1], [2, 3]], reward=record).shape == (2, 2)
    with pytest.raises(ValueError, match="a pair of class indices"):
        check([0, 1, 2], reward=record)


def test_traced_targets_are_checked_for_shape_and_dtype() -> None:
    with pytest.raises(TypeError, match=r"targets must be class indices \(whole numbers\) or names, got float32"):
        jax.eval_shape(lambda targets: small.explain(targets=targets).masks, jnp.ones(2))
    with pytest.raises(ValueError, match="targets must be one class index for each of the 2 images"):
        jax.eval_shape(lambda targets: small.explain(targets=targets).masks, jnp.ones(3, int))
