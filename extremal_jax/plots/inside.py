"""The figures of what is inside the network: channels, and images that layers stand for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure, SubFigure

from extremal_jax.extremal.class_channels import ClassChannels
from extremal_jax.extremal.result import ChannelResult
from extremal_jax.extremal.summary import summarize
from extremal_jax.plots.panels import (
    CHART,
    GUIDE,
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
    pictures_width,
    rgb_pictures,
    show,
    whole,
    wrapped,
)

_PICTURE = 0.95  # inches, of a channel's
_DARK = 0.5  # on darker cells the text is white


def inversion(image: Any, inversions: Mapping[str, Any], *, width: float | None = None, figure: Figure | SubFigure | None = None) -> Figure:
    """Draw images beside the pictures that feature inversion found for them.

    Args:
      image: (H, W, C), or (N, H, W, C) for a batch, as in `overview`.
      inversions: by title, pictures in [0, 1], one per image, of any size: for example the `images` of the inversions
        of all channels, of those that a mask keeps, and of those that it drops.
      width, figure: as in `overview`.

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
    inches, (high, wide) = checked_width(width, pictures_width(len(columns))), columns["original"].shape[1:3]
    drawn = canvas(figure, inches, count * inches / len(columns) * high / wide + 0.25)
    for row, axes in enumerate(drawn.subplots(count, len(columns), squeeze=False)):
        for panel, (title, pictures) in zip(axes, columns.items(), strict=True):
            show(panel, pictures[row], "" if row else title)
    return whole(drawn)


def channels(result: ChannelResult, *, width: float | None = None, figure: Figure | SubFigure | None = None) -> Figure:
    """Draw the responses to sets of channels, and the sets.

    Args:
      result: of a single image; index the result of a batch.
      width, figure: as in `overview`.

    Returns:
      A figure with the response to the set of each count, beside the response to all channels; and a row for each set,
      with the channels in the order in which the sets include them, without those in no set.

    Raises:
      ValueError: for the result of a batch.

    Example:
      >>> import jax.numpy as jnp
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
    drawn = canvas(figure, checked_width(width, PAGE), CHART)
    left, right = drawn.subplots(1, 2)
    left.plot(asked[order], np.asarray(summary.values)[order], "o-", color=LINE, label="the set")
    left.axhline(float(result.image_rewards), color=GUIDE, linestyle="--", label="all channels")
    label_axes(left, f"channels of {result.at}", summary.name, "{:g}".format)
    left.legend(frameon=False, fontsize=SMALL)
    first = np.where(masks.any(axis=0), masks.argmax(axis=0), len(masks))
    shown = np.argsort(first, kind="stable")[: int((first < len(masks)).sum())]
    right.imshow(masks[:, shown], cmap="gray_r", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    right.set_yticks(range(len(order)), asked[order])
    label_axes(right, "channels, by the first set that includes them", "size of the set")
    return whole(drawn)


def class_channels(
    result: ClassChannels,
    pictures: Mapping[int, Any],
    count: int = 4,
    classes: Names = None,
    *,
    width: float | None = None,
    figure: Figure | SubFigure | None = None,
) -> Figure:
    """Draw the top channels of each class, and how many of them two classes have in common.

    Args:
      result: of some classes.
      pictures: by the index of a channel, (H, W, C) in [0, 1], from `maximize_channel`. Channels without a picture are
        blank.
      count: the number of top channels to show and to compare.
      classes: the names of the classes, as in `overview`.
      width, figure: as in `overview`.

    Returns:
      A figure with a row of pictures per class, each titled by the channel's index and the share of the class's images
      whose smallest sufficient set includes it; and a table of overlaps.

    Raises:
      ValueError: if `classes` lacks a class.

    Example:
      >>> import jax.numpy as jnp
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
    labels = 0.07 * max(len(line) for name in names for line in name.splitlines())  # inches, as all below
    side = max(1.2, 0.35 * rows) + labels + 0.6
    widths = _PICTURE * count + 0.3, side
    inches = checked_width(width, sum(widths))
    drawn = canvas(figure, inches, max((_PICTURE + 0.25) * rows, side) * inches / sum(widths))
    parts: Any = drawn.subfigures(1, 2, width_ratios=widths)
    left, right = parts
    for name, attributions, channels, axes in zip(names, result.attributions, top, left.subplots(rows, count, squeeze=False), strict=True):
        for axis, channel in zip(axes, channels.tolist(), strict=True):
            title = f"{channel} ({attributions[channel]:.0%})" if channel >= 0 else ""
            show(axis, as_numbers("pictures", pictures.get(channel, np.ones((1, 1, 3)))).filled(1), title)
        axes[0].set_ylabel(name, **TEXT)
    table, overlap = right.subplots(), result.overlap(count)
    table.imshow(overlap, cmap="Greys", vmin=0, vmax=1)
    for (i, j), share in np.ndenumerate(overlap):
        table.text(j, i, f"{share:.0%}", ha="center", va="center", fontsize=SMALL - 1, color="white" if share > _DARK else "black")
    table.set_xticks(range(rows), names, rotation=90, **TEXT)
    table.set_yticks(range(rows), names, **TEXT)
    table.set_title(f"share of the top {count} channels\nof {result.at} in common", **TEXT)
    return whole(drawn)
