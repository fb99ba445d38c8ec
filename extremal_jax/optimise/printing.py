"""Settings as texts: a short form that says what differs from the defaults, and a table of all."""

from __future__ import annotations

import json
from typing import Any

from extremal_jax.optimise.settings import Settings, to_json


def settings_table(config: Settings) -> list[tuple[str, str]]:
    """The names and values of settings, without those that are None.

    Example:
      >>> from extremal_jax import Config
      >>> settings_table(Config(num_steps=7))[0]
      ('num_steps', '7')
    """
    return [(name, value_text(value)) for name, value in json.loads(to_json(config)).items() if value is not None]


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


_LISTED = 6  # values of a schedule
