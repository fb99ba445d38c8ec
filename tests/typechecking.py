"""The run-time type checker of the tests: an int is a float where a float is asked for, as in PEP 484."""

from typing import Any

from beartype import BeartypeConf, beartype

_beartype = beartype(conf=BeartypeConf(is_pep484_tower=True))
WALKS = {"extremal_jax.graph.contents"}  # of many small calls, on values of any type


def check(function: Any) -> Any:
    """All functions but walks."""
    return function if function.__module__ in WALKS else _beartype(function)
