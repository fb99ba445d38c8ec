"""Games and rewards."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from extremal_jax.operators.games import GAMES
from extremal_jax.operators.rewards import REWARDS, reward

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
def test_values(name, targets, expected):
    np.testing.assert_allclose(reward(name, SCORES, jnp.array(targets)), expected, rtol=1e-6)


def test_contrastive_far_below_zero():
    """TorchRay leaves the target out by a logit of -100, which fails below that."""
    assert reward("contrastive", SCORES - 500, jnp.array([1, 2])).tolist() == [3, -0.5]


@pytest.mark.parametrize("name", REWARDS)
def test_dense_outputs_are_averaged_over_space(name):
    targets = jnp.array([[1, 0], [0, 3]]) if REWARDS[name].arity != 1 else jnp.array([1, 2])
    offsets = jnp.array([-1.0, 1.0, 0.5, -0.5]).reshape(1, 2, 2, 1)
    dense = SCORES[:, None, None] + offsets
    np.testing.assert_allclose(reward(name, dense, targets), reward(name, SCORES, targets), rtol=1e-6)


def test_own_function_sees_outputs_as_they_are():
    dense = jnp.ones((2, 3, 3, 4))
    assert reward(lambda outputs, targets: outputs[:, 1, 2, 0] * targets, dense, jnp.array([2, 3])).tolist() == [2, 3]


@pytest.mark.parametrize(("name", "expected"), [("preserve", [1.0]), ("delete", [-0.75]), ("dual", [1 - 0.75])])
def test_games(name, expected):
    game = GAMES[name]
    shown = game.show(jnp.array([[[0.25]]]))
    responses = {0.25: 1.0, 0.75: 0.75}  # of a model that answers with what it sees, more or less
    answered = jnp.array([[responses[float(mask[0, 0, 0])]] for mask in shown])
    assert game.combine(answered).tolist() == expected
