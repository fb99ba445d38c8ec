"""The figures of one panel, which also draw on axes that the caller gives."""

from __future__ import annotations

import warnings
from typing import Any, overload

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from extremal_jax.plots.panels import (
    COLUMN,
    GUIDE,
    LINE,
    checked_width,
    label_axes,
    map_on,
    of_panel,
    panel,
    percent,
    rgb_pictures,
    select,
    show_map,
)


@overload
def selection(image: Any, mask: Any, title: str = ..., *, width: float | None = ..., ax: None = ...) -> Figure: ...
@overload
def selection(image: Any, mask: Any, title: str = ..., *, width: float | None = ..., ax: Axes) -> Axes: ...
def selection(image: Any, mask: Any, title: str = "", *, width: float | None = None, ax: Axes | None = None) -> Figure | Axes:
    """Draw the part of an image that a mask keeps in colour, on the image in pale grey, with the mask's outline.

    Args:
      image: (H, W, C), as in `overview`.
      mask: (h, w), from 0 to 1, resized to the image: one of `result.masks` or `result.binary_masks()`.
      title: above the picture.
      width: of a new figure in inches; None: of a paper's column.
      ax: the axes to draw on, such as `plt.subplots()` makes, in place of a new figure.

    Returns:
      A figure, or `ax` where it is given.

    Raises:
      TypeError: if the image or mask is not an array of numbers, or `ax` is not matplotlib's.
      ValueError: if there is not one image or one mask, or the width is not positive.

    Example:
      >>> [axes] = selection(np.zeros((8, 8, 3)), np.eye(8), "a diagonal").axes
      >>> axes.get_title()
      'a diagonal'
    """
    picture, values = _pair("mask", image, mask)
    axes = _picture_panel(picture, width, ax)
    select(axes, picture, np.clip(values, 0, 1), title, "")
    return of_panel(axes, ax)


@overload
def heat(image: Any, saliency: Any, title: str = ..., *, width: float | None = ..., ax: None = ...) -> Figure: ...
@overload
def heat(image: Any, saliency: Any, title: str = ..., *, width: float | None = ..., ax: Axes) -> Axes: ...
def heat(image: Any, saliency: Any, title: str = "", *, width: float | None = None, ax: Axes | None = None) -> Figure | Axes:
    """Draw a map over an image in grey, with a cross at its maximum.

    Args:
      image: (H, W, C), as in `overview`.
      saliency: (h, w), of any size and range, resized to the image: `result.saliency()`, `result.evidence(image)`, or a
        map of `ej.attribution`. Negative values, evidence against the target, are not shown.
      title, width, ax: as in `selection`.

    Returns:
      A figure, or `ax` where it is given.

    Raises:
      TypeError, ValueError: as in `selection`.

    Example:
      >>> [axes] = heat(np.zeros((8, 8, 3)), np.eye(4)[:, 2:]).axes
      >>> axes.images[0].get_array().shape
      (8, 8, 3)
    """
    picture, values = _pair("saliency", image, saliency)
    axes = _picture_panel(picture, width, ax)
    show_map(axes, picture, values, title)
    return of_panel(axes, ax)


@overload
def responses(areas: Any, values: Any, label: str = ..., *, width: float | None = ..., ax: None = ...) -> Figure: ...
@overload
def responses(areas: Any, values: Any, label: str = ..., *, width: float | None = ..., ax: Axes) -> Axes: ...
def responses(
    areas: Any,
    values: Any,
    label: str = "share of the response to the whole image",
    *,
    width: float | None = None,
    ax: Axes | None = None,
) -> Figure | Axes:
    """Draw the response as a function of the area over many images: the median, and the quartiles as a band.

    Args:
      areas: (K,), in ascending order.
      values: (N, K), of each image.
      label: of the vertical axis.
      width, ax: as in `selection`.

    Returns:
      A figure with the areas on a logarithmic axis, or `ax` where it is given.

    Raises:
      TypeError: if `ax` is not matplotlib's.
      ValueError: if the width is not positive.

    Example:
      >>> [axes] = responses([0.1, 0.2], [[1.0, 2.0], [2.0, 3.0], [3.0, 9.0]]).axes
      >>> axes.lines[0].get_ydata().tolist()
      [2.0, 3.0]
    """
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # an area without a finite response has no point
        low, median, high = np.nanpercentile(values, [25, 50, 75], axis=0)
    inches = checked_width(width, COLUMN)
    axes = panel(ax, inches, 0.7 * inches)
    axes.fill_between(areas, low, high, color="0.85", linewidth=0)
    axes.plot(areas, median, marker=".", color=LINE)
    axes.axhline(1, color=GUIDE, linestyle=":")
    label_axes(axes, "area", label, percent)
    return of_panel(axes, ax)


def _pair(name: str, image: Any, values: Any) -> tuple[np.ndarray, np.ndarray]:
    """One image as a picture, and a map of its size."""
    pictures = rgb_pictures(image)
    if len(pictures) > 1:
        raise ValueError(f"image must be a single one, (H, W, C), got the shape {np.shape(image)}; index the batch first")
    return pictures[0], map_on(name, values, pictures.shape[1:3])


def _picture_panel(picture: np.ndarray, width: float | None, ax: Axes | None) -> Axes:
    inches = checked_width(width, COLUMN)
    return panel(ax, inches, inches * picture.shape[0] / picture.shape[1] + 0.2)
