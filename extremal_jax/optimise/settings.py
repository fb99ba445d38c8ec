"""The settings that all optimisations share, and settings as JSON.

Settings are frozen dataclasses of numbers, names, schedules, records and functions. `SCHEDULES` names the fields that
are schedules.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
import optax
from jax import Array

from extremal_jax.ground.checks import Forgotten, check_count, is_number
from extremal_jax.optimise import schedules
from extremal_jax.optimise.optimizers import PRESETS, adam, forgotten, optimizer_name
from extremal_jax.optimise.schedules import Cosine, Schedule, schedule_values

Kind = TypeVar("Kind", bound="Settings")
_SCHEDULES = {
    kind.__name__: kind for kind in (schedules.Cosine, schedules.Geometric, schedules.Exponential, schedules.Doubling, schedules.Linear)
}


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The settings of an optimisation, checked when they are built; their attributes are described in `Config`."""

    num_steps: int
    optimizer: optax.GradientTransformation = adam
    learning_rate: Schedule | None = None
    PEAK: ClassVar[float] = 0.1
    SCHEDULES: ClassVar[tuple[str, ...]] = ("learning_rate",)
    RECORDS: ClassVar[tuple[Any, ...]] = ()  # the dataclasses among the values of the fields, which JSON holds whole

    def __post_init__(self) -> None:
        check_count("num_steps", self.num_steps, 1)
        if not isinstance(self.optimizer, optax.GradientTransformation | optax.GradientTransformationExtraArgs):
            raise TypeError(f"optimizer must be an optax transformation such as optax.adam(0.05), got {self.optimizer!r}")
        for name in self.SCHEDULES:  # arrays and lists become tuples, which can be hashed
            schedule = getattr(self, name)
            if isinstance(schedule, Array | np.ndarray | list):
                values = np.asarray(schedule, np.float64).tolist()
                object.__setattr__(self, name, tuple(values) if isinstance(values, list) else values)
        self.schedules()

    def schedules(self) -> dict[str, np.ndarray]:
        """(num_steps,) each: the values that change from step to step, and the step's own number."""
        rate = self.learning_rate
        if rate is None:
            rate = Cosine(self.PEAK) if self.optimizer == adam else 1.0
        return dict(step=np.arange(self.num_steps, dtype=np.int32), learning_rate=schedule_values("learning_rate", rate, self.num_steps))

    @classmethod
    def upgraded(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """The fields of a file of an older version, under today's names."""
        return fields


def check_settings(value: object, kind: type[Kind]) -> Kind:
    """The settings that a caller gives, or the defaults for None."""
    if value is not None and not isinstance(value, kind):
        raise TypeError(f"config must be a {kind.__name__}, such as {kind.__name__}(num_steps=20), got {type(value).__name__}")
    return kind() if value is None else value  # type: ignore[call-arg]


def to_json(config: Settings) -> str:
    """Settings as JSON. Functions and records of the caller's own are written as their names, and schedules that are
    functions as their values."""
    fields = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    fields["optimizer"] = optimizer_name(config.optimizer)
    for name, value in fields.items():
        if name in config.SCHEDULES:
            if type(value) in _SCHEDULES.values():
                fields[name] = {type(value).__name__: dataclasses.asdict(value)}
            elif value is not None and not is_number(value):
                fields[name] = schedule_values(name, value, config.num_steps).tolist()
        else:
            fields[name] = _as_json(value, config.RECORDS)
    return json.dumps(fields)


def from_json(kind: type[Kind], text: str) -> Kind:
    """The settings, of the class `kind`, that `to_json` wrote.

    Functions are not in the text: a stand-in takes the place of each, and using it is an error that says so.
    """
    fields = kind.upgraded(json.loads(text))
    fields["optimizer"] = PRESETS.get(fields["optimizer"]) or forgotten(fields["optimizer"])
    known = {**_SCHEDULES, **{record.__name__: record for record in kind.RECORDS}}

    def read(name: str, value: Any) -> Any:
        if isinstance(value, list):
            return tuple(read(name, part) for part in value)
        if not isinstance(value, dict):
            return value
        [(what, content)] = value.items()
        return (
            Forgotten(name, content)
            if what == "function"
            else known[what](**{key: tuple(part) if isinstance(part, list) else part for key, part in content.items()})
        )

    return kind(**{name: read(name, value) for name, value in fields.items()})


def _as_json(value: Any, records: tuple[Any, ...]) -> Any:
    """A value of a field as JSON has it: records whole, and functions by name."""
    if isinstance(value, tuple):
        return [_as_json(part, records) for part in value]
    if isinstance(value, records):
        return {type(value).__name__: dataclasses.asdict(value)}
    if value is None or isinstance(value, str | int | float):
        return value
    return {"function": getattr(value, "__name__", None) or getattr(value, "name", repr(value))}
