"""What can be chosen about channel attribution, and the presets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import optax

from extremal_jax.ground.checks import check_choice
from extremal_jax.operators.games import GAMES
from extremal_jax.operators.rewards import RewardFunction
from extremal_jax.optimise.optimizers import adam, momentum
from extremal_jax.optimise.schedules import Geometric, Linear, Schedule, schedule_values
from extremal_jax.optimise.settings import (
    check_anneal,
    check_count,
    check_flag,
    check_optimizer,
    check_reward,
    freeze_schedules,
    learning_rates,
    shrinkage,
)


@dataclass(frozen=True, kw_only=True)
class ChannelConfig:
    """The settings of a run of `channel_perturbation`; no arrays. Checked when it is built.

    Attributes:
      game: "preserve" (the mask keeps the channels), "delete" (it silences them) or "dual" (both at once).
      reward: what is to be excited, as in `Config`.
      num_steps: steps of ascent, each one forward and backward pass of the model's tail per mask.
      exact_area: whether the tail is shown masks whose area is exactly the one asked for: `ramp` is moved to where the sum is right.
        Otherwise the area loss alone draws the area there.
      anneal: with `exact_area`, the share of the run over which the area shown shrinks from all channels to the number asked for.
      ramp: with `exact_area`, the width of the ramp, in units of mask value, a schedule: from gentle, where all channels can still enter,
        to nearly binary.
      optimizer: any optax transformation of one mask's parameters; its updates, times the learning rate, are added to them.
      learning_rate: a schedule. None: a cosine from 0.3 to 0 with the preset's optimizer, and 1 with another, whose own learning rate then
        stands.
      area_weight: λ, a schedule likewise: how much one unit of the area loss costs, in units of the reward. With exact areas it only
        distracts, however small the rewards of a model are.
      swap_rounds: after the ascent, rounds of local search over sets of exactly as many channels as asked for. In each round the gradient
        names the exchanges of a kept for another channel that promise most, they are tried, and the best is made if it improves the
        reward. 0: the masks are those of the ascent.
      swaps: the exchanges tried in a round, each one forward pass of the tail per mask.

    Example:
      >>> ChannelConfig(game="delete").num_steps, ChannelConfig.paper().num_steps
      (20, 300)
      >>> ChannelConfig(swaps=0)
      Traceback (most recent call last):
      ValueError: swaps must be a whole number, at least 1, got 0
    """

    game: str = "preserve"
    reward: str | RewardFunction = "logit"
    num_steps: int = 20
    exact_area: bool = True
    anneal: float = 0.5
    ramp: Schedule = Geometric(1.0, 0.1)
    optimizer: optax.GradientTransformation = adam
    learning_rate: Schedule | None = None
    area_weight: Schedule = 0.0
    swap_rounds: int = 3
    swaps: int = 24
    SCHEDULES: ClassVar[tuple[str, ...]] = ("ramp", "learning_rate", "area_weight")

    @classmethod
    def paper(cls, **changes: Any) -> ChannelConfig:
        """As the paper describes it: momentum 0.9 with a learning rate of 0.01, 300 steps, λ from 0 to 1500 over the first half, no exact
        areas and no search. `changes` are settings to differ in."""
        settings: dict[str, Any] = dict(
            num_steps=300,
            exact_area=False,
            optimizer=momentum,
            learning_rate=0.01,
            area_weight=Linear(0.0, 1500.0, 0.5),
            swap_rounds=0,
        )
        return cls(**{**settings, **changes})

    def __post_init__(self) -> None:
        check_choice("game", self.game, GAMES)
        check_reward(self.reward)
        check_count("num_steps", self.num_steps, 1)
        check_flag("exact_area", self.exact_area)
        check_anneal(self.anneal)
        check_optimizer(self.optimizer)
        check_count("swap_rounds", self.swap_rounds, 0)
        check_count("swaps", self.swaps, 1)
        freeze_schedules(self)
        self.schedules()

    def schedules(self) -> dict[str, np.ndarray]:
        """(num_steps,) each: learning rate, area weight, width of the ramp, and how far the area shown has shrunk."""
        ramp = schedule_values("ramp", self.ramp, self.num_steps)
        if not np.all(ramp > 0):
            raise ValueError(f"ramp must be positive at every step, got values from {ramp.min()} to {ramp.max()}")
        return dict(
            learning_rate=learning_rates(self.learning_rate, self.optimizer, self.num_steps, 0.3),
            area_weight=schedule_values("area_weight", self.area_weight, self.num_steps),
            ramp=ramp,
            shrinkage=shrinkage(self.anneal, self.num_steps),
        )
