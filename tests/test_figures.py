"""How figures look: as recorded, in the size of a paper, in a file of vectors, and on axes and figures that are given."""

from __future__ import annotations

import inspect
import io
import re
from typing import Any

import matplotlib.colors
import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.figure import Figure
from PIL import Image

import extremal_jax as ej
import plot_results
from extremal_jax.plots import panels as canvases
from figure_cases import AREAS, CASES, FOLDER, IMAGES, MASKS, PANELS, SHARES, coarse, picture, result
from plot_results import drawn

FIGURES = sorted(set(CASES) - set(PANELS))
_MEAN, _MOST = 0.02, 0.2  # differences of squares; text in another font makes 0.018 and 0.19, and other masks 0.05 and 0.24 or more


def differences(figure: Figure, name: str) -> tuple[float, float]:
    """The mean and the largest difference to a recorded picture."""
    with Image.open(FOLDER / f"{name}.png") as recorded:
        expected, found = np.asarray(recorded), picture(figure)
    assert found.shape == expected.shape
    difference = np.abs(coarse(found) - coarse(expected))
    return float(difference.mean()), float(difference.max())


def test_every_kind_of_figure_is_recorded_in_a_small_file() -> None:
    assert set(CASES) == set(ej.plots.__all__) == {file.stem for file in FOLDER.iterdir()}
    assert max(file.stat().st_size for file in FOLDER.iterdir()) <= 20_000


@pytest.mark.parametrize("name", CASES)
def test_figures_look_as_recorded(name: str) -> None:
    mean, most = differences(CASES[name](), name)
    assert mean <= _MEAN
    assert most <= _MOST


@pytest.mark.parametrize(
    ("name", "draw"),
    [
        ("overview", lambda: ej.plots.overview(IMAGES[0], result(masks=MASKS[:, ::-1, ::-1]), plot_results.CLASSES)),
        ("heat", lambda: ej.plots.heat(IMAGES[0], MASKS[0], "saliency")),
        ("responses", lambda: ej.plots.responses(AREAS, SHARES[:, ::-1])),
    ],
)
def test_the_comparison_tells_figures_apart(name: str, draw: Any) -> None:
    mean, most = differences(draw(), name)
    assert mean > 2 * _MEAN
    assert most > _MOST


@pytest.mark.parametrize("name", CASES)
def test_widths_are_those_of_a_paper_or_as_asked(name: str) -> None:
    assert 3.5 - 0.01 <= CASES[name]().get_figwidth() <= 7.01
    assert CASES[name](width=5.0).get_figwidth() == 5
    with pytest.raises(ValueError, match="width must be a positive number, got 0"):
        CASES[name](width=0)


@pytest.mark.parametrize("name", PANELS)
def test_functions_of_one_panel_draw_on_axes_and_return_them(name: str) -> None:
    figure = Figure()
    left, right = figure.subplots(1, 2)
    assert CASES[name](ax=right) is right
    assert (left.has_data(), right.has_data()) == (False, True)
    [alone] = CASES[name]().axes
    assert right.get_title() == alone.get_title()
    assert right.get_ylabel() == alone.get_ylabel()


@pytest.mark.parametrize("name", FIGURES)
def test_the_other_functions_draw_on_figures_and_parts_of_them(name: str) -> None:
    figure: Any = Figure(figsize=(8, 4), layout="constrained")
    left, right = figure.subfigures(1, 2)
    assert CASES[name](figure=right) is figure
    kinds = [axes.get_title() for axes in CASES[name]().axes]
    assert [axes.get_title() for axes in figure.axes] == kinds
    assert left.axes == []
    assert figure.get_figwidth() == 8


def test_what_cannot_be_drawn_on() -> None:
    """The functions check it by these two; annotations, which the tests check, are not checked for users."""
    figure = Figure()
    with pytest.raises(TypeError, match=r"ax must be matplotlib Axes, such as plt.gca\(\), got Figure"):
        canvases.panel(figure, 1, 1)
    with pytest.raises(TypeError, match=r"figure must be a matplotlib Figure or SubFigure, such as plt.figure\(\), got Axes"):
        canvases.canvas(figure.subplots(), 1, 1)


@pytest.mark.parametrize("name", ["overview", "history", "slices"])
def test_vectors_hold_pictures_as_pixels_and_the_rest_as_paths(name: str) -> None:
    """A picture for each mask and image, with the pixels of at least 200 to an inch; text, outlines and curves are paths."""
    figure, file = CASES[name](), io.StringIO()
    figure.savefig(file, format="svg")
    assert len(re.findall("<image ", file.getvalue())) == sum(len(axes.images) for axes in figure.axes)
    assert file.getvalue().count("<path ") > 10
    assert figure.dpi == 200
    pdf = io.BytesIO()
    figure.savefig(pdf, format="pdf")
    assert pdf.getvalue().startswith(b"%PDF")


def luminance(colour: Any) -> float:
    """The lightness of a colour, which all eyes see alike."""
    linear = np.where((rgb := np.array(matplotlib.colors.to_rgb(colour))) <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722]) ** (1 / 2.4)


def test_colours_differ_in_lightness() -> None:
    """Of neighbouring areas, and along the colours of maps, so that nobody needs to tell red from green."""
    curves = [luminance(line.get_color()) for line in CASES["history"]().axes[0].lines]
    shades = [luminance(shade.get_facecolor()[0][:3]) for shade in CASES["series"]().axes[0].collections]
    assert np.min(np.diff(curves)) > 0.1
    assert np.max(np.diff(shades)) < -0.1  # from the largest area to the smallest, which is darkest
    assert np.diff([luminance(colour) for colour in colormaps["inferno"](np.linspace(0, 1, 20))]).min() > 0


def test_text_is_of_seven_points() -> None:
    for name in CASES:
        for axes in CASES[name]().axes:
            for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
                assert not text.get_text() or text.get_fontsize() == 7, name


def test_signatures_are_alike() -> None:
    for name in ej.plots.__all__:
        options = [
            parameter.name
            for parameter in inspect.signature(getattr(ej.plots, name)).parameters.values()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        ]
        assert options[-2:] == ["width", "ax" if name in PANELS else "figure"], name


def test_selection_and_heat() -> None:
    """They draw as the overview and the comparison do, with masks of any size, and say what they cannot draw."""
    part = drawn(ej.plots.selection(IMAGES[0], MASKS[1], "area").axes[0])
    np.testing.assert_allclose(part, drawn(ej.plots.overview(IMAGES[0], result()).axes[2]), atol=1e-6)
    over = drawn(ej.plots.heat(IMAGES[0], -MASKS[2][::2, ::2]).axes[0])
    assert over.shape == (48, 48, 3)
    np.testing.assert_allclose(np.ptp(over, axis=2), 0, atol=1e-6)  # negative values are not shown
    for draw, argument in ((ej.plots.selection, "mask"), (ej.plots.heat, "saliency")):
        with pytest.raises(ValueError, match=rf"{argument} must be of shape \(h, w\), got the shape \(3, 48, 48\)"):
            draw(IMAGES[0], MASKS)
        with pytest.raises(ValueError, match=r"image must be a single one, \(H, W, C\), got the shape \(2, 48, 48, 3\); index the batch"):
            draw(IMAGES, MASKS[0])


def test_long_names_break_after_underscores() -> None:
    titles = [axes.get_title() for axes in CASES["comparison"]().axes]
    assert titles == ["", "grad_cam", "contrastive_excitation_\nbackprop"]
