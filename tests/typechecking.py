"""The run-time type checker of the tests: an int is a float where a float is asked for, as in PEP 484."""

from __future__ import annotations

from pathlib import Path

from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))

PACKAGE = Path(__file__).parents[1] / "extremal_jax"
WALKS = {"canonical", "contents", "interpreter"}  # checks of their many thousand small calls would take most of the time


def checked_modules() -> list[str]:
    """The names of all modules whose functions are checked."""
    files = (path.relative_to(PACKAGE.parent) for path in PACKAGE.rglob("*.py") if path.stem not in WALKS | {"__init__", "__main__"})
    return [".".join(path.with_suffix("").parts) for path in files]
