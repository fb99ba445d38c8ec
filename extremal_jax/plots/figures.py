"""The figures: what each draws of a result."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from extremal_jax.extremal.class_channels import ClassChannels
from extremal_jax.extremal.result import ChannelResult, ExtremalResult, SmallestArea
from extremal_jax.extremal.summary import summarize
from extremal_jax.ground.filters import resize
from extremal_jax.operators.axes import masked, names
from extremal_jax.plots.panels import (
    GUIDE,
    LINE,
    TEXT,
    Names,
    as_numbers,
    heat_over,
    label_axes,
    names_of,
    outline,
    percent,
    rgb_pictures,
    select,
    show,
    wrapped,
)

Result = TypeVar("Result", ExtremalResult, SmallestArea)

_CELL = 2.0  # inches
_DARK = 0.5  # on darker cells the text is white


def overview(image: Any, result: ExtremalResult, classes: Names = None) -> Figure:
    """Draw the image, the part of it that each mask keeps, and the masks.

    Args:
      image: (H, W, C), or (N, H, W, C) for a batch: integers up to 255, floats in [0, 1], or a model's input, which is
        scaled to its own range. Masked and non-finite pixels are white.
      result: of the same image or batch.
      classes: the names of the classes: a sequence, or a mapping from indices to names.

    Returns:
      A figure with two rows per image. The upper row shows the image and, in colour, the selection of each mask; the
      lower row the mean of the masks over the image, and the masks. Titles state the area that was reached, the
      response, and its share of the response to the whole image.

    Raises:
      TypeError: if the image is not an array of numbers.
      ValueError: if image and result differ in size, or `classes` lacks a target. Masks of a layer are resized to the
        image.

    Example:
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
    columns, height, width = 1 + rows[0][1].shape[0], *rows[0][1].shape[1:]
    figure = Figure(figsize=(_CELL * columns, _CELL * len(rows) * (2 * height / width + 0.25)), layout="constrained")
    axes = figure.subplots(2 * len(rows), columns, squeeze=False)
    for upper, lower, (picture, masks, one) in zip(axes[::2], axes[1::2], rows, strict=True):
        summary, areas = summarize(one), np.asarray(one.areas)
        show(upper[0], picture, names_of(one.targets, classes), f"response {float(one.image_rewards):.2f}")
        show(lower[0], heat_over(picture, masks.mean(axis=0)))
        for k, mask in enumerate(masks):
            share = "" if np.isnan(summary.shares[k]) else f" ({summary.shares[k]:.0%})"
            select(upper[k + 1], picture, mask, f"area {areas[k]:.1%}", f"{summary.name} {summary.values[k]:.2f}{share}")
            show(lower[k + 1], mask)
    return figure


def comparison(image: Any, maps: Mapping[str, Any], mask: Any = None, columns: int = 5) -> Figure:
    """Draw the maps of several methods side by side, each over the image.

    Args:
      image: (H, W, C), as in `overview`.
      maps: by title, (h, w) of any size and range, resized to the image. Negative values, evidence against the target,
        are not shown.
      mask: (H, W), the known place of the target, to outline it.
      columns: the number of pictures in a row.

    Returns:
      A figure with the image, and a picture for each map, with a cross at its maximum.

    Raises:
      TypeError: if the image or a map is not an array of numbers.
      ValueError: if a map or the mask is not of two dimensions, or the mask not of the image's size.

    Example:
      >>> figure = comparison(np.zeros((8, 8, 3)), {"gradient": np.eye(4), "occlusion": np.eye(2)})
      >>> [axes.get_title() for axes in figure.axes]
      ['', 'gradient', 'occlusion']
    """
    picture = rgb_pictures(image)
    if len(picture) > 1:
        raise ValueError(f"comparison draws a single image, (H, W, C), got the shape {np.shape(image)}")
    height, width = picture.shape[1:3]
    if mask is not None and np.shape(mask) != (height, width):
        raise ValueError(f"mask must be of the image's size, {height}x{width}, got the shape {np.shape(mask)}")
    cells = len(maps) + 1
    columns = min(columns, cells)
    rows = -(-cells // columns)
    figure = Figure(figsize=(_CELL * columns, _CELL * rows * (height / width + 0.15)), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    show(axes[0], picture[0])
    for axis, (title, values) in zip(axes[1:], maps.items(), strict=False):
        numbers = as_numbers(f"the map {title!r}", values)
        if numbers.ndim != 2:
            raise ValueError(f"maps must be of shape (h, w), got {title!r} of shape {numbers.shape}")
        positive = jnp.asarray(np.maximum(numbers.filled(0), 0))
        heat = np.asarray(resize(positive[..., None], (height, width)))[..., 0]
        show(axis, heat_over(picture[0], heat), title)
        [cross] = axis.plot(*np.unravel_index(np.argmax(heat), heat.shape)[::-1], "x", color="white", markersize=7, markeredgewidth=2)
        cross.set_path_effects([withStroke(linewidth=4, foreground=LINE)])
    for axis in axes[:cells]:
        if mask is not None:
            outline(axis, np.asarray(mask, np.float32))
    for axis in axes[cells:]:
        axis.set_axis_off()
    return figure


def history(result: ExtremalResult) -> Figure:
    """Draw the reward and the area loss of each area at every step of a run.

    Args:
      result: of a single image; index the result of a batch.

    Returns:
      A figure with two panels, and a line for each area.

    Raises:
      ValueError: for the result of a batch.

    Example:
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
    figure = Figure(figsize=(4 * _CELL, 1.5 * _CELL), layout="constrained")
    for axes, values, label in zip(figure.subplots(1, 2), (rewards, losses), ("reward", "area loss"), strict=True):
        axes.set_prop_cycle(color=colormaps["viridis"](np.linspace(0, 0.9, rewards.shape[1])))  # ordered, as the areas are
        axes.plot(np.where(np.isfinite(values), values, np.nan), label=[f"{area:.1%}" for area in np.asarray(result.requested_areas)])
        label_axes(axes, "step", label)
    if (losses[np.isfinite(losses)] > 0).any():
        axes.set_yscale("log")
    axes.legend(title="area", frameon=False, fontsize=8, title_fontsize=8)
    return figure


def smallest_area(image: Any, result: SmallestArea, classes: Names = None) -> Figure:
    """Draw the image, its smallest sufficient part, and the response as a function of the area.

    Args:
      image, classes: as in `overview`.
      result: of the same image or batch.

    Returns:
      A figure with a row per image. The curve has a mark at each area that was tried, and dotted lines at the response
      that suffices and at the smallest area that reaches it.

    Raises:
      TypeError, ValueError: as in `overview`.

    Example:
      >>> import extremal_jax as ej
      >>> def model(x):  # the light of the lower quarter
      ...     return x[:, 24:].sum((1, 2, 3))[:, None]
      >>> image, config = jnp.ones((32, 32, 3)), ej.Config(perturbation="fade", pitch=2, sigma=4.0)
      >>> result = ej.smallest_area(model, image, 0, threshold=0.9, areas=(0.1, 0.2, 0.4), config=config)
      >>> [axes.get_xlabel() for axes in ej.plots.smallest_area(image, result).axes]
      ['', '', 'area']
    """
    rows = list(_rows(image, result, 2))
    figure = Figure(figsize=(4 * _CELL, len(rows) * 1.25 * _CELL), layout="constrained")
    panels = figure.subplots(len(rows), 3, squeeze=False, width_ratios=(1, 1, 1.6))
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
    return figure


def responses(areas: Any, values: Any, label: str = "share of the response to the whole image") -> Figure:
    """Draw the response as a function of the area over many images: the median, and the quartiles as a band.

    Args:
      areas: (K,), in ascending order.
      values: (N, K), of each image.
      label: of the vertical axis.

    Returns:
      A figure with the areas on a logarithmic axis.

    Example:
      >>> [axes] = responses([0.1, 0.2], [[1.0, 2.0], [2.0, 3.0], [3.0, 9.0]]).axes
      >>> axes.lines[0].get_ydata().tolist()
      [2.0, 3.0]
    """
    low, median, high = np.nanpercentile(values, [25, 50, 75], axis=0)
    figure = Figure(figsize=(2.5 * _CELL, 1.75 * _CELL), layout="constrained")
    axes = figure.subplots()
    axes.fill_between(areas, low, high, color="0.85", linewidth=0)
    axes.plot(areas, median, marker=".", color=LINE)
    axes.axhline(1, color=GUIDE, linestyle=":")
    label_axes(axes, "area", label, percent)
    return figure


def inversion(image: Any, inversions: Mapping[str, Any]) -> Figure:
    """Draw images beside the pictures that feature inversion found for them.

    Args:
      image: (H, W, C), or (N, H, W, C) for a batch, as in `overview`.
      inversions: by title, pictures in [0, 1], one per image, of any size: for example the `images` of the inversions
        of all channels, of those that a mask keeps, and of those that it drops.

    Returns:
      A figure with a row per image.

    Raises:
      TypeError: if the image or a picture is not an array of numbers.
      ValueError: if the numbers of pictures and images differ.

    Example:
      >>> black = np.zeros((2, 8, 8, 3))
      >>> [axes.get_title() for axes in inversion(black, {"all channels": black}).axes]
      ['original', 'all channels', '', '']
    """
    columns = {"original": rgb_pictures(image)}
    for title, pictures in inversions.items():
        found = as_numbers(title, pictures).filled(1)
        columns[title] = found[None] if found.ndim == 3 else found
    lengths = {title: len(pictures) for title, pictures in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"there must be as many pictures as images, got {lengths}")
    count = lengths["original"]
    figure = Figure(figsize=(_CELL * len(columns), _CELL * count + 0.25), layout="constrained")
    for row, axes in enumerate(figure.subplots(count, len(columns), squeeze=False)):
        for panel, (title, pictures) in zip(axes, columns.items(), strict=True):
            show(panel, pictures[row], "" if row else title)
    return figure


def channels(result: ChannelResult) -> Figure:
    """Draw the responses to sets of channels, and the sets.

    Args:
      result: of a single image; index the result of a batch.

    Returns:
      A figure with the response to the set of each count, beside the response to all channels; and a row for each set,
      with the channels in the order in which the sets include them, without those in no set.

    Raises:
      ValueError: for the result of a batch.

    Example:
      >>> import extremal_jax as ej
      >>> from jax.ad_checkpoint import checkpoint_name
      >>> def model(images):  # the second class adds two of three channels
      ...     x = checkpoint_name(images, "rgb").mean(axis=(1, 2))
      ...     return jnp.stack([x[:, 1], x[:, 0] + x[:, 2]], axis=1)
      >>> result = ej.channel_perturbation(model, jnp.ones((8, 8, 3)), 1, areas=[2], at="rgb")
      >>> [axes.get_ylabel() for axes in ej.plots.channels(result).axes]
      ['response', 'size of the set']
    """
    if np.ndim(result.masks) != 2:
        raise ValueError("channels draws the result of a single image; index the result of a batch first: result[0]")
    asked, order = np.asarray(result.requested_areas), np.argsort(np.asarray(result.requested_areas))
    masks, summary = np.asarray(result.binary_masks())[order], summarize(result)
    figure = Figure(figsize=(4 * _CELL, 1.5 * _CELL), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(asked[order], np.asarray(summary.values)[order], "o-", color=LINE, label="the set")
    left.axhline(float(result.image_rewards), color=GUIDE, linestyle="--", label="all channels")
    label_axes(left, f"channels of {result.at}", summary.name, "{:g}".format)
    left.legend(frameon=False, fontsize=8)
    first = np.where(masks.any(axis=0), masks.argmax(axis=0), len(masks))
    shown = np.argsort(first, kind="stable")[: int((first < len(masks)).sum())]
    right.imshow(masks[:, shown], cmap="gray_r", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    right.set_yticks(range(len(order)), asked[order])
    label_axes(right, "channels, by the first set that includes them", "size of the set")
    return figure


def class_channels(result: ClassChannels, pictures: Mapping[int, Any], count: int = 4, classes: Names = None) -> Figure:
    """Draw the top channels of each class, and how many of them two classes have in common.

    Args:
      result: of some classes.
      pictures: by the index of a channel, (H, W, C) in [0, 1], from `maximize_channel`. Channels without a picture are
        blank.
      count: the number of top channels to show and to compare.
      classes: the names of the classes, as in `overview`.

    Returns:
      A figure with a row of pictures per class, each titled by the channel's index and the share of the class's images
      whose smallest sufficient set includes it; and a table of overlaps.

    Raises:
      ValueError: if `classes` lacks a class.

    Example:
      >>> import extremal_jax as ej
      >>> from jax.ad_checkpoint import checkpoint_name
      >>> def model(images):  # class 0 sees the first channel, class 1 the others
      ...     x = checkpoint_name(images, "rgb").mean(axis=(1, 2))
      ...     return jnp.stack([x[:, 0], x[:, 1] + x[:, 2]], axis=1)
      >>> found = ej.class_channels(model, jnp.ones((4, 2, 2, 3)), [0, 0, 1, 1], counts=(1, 2), at="rgb")
      >>> pictures = {channel: np.full((8, 8, 3), channel / 2) for channel in range(3)}
      >>> figure = ej.plots.class_channels(found, pictures, count=2)
      >>> [axes.get_title() for axes in figure.axes[:2]]
      ['0 (100%)', '']
    """
    names = [wrapped(names_of(index, classes)) for index in result.classes]
    top, rows = result.top(count), len(names)
    labels = 0.08 * max(len(line) for name in names for line in name.splitlines())  # inches, as all below
    side = max(0.7 * _CELL, 0.22 * _CELL * rows) + labels + 0.6
    widths = 0.6 * _CELL * count + 0.3, side
    figure = Figure(figsize=(sum(widths), max(0.75 * _CELL * rows, side)), layout="constrained")
    parts: Any = figure.subfigures(1, 2, width_ratios=widths)
    left, right = parts
    for name, attributions, channels, axes in zip(names, result.attributions, top, left.subplots(rows, count, squeeze=False), strict=True):
        for axis, channel in zip(axes, channels.tolist(), strict=True):
            title = f"{channel} ({attributions[channel]:.0%})" if channel >= 0 else ""
            show(axis, as_numbers("pictures", pictures.get(channel, np.ones((1, 1, 3)))).filled(1), title)
        axes[0].set_ylabel(name, **TEXT)
    table, overlap = right.subplots(), result.overlap(count)
    table.imshow(overlap, cmap="Greys", vmin=0, vmax=1)
    for (i, j), share in np.ndenumerate(overlap):
        table.text(j, i, f"{share:.0%}", ha="center", va="center", fontsize=7, color="white" if share > _DARK else "black")
    table.set_xticks(range(rows), names, rotation=90, **TEXT)
    table.set_yticks(range(rows), names, **TEXT)
    table.set_title(f"share of the top {count} channels\nof {result.at} in common", **TEXT)
    return figure


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
