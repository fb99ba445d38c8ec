"""Rewards: their values, and records and functions of the caller's own."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import small
from extremal_jax.operators.rewards import REWARDS, Reward, reward

SCORES = jnp.array([[1.0, 5.0, 2.0, -1.0], [0.0, -3.0, 4.0, 4.5]])


@pytest.mark.parametrize(
    ("name", "targets", "expected"),
    [
        ("logit", [1, 2], [5, 4]),
        ("log_probability", [1, 2], [5 - np.log(np.exp([1, 5, 2, -1.0]).sum()), 4 - np.log(np.exp([0, -3, 4, 4.5]).sum())]),
        ("contrastive", [1, 2], [3, -0.5]),
        ("margin", [[1, 0], [0, 3]], [4, -4.5]),
        ("labels", [[1, 2], [0, 3]], [3.5, 2.25]),
    ],
)
def test_values(name: str, targets: Any, expected: Any) -> None:
    np.testing.assert_allclose(reward(name, SCORES, jnp.array(targets)), expected, rtol=1e-6)


def test_a_binary_score_takes_the_sign_of_its_class() -> None:
    assert reward("binary", jnp.array([[2.0], [2.0], [-3.0]]), jnp.array([1, 0, 0])).tolist() == [2, -2, 3]


def test_contrastive_far_below_zero() -> None:
    """TorchRay leaves the target out by a logit of -100, which fails for lower logits."""
    assert reward("contrastive", SCORES - 500, jnp.array([1, 2])).tolist() == [3, -0.5]


@pytest.mark.parametrize("name", REWARDS)
def test_dense_outputs_are_averaged_over_space(name: Any) -> None:
    scores = SCORES if REWARDS[name].scores is not None else SCORES[:, :1]
    targets = jnp.array([[1, 0], [0, 3]]) if REWARDS[name].arity != 1 else jnp.array([1, 0])
    offsets = jnp.array([-1.0, 1.0, 0.5, -0.5]).reshape(1, 2, 2, 1)
    np.testing.assert_allclose(reward(name, scores[:, None, None] + offsets, targets), reward(name, scores, targets), rtol=1e-6)


@pytest.mark.parametrize(("name", "scores", "bad"), [("logit", SCORES, 4), ("contrastive", SCORES, -1), ("binary", SCORES[:, :1], 2)])
def test_a_target_out_of_range_gives_nan(name: str, scores: Any, bad: int) -> None:
    """An index out of range would otherwise be clamped to the last class."""
    assert np.isnan(reward(name, scores, jnp.array([0, bad]))).tolist() == [False, True]


def test_a_function_sees_outputs_as_they_are() -> None:
    dense = jnp.ones((2, 3, 3, 4))
    assert reward(lambda outputs, targets: outputs[:, 1, 2, 0] * targets, dense, jnp.array([2, 3])).tolist() == [2, 3]


def test_a_record_of_the_callers_own() -> None:
    def squared(scores: Any, target: Any) -> Any:
        return scores[target] ** 2

    record = Reward(squared, "the target's score, squared")
    assert record.name == "squared"
    assert reward(record, SCORES, jnp.array([1, 2])).tolist() == [25, 16]


@pytest.mark.parametrize(
    "function", [lambda outputs, targets: outputs[:, targets], lambda outputs, targets: outputs.sum()], ids=["all", "one"]
)
def test_a_function_of_another_shape_is_refused(function: Any) -> None:
    with pytest.raises(ValueError, match=r"reward must be a function that gives one number per image, \(2,\), got the shape"):
        small.explain(small.IMAGES, config=dataclasses.replace(small.CONFIG, reward=function), areas=(0.2,))
