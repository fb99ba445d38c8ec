"""The rewards of a result as responses, for the tables of the command line and the titles of figures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from extremal_jax.extremal.result import ChannelResult, ExtremalResult
from extremal_jax.ground.checks import find
from extremal_jax.operators.games import GAMES, Game


class Summary(NamedTuple):
    """The rewards of a result as responses."""

    name: str  # the game's reading: "response" (to what the mask keeps), "response left" (after deletion), or "difference" of the two
    values: np.ndarray  # (..., K), of each mask
    shares: np.ndarray  # (..., K), of the response to the whole image; NaN where that is not positive: a share is undefined


def summarize(result: ExtremalResult | ChannelResult) -> Summary:
    """The rewards of a result as responses: their name, values, and shares of the response to the whole image."""
    game = find("game", result.config.game, GAMES, Game)
    values, whole = game.sign * np.asarray(result.rewards), np.asarray(result.image_rewards)[..., None]
    return Summary(game.reading, values, values / np.where((whole > 0) & np.isfinite(whole), whole, np.nan))
