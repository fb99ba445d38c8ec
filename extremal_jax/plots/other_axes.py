"""The figures of what is not an image: series as curves, clips and volumes as strips of slices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure, SubFigure
from matplotlib.patches import Patch

from extremal_jax.extremal.result import ExtremalResult
from extremal_jax.extremal.summary import summarize
from extremal_jax.operators.axes import masked, names
from extremal_jax.plots.panels import (
    LINE,
    PAGE,
    SMALL,
    TEXT,
    Names,
    as_numbers,
    canvas,
    checked_width,
    label_axes,
    names_of,
    percent,
    pictures_width,
    rgb_pictures,
    select,
    show,
    whole,
)

_MOST = 8  # features that are drawn unless more are asked for
_HIGH = 1.1  # inches, of a curve
_LEAST = 0.85  # inches, of a row of slices, for its label
_FEW = 5  # slices that are drawn as large as pictures


def series(
    values: Any,
    result: ExtremalResult,
    classes: Names = None,
    *,
    features: Sequence[int] | None = None,
    width: float | None = None,
    figure: Figure | SubFigure | None = None,
) -> Figure:
    """Draw a series as a curve for each feature, with a shade where masks keep it.

    Args:
      values: (T, F), the series that was explained.
      result: of this series; index the result of a batch.
      classes: the names of the classes, as in `overview`.
      features: which to draw, in this order; None: the eight of which the masks keep most.
      width, figure: as in `overview`.

    Returns:
      A figure with a panel for each feature. The smaller the area, the darker its shade, which is as high as the mask's
      value.

    Raises:
      ValueError: if the result is not of one series of this shape, or there is no such feature.

    Example:
      >>> import jax.numpy as jnp
      >>> import extremal_jax as ej
      >>> def model(x):  # the first feature's early values
      ...     return x[:, :10, 0].sum(axis=1, keepdims=True)
      >>> values = jnp.ones((40, 2))
      >>> result = ej.extremal_perturbation(model, values, 0, [0.1], axes="series", config=ej.Config(perturbation="fade"))
      >>> [axes.get_ylabel() for axes in ej.plots.series(values, result).axes]
      ['feature 0', 'feature 1']
    """
    numbers, masks = as_numbers("values", values), np.asarray(result.masks)
    if masks.ndim not in (2, 3) or numbers.ndim != 2 or masks.shape[1:] not in (numbers.shape, numbers.shape[:1]):
        raise ValueError(
            f"series draws one series (time, feature) and its result, got values of shape {numbers.shape} and masks of {masks.shape};"
            f" index the result of a batch first: result[0]"
        )
    shades = np.broadcast_to(masks if masks.ndim == 3 else masks[..., None], (len(masks), *numbers.shape))
    chosen = _chosen(features, shades.sum(axis=(0, 1)))
    order = np.argsort(-np.asarray(result.requested_areas))  # the largest first, so that smaller ones lie on it
    colours = colormaps["viridis_r"](np.linspace(0.15, 0.85, len(order)))
    drawn = canvas(figure, checked_width(width, PAGE), _HIGH * len(chosen) + 0.8)
    times = np.arange(len(numbers))
    for axes, feature in zip(drawn.subplots(len(chosen), 1, sharex=True, squeeze=False)[:, 0], chosen, strict=True):
        for colour, area in zip(colours, order, strict=True):
            shade = shades[area, :, feature]
            axes.fill_between(times, 0, shade, color=colour, alpha=0.6, linewidth=0, step="mid", transform=axes.get_xaxis_transform())
        axes.plot(times, numbers[:, feature], color=LINE, linewidth=1)
        label_axes(axes, "", f"feature {feature}")
    axes.set_xlabel("time", **TEXT)
    areas = [percent(round(float(np.asarray(result.requested_areas)[area]), 6)) for area in order]
    drawn.legend(
        handles=[Patch(color=colour, alpha=0.6, label=area) for colour, area in zip(colours, areas, strict=True)],
        title=f"{names_of(result.targets, classes)}, area",
        loc="outside upper center",
        ncols=len(order),
        frameon=False,
        fontsize=SMALL,
        title_fontsize=SMALL,
    )
    return whole(drawn)


def slices(
    values: Any,
    result: ExtremalResult,
    classes: Names = None,
    *,
    count: int = 8,
    width: float | None = None,
    figure: Figure | SubFigure | None = None,
) -> Figure:
    """Draw a clip or a volume as slices along its first axis, and what each mask keeps of them.

    Args:
      values: (T, H, W, C) or (D, H, W, C), what was explained, in the ranges of `overview`.
      result: of this clip or volume; index the result of a batch.
      classes: the names of the classes, as in `overview`.
      count: how many slices, evenly spaced.
      width, figure: as in `overview`.

    Returns:
      A figure with a row of slices, and a row for each mask.

    Raises:
      ValueError: if the result is not of one input of this shape, or the count is not positive.

    Example:
      >>> import jax.numpy as jnp
      >>> import extremal_jax as ej
      >>> def model(x):  # the light of the first frames
      ...     return x[:, :3].sum(axis=(1, 2, 3, 4))[:, None]
      >>> clip = jnp.ones((9, 12, 12, 3))
      >>> result = ej.extremal_perturbation(model, clip, 0, [0.1], axes="video", config=ej.Config(perturbation="fade"))
      >>> [axes.get_title() for axes in ej.plots.slices(clip, result, count=3).axes[:3]]
      ['time 0', 'time 4', 'time 8']
    """
    masks, shape = np.asarray(result.masks), np.shape(values)
    if masks.ndim != 4 or len(shape) != 4 or masks.shape[1:] != shape[:3]:
        raise ValueError(
            f"slices draws one clip (time, height, width, channel) or volume and its result, got values of shape {shape} and masks of"
            f" {masks.shape}; index the result of a batch first: result[0]"
        )
    if count < 1:
        raise ValueError(f"count must be a whole number of slices, at least 1, got {count}")
    places = np.unique(np.linspace(0, shape[0] - 1, count).round().astype(int))
    pictures, summary = rgb_pictures(values), summarize(result)
    along = names(masked(result.config.input_axes))[0]
    inches = checked_width(width, PAGE if len(places) > _FEW else pictures_width(len(places)))
    drawn = canvas(figure, inches, (len(masks) + 1) * max(inches / len(places) * shape[1] / shape[2], _LEAST) + 0.3)
    panels = drawn.subplots(len(masks) + 1, len(places), squeeze=False)
    for axes, place in zip(panels[0], places, strict=True):
        show(axes, pictures[place], f"{along} {place}")
    panels[0, 0].set_ylabel(names_of(result.targets, classes), **TEXT)
    for row, mask, area, value in zip(panels[1:], masks, np.asarray(result.areas), summary.values, strict=True):
        for axes, place in zip(row, places, strict=True):
            select(axes, pictures[place], mask[place], "", "")
        row[0].set_ylabel(f"area {area:.1%}\n{summary.name} {value:.2f}", **TEXT)
    return whole(drawn)


def _chosen(features: Sequence[int] | None, kept: np.ndarray) -> list[int]:
    """The features to draw: those asked for, or those of which masks keep most, in their own order."""
    if features is None:
        return sorted(np.argsort(-kept, kind="stable")[:_MOST].tolist())
    chosen = [int(feature) for feature in features]
    if not chosen or not all(0 <= feature < len(kept) for feature in chosen):
        raise ValueError(f"features must be indices from 0 to {len(kept) - 1}, at least one, got {chosen}")
    return chosen
