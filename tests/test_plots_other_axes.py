"""Figures of series, clips and volumes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import extremal_jax as ej
from plot_results import CLASSES, drawn, picture, result as result_of, titles

SHAPES: dict[str, tuple[int, ...]] = dict(video=(6, 8, 10), volume=(5, 8, 10), series=(30, 10), moments=(30,))


def result(kind: str, **changes: Any) -> ej.ExtremalResult:
    """Masks of which the feature or slice i is kept by i + 1 parts of a hundred."""
    shape = SHAPES[kind]
    levels = np.arange(1, shape[-1 if kind == "series" else 0] + 1, dtype=np.float32) / 100
    mask = np.broadcast_to(levels if kind in ("series", "moments") else levels[:, None, None], shape)
    masks = np.stack([mask, 2 * mask, 3 * mask]).astype(np.float32)
    fields: dict[str, Any] = dict(masks=masks, params=masks, masks_with_margin=None, areas=masks.reshape(3, -1).mean(axis=1))
    return result_of(config=ej.Config(axes=kind), **fields, **changes)


def values(kind: str) -> Any:
    shape = (30, 10) if kind in ("series", "moments") else (*SHAPES[kind], 3)
    return np.random.default_rng(0).random(shape)


def height(shade: Any) -> float:
    return float(np.asarray(shade.get_paths()[0].vertices)[:, 1].max())


def test_the_features_that_masks_keep_most() -> None:
    figure = ej.plots.series(values("series"), result("series"), CLASSES)
    assert [axes.get_ylabel() for axes in figure.axes] == [f"feature {feature}" for feature in range(2, 10)]
    assert figure.axes[-1].get_xlabel() == "time"
    [legend] = figure.legends
    assert legend.get_title().get_text() == "cat, area"
    assert [text.get_text() for text in legend.get_texts()] == ["40%", "20%", "10%"]


def test_the_features_asked_for() -> None:
    figure = ej.plots.series(values("series"), result("series"), features=(3, 1))
    assert [axes.get_ylabel() for axes in figure.axes] == ["feature 3", "feature 1"]
    [line] = figure.axes[0].lines
    np.testing.assert_allclose(np.asarray(line.get_ydata(), float), values("series")[:, 3], rtol=1e-6)


def test_a_shade_is_as_high_as_the_mask() -> None:
    figure = ej.plots.series(values("series"), result("series"), features=(4,))
    heights = [height(shade) for shade in figure.axes[0].collections]
    np.testing.assert_allclose(heights, [0.15, 0.1, 0.05], rtol=1e-6)  # the largest area first


def test_masks_of_moments_shade_every_feature() -> None:
    figure = ej.plots.series(values("moments"), result("moments"))
    heights = [height(axes.collections[0]) for axes in figure.axes]
    np.testing.assert_allclose(heights, [0.9] * 8, rtol=1e-6)


@pytest.mark.parametrize(("kind", "axis", "last"), [("video", "time", 5), ("volume", "depth", 4)])
def test_slices(kind: str, axis: str, last: int) -> None:
    figure = ej.plots.slices(values(kind), result(kind), CLASSES, count=3)
    assert titles(figure)[:3] == [f"{axis} 0", f"{axis} 2", f"{axis} {last}"]
    assert len(figure.axes) == 4 * 3
    np.testing.assert_allclose(drawn(figure.axes[2]), values(kind)[last], atol=1e-6)
    assert figure.axes[0].get_ylabel() == "cat"
    assert figure.axes[3].get_ylabel().endswith("response 1.00")


def test_more_slices_than_there_are() -> None:
    assert len(ej.plots.slices(values("volume"), result("volume"), count=100).axes) == 4 * 5


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: ej.plots.series(values("series")[:-1], result("series")), r"got values of shape \(29, 10\) and masks of \(3, 30, 10\)"),
        (lambda: ej.plots.series(values("video"), result("video")), "series draws one series"),
        (lambda: ej.plots.series(values("series"), result("series"), features=(10,)), "features must be indices from 0 to 9"),
        (lambda: ej.plots.series(values("series"), result("series"), features=()), "at least one"),
        (lambda: ej.plots.slices(values("video")[:-1], result("video")), "slices draws one clip"),
        (lambda: ej.plots.slices(values("series"), result("series")), "slices draws one clip"),
        (lambda: ej.plots.slices(values("video"), result("video"), count=0), "count must be a whole number of slices"),
        (lambda: ej.plots.overview(picture(), result("video")), "masks have the axes time, height, width; plots.series and plots.slices"),
    ],
)
def test_what_cannot_be_drawn(draw: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw()
