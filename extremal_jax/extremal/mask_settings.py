"""The settings that masks of pixels and masks of channels share, and those of channels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from extremal_jax.ground.checks import check_count, check_flag, check_share, find
from extremal_jax.operators.area import AreaRule
from extremal_jax.operators.axes import IMAGE, Axes
from extremal_jax.operators.games import GAMES, PRESERVE, Game
from extremal_jax.operators.penalties import Penalty
from extremal_jax.operators.rewards import REWARDS, Reward, RewardFunction
from extremal_jax.optimise.optimizers import momentum
from extremal_jax.optimise.schedules import Geometric, Linear, Schedule, schedule_values
from extremal_jax.optimise.settings import Settings


@dataclass(frozen=True, kw_only=True, repr=False)
class MaskSettings(Settings):
    """What `Config` and `ChannelConfig` have in common; the attributes are described there."""

    game: str | Game = PRESERVE.name
    reward: str | Reward | RewardFunction = "logit"
    exact_area: bool = True
    anneal: float = 0.5
    ramp: Schedule = Geometric(0.15, 0.02)
    area_weight: Schedule | None = None
    SCHEDULES: ClassVar[tuple[str, ...]] = ("learning_rate", "ramp", "area_weight")

    def __post_init__(self) -> None:
        find("game", self.game, GAMES, Game)
        if not callable(self.reward):
            find("reward", self.reward, REWARDS, Reward)
        check_flag("exact_area", self.exact_area)
        check_share("anneal", self.anneal, "the steps")
        super().__post_init__()

    def schedules(self) -> dict[str, np.ndarray]:
        """(num_steps,) each, besides those of `Settings`: the area weight λ, the ramp's width, and how far the area
        shown has shrunk, from 0 (the whole image, or all channels) to 1 (the area asked for)."""
        widths = schedule_values("ramp", self.ramp, self.num_steps)
        if not np.all(widths > 0):
            raise ValueError(f"ramp must be a positive number, or positive at every step, got values from {widths.min()} to {widths.max()}")
        steps = np.arange(1, self.num_steps + 1, dtype=np.float32)
        return dict(
            **super().schedules(),
            area_weight=schedule_values("area_weight", self.default_area_weight(), self.num_steps),
            ramp=widths,
            shrinkage=np.minimum(1, steps / max(self.anneal * self.num_steps, 1)),
        )

    def default_area_weight(self) -> Schedule:
        """λ: the one given, or the default that suits the other settings."""
        return 0.0 if self.area_weight is None else self.area_weight

    @property
    def area_rule(self) -> AreaRule:
        """How masks are held to their areas."""
        return AreaRule(self.exact_area)

    @property
    def mask_penalties(self) -> tuple[Penalty, ...]:
        """What masks are charged beside the area loss."""
        return ()

    @property
    def input_axes(self) -> Axes:
        """The axes of the input."""
        return IMAGE


@dataclass(frozen=True, kw_only=True, repr=False)
class ChannelConfig(MaskSettings):
    """The settings of `channel_perturbation`; no arrays. Checked when it is built.

    Attributes:
      num_steps: steps of ascent, each one forward and backward pass of the model's tail per mask.
      optimizer: as in `Config`.
      learning_rate: a schedule, as in `Config`; None: half a cosine from 0.3 to 0 with the default optimizer.
      game: "preserve" (the mask keeps the channels), "delete" (it silences them), "dual" (both at once), or a `Game`.
      reward: the scalar to maximise, as in `Config`.
      exact_area: whether the tail is shown masks of exactly the area asked for: `ramp` is moved to where the sum is
        right. Otherwise the area loss alone draws masks there.
      anneal: with `exact_area`, the share of the run over which the area shown shrinks from all channels to the number
        asked for.
      ramp: with `exact_area`, the width of the ramp in units of mask value, a schedule: gentle at first, so that all
        channels can still enter, and nearly binary at the end.
      area_weight: λ, a schedule, as in `Config`. With exact areas it only distracts.
      swap_rounds: after the ascent, rounds of local search over sets of exactly as many channels as asked for. Each
        round tries the most promising swaps of a kept for a dropped channel, by the gradient, and makes the best one if
        it improves the reward. 0: the masks are those of the ascent.
      swaps: the swaps tried in a round, each one forward pass of the tail per mask.
      spread: how far below one a random start lies at most; the key draws it. 0: all channels, nothing is random.

    Example:
      >>> ChannelConfig(game="delete").num_steps, ChannelConfig.paper().num_steps
      (20, 300)
      >>> ChannelConfig(swaps=0)
      Traceback (most recent call last):
      ValueError: swaps must be a whole number, at least 1, got 0
    """

    num_steps: int = 20
    ramp: Schedule = Geometric(1.0, 0.1)
    area_weight: Schedule | None = 0.0
    swap_rounds: int = 3
    swaps: int = 24
    spread: float = 0.0
    PEAK: ClassVar[float] = 0.3

    @classmethod
    def paper(cls, **changes: Any) -> ChannelConfig:
        """The paper's description: momentum 0.9 with a learning rate of 0.01, 300 steps, λ from 0 to 1500 over the
        first half, no exact areas and no search. `changes` override settings."""
        ascent = dict(num_steps=300, optimizer=momentum, learning_rate=0.01, area_weight=Linear(0.0, 1500.0, 0.5))
        return cls(**ascent | dict(exact_area=False, swap_rounds=0) | changes)

    def __post_init__(self) -> None:
        check_count("swap_rounds", self.swap_rounds, 0)
        check_count("swaps", self.swaps, 1)
        check_share("spread", self.spread, "the full mask")
        super().__post_init__()
