"""The pointing game by TorchRay's rules."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import small
from extremal_jax.evaluation.localisation.pointing import class_accuracy, highest_point, is_hit
from golden_data import torchray

MAPS = np.random.default_rng(0).standard_normal((5, 9, 13)).astype(np.float32)


@pytest.fixture(scope="module")
def cases() -> dict[str, np.ndarray]:
    data = torchray("pointing_game")
    regions = np.unpackbits(data["masks"], axis=-1, count=int(data["shape"][1])).astype(bool)
    return {"points": data["points_xy"][:, ::-1], "regions": regions, "hits": data["hits"] > 0}


def test_hits_are_those_of_torchray(cases: Any) -> None:
    hits = is_hit(cases["points"], cases["regions"])
    assert len(cases["hits"]) == 200
    np.testing.assert_array_equal(hits, cases["hits"])
    np.testing.assert_array_equal(jax.jit(is_hit)(cases["points"], cases["regions"]), hits)
    np.testing.assert_array_equal(jax.vmap(is_hit)(cases["points"], cases["regions"]), hits)
    np.testing.assert_array_equal(
        [is_hit(point, region) for point, region in zip(cases["points"][:5], cases["regions"], strict=False)], hits[:5]
    )


def test_tolerance_is_strict() -> None:
    """3, 4 and 5 pixels make a right triangle."""
    region = np.zeros((20, 20), bool)
    region[10, 10] = True
    for point in ([13, 6], [7, 14], [10, 5]):
        assert not is_hit(point, region, 5)
        assert is_hit(point, region, 5.001)
    assert is_hit([10, 10], region, 1)
    assert not is_hit([10, 11], region, 1)
    assert is_hit([10.0, 10.5], region, 1)  # between pixels


def test_misses() -> None:
    full = np.ones((1, 6, 8), bool)
    assert not is_hit([[0, 0]], np.zeros_like(full)).any()
    for point in ([-1, -1], [6, 0], [0, 8], [np.nan, 0.0]):
        assert not is_hit([point], full).any()
    assert is_hit([[5, 7]], full).all()


def test_highest_points() -> None:
    points = np.asarray(highest_point(MAPS))
    assert points.dtype == np.int32
    for (row, column), values in zip(points, MAPS, strict=True):
        assert values[row, column] == values.max()
    np.testing.assert_array_equal(jax.jit(highest_point)(MAPS), points)
    np.testing.assert_array_equal(jax.vmap(highest_point)(MAPS), points)
    np.testing.assert_array_equal(highest_point(MAPS[3]), points[3])
    assert highest_point(MAPS[:0]).shape == (0, 2)


def test_points_of_constant_maps_ties_and_nan() -> None:
    maps = np.zeros((4, 5, 6), np.float32)
    maps[1, 2, [1, 4]] = 3
    maps[2, 3, 3] = np.nan
    maps[3, 4, 2] = np.inf
    assert highest_point(maps).tolist() == [[0, 0], [2, 1], [-1, -1], [4, 2]]
    assert is_hit(highest_point(maps), np.ones(maps.shape, bool)).tolist() == [True, True, False, True]


def test_class_accuracy() -> None:
    rng = np.random.default_rng(0)
    labels, hits = rng.choice([0, 1, 3], 50), rng.random(50) < 0.4
    shares = [hits[labels == label].mean() for label in (0, 1, 3)]
    found, torchrays = class_accuracy(hits, labels, 5), class_accuracy(hits, labels, 5, torchray_average=True)
    np.testing.assert_allclose(np.asarray(found.accuracies)[[0, 1, 3]], shares, rtol=1e-6)
    np.testing.assert_allclose([found.mean, torchrays.mean], [np.mean(shares), np.sum(shares) / 5], rtol=1e-6)
    assert found.absent.tolist() == np.isnan(found.accuracies).tolist() == [False, False, True, False, True]
    assert found.counts.tolist() == [np.count_nonzero(labels == label) for label in range(5)]
    jitted = jax.jit(lambda hits, labels: class_accuracy(hits, labels, 5))(hits, labels)
    for ours, other in zip(found, jitted, strict=True):
        np.testing.assert_array_equal(ours, other)
    np.testing.assert_array_equal(jax.vmap(lambda h: class_accuracy(h, labels, 5).mean)(np.stack([hits, ~hits]))[0], found.mean)


def test_no_pairs() -> None:
    found = class_accuracy([], [], 3)
    assert np.isnan(found.mean)
    assert found.absent.all()
    assert class_accuracy([], [], 3, torchray_average=True).mean == 0


def test_switches_of_jax(cases: Any) -> None:
    with small.strict():
        hits = is_hit(highest_point(MAPS), MAPS > 1, tolerance=2)
        found = class_accuracy(hits, np.arange(5) % 2, 2)
    assert found.mean.dtype == jnp.float32
    np.testing.assert_array_equal(hits, is_hit(highest_point(MAPS), MAPS > 1, tolerance=2))


REGION = np.ones((2, 5, 5), bool)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: highest_point(MAPS[0, 0]), r"maps must have the shape \(N, H, W\) or \(H, W\), got \(13,\)"),
        (lambda: is_hit([[1, 1]], REGION), r"points must be a row and a column for each region, \(2, 2\), got the shape \(1, 2\)"),
        (lambda: is_hit(np.ones((2, 2), bool), REGION), "points must hold numbers, got bool"),
        (lambda: is_hit(np.ones((2, 2)), REGION, 0), "tolerance must be a positive number of pixels, got 0"),
        (lambda: is_hit(np.ones((2, 2)), REGION * 0.5), "regions must be booleans"),
        (lambda: class_accuracy([1, -1], [0, 0], 2), r"hits must be booleans, got int64; TorchRay's \+1 and -1 are hits > 0"),
        (lambda: class_accuracy([True], [0.0], 2), "labels must be whole numbers, got float64"),
        (lambda: class_accuracy([True], [2], 2), "labels must be from 0 to 1, got values from 2 to 2"),
        (lambda: class_accuracy([True], [0, 1], 2), r"hits and labels must have one shape, \(N,\), got \(1,\) and \(2,\)"),
        (lambda: class_accuracy([True], [0], 0), "num_classes must be a whole number, at least 1, got 0"),
        (lambda: class_accuracy([True], [0], 1, torchray_average=1), "torchray_average must be True or False, got 1"),  # type: ignore[arg-type]
    ],
)
def test_bad_input(call: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call()
