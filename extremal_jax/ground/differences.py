"""What two records of settings differ in, in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_LONGEST = 80  # characters of a setting


def differences(kept: Mapping[str, Any], now: Mapping[str, Any], besides: Iterable[str] = ()) -> list[str]:
    """The settings that differ, in alphabetical order.

    Args:
      kept: the settings as they were.
      now: the settings as they are.
      besides: names that are not compared.

    Example:
      >>> differences({"seed": 0, "areas": [0.1]}, {"seed": 1, "areas": [0.1]})
      ['seed was 0 and is 1']
    """
    names = sorted((kept.keys() | now.keys()) - set(besides))
    return [difference(name, kept.get(name), now.get(name)) for name in names if kept.get(name) != now.get(name)]


def difference(name: str, kept: Any, now: Any) -> str:
    """One setting that differs; of two mappings, the first of their entries that does."""
    if isinstance(kept, Mapping) and isinstance(now, Mapping) and (found := differences(kept, now)):
        return f"{name}, {found[0]}"
    return f"{name} was {_short(kept)} and is {_short(now)}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
