"""Generated clips and series: pinned, with exact masks."""

from __future__ import annotations

import hashlib
import importlib.resources
from typing import Any

import numpy as np
import pytest

import extremal_jax as ej
from extremal_jax.data import load_array, moving_scenes, series

PACKAGED = importlib.resources.files("extremal_jax.data") / "packaged"


def test_clips_depend_on_seed_and_index_only() -> None:
    whole = moving_scenes.generate(3, 3)
    for index, one in enumerate(whole):
        again = moving_scenes.generate(3, 1, first=index)
        np.testing.assert_array_equal(one.clips, again.clips)
        np.testing.assert_array_equal(one.segmentation, again.segmentation)
    assert (moving_scenes.generate(4, 1).clips != whole[0].clips).any()


def test_series_depend_on_seed_and_index_only() -> None:
    whole = series.generate(3, 3)
    for index, one in enumerate(whole):
        again = series.generate(3, 1, first=index)
        np.testing.assert_array_equal(one.values, again.values)
        np.testing.assert_array_equal(one.events, again.events)


def test_masks_of_clips_are_exact() -> None:
    """An object is where a frame differs from the first without it, and is visible in consecutive frames."""
    moving = moving_scenes.generate(0, 4, 40, 9, objects=1)
    assert moving.clips.shape == (4, 9, 40, 40, 3)
    assert moving.labels.sum(axis=1).tolist() == [1] * 4
    for clip, segmentation in zip(moving.clips, moving.segmentation, strict=True):
        shown = np.flatnonzero((segmentation >= 0).any(axis=(1, 2)))
        assert 3 <= len(shown) <= 6
        assert np.ptp(shown) == len(shown) - 1
        empty = clip[next(frame for frame in range(9) if frame not in shown)]
        changed = (clip != empty).any(axis=-1)
        assert (changed & (segmentation >= 0)).sum() >= 0.95 * (segmentation >= 0).sum()
        assert not changed[[frame for frame in range(9) if frame not in shown]].any()


def test_masks_of_series_are_exact() -> None:
    planted = series.generate(0, 20, 80, 4, events=2)
    assert planted.values.shape == (20, 80, 4)
    assert planted.labels.sum(axis=1).tolist() == [2] * 20
    assert ((planted.events >= 0).any(axis=1).sum(axis=1) == 2).all()  # in two features
    lasts = planted.masks.sum(axis=(2, 3))[planted.labels]
    assert 12 <= lasts.min() <= lasts.max() <= 24
    step = planted.masks[:, series.CLASSES.index("step")]
    assert planted.values[step].mean() > 1.8
    assert abs(planted.values[planted.events < 0]).mean() < 0.6


def test_the_packaged_clip_and_series_can_be_regenerated() -> None:
    with importlib.resources.as_file(PACKAGED / "moving-dog-and-car.npy") as path:
        np.testing.assert_array_equal(load_array(path), moving_scenes.generate(2024, 1, objects=2, first=22).clips[0])
    with importlib.resources.as_file(PACKAGED / "series-rise-and-oscillation.npy") as path:
        np.testing.assert_allclose(load_array(path), series.generate(2024, 1, events=2, first=8).values[0], atol=1e-5)  # sines


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: moving_scenes.generate(-1, 1), "seed must be a whole number, at least 0, got -1"),
        (lambda: moving_scenes.generate(0, 1, 31), "size must be a whole number, at least 32, got 31"),
        (lambda: moving_scenes.generate(0, 1, frames=5), "frames must be a whole number, at least 6, got 5"),
        (lambda: moving_scenes.generate(0, 1, objects=4), "objects must be a number from 1 to 3"),
        (lambda: moving_scenes.generate(0, 1, objects=1.0), "objects must be a whole number, or two of them"),
        (lambda: series.generate(0, 0), "count must be a whole number, at least 1, got 0"),
        (lambda: series.generate(0, 1, 39), "length must be a whole number, at least 40, got 39"),
        (lambda: series.generate(0, 1, features=1), r"events must be a number from 1 to 1, .* got \(1, 2\)"),
        (lambda: series.generate(0, 1, first=-1), "first must be a whole number, at least 0, got -1"),
        (lambda: series.generate(0, 2)[2], "series 2 is out of range; there are 2"),
        (lambda: moving_scenes.generate(0, 1)[-2], "clip -2 is out of range; there are 1"),
    ],
)
def test_bad_arguments(call: Any, message: str) -> None:
    with pytest.raises((ValueError, IndexError), match=message):
        call()


def test_pixels_are_pinned() -> None:
    moving = ej.data.moving_scenes.generate(0, 1)
    assert hashlib.sha256(moving.clips.tobytes() + moving.segmentation.tobytes()).hexdigest()[:16] == "ec67bc8cc7503ade"
