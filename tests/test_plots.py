"""Figures: they draw the numbers of the result."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import extremal_jax as ej
from extremal_jax.extremal.summary import summarize
from plot_results import AREAS, CLASSES, HEIGHT, WIDTH, drawn, picture, result, smallest, titles


@pytest.mark.parametrize("count", [None, 1, 2])
def test_two_rows_for_each_image(count: Any) -> None:
    figure: Any = ej.plots.overview(picture(count), result(count))
    rows, columns = figure.axes[0].get_gridspec().get_geometry()
    assert (rows, columns) == (2 * (count or 1), len(AREAS) + 1)
    assert len(figure.axes) == rows * columns


def test_a_single_image_may_be_a_batch_of_one() -> None:
    assert titles(ej.plots.overview(picture(1), result())) == titles(ej.plots.overview(picture(), result()))


def test_titles_carry_area_response_and_share() -> None:
    one = result()
    first, *others = titles(ej.plots.overview(picture(), one))[: len(AREAS) + 1]
    assert first == "class 0\nresponse 8.00"
    shares = ["12%", "25%", "38%"]  # 1, 2 and 3 of 8
    for title, area, response, share in zip(others, one.areas, (1, 2, 3), shares, strict=True):
        assert title == f"area {area:.1%}\nresponse {response:.2f} ({share})"


def test_titles_of_a_batch_are_those_of_its_images() -> None:
    pair = result(2)
    separate = [titles(ej.plots.overview(picture(2)[i], pair[i], CLASSES)) for i in range(2)]
    assert titles(ej.plots.overview(picture(2), pair, CLASSES)) == separate[0] + separate[1]
    assert [lines[0] for lines in separate] == ["cat\nresponse 8.00", "dog\nresponse 8.00"]


def test_several_targets() -> None:
    assert titles(ej.plots.overview(picture(), result(targets=np.array([2, 0], np.int32)), CLASSES))[0].startswith("fox / cat\n")


def test_no_share_of_a_non_positive_response() -> None:
    for title in titles(ej.plots.overview(picture(), result(image_rewards=np.array(-1, np.float32)))):
        assert "%)" not in title


@pytest.mark.parametrize(("game", "name"), [("preserve", "response"), ("delete", "response left"), ("dual", "difference")])
def test_rewards_are_named_by_the_game(game: str, name: str) -> None:
    summary = summarize(result(game=game))
    assert summary.name == name
    np.testing.assert_array_equal(summary.values, [1, 2, 3])
    np.testing.assert_array_equal(summary.shares, [1 / 8, 2 / 8, 3 / 8])
    assert f"\n{name} 2.00 (25%)" in titles(ej.plots.overview(picture(), result(game=game)))[2]


def test_summary_of_a_batch() -> None:
    summary = summarize(result(2, image_rewards=np.array([2, 0], np.float32)))
    np.testing.assert_array_equal(summary.values, [[1, 2, 3], [4, 5, 6]])
    np.testing.assert_array_equal(summary.shares, [[0.5, 1, 1.5], [np.nan] * 3])


def test_panels() -> None:
    one, image = result(), picture()
    upper, lower = np.split(np.asarray(ej.plots.overview(image, one).axes), 2)
    np.testing.assert_allclose(drawn(upper[0]), image / 255, atol=1e-6)
    for axes, mask in zip(lower[1:], one.masks, strict=True):
        np.testing.assert_array_equal(drawn(axes), mask)
    assert drawn(lower[0]).shape == image.shape


def test_the_selection_is_in_colour_and_the_rest_pale_grey() -> None:
    masks = np.zeros((3, HEIGHT, WIDTH), np.float32)
    masks[:, :10] = 1
    image = picture()
    figure: Any = ej.plots.overview(image, result(masks=masks))
    for axes in figure.axes[1:4]:
        np.testing.assert_allclose(drawn(axes)[:10], image[:10] / 255, atol=1e-6)
        rest = drawn(axes)[10:]
        assert rest.min() > 0.7
        np.testing.assert_allclose(rest, rest[..., :1].repeat(3, axis=-1), atol=1e-6)
        [edge] = axes.collections  # at half: between the rows 9 and 10
        assert {y for path in edge.get_paths() for y in path.vertices[:, 1]} == {9.5}


def test_saliency_is_brightest_where_all_masks_agree() -> None:
    masks = np.zeros((3, HEIGHT, WIDTH), np.float32)
    masks[:, 5:8, 5:8], masks[0, 15:18] = 1, 1
    heat = drawn(ej.plots.overview(np.zeros((HEIGHT, WIDTH, 3), np.uint8), result(masks=masks)).axes[4]).sum(axis=-1)
    assert heat[6, 6] > heat[16, 6] > heat[0, 0] == 0


def test_history() -> None:
    one = result()
    figure: Any = ej.plots.history(one)
    rewards, losses = figure.axes
    for axes, values, label in ((rewards, one.history.rewards, "reward"), (losses, one.history.area_losses, "area loss")):
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("step", label)
        np.testing.assert_array_equal(np.stack([line.get_ydata() for line in axes.lines], axis=1), values)
    assert [text.get_text() for text in losses.get_legend().get_texts()] == ["10.0%", "20.0%", "40.0%"]


def test_history_of_a_batch() -> None:
    with pytest.raises(ValueError, match="history draws the result of a single image; index the result of a batch first"):
        ej.plots.history(result(2))


@pytest.mark.parametrize("value", [np.nan, np.inf, 0])
def test_results_that_are_not_finite_can_be_drawn(tmp_path: Path, value: Any) -> None:
    rewards, path, whole = (np.full(shape, value, np.float32) for shape in (3, (10, 3), ()))
    one = result(rewards=rewards, image_rewards=whole, history=ej.History(path, path))
    ej.plots.overview(picture(), one).savefig(tmp_path / "overview.png")
    ej.plots.history(one).savefig(tmp_path / "history.png")


def test_files_are_the_same_from_run_to_run(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        ej.plots.overview(picture(2), result(2), CLASSES).savefig(tmp_path / name, dpi=50)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


def test_comparison() -> None:
    """A picture for each map, resized to the image, with a cross at its maximum and the outline of the mask."""
    low = np.zeros((6, 9))
    low[4, 2] = 1.0
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[5:9, 10:20] = True
    figure: Any = ej.plots.comparison(picture(), {"first": low, "a rather long name of a method": -low}, mask, columns=2)
    image, first, second, empty = figure.axes
    np.testing.assert_array_equal(drawn(image), picture() / np.float32(255))
    assert (first.get_title(), second.get_title()) == ("first", "a rather long name of a\nmethod")
    assert first.images[0].get_array().shape == (HEIGHT, WIDTH, 3)
    [[x], [y]] = first.lines[0].get_data()
    assert abs(x - 9.5) <= 1
    assert abs(y - 17.5) <= 1
    assert not empty.axison
    assert all(len(axes.collections) == 1 for axes in (image, first, second))
    np.testing.assert_array_equal(
        drawn(second), drawn(ej.plots.comparison(picture(), {"": 0 * low}).axes[1])
    )  # negative values are not shown


@pytest.mark.parametrize(
    ("maps", "mask", "message"),
    [
        ({"a": np.ones((2, 3, 4))}, None, r"the map 'a' must be of shape \(h, w\), got the shape \(2, 3, 4\)"),
        ({}, np.ones((3, 4)), r"mask must be of the image's size, 24x36, got the shape \(3, 4\)"),
        ({"a": "map"}, None, r"the map 'a' must be an array of numbers, got 'map'"),
    ],
)
def test_arguments_that_comparison_refuses(maps: Any, mask: Any, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        ej.plots.comparison(picture(), maps, mask)


@pytest.mark.parametrize("columns", [0, -1])
def test_comparison_needs_a_column(columns: int) -> None:
    with pytest.raises(ValueError, match=f"^columns must be .* at least 1, got {columns}"):
        ej.plots.comparison(picture(), {}, columns=columns)


def test_smallest_areas() -> None:
    figure = ej.plots.smallest_area(picture(2), smallest(), CLASSES)
    first, second = np.asarray(figure.axes).reshape(2, 3)
    assert [axes.get_title() for axes in first[:2]] == ["cat\nresponse 8.00", "smallest area 25.0%\nresponse 3.00"]
    assert second[1].get_title() == "not reached; the best\nresponse 6.00"
    np.testing.assert_allclose(drawn(first[1])[:6], picture(2)[0, :6] / 255, atol=1e-6)
    curve, wanted, found = first[2].lines
    np.testing.assert_allclose(curve.get_xydata(), [[0.1, 1], [0.25, 2.5], [0.5, 5]], rtol=1e-6)
    assert (wanted.get_ydata()[0], found.get_xdata()[0]) == (2, 0.25)
    assert len(second[2].lines) == 2
    one = ej.plots.smallest_area(picture(2)[0], smallest()[0])
    assert titles(one)[0] == "class 0\nresponse 8.00"
    with pytest.raises(ValueError, match="image and result must be of the same size"):
        ej.plots.smallest_area(picture(3), smallest())


def test_smallest_areas_of_a_layer() -> None:
    """Its masks are resized to the image."""
    result = dataclasses.replace(smallest(), masks=smallest().masks[:, ::2, ::2], at="layer")
    figure = ej.plots.smallest_area(picture(2), result)
    np.testing.assert_allclose(drawn(figure.axes[1])[:4], picture(2)[0, :4] / 255, atol=1e-6)


def test_responses_that_are_not_finite_can_be_drawn(tmp_path: Path) -> None:
    """An area without a response has no point."""
    ej.plots.responses([0.1, 0.2], np.full((3, 2), np.nan)).savefig(tmp_path / "none.png")
    figure: Any = ej.plots.responses([0.1, 0.2], [[1, np.nan], [3, np.nan]])
    figure.savefig(tmp_path / "one.png")
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), [2, np.nan])


def test_responses_by_area() -> None:
    values = np.array([[1.0, 2.0], [2.0, 4.0], [3.0, 9.0]])
    figure: Any = ej.plots.responses([0.1, 0.2], values, "share")
    [axes] = figure.axes
    median, whole = axes.lines
    np.testing.assert_allclose(median.get_xydata(), [[0.1, 2], [0.2, 4]])
    assert whole.get_ydata()[0] == 1
    assert (axes.get_ylabel(), axes.get_xscale()) == ("share", "log")


def test_class_channels() -> None:
    found = ej.ClassChannels(
        classes=np.array([2, 5]),
        attributions=np.array([[0.9, 0, 0.4], [0, 1, 0.6]], np.float32),
        precedence=np.zeros((2, 3), np.float32),
        images_per_class=np.array([10, 5]),
        counts=np.full(15, 2),
        reached=np.ones(15, bool),
        at="layer",
    )
    red = np.full((4, 4, 3), (1.0, 0, 0))
    figure: Any = ej.plots.class_channels(found, {0: red, 1: 0 * red}, 2, classes=list("abcdef"))
    *pictures, table = figure.axes
    assert [axes.get_title() for axes in pictures] == ["0 (90%)", "2 (40%)", "1 (100%)", "2 (60%)"]
    assert [axes.get_ylabel() for axes in pictures] == ["c", "", "f", ""]
    assert pictures[0].images[0].get_array()[0, 0].tolist() == [1, 0, 0]
    assert pictures[1].images[0].get_array().min() == 1  # blank
    assert [text.get_text() for text in table.texts] == ["100%", "50%", "50%", "100%"]
    assert [label.get_text() for label in table.get_xticklabels()] == ["c", "f"]
    assert ej.plots.class_channels(found, {}, 1).axes[0].get_ylabel() == "class 2"


def test_inversions_stand_beside_their_images() -> None:
    found = {"all": np.random.default_rng(0).random((2, 8, 8, 3)), "kept": np.zeros((2, 8, 8, 3))}
    figure = ej.plots.inversion(picture(2), found)
    panels = np.asarray(figure.axes).reshape(2, 3)
    assert [axes.get_title() for axes in panels[0]] == ["original", "all", "kept"]
    for row in range(2):
        np.testing.assert_allclose(drawn(panels[row, 0]), picture(2)[row] / 255, atol=1e-6)
        np.testing.assert_allclose(drawn(panels[row, 1]), found["all"][row], atol=1e-7)  # float32
    assert len(ej.plots.inversion(picture(), {"all": found["all"][0]}).axes) == 2
    with pytest.raises(ValueError, match=r"there must be as many pictures as images, got \{'original': 3, 'all': 2\}"):
        ej.plots.inversion(picture(3), {"all": found["all"]})
