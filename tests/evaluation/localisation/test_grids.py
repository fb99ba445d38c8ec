"""Grids of images, the share of attribution in a cell, and models that see one cell."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

import extremal_jax as ej
import small
from extremal_jax.attribution import grad_cam, gradient, linear_approx
from extremal_jax.evaluation.localisation.grids import DiFull, DiPart, Grids, arrange, cell_regions, grid_hit, grid_share, make_grids

CLASSES = np.repeat(np.arange(6), 4)
CELLS = np.random.default_rng(0).standard_normal((24, 8, 12, 3)).astype(np.float32)
SCORES = 8.0 * np.eye(6)[CLASSES]
CORNERS = [(0, 0), (0, 1), (1, 0), (1, 1)]
TARGET = 2


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
    expected = whole[:4, :4].sum() / whole.sum()
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


GRID = np.asarray(small.images(2, 16, 24))  # two grids of 2x2 cells of 8x12 pixels
WEIGHTS = small.weights()


def cut(images: Any, cell: tuple[int, int], size: tuple[int, int] = (8, 12)) -> Any:
    return images[:, cell[0] * size[0] : (cell[0] + 1) * size[0], cell[1] * size[1] : (cell[1] + 1) * size[1]]


@pytest.mark.parametrize("cell", CORNERS)
@pytest.mark.parametrize("at", [None, "first", "second"])
def test_difull_is_the_model_of_the_cell_alone(cell: Any, at: Any) -> None:
    model = DiFull(small.MODEL, cell, at=at)
    np.testing.assert_allclose(model(GRID), small.MODEL(cut(GRID, cell)), rtol=1e-4, atol=1e-5)
    maps = np.asarray(jax.grad(lambda images: model(images)[:, TARGET].sum())(GRID))
    own = jax.grad(lambda images: small.MODEL(images)[:, TARGET].sum())(jnp.asarray(cut(GRID, cell)))
    np.testing.assert_allclose(cut(maps, cell), own, rtol=1e-4, atol=1e-5)
    outside = ~np.asarray(cell_regions(cell, 2, (16, 24)))
    assert not maps[:, outside].any()
    np.testing.assert_allclose(grid_share(np.abs(maps).max(axis=-1), np.array([cell] * 2)), 1, rtol=1e-6)


@pytest.mark.parametrize("wrapper", [DiFull, functools.partial(DiPart, at="second")], ids=["DiFull", "DiPart"])
def test_methods_take_the_wrapped_models(wrapper: Any, compilations: list[str]) -> None:
    """Their arrays are arguments: other weights compile nothing. A closure works too."""
    cell = (1, 0)
    explain = functools.partial(gradient, images=jnp.asarray(GRID), targets=TARGET)
    maps = explain(wrapper(small.MODEL, cell))
    direct = jax.grad(lambda images: wrapper(small.MODEL, cell)(images)[:, TARGET].sum())(GRID)
    np.testing.assert_allclose(maps, np.abs(direct).max(axis=-1), rtol=1e-4, atol=1e-6)
    jax.block_until_ready(small.model(1).args)
    del compilations[:]
    other = explain(wrapper(small.model(1), cell))
    assert not compilations
    assert np.abs(other - maps).max() > 0
    np.testing.assert_allclose(explain(wrapper(lambda images: small.classify(WEIGHTS, images), cell)), maps, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("at", ["first", "second"])
def test_dipart_runs_the_whole_grid_to_the_layer(at: str) -> None:
    cell = (0, 1)
    model = DiPart(small.MODEL, cell, at)
    whole = ej.graph.capture(small.MODEL, at)(jnp.asarray(GRID))[1][at]
    size = whole.shape[1] // 2, whole.shape[2] // 2
    cells = jnp.asarray(cut(GRID, cell))
    expected = ej.graph.split(small.MODEL, at, cells).after(cut(whole, cell, size))
    np.testing.assert_allclose(model(GRID), expected, rtol=1e-4, atol=1e-5)
    assert np.abs(model(GRID) - DiFull(small.MODEL, cell)(GRID)).max() > 1e-4  # neighbours reach across the border, but not far
    maps = np.abs(jax.grad(lambda images: model(images)[:, TARGET].sum())(GRID)).max(axis=-1)
    outside = np.asarray(cell_regions(cell, 2, (16, 24)))
    assert maps[:, ~outside].max() > 0
    reach = np.array(cell_regions(cell, 2, (16, 24)))
    reach[:12, 8:] = True
    assert not maps[:, ~reach].any()


@pytest.mark.parametrize("wrapper", [DiFull, DiPart])
@pytest.mark.parametrize("cell", [(0, 0), (1, 1)])
def test_methods_find_the_layer_of_the_grid(wrapper: Any, cell: Any) -> None:
    """Activation times gradient is zero outside of the cell; Grad-CAM, whose weights are means over space, is not."""
    model = wrapper(small.MODEL, cell, at="second")
    inside = np.asarray(cell_regions(cell, 2, (4, 6)))
    linear = np.asarray(linear_approx(model, GRID, TARGET, at="second"))
    cam = np.asarray(grad_cam(model, GRID, TARGET, at="second"))
    assert linear.shape == cam.shape == (2, 4, 6)
    assert linear[:, inside].any()
    assert not linear[:, ~inside].any()
    activation = np.asarray(ej.graph.capture(model, "second")(jnp.asarray(GRID))[1]["second"])
    weights = np.asarray(WEIGHTS["head"])[:, TARGET] / 24  # the mean of the gradient over the grid, but for a factor
    expected = np.maximum(activation @ weights, 0)
    np.testing.assert_allclose(cam / np.maximum(cam.max(), 1e-9), expected / np.maximum(expected.max(), 1e-9), rtol=1e-3, atol=1e-5)


def pooled(images: Any) -> Any:
    return checkpoint_name(checkpoint_name(images, "pixels")[:, :4, :4].mean((1, 2)), "pooled")


def cropped(images: Any) -> Any:
    return checkpoint_name(images[:, 1:], "cropped").mean((1, 2))


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
        (lambda: DiFull(small.MODEL, (0, 2))(GRID), r"cell must be a row and a column, from 0 to 1, got \(0, 2\)"),
        (
            lambda: DiFull(small.MODEL, (0, 0), 3)(GRID),
            r"images must be grids of 3x3 cells, .* multiples of 3, got \(16, 24\)",
        ),
        (lambda: DiFull(pooled, (0, 0), at="pooled")(GRID), r"at: the activation 'pooled' must have the shape \(B, y, x, channels\)"),
        (lambda: DiPart(pooled, (0, 0), "pooled")(GRID), r"at: the activation 'pooled' must have the shape \(B, y, x, channels\)"),
        (lambda: DiPart(cropped, (0, 0), "cropped")(GRID), r"must be 2 times the size of a cell's, \(7, 12\), got \(15, 24\)"),
        (lambda: DiPart(small.MODEL, (0, 0), "third")(GRID), "'third'"),
    ],
)
def test_bad_input(call: Any, message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        call()
