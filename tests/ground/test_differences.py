"""Differences of settings, in words."""

from __future__ import annotations

from typing import Any

import pytest

from extremal_jax.ground.differences import difference, differences


@pytest.mark.parametrize(
    ("kept", "now", "expected"),
    [
        ({}, {}, []),
        ({"b": 1, "a": "x"}, {"a": "x", "b": 1}, []),
        ({"b": 1, "a": "x"}, {"a": "y", "b": 2}, ["a was 'x' and is 'y'", "b was 1 and is 2"]),
        ({"areas": [0.1]}, {"areas": [0.1, 0.2]}, ["areas was [0.1] and is [0.1, 0.2]"]),
        ({"old": 1}, {"new": 2}, ["new was None and is 2", "old was 1 and is None"]),
        ({"model": {"name": "a", "digest": "12"}}, {"model": {"name": "a", "digest": "34"}}, ["model, digest was '12' and is '34'"]),
        ({"a": {"b": {"c": 1}}}, {"a": {"b": {"c": 2}}}, ["a, b, c was 1 and is 2"]),
        ({"a": {"b": 1, "c": 1}}, {"a": {"b": 2, "c": 2}}, ["a, b was 1 and is 2"]),  # the first is enough
        ({"a": {"b": None}}, {"a": {}}, ["a was {'b': None} and is {}"]),
        ({"a": {"b": 1}}, {"a": None}, ["a was {'b': 1} and is None"]),
    ],
)
def test_differences(kept: Any, now: Any, expected: list[str]) -> None:
    assert differences(kept, now) == expected


def test_names_that_are_not_compared() -> None:
    assert differences({"jax": "1", "seed": 0}, {"jax": "2", "seed": 1}, ["jax"]) == ["seed was 0 and is 1"]


def test_long_settings_are_cut() -> None:
    assert difference("names", list(range(100)), "x") == f"names was {repr(list(range(100)))[:80]}... and is 'x'"
