"""The figures: what each draws of a result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import jax
import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure, SubFigure

from extremal_jax.extremal.result import ExtremalResult, SmallestArea
from extremal_jax.extremal.summary import summarize
from extremal_jax.ground.checks import check_count
from extremal_jax.operators.axes import masked, names
from extremal_jax.plots.panels import (
    CHART,
    GUIDE,
    LINE,
    PAGE,
    SMALL,
    Names,
    canvas,
    checked_width,
    heat_over,
    label_axes,
    map_on,
    names_of,
    outline,
    percent,
    pictures_width,
    rgb_pictures,
    select,
    show,
    show_map,
    whole,
)

Result = TypeVar("Result", ExtremalResult, SmallestArea)


def overview(
    image: Any, result: ExtremalResult, classes: Names = None, *, width: float | None = None, figure: Figure | SubFigure | None = None
) -> Figure:
    """Draw the image, the part of it that each mask keeps, and the masks.

    Args:
      image: (H, W, C), or (N, H, W, C) for a batch: integers up to 255, floats in [0, 1], or a model's input, which is
        scaled to its own range. Masked and non-finite pixels are white.
      result: of the same image or batch.
      classes: the names of the classes: a sequence, or a mapping from indices to names.
      width: of the figure in inches; None: of a page, or of a column for few pictures.
      figure: to draw on, such as a part of `figure.subfigures()`, in place of a new one.

    Returns:
      A figure with two rows per image. The upper row shows the image and, in colour, the selection of each mask; the
      lower row the mean of the masks over the image, and the masks. Titles state the area that was reached, the
      response, and its share of the response to the whole image.

    Raises:
      TypeError: if the image is not an array of numbers, or `figure` is not one.
      ValueError: if image and result differ in size, `classes` lacks a target, or the width is not positive. Masks of a
        layer are resized to the image.

    Example:
      >>> import jax.numpy as jnp
      >>> import extremal_jax as ej
      >>> def model(x):  # the light of the upper half, and of the lower
      ...     return jnp.stack([x[:, :16].sum((1, 2, 3)), x[:, 16:].sum((1, 2, 3))], axis=-1)
      >>> image, config = jnp.ones((32, 32, 3)), ej.Config(perturbation="fade")
      >>> result = ej.extremal_perturbation(model, image, 1, areas=[0.1], config=config)
      >>> figure = ej.plots.overview(image, result, ["upper half", "lower half"])
      >>> [axes.get_title().splitlines()[0] for axes in figure.axes[:2]]
      ['lower half', 'area 10.0%']
    """
    rows = list(_rows(image, result, 3))
    columns, high, wide = 1 + rows[0][1].shape[0], *rows[0][1].shape[1:]
    inches = checked_width(width, pictures_width(columns))
    drawn = canvas(figure, inches, len(rows) * (2 * inches / columns * high / wide + 0.4))
    axes = drawn.subplots(2 * len(rows), columns, squeeze=False)
    for upper, lower, (picture, masks, one) in zip(axes[::2], axes[1::2], rows, strict=True):
        summary, areas = summarize(one), np.asarray(one.areas)
        show(upper[0], picture, names_of(one.targets, classes), f"response {float(one.image_rewards):.2f}")
        show(lower[0], heat_over(picture, masks.mean(axis=0)))
        for k, mask in enumerate(masks):
            share = "" if np.isnan(summary.shares[k]) else f" ({summary.shares[k]:.0%})"
            select(upper[k + 1], picture, mask, f"area {areas[k]:.1%}", f"{summary.name} {summary.values[k]:.2f}{share}")
            show(lower[k + 1], mask)
    return whole(drawn)


def comparison(
    image: Any,
    maps: Mapping[str, Any],
    mask: Any = None,
    columns: int = 5,
    *,
    width: float | None = None,
    figure: Figure | SubFigure | None = None,
) -> Figure:
    """Draw the maps of several methods side by side, each over the image.

    Args:
      image: (H, W, C), as in `overview`.
      maps: by title, (h, w) of any size and range, resized to the image. Negative values, evidence against the target,
        are not shown.
      mask: (H, W), the known place of the target, to outline it.
      columns: the number of pictures in a row.
      width, figure: as in `overview`.

    Returns:
      A figure with the image, and a picture for each map, with a cross at its maximum.

    Raises:
      TypeError: if the image or a map is not an array of numbers.
      ValueError: if a map or the mask is not of two dimensions, the mask not of the image's size, or `columns` not positive.

    Example:
      >>> figure = comparison(np.zeros((8, 8, 3)), {"gradient": np.eye(4), "occlusion": np.eye(2)})
      >>> [axes.get_title() for axes in figure.axes]
      ['', 'gradient', 'occlusion']
    """
    check_count("columns", columns, 1)
    picture = rgb_pictures(image)
    if len(picture) > 1:
        raise ValueError(f"comparison draws a single image, (H, W, C), got the shape {np.shape(image)}")
    high, wide = picture.shape[1:3]
    if mask is not None and np.shape(mask) != (high, wide):
        raise ValueError(f"mask must be of the image's size, {high}x{wide}, got the shape {np.shape(mask)}")
    cells = len(maps) + 1
    columns = min(columns, cells)
    rows = -(-cells // columns)
    inches = checked_width(width, pictures_width(columns))
    drawn = canvas(figure, inches, rows * (inches / columns * high / wide + 0.3))
    axes = drawn.subplots(rows, columns, squeeze=False).ravel()
    show(axes[0], picture[0])
    for axis, (title, values) in zip(axes[1:], maps.items(), strict=False):
        show_map(axis, picture[0], map_on(f"the map {title!r}", values, (high, wide)), title)
    for axis in axes[:cells]:
        if mask is not None:
            outline(axis, np.asarray(mask, np.float32))
    for axis in axes[cells:]:
        axis.set_axis_off()
    return whole(drawn)


def history(result: ExtremalResult, *, width: float | None = None, figure: Figure | SubFigure | None = None) -> Figure:
    """Draw the reward and the area loss of each area at every step of a run.

    Args:
      result: of a single image; index the result of a batch.
      width, figure: as in `overview`.

    Returns:
      A figure with two panels, and a line for each area.

    Raises:
      ValueError: for the result of a batch.

    Example:
      >>> import jax.numpy as jnp
      >>> import extremal_jax as ej
      >>> def model(x):  # the light of the upper half, and of the lower
      ...     return jnp.stack([x[:, :16].sum((1, 2, 3)), x[:, 16:].sum((1, 2, 3))], axis=-1)
      >>> image, config = jnp.ones((32, 32, 3)), ej.Config(perturbation="fade")
      >>> result = ej.extremal_perturbation(model, image, 1, areas=[0.1], config=config)
      >>> [axes.get_ylabel() for axes in ej.plots.history(result).axes]
      ['reward', 'area loss']
    """
    rewards, losses = np.asarray(result.history.rewards), np.asarray(result.history.area_losses)
    if rewards.ndim != 2:
        raise ValueError("history draws the result of a single image; index the result of a batch first: result[0]")
    drawn = canvas(figure, checked_width(width, PAGE), CHART)
    for axes, values, label in zip(drawn.subplots(1, 2), (rewards, losses), ("reward", "area loss"), strict=True):
        axes.set_prop_cycle(color=colormaps["viridis"](np.linspace(0, 0.9, rewards.shape[1])))  # ordered, as the areas are
        axes.plot(np.where(np.isfinite(values), values, np.nan), label=[f"{area:.1%}" for area in np.asarray(result.requested_areas)])
        label_axes(axes, "step", label)
    if (losses[np.isfinite(losses)] > 0).any():
        axes.set_yscale("log")
    axes.legend(title="area", frameon=False, fontsize=SMALL, title_fontsize=SMALL)
    return whole(drawn)


def smallest_area(
    image: Any, result: SmallestArea, classes: Names = None, *, width: float | None = None, figure: Figure | SubFigure | None = None
) -> Figure:
    """Draw the image, its smallest sufficient part, and the response as a function of the area.

    Args:
      image, classes, width, figure: as in `overview`.
      result: of the same image or batch.

    Returns:
      A figure with a row per image. The curve has a mark at each area that was tried, and dotted lines at the response
      that suffices and at the smallest area that reaches it.

    Raises:
      TypeError, ValueError: as in `overview`.

    Example:
      >>> import jax.numpy as jnp
      >>> import extremal_jax as ej
      >>> def model(x):  # the light of the lower quarter
      ...     return x[:, 24:].sum((1, 2, 3))[:, None]
      >>> image, config = jnp.ones((32, 32, 3)), ej.Config(perturbation="fade", pitch=2, sigma=4.0)
      >>> result = ej.smallest_area(model, image, 0, threshold=0.9, areas=(0.1, 0.2, 0.4), config=config)
      >>> [axes.get_xlabel() for axes in ej.plots.smallest_area(image, result).axes]
      ['', '', 'area']
    """
    rows = list(_rows(image, result, 2))
    inches, (high, wide) = checked_width(width, PAGE), rows[0][1].shape
    drawn = canvas(figure, inches, len(rows) * max(inches / 3.6 * high / wide + 0.4, 1.5))
    panels = drawn.subplots(len(rows), 3, squeeze=False, width_ratios=(1, 1, 1.6))
    for (left, middle, right), (picture, mask, one) in zip(panels, rows, strict=True):
        area = float(one.areas)
        show(left, picture, names_of(one.targets, classes), f"response {float(one.image_responses):.2f}")
        found = f"smallest area {area:.1%}" if one.reached else "not reached; the best"
        select(middle, picture, mask, found, f"response {float(one.responses):.2f}")
        right.plot(np.asarray(one.curve.areas), np.asarray(one.curve.responses), marker=".", color=LINE)
        right.axhline(float(one.wanted), color=GUIDE, linestyle=":")
        if one.reached:
            right.axvline(area, color=GUIDE, linestyle=":")
        label_axes(right, "area", "response", percent)
    return whole(drawn)


def _rows(image: Any, result: Result, rank: int) -> Iterator[tuple[np.ndarray, np.ndarray, Result]]:
    """For each image: its picture, its masks, resized to the picture if they are of a layer, and its result.

    Args:
      rank: the number of axes of the masks of a single image.
    """
    along = names(masked(result.config.input_axes))
    if len(along) != 2:
        raise ValueError(f"this figure is of images, and masks have the axes {', '.join(along)}; plots.series and plots.slices draw them")
    pictures: np.ndarray = rgb_pictures(image)
    masks: np.ndarray = np.asarray(result.masks)
    if result.at is not None:
        masks = np.asarray(jax.image.resize(masks, (*masks.shape[:-2], *pictures.shape[1:3]), "linear"))
    results = [result] if masks.ndim == rank else [result[i] for i in range(len(masks))]
    if pictures.shape[:3] != (len(results), *masks.shape[-2:]):
        raise ValueError(
            f"image and result must be of the same size, got an image of {np.shape(image)} and masks of {np.shape(result.masks)}"
        )
    return zip(pictures, masks[None] if masks.ndim == rank else masks, results, strict=True)
