"""What the settings of all methods share: checks, schedules that can be hashed, and JSON.

Settings are frozen dataclasses of numbers, names, schedules, and functions: a reward, an optimizer. Those that have schedules say which of
their fields are schedules in `SCHEDULES`.
"""

from __future__ import annotations

import dataclasses
import json
import math
import numbers
from typing import Any, TypeVar

import numpy as np
import optax
from jax import Array

from extremal_jax.ground.checks import check_choice
from extremal_jax.operators.rewards import REWARDS, RewardFunction
from extremal_jax.optimise import schedules
from extremal_jax.optimise.optimizers import PRESETS, adam, forgotten, optimizer_name
from extremal_jax.optimise.schedules import Cosine, Schedule, schedule_values

Settings = TypeVar("Settings")
_KINDS = {
    kind.__name__: kind for kind in (schedules.Cosine, schedules.Geometric, schedules.Exponential, schedules.Doubling, schedules.Linear)
}


def is_number(value: object) -> bool:
    """Whether a value is a real number; a truth value is none."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def is_positive(value: object) -> bool:
    """Whether a value is one positive, finite number; an array without axes serves as well.

    Example:
      >>> is_positive(np.float32(0.5)), is_positive("0.5"), is_positive(math.inf)
      (True, False, False)
    """
    number = np.asarray(value)
    return number.ndim == 0 and number.dtype.kind in "fiu" and bool(0 < number < math.inf)


def check_count(name: str, value: object, least: int) -> None:
    """Raise a ValueError unless a value is a whole number, at least so large.

    Example:
      >>> check_count("num_steps", 2.5, 1)
      Traceback (most recent call last):
      ValueError: num_steps must be a whole number, at least 1, got 2.5
    """
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number, at least {least}, got {value!r}")


def check_positive(name: str, value: Any, unit: str = "") -> None:
    """Raise a ValueError unless a value is a positive, finite number."""
    if not is_number(value) or not 0 < value < math.inf:
        raise ValueError(f"{name} must be a positive number{unit}, got {value!r}")


def check_flag(name: str, value: object) -> None:
    """Raise a TypeError unless a value is True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, got {value!r}")


def check_chunk_size(value: object) -> None:
    """Raise a ValueError unless a value is a number of masks, or None for all."""
    if value is not None:
        check_count("chunk_size", value, 1)


def check_settings(value: object, kind: type[Settings]) -> Settings:
    """The settings of a run, or the defaults for None.

    Raises:
      TypeError: if they are settings of something else.
    """
    if value is not None and not isinstance(value, kind):
        raise TypeError(f"config must be a {kind.__name__}, such as {kind.__name__}(num_steps=20), got {type(value).__name__}")
    return kind() if value is None else value


def check_anneal(value: Any) -> None:
    """Raise a ValueError unless a value is a share of a run."""
    if not is_number(value) or not 0 <= value <= 1:
        raise ValueError(f"anneal must be a share of the steps, from 0 to 1, got {value!r}")


def check_reward(value: object) -> None:
    """Raise a ValueError unless a value is a reward's name or a function."""
    if not callable(value):
        check_choice("reward", value, REWARDS)


def check_optimizer(value: object) -> None:
    """Raise a TypeError unless a value is an optax transformation."""
    if not isinstance(value, optax.GradientTransformation | optax.GradientTransformationExtraArgs):
        raise TypeError(f"optimizer must be an optax transformation such as optax.adam(0.05), got {value!r}")


def freeze_schedules(config: Any) -> None:
    """Give the schedules of a frozen dataclass that are arrays or lists a form that can be hashed."""
    for name in config.SCHEDULES:
        schedule = getattr(config, name)
        if isinstance(schedule, Array | np.ndarray | list):
            values = np.asarray(schedule, np.float64).tolist()
            object.__setattr__(config, name, tuple(values) if isinstance(values, list) else values)


def learning_rates(rate: Schedule | None, optimizer: optax.GradientTransformation, num_steps: int, peak: float) -> np.ndarray:
    """(num_steps,): the learning rate of every step. Where none is given, a cosine from `peak` to 0 with the preset's optimizer; another
    has a learning rate of its own, which then stands."""
    if rate is None:
        rate = Cosine(peak) if optimizer is adam else 1.0
    return schedule_values("learning_rate", rate, num_steps)


def shrinkage(anneal: float, num_steps: int) -> np.ndarray:
    """(num_steps,): how far the area shown has shrunk at every step, from 0 (all) to 1 (as asked for), over the share `anneal` of a run.

    Example:
      >>> shrinkage(0.5, 4).tolist()
      [0.5, 1.0, 1.0, 1.0]
    """
    steps = np.arange(1, num_steps + 1, dtype=np.float32)
    return np.minimum(1, steps / max(anneal * num_steps, 1))


def to_json(config: Any) -> str:
    """Settings as JSON. Functions cannot be written: a schedule is written as its values, an optimizer and a reward as their names."""
    fields = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    fields["optimizer"] = optimizer_name(config.optimizer)
    if callable(config.reward):
        fields["reward"] = {"function": getattr(config.reward, "__name__", repr(config.reward))}
    for name in config.SCHEDULES:
        schedule = fields[name]
        if type(schedule) in _KINDS.values():
            fields[name] = {type(schedule).__name__: dataclasses.asdict(schedule)}
        elif schedule is not None and not is_number(schedule):
            fields[name] = schedule_values(name, schedule, config.num_steps).tolist()
    return json.dumps(fields)


def from_json(kind: type[Settings], text: str) -> Settings:
    """The settings, of the class `kind`, that `to_json` wrote.

    Where they hold the name of a function alone, using that function is an error that says so.
    """
    fields = json.loads(text)
    fields["optimizer"] = PRESETS.get(fields["optimizer"]) or forgotten(fields["optimizer"])
    if isinstance(fields["reward"], dict):
        fields["reward"] = _forgotten_reward(fields["reward"]["function"])
    for name, value in fields.items():
        if isinstance(value, dict):
            [(schedule, values)] = value.items()
            fields[name] = _KINDS[schedule](**values)
    return kind(**fields)


def _forgotten_reward(name: str) -> RewardFunction:
    def reward(outputs: Any, targets: Any) -> Any:
        raise ValueError(f"the reward of the saved run ({name}) is not in its file; set `reward` again, with dataclasses.replace")

    reward.__name__ = name
    return reward
