"""What a result says, in the words of its game: for the table of the command line and the titles of the figures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from extremal_jax.extremal.channel_result import ChannelResult
from extremal_jax.extremal.result import ExtremalResult

# What a game's reward stands for, and its sign there: deletion is rewarded for what is no longer answered.
_READINGS = {"preserve": ("response", 1), "delete": ("response left", -1), "dual": ("difference", 1)}


class Summary(NamedTuple):
    """The rewards of a result as responses.

    Attributes:
      name: "response" (to what the mask keeps), "response left" (to what deletion leaves), or "difference" (the former minus the latter).
      values: (..., K), of each mask.
      shares: (..., K), the values over the response to the whole image; NaN where that is not a positive number, and a share would say
        nothing.
    """

    name: str
    values: np.ndarray
    shares: np.ndarray


def summarize(result: ExtremalResult | ChannelResult) -> Summary:
    """The rewards of a result as responses, by name, value, and share of the response to the whole image."""
    name, sign = _READINGS[result.config.game]
    values, whole = sign * np.asarray(result.rewards), np.asarray(result.image_rewards)[..., None]
    return Summary(name, values, values / np.where((whole > 0) & np.isfinite(whole), whole, np.nan))
