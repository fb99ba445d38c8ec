"""The settings that all optimisations share, and settings as JSON.

Settings are frozen dataclasses of numbers, names, schedules, records and functions. `SCHEDULES` names the fields that
are schedules.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
import optax
from jax import Array

from extremal_jax.ground.checks import Forgotten, check_count, is_number
from extremal_jax.ground.html import section, table
from extremal_jax.optimise import schedules
from extremal_jax.optimise.optimizers import PRESETS, adam, forgotten, optimizer_name
from extremal_jax.optimise.schedules import Cosine, Schedule, schedule_values

Kind = TypeVar("Kind", bound="Settings")
_LISTED = 6  # values of a schedule in a table
_SCHEDULES = {
    kind.__name__: kind for kind in (schedules.Cosine, schedules.Geometric, schedules.Exponential, schedules.Doubling, schedules.Linear)
}


@dataclass(frozen=True, kw_only=True, repr=False)
class Settings:
    """The settings of an optimisation, checked when they are built; their attributes are described in `Config`."""

    num_steps: int
    optimizer: optax.GradientTransformation = adam
    learning_rate: Schedule | None = None
    PEAK: ClassVar[float] = 0.1
    SCHEDULES: ClassVar[tuple[str, ...]] = ("learning_rate",)
    RECORDS: ClassVar[tuple[Any, ...]] = ()  # the dataclasses among the values of the fields, which JSON holds whole

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _plain(getattr(self, field.name)))
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

    def changes(self) -> dict[str, Any]:
        """The settings that differ from the defaults, by name."""
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        return {name: getattr(self, name) for name, default in defaults.items() if getattr(self, name) != default}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={_printed(value)}' for name, value in self.changes().items())})"

    def __rich_repr__(self) -> Iterator[tuple[str, Any]]:
        for name, value in self.changes().items():
            yield name, optimizer_name(value) if name == "optimizer" else value

    def _repr_html_(self) -> str:
        """A table of all settings for notebooks; those that differ from the defaults are in bold."""
        fields, changed = json.loads(to_json(self)), self.changes()
        defaults = {field.name: field.default for field in dataclasses.fields(self)}
        rows = [(name, value_text(value), _default(defaults[name]) if name in changed else "") for name, value in fields.items()]
        marked = [place for place, name in enumerate(fields) if name in changed]
        return section(type(self).__name__, table(rows, ("setting", "value", "default"), marked))

    @classmethod
    def upgraded(cls, fields: dict[str, Any]) -> dict[str, Any]:
        """The fields of a file of an older version, under today's names."""
        return fields


def value_text(value: Any) -> str:
    """A value of the JSON of settings, as text."""
    if isinstance(value, list):
        shown = ", ".join(map(value_text, value[:_LISTED]))
        return f"({shown}, … {len(value)} values)" if len(value) > _LISTED else f"({shown})"
    if isinstance(value, dict):
        [(kind, content)] = value.items()
        if not isinstance(content, dict):
            return str(content)
        return f"{kind}({', '.join(f'{name}={value_text(part)}' for name, part in content.items())})"
    return f"{value:g}" if isinstance(value, float) else str(value)


def settings_table(config: Settings) -> list[tuple[str, str]]:
    """The names and values of settings, without those that are None.

    Example:
      >>> from extremal_jax import Config
      >>> settings_table(Config(num_steps=7))[0]
      ('num_steps', '7')
    """
    return [(name, value_text(value)) for name, value in json.loads(to_json(config)).items() if value is not None]


def _printed(value: Any) -> str:
    """A setting in a line of code: an optimizer or a function by its name."""
    if isinstance(value, optax.GradientTransformation | optax.GradientTransformationExtraArgs):
        return optimizer_name(value)
    return getattr(value, "__name__", None) or repr(value)


def _default(value: Any) -> str:
    """A default in a table; one that follows the input is None, and one that is required is missing."""
    if value is dataclasses.MISSING:
        return ""
    if isinstance(value, optax.GradientTransformation | optax.GradientTransformationExtraArgs):
        return optimizer_name(value)
    return f"{value:g}" if isinstance(value, float) else str(value)


def _plain(value: Any) -> Any:
    """A value with Python's numbers in place of NumPy's, also in tuples and in the fields of schedules, so that JSON takes it."""
    if isinstance(value, np.generic):
        return value.item()
    if type(value) is tuple:
        return tuple(map(_plain, value))
    if type(value) in _SCHEDULES.values():
        return type(value)(**{field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)})
    return value


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
