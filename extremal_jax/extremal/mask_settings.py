"""The settings that masks of pixels and masks of channels share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from extremal_jax.ground.checks import check_flag, check_share, find
from extremal_jax.operators.area import AreaRule
from extremal_jax.operators.axes import IMAGE, Axes
from extremal_jax.operators.games import GAMES, PRESERVE, Game
from extremal_jax.operators.penalties import Penalty
from extremal_jax.operators.rewards import REWARDS, Reward, RewardFunction
from extremal_jax.optimise.schedules import Geometric, Schedule, schedule_values
from extremal_jax.optimise.settings import Settings


@dataclass(frozen=True, kw_only=True)
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
