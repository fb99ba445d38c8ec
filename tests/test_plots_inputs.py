"""Figures of images of any library and of class names of any kind."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import extremal_jax as ej
from plot_results import CLASSES, HEIGHT, WIDTH, drawn, picture, result, smallest, titles


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_and_bytes_are_drawn_alike(dtype: Any) -> None:
    one = result()
    bytes_, floats = (ej.plots.overview(image, one).axes for image in (picture(), picture().astype(dtype) / 255))
    for a, b in zip(bytes_, floats, strict=True):
        np.testing.assert_allclose(drawn(a), drawn(b), atol=1e-6)


def test_a_models_input_is_scaled_to_its_range() -> None:
    image = picture()
    image[0, 0], image[0, 1] = 0, 255
    shown = drawn(ej.plots.overview((image / 255 - 0.5) / 0.25, result()).axes[0])
    np.testing.assert_allclose(shown, image / 255, atol=1e-6)


def test_a_constant_input_outside_the_range() -> None:
    assert np.isfinite(drawn(ej.plots.overview(np.full((HEIGHT, WIDTH, 3), 2.0), result()).axes[0])).all()


@pytest.mark.parametrize("channels", [1, 2, 5])
def test_other_channels_are_drawn_as_brightness(channels: int) -> None:
    image = picture(channels=channels)
    shown = drawn(ej.plots.overview(image, result()).axes[0])
    np.testing.assert_allclose(shown, np.stack([image.mean(axis=-1) / 255] * 3, axis=-1), atol=1e-6)


@pytest.mark.parametrize(
    ("image", "of"), [(picture(2), result()), (picture()[:-1], result()), (picture(3), result(2)), (picture(), result(2))]
)
def test_sizes_that_differ(image: Any, of: Any) -> None:
    with pytest.raises(ValueError, match=r"image and result must be of the same size, got an image of .* and masks of "):
        ej.plots.overview(image, of)


class Tensor:
    """An array of another library, which NumPy reads by its protocol."""

    def __init__(self, array: Any) -> None:
        self.array = array

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.array if dtype is None else self.array.astype(dtype)


@pytest.mark.parametrize(
    "convert",
    [
        Tensor,
        np.ndarray.tolist,
        np.ma.masked_array,
        jnp.asarray,
        lambda image: image.astype(np.int64),
        lambda image: jnp.asarray(image / np.float32(255)),
        Image.fromarray,
    ],
    ids=["tensor", "list", "masked", "jax", "int64", "floats", "pillow"],
)
def test_images_of_any_library(convert: Any) -> None:
    figures = ej.plots.overview(convert(picture()), result()), ej.plots.comparison(convert(picture()), {})
    for figure in figures:
        np.testing.assert_allclose(drawn(figure.axes[0]), picture() / np.float32(255), atol=1e-6)


def test_bfloat16() -> None:
    shown = drawn(ej.plots.comparison(jnp.asarray(picture() / 255, jnp.bfloat16), {}).axes[0])
    np.testing.assert_allclose(shown, picture() / 255, atol=2**-9)  # eight bits of precision


def test_a_grey_image_without_an_axis_of_channels() -> None:
    shown = drawn(ej.plots.comparison(picture()[..., 0], {}).axes[0])
    np.testing.assert_allclose(shown[..., 2], picture()[..., 0] / 255, atol=1e-6)


def test_masked_and_non_finite_pixels_are_white() -> None:
    """They do not change the range of the others."""
    image = picture().astype(np.float32) / 255
    image[0, 0], image[0, 1] = 1e6, np.nan
    mask = image > 10
    shown = drawn(ej.plots.comparison(np.ma.masked_array(image, mask), {"map": np.ma.masked_array(image[..., 0], mask[..., 0])}).axes[0])
    assert (shown[0, :2] == 1).all()
    np.testing.assert_allclose(shown[1:], image[1:], atol=1e-6)


def test_masked_and_non_finite_values_of_a_map_are_not_shown() -> None:
    values = np.zeros((HEIGHT, WIDTH), np.float32)
    values[3, 4], values[10, 10], values[20, 20] = 1, 9, np.inf
    figure: Any = ej.plots.comparison(picture(), {"map": np.ma.masked_array(values, values == 9)})
    [[x], [y]] = figure.axes[1].lines[0].get_data()
    assert (x, y) == (4, 3)


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        ([[1, 2], [3]], ValueError, r"image must have one shape, got a sequence of \(1,\), \(2,\)"),
        ("photo.png", TypeError, "image must be an array of numbers, got 'photo.png'"),
        (np.ones(3), ValueError, r"image must have the shape \(H, W, C\) or \(N, H, W, C\), got \(3,\)"),
        (np.ones((0, 3, 3)), ValueError, r"got \(0, 3, 3\)"),
        (picture(2), ValueError, r"comparison draws a single image, \(H, W, C\), got the shape \(2, 24, 36, 3\)"),
    ],
)
def test_images_that_cannot_be_drawn(image: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        ej.plots.comparison(image, {})


@pytest.mark.parametrize(
    ("classes", "title"),
    [
        (np.array(CLASSES), "fox"),
        (list(CLASSES), "fox"),
        ({2: "fox"}, "fox"),
        ({"2": "fox"}, "fox"),  # as JSON has it
        (None, "class 2"),
        ((), "class 2"),
        (["", "", "$x^"], "$x^"),
        (["", "", "a $ b $ c_"], "a $ b $ c_"),
        (["", "", r"\frac{$\sum"], r"\frac{$\sum"),
        (["", "", "two\nlines\t"], "two lines"),
        (["", "", "word " * 40], "word word word word word\nword word word word …"),
        ([0, 1, 2.5], "2.5"),
    ],
    ids=str,
)
def test_names_of_classes(classes: Any, title: str) -> None:
    """Of any kind, drawn literally and on two lines at most."""
    two = np.array(2, np.int32)
    ones = np.ones((1, 2), np.float32)
    found = ej.ClassChannels(np.array([2]), ones, ones, np.array([1]), np.array([1]), np.array([True]), "$layer_$")
    figures = [
        ej.plots.overview(picture(), result(targets=two), classes),
        ej.plots.smallest_area(picture(), smallest(3)[2], classes),
        ej.plots.class_channels(found, {}, 1, classes),
    ]
    assert [titles(figure)[0].split("\nresponse")[0] for figure in figures[:2]] == [title, title]
    assert figures[2].axes[0].get_ylabel() == title
    for figure in figures:
        figure.draw_without_rendering()  # mathematics would be parsed here


@pytest.mark.parametrize(
    "classes", [["cat", "dog"], np.array(["cat", "dog"]), {0: "cat", 1: "dog"}], ids=lambda names: type(names).__name__
)
def test_fewer_names_than_targets(classes: Any) -> None:
    with pytest.raises(ValueError, match=r"^classes must name every class that is drawn, got 2 names and none of class 2$"):
        ej.plots.overview(picture(), result(targets=np.array(2)), classes)


@pytest.mark.parametrize("classes", ["cat", {"cat", "dog"}, iter(["cat"])], ids=lambda names: type(names).__name__)
def test_names_without_an_order(classes: Any) -> None:
    with pytest.raises(TypeError, match="classes"):  # the run-time type checker of the tests may be first
        ej.plots.overview(picture(), result(targets=np.array(0)), classes)


@pytest.mark.parametrize("title", ["$", "a $x^$ b", r"\alpha"])
def test_titles_are_literal(title: str) -> None:
    figures = ej.plots.comparison(picture(), {title: np.ones((3, 3))}), ej.plots.inversion(picture(), {title: picture() / 255})
    for figure in figures:
        figure.draw_without_rendering()
        assert titles(figure)[1] == title


def test_pictures_of_one_row() -> None:
    """There is no room for an outline."""
    mask = np.zeros((1, 16))
    mask[0, 4:9] = 1
    ej.plots.selection(np.ones((1, 16, 3)), mask)
