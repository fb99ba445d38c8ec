"""Schedules: their forms and their ends."""

from __future__ import annotations

from typing import Any

import numpy as np
import optax
import pytest

from extremal_jax.optimise.schedules import Cosine, Doubling, Exponential, Geometric, Linear, schedule_values


@pytest.mark.parametrize(
    ("schedule", "first", "last"),
    [
        (Cosine(0.1), 0.1, 0.05 * (1 - np.cos(np.pi / 20))),
        (Geometric(300, 5000), 300, 5000),
        (Exponential(300, 1.0035), 300, 300 * 1.0035**19),
        (Doubling(300, 3), 300, 1200),
        (Linear(100, 200, 0.5), 100, 200),
    ],
    ids=lambda value: type(value).__name__,
)
def test_ends(schedule: Any, first: Any, last: Any) -> None:
    values = schedule_values("area_weight", schedule, 20)
    assert values.shape == (20,)
    assert values.dtype == np.float32
    np.testing.assert_allclose([values[0], values[-1]], [first, last], rtol=1e-5)


def test_a_function_sees_the_step() -> None:
    values = schedule_values("learning_rate", optax.linear_schedule(1.0, 0.0, 4), 5)
    np.testing.assert_allclose(values, [1, 0.75, 0.5, 0.25, 0])


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (-1.0, "rate must be finite and not negative at every step, got values from -1.0 to -1.0"),
        ([0.1, np.nan, 0.1], "rate must be finite"),
        ([0.1], r"rate must give one number for each of the 3 steps, got an array of shape \(1,\)"),
    ],
)
def test_bad_schedules(schedule: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        schedule_values("rate", schedule, 3)
