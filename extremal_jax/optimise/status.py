"""Whether a run went well, and in words what went wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Int

from extremal_jax.ground.pytrees import AnyArray, pytree
from extremal_jax.optimise.solver import NEVER


class Finite:
    """What is told of `nonfinite_step`: for each thing that was optimised, the first step at which something was not finite, or −1."""

    nonfinite_step: Any

    @property
    def ok(self) -> bool:
        """Whether everything stayed finite."""
        return not np.any(np.asarray(self.nonfinite_step) != NEVER)

    @property
    def message(self) -> str:
        """What went wrong, where and when, in one line for each; "finished" if nothing did."""
        steps = np.atleast_1d(np.asarray(self.nonfinite_step))
        places = map(tuple, np.argwhere(steps != NEVER).tolist())
        return "\n".join(self._line(place, int(steps[place])) for place in places) or "finished"

    def _line(self, index: tuple[int, ...], step: int) -> str:
        raise NotImplementedError

    def __str__(self) -> str:
        return self.message


@pytree()
class Status(Finite):
    """Whether a run for masks went well.

    Attributes:
      nonfinite_step: (..., K), the first step at which a reward or gradient was not finite, or −1. From that step on the mask stayed as it
        was.
    """

    nonfinite_step: Int[AnyArray, "*N K"]

    def _line(self, index: tuple[int, ...], step: int) -> str:
        place = ", ".join(f"{axis} {i}" for axis, i in zip(("image", "area")[-len(index) :], index, strict=True))
        return f"{place}: the reward or its gradient was not finite at step {step}; the mask is that of the step before"
