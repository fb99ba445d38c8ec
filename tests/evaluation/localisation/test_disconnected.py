"""Models of grids that see one cell: the cell's own model, methods, and layers of the grid."""

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
from extremal_jax.evaluation.localisation.disconnected import DiFull, DiPart
from extremal_jax.evaluation.localisation.grids import cell_regions, grid_share

CORNERS = [(0, 0), (0, 1), (1, 0), (1, 1)]
TARGET = 2
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
