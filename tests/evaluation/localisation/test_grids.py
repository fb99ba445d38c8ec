"""Grids of images, and the share of attribution in a cell."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import small
from extremal_jax.evaluation.localisation.grids import Grids, arrange, grid_hit, grid_share, make_grids

CLASSES = np.repeat(np.arange(6), 4)
CELLS = np.random.default_rng(0).standard_normal((24, 8, 12, 3)).astype(np.float32)
SCORES = 8.0 * np.eye(6)[CLASSES]
CORNERS = [(0, 0), (0, 1), (1, 0), (1, 1)]


def grids(**options: Any) -> Grids:
    return make_grids(CELLS, CLASSES, options.pop("scores", SCORES), **{"count": 8, **options})


def same(some: Grids, other: Grids) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(some, other, strict=True))


@pytest.mark.parametrize("n", [2, 3])
def test_grids_hold_what_they_say(n: int) -> None:
    scores = 8.0 * np.eye(9)[np.arange(24) % 9]
    made = make_grids(CELLS, np.arange(24) % 9, scores, count=10, cells=n)
    assert made.images.shape == (10, 8 * n, 12 * n, 3)
    assert made.cells.tolist() == [list(divmod(index % n**2, n)) for index in range(10)]
    for image, target, (row, column), members, region in zip(*made[:4], made.regions, strict=True):
        assert len({member % 9 for member in members.ravel().tolist()}) == n**2
        assert target == members[row, column] % 9
        for r, c in np.ndindex(n, n):
            np.testing.assert_array_equal(image[8 * r : 8 * r + 8, 12 * c : 12 * c + 12], CELLS[members[r, c]])
        np.testing.assert_array_equal(image[region].reshape(8, 12, 3), CELLS[members[row, column]])


def test_twins_in_corners() -> None:
    made = grids(corners=True)
    assert made.cells.tolist() == [[0, 0], [1, 1]] * 4
    for target, members in zip(made.targets, made.members.reshape(8, 4), strict=True):
        assert CLASSES[members[[0, 3]]].tolist() == [target, target]
        assert members[0] != members[3]
        assert len(set(CLASSES[members].tolist())) == 3
    assert len(set(made.targets.tolist())) > 1


def test_seed_first_and_count() -> None:
    for options in ({}, {"corners": True}):
        made = grids(**options)
        assert same(made, grids(**options))
        assert not same(made, grids(seed=1, **options))
        parts = grids(count=3, **options), grids(count=5, first=3, **options)
        assert same(made, Grids(*map(np.concatenate, zip(*parts, strict=True))))


def test_only_recognised_images_are_taken() -> None:
    """Some are taken for another class, others are doubtful."""
    scores = SCORES.copy()
    scores[0::4] = 8.0 * np.eye(6)[(CLASSES[0::4] + 1) % 6]
    scores[1::4] = 1.0 * np.eye(6)[CLASSES[1::4]]
    assert set((grids(scores=scores, count=40).members % 4).ravel().tolist()) == {2, 3}
    assert set((grids(scores=scores, count=40, threshold=0.3).members % 4).ravel().tolist()) == {1, 2, 3}
    own = np.tile([0.1, 0.5, 0.8, 0.9], 6)  # probabilities of the class itself
    assert set((grids(scores=own, count=40).members % 4).ravel().tolist()) == {2, 3}
    assert set((grids(scores=own, count=40, threshold=0.85).members % 4).ravel().tolist()) == {3}


def test_the_images_may_be_read_later() -> None:
    made = grids()
    options: dict[str, Any] = dict(count=8, cells=2, threshold=0.8, corners=False, seed=0, first=0)
    members, turns = arrange(CLASSES, SCORES, **options)
    np.testing.assert_array_equal(members, made.members)
    np.testing.assert_array_equal(turns, np.arange(8) % 4)


@pytest.mark.parametrize("n", [2, 3])
def test_share_against_slices(n: int) -> None:
    rng = np.random.default_rng(0)
    maps, cells = rng.standard_normal((5, 6 * n, 4 * n)), rng.integers(0, n, (5, 2))
    shares, hits = np.asarray(grid_share(maps, cells, n)), np.asarray(grid_hit(maps, cells, n))
    for share, hit, values, (row, column) in zip(shares, hits, maps, cells, strict=True):
        inside = values[6 * row : 6 * row + 6, 4 * column : 4 * column + 4]
        np.testing.assert_allclose(share, np.maximum(inside, 0).sum() / np.maximum(values, 0).sum(), rtol=1e-5)
        assert hit == (inside.max() == values.max())
    for test, expected in ((grid_share, shares), (grid_hit, hits)):
        np.testing.assert_array_equal(jax.jit(lambda maps, cells, test=test: test(maps, cells, n))(maps, cells), expected)
        np.testing.assert_array_equal(jax.vmap(lambda maps, cell, test=test: test(maps, cell, n))(maps, cells), expected)
        with small.strict():
            np.testing.assert_allclose(test(maps, cells, n), expected, rtol=1e-6)


def test_coarse_maps_are_enlarged_bilinearly() -> None:
    """Three rows for two cells: the middle one is shared, and enlargement comes before the negative part is dropped."""
    coarse = np.array([[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    whole = np.asarray(jax.image.resize(coarse, (8, 8), "bilinear"))
    expected = np.sum(whole[:4, :4]) / np.sum(whole)
    np.testing.assert_allclose(grid_share(coarse, (0, 0), size=(8, 8)), expected, rtol=1e-6)
    signed = np.array([[1.0, -1.0], [-1.0, 1.0]])
    large = np.maximum(jax.image.resize(signed, (8, 8), "bilinear"), 0)
    np.testing.assert_allclose(grid_share(signed, (1, 1), size=(8, 8)), large[4:, 4:].sum() / large.sum(), rtol=1e-6)
    assert grid_hit([[0.0, 1.0], [0.0, 0.0]], (0, 1), size=(8, 8))


def test_shares_of_constant_and_broken_maps() -> None:
    maps, cells = np.ones((4, 6, 6)), np.array(CORNERS)
    np.testing.assert_allclose(grid_share(maps, cells), 0.25)
    assert grid_hit(maps, cells).tolist() == [True, False, False, False]
    np.testing.assert_array_equal(grid_share(-maps, cells), 0)
    np.testing.assert_array_equal(grid_share(2e-9 * maps, cells), 0)  # 36 pixels: 7e-8
    assert np.isnan(grid_share(np.full((6, 6), np.nan), (0, 0)))
    assert not grid_hit(np.full((6, 6), np.nan), (0, 0))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: grids(cells=3), "grids of 3x3 cells need 9 classes, .* of 24 images, 24 are, of 6 classes; lower threshold, or take"),
        (lambda: grids(scores=0.1 * SCORES), "grids of 2x2 cells need 4 classes, .* at least 0.8; of 24 images, 0 are, of 0 classes"),
        (lambda: make_grids(CELLS[::4], CLASSES[::4], SCORES[::4], count=1, corners=True), "need 3 classes, one of them with two such"),
        (lambda: make_grids(CELLS[0], CLASSES, SCORES, count=1), r"images must have the shape \(M, h, w, C\)"),
        (lambda: make_grids(CELLS, CLASSES[1:], SCORES, count=1), r"classes must be one for each of the 24 images, got the shape \(23,\)"),
        (lambda: make_grids(CELLS, CLASSES, SCORES[1:], count=1), r"scores must have the shape \(M, classes\) or \(M,\)"),
        (lambda: grids(scores=SCORES[:, 0]), r"scores of the shape \(M,\) are probabilities, from 0 to 1"),
        (lambda: make_grids(CELLS, CLASSES + 1, SCORES, count=1), "classes must be from 0 to 5, as scores has them, got up to 6"),
        (lambda: make_grids(CELLS, CLASSES * 1.0, SCORES, count=1), "classes must be whole numbers"),
        (lambda: grids(count=0), "count must be a whole number, at least 1, got 0"),
        (lambda: grids(cells=1), "cells must be a whole number, at least 2, got 1"),
        (lambda: grids(threshold=2), "threshold must be a share of one, from 0 to 1, got 2"),
        (lambda: grids(corners=1), "corners must be True or False, got 1"),
        (lambda: grid_share(np.ones((7, 6)), (0, 0)), r"sides that are multiples of 2, got \(7, 6\); pass size, the grid's, in pixels"),
        (
            lambda: grid_share(np.ones((6, 6)), (0.0, 0.0)),
            r"cells must be rows and columns, \(G, 2\) or \(2,\), whole numbers, got float64",
        ),
        (lambda: grid_hit(np.ones(6), (0, 0)), r"maps must have the shape \(G, h, w\) or \(h, w\), got \(6,\)"),
    ],
)
def test_bad_input(call: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call()


@pytest.mark.parametrize("cell", [(2, 0), (0, -1)])
@pytest.mark.parametrize("function", [grid_share, grid_hit])
def test_cells_beyond_the_grid_are_refused(function: Any, cell: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match=r"cells must be rows and columns from 0 to 1, got values from -?\d to \d"):
        function(np.ones((8, 8), np.float32), cell)
