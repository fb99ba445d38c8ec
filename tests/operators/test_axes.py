"""The records of axes, and lengths along them."""

from __future__ import annotations

from typing import Any

import pytest

from extremal_jax.operators.axes import AXES, IMAGE, SERIES, VIDEO, VOLUME, Axis, check_axes, each, names, sides


@pytest.mark.parametrize("name", list(AXES))
def test_every_name_is_known(name: str) -> None:
    assert check_axes(name) == AXES[name] == check_axes(list(AXES[name]))


@pytest.mark.parametrize(
    ("axes", "error", "words"),
    [
        ("vido", ValueError, "axes must be one of image, video, .* got 'vido'"),
        (3, TypeError, "or a tuple of Axis records, got 3"),
        (("time", "feature"), TypeError, "tuple of Axis records"),
        ((Axis("time"), Axis("time")), ValueError, "different names, got time, time"),
        ((Axis("channel", masked=False),), ValueError, "from one to three that are masked, got 0"),
        (tuple(Axis(name) for name in "abcd"), ValueError, "from one to three that are masked, got 4"),
    ],
)
def test_bad_axes(axes: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        check_axes(axes)


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        (dict(name="a b"), ValueError, "name must be a word"),
        (dict(name="a", masked=1), TypeError, "masked"),
        (dict(name="a", smooth=None), TypeError, "smooth"),
        (dict(name="a", unit=3), TypeError, "unit"),
    ],
)
def test_bad_axis(fields: Any, error: Any, words: str) -> None:
    with pytest.raises(error, match=words):
        Axis(**fields)


def test_axes_of_one_unit_share_the_shorter_side() -> None:
    assert sides(VOLUME, (10, 30, 20)) == (10, 10, 10)
    assert sides(VIDEO, (10, 30, 20)) == (10, 20, 20)
    assert sides(IMAGE, (30, 20)) == (20, 20)


def test_lengths_along_each_axis() -> None:
    assert each(VIDEO, (10, 30, 20), None, lambda side: side / 10) == (1.0, 2.0, 2.0)
    assert each(VIDEO, (10, 30, 20), (3, 4, 5), lambda side: side / 10) == (3.0, 4.0, 5.0)
    assert each(SERIES, (10, 3), 2.0, lambda side: side / 10) == (2.0, 0.0)
    assert names(SERIES) == ("time", "feature")
