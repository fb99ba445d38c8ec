"""Games: which masks are shown, and how the responses combine."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import pytest

from extremal_jax.operators.games import GAMES, Game


def played(game: Any) -> Any:
    """The reward of a mask of 0.25, for a model whose response is 1 to that mask and 0.5 to its complement."""
    responses = {0.25: 1.0, 0.75: 0.5}
    shown = game.show(jnp.array([[[0.25]]]))
    return game.combine(jnp.array([[responses[float(mask[0, 0, 0])]] for mask in shown])).tolist()


@pytest.mark.parametrize(("name", "expected"), [("preserve", 1.0), ("delete", -0.5), ("dual", 0.5)])
def test_games(name: str, expected: float) -> None:
    assert GAMES[name].name == name
    assert played(GAMES[name]) == [expected]


def test_a_game_of_the_callers_own() -> None:
    assert played(Game("both", "the mask and its complement keep the evidence", ((False, 1), (True, 1)))) == [1.5]
