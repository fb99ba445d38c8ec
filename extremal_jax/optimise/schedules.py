"""Numbers that change from step to step, as functions of a run's length.

Wherever a schedule is asked for, a number, a sequence with one number per step, or a function of the step's index (an
optax schedule) does as well. Values are arguments of the compiled program: another schedule compiles nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np


@runtime_checkable
class RunSchedule(Protocol):
    """A schedule that knows how long the run is."""

    def values(self, num_steps: int) -> np.ndarray:
        """(num_steps,): the value at every step."""


Schedule = float | Sequence[float] | np.ndarray | jax.Array | Callable[[Any], Any] | RunSchedule


@dataclass(frozen=True)
class Cosine:
    """From `peak` to zero along half a cosine.

    Example:
      >>> Cosine(2.0).values(3).round(3).tolist()
      [2.0, 1.5, 0.5]
    """

    peak: float

    def values(self, num_steps: int) -> np.ndarray:
        return self.peak * (1 + np.cos(np.pi * np.arange(num_steps) / num_steps)) / 2


@dataclass(frozen=True)
class Geometric:
    """From `start` to `end`, multiplied by the same factor at each step.

    Example:
      >>> Geometric(1.0, 100.0).values(3).tolist()
      [1.0, 10.0, 100.0]
    """

    start: float
    end: float

    def values(self, num_steps: int) -> np.ndarray:
        return np.geomspace(self.start, self.end, num_steps)


@dataclass(frozen=True)
class Exponential:
    """`start`, multiplied by `growth` at each step, however long the run.

    Example:
      >>> Exponential(1.0, 2.0).values(4).tolist()
      [1.0, 2.0, 4.0, 8.0]
    """

    start: float
    growth: float

    def values(self, num_steps: int) -> np.ndarray:
        return self.start * self.growth ** np.arange(num_steps)


@dataclass(frozen=True)
class Doubling:
    """`start`, doubled after each of `times` equal parts of the run but the last.

    Example:
      >>> Doubling(3.0, 3).values(6).tolist()
      [3.0, 3.0, 6.0, 6.0, 12.0, 12.0]
    """

    start: float
    times: int

    def values(self, num_steps: int) -> np.ndarray:
        return self.start * 2.0 ** (np.arange(num_steps) * self.times // num_steps)


@dataclass(frozen=True)
class Linear:
    """From `start` to `end` along a straight line over the share `until` of the run; then `end`.

    Example:
      >>> Linear(0.0, 3.0, 0.5).values(6).tolist()
      [0.0, 1.0, 2.0, 3.0, 3.0, 3.0]
    """

    start: float
    end: float
    until: float = 1.0

    def values(self, num_steps: int) -> np.ndarray:
        return self.start + (self.end - self.start) * np.minimum(1, np.arange(num_steps) / max(self.until * num_steps, 1))


def schedule_values(name: str, schedule: Schedule, num_steps: int) -> np.ndarray:
    """The values of any schedule at each step, (num_steps,) in float32; `name` is what an error calls it.

    Raises:
      ValueError: if there are not as many values as steps, or if one of them is negative or not finite.

    Example:
      >>> schedule_values("learning_rate", lambda step: 0.5**step, 3).tolist()
      [1.0, 0.5, 0.25]
    """
    if isinstance(schedule, RunSchedule):
        values = schedule.values(num_steps)
    elif callable(schedule):
        with jax.ensure_compile_time_eval():
            values = np.asarray(jax.vmap(schedule)(jnp.arange(num_steps)))
    else:
        try:
            values = np.asarray(schedule, np.float64)
        except (TypeError, ValueError) as error:
            raise TypeError(f"{name} must be a number, one for each step, or a schedule, got {schedule!r}") from error
        values = np.full(num_steps, values) if values.ndim == 0 else values
    if values.shape != (num_steps,):
        raise ValueError(f"{name} must give one number for each of the {num_steps} steps, got an array of shape {values.shape}")
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    if not np.all(np.isfinite(single)) or np.any(single < 0):
        raise ValueError(f"{name} must be finite and not negative at every step, got values from {values.min()} to {values.max()}")
    return single
