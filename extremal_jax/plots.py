"""Figures of results. They are matplotlib figures without a global state: `figure.savefig(path)` writes one, a notebook shows it."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from extremal_jax.extremal.channel_result import ChannelResult
from extremal_jax.extremal.class_channels import ClassChannels
from extremal_jax.extremal.result import ExtremalResult
from extremal_jax.extremal.smallest_result import SmallestArea
from extremal_jax.extremal.summary import summarize
from extremal_jax.ground.filters import resize

_CELL = 2.0  # inches
_PALE = 0.75  # how far what a mask removes is faded to white
_TITLE = 24  # letters in a line of a title
_DARK = 0.5  # shares above it are written in white
_OUTLINE = "0.2"  # the grey of a mask's edge


def overview(image: Any, result: ExtremalResult, classes: Sequence[str] | None = None) -> Figure:
    """The image, what each mask keeps of it, and the masks.

    Args:
      image: (H, W, C), or (N, H, W, C) for a batch: uint8, floats in [0, 1], or a model's input, which is scaled to its own range.
      result: of the same image or batch.
      classes: names for the targets.

    Returns:
      A figure with two rows for each image. Above: the image, and in colour what the mask of each area selects. Below: where the masks
      agree, and the masks. Titles give the area that was reached, the response, and its share of the response to the whole image.

    Raises:
      ValueError: if image and result are not of the same size. Masks of a layer are resized to the image.
    """
    pictures = _pictures(image)
    masks = _masks_for(pictures, result)
    if masks.ndim == 3:
        pictures, masks = pictures[None] if pictures.ndim == 3 else pictures, masks[None]
    if pictures.shape[:-1] != (len(masks), *masks.shape[-2:]):
        raise ValueError(f"image and result must be of the same size, got an image of {pictures.shape} and masks of {masks.shape}")
    count, num_areas, height, width = masks.shape
    summary = summarize(result)
    areas, values, shares = (np.asarray(x).reshape(count, num_areas) for x in (result.areas, summary.values, summary.shares))
    whole, targets = np.asarray(result.image_rewards).reshape(count), np.asarray(result.targets).reshape(count, -1)

    size = _CELL * (num_areas + 1), _CELL * count * (2 * height / width + 0.25)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(2 * count, num_areas + 1, squeeze=False)
    for i in range(count):
        upper, lower = axes[2 * i], axes[2 * i + 1]
        names = [classes[t] if classes else f"class {t}" for t in targets[i]]
        _show(upper[0], pictures[i], " / ".join(names), f"response {whole[i]:.2f}")
        _show(lower[0], _heat(pictures[i], masks[i].mean(axis=0)))
        for k in range(num_areas):
            share = "" if np.isnan(shares[i, k]) else f" ({shares[i, k]:.0%})"
            _show(upper[k + 1], _selected(pictures[i], masks[i, k]), f"area {areas[i, k]:.1%}", f"{summary.name} {values[i, k]:.2f}{share}")
            _outline(upper[k + 1], masks[i, k])
            _show(lower[k + 1], masks[i, k])
    return figure


def comparison(image: Any, maps: Mapping[str, Any], mask: Any = None, columns: int = 5) -> Figure:
    """Maps of several methods side by side, laid over the image.

    Args:
      image: (H, W, C), as in `overview`.
      maps: by title, (h, w) of any size and range, resized to the image; what is negative, and speaks against the target, is not shown.
      mask: (H, W), where the target is, if that is known: its outline is drawn.
      columns: how many pictures stand in a row.

    Returns:
      A figure with the image, and a picture for each map, on which a cross marks its highest point.

    Raises:
      ValueError: if a map or the mask is not of two dimensions, or the mask not of the image's size.
    """
    picture = _pictures(image)
    height, width = picture.shape[:2]
    if mask is not None and np.shape(mask) != (height, width):
        raise ValueError(f"mask must be of the image's size, {height}x{width}, got the shape {np.shape(mask)}")
    cells = len(maps) + 1
    columns = min(columns, cells)
    rows = -(-cells // columns)
    figure = Figure(figsize=(_CELL * columns, _CELL * rows * (height / width + 0.15)), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    _show(axes[0], picture)
    for axis, (title, values) in zip(axes[1:], maps.items(), strict=False):
        values = np.asarray(values)
        if values.ndim != 2:
            raise ValueError(f"maps must be of shape (h, w), got {title!r} of shape {values.shape}")
        positive = jnp.maximum(jnp.asarray(values, jnp.float32), 0)
        values = np.asarray(resize(positive[..., None], (height, width)))[..., 0]
        _show(axis, _heat(picture, values), "\n".join(textwrap.wrap(title, _TITLE)))
        axis.plot(*np.unravel_index(np.argmax(values), values.shape)[::-1], "x", color="white", markersize=7, markeredgewidth=2)
    for axis in axes[:cells]:
        if mask is not None:
            _outline(axis, np.asarray(mask, np.float32))
    for axis in axes[cells:]:
        axis.set_axis_off()
    return figure


def history(result: ExtremalResult) -> Figure:
    """The path of a run: the reward and the area loss of each area, step by step.

    Args:
      result: of a single image; index the result of a batch.
    """
    rewards, losses = np.asarray(result.history.rewards), np.asarray(result.history.area_losses)
    if rewards.ndim != 2:
        raise ValueError("history draws the result of a single image; index the result of a batch first: result[0]")
    figure = Figure(figsize=(4 * _CELL, 1.5 * _CELL), layout="constrained")
    for axes, values, label in zip(figure.subplots(1, 2), (rewards, losses), ("reward", "area loss"), strict=True):
        axes.set_prop_cycle(color=colormaps["viridis"](np.linspace(0, 0.9, rewards.shape[1])))  # in order, as the areas are
        axes.plot(np.where(np.isfinite(values), values, np.nan), label=[f"{area:.1%}" for area in np.asarray(result.requested_areas)])
        axes.set_xlabel("step")
        axes.set_ylabel(label)
        axes.spines[["top", "right"]].set_visible(False)
    if (losses[np.isfinite(losses)] > 0).any():
        axes.set_yscale("log")
    axes.legend(title="area", frameon=False)
    return figure


def smallest_area(image: Any, result: SmallestArea, classes: Sequence[str] | None = None) -> Figure:
    """The image, the least of it that suffices, and the response as a function of the area.

    Args:
      image: (H, W, C), or (N, H, W, C) for a batch, as for `overview`.
      result: of the same image or batch.
      classes: names for the targets.

    Returns:
      A figure with a row for each image. The curve has a mark at every area that was tried, a line at the response that was wanted, and one
      at the smallest area, where it was reached.

    Raises:
      ValueError: if image and result are not of the same size. Masks of a layer are resized to the image.
    """
    pictures = _pictures(image)
    if result.masks.ndim == 2:
        result = jax.tree.map(lambda x: np.asarray(x)[None], result)
        pictures = pictures[None] if pictures.ndim == 3 else pictures
    masks = _masks_for(pictures, result)
    if pictures.shape[:-1] != masks.shape:
        raise ValueError(f"image and result must be of the same size, got an image of {pictures.shape} and masks of {masks.shape}")
    figure = Figure(figsize=(4 * _CELL, len(masks) * 1.25 * _CELL), layout="constrained")
    rows = figure.subplots(len(masks), 3, squeeze=False, width_ratios=(1, 1, 1.6))
    for row, picture, mask, one in zip(rows, pictures, masks, (result[i] for i in range(len(masks))), strict=True):
        area = float(one.areas)
        names = [classes[t] if classes else f"class {t}" for t in np.asarray(one.targets).reshape(-1)]
        _show(row[0], picture, " / ".join(names), f"response {float(one.image_responses):.2f}")
        found = f"smallest area {area:.1%}" if one.reached else "not reached; the best"
        _show(row[1], _selected(picture, mask), found, f"response {float(one.responses):.2f}")
        _outline(row[1], mask)
        row[2].plot(np.asarray(one.curve.areas), np.asarray(one.curve.responses), marker=".", color="0.2")
        row[2].axhline(float(one.wanted), color="0.6", linestyle=":")
        if one.reached:
            row[2].axvline(area, color="0.6", linestyle=":")
        _area_axis(row[2], "response")
    return figure


def responses(areas: Any, values: Any, label: str = "share of the response to the whole image") -> Figure:
    """How the response grows with the area, over many images: the median, and the quartiles as a band.

    Args:
      areas: (K,), growing.
      values: (N, K), of each image.
      label: of the vertical axis.
    """
    areas, values = np.asarray(areas), np.asarray(values)
    low, median, high = np.nanpercentile(values, [25, 50, 75], axis=0)
    figure = Figure(figsize=(2.5 * _CELL, 1.75 * _CELL), layout="constrained")
    axes = figure.subplots()
    axes.fill_between(areas, low, high, color="0.85", linewidth=0)
    axes.plot(areas, median, marker=".", color="0.2")
    axes.axhline(1, color="0.6", linestyle=":")
    _area_axis(axes, label)
    return figure


def inversion(image: Any, inversions: Mapping[str, Any]) -> Figure:
    """An image beside what was found by feature inversion.

    Args:
      image: (H, W, C), or (N, H, W, C) for a batch, as for `overview`.
      inversions: pictures in [0, 1] by their titles, each of the image's rank, such as the `images` of the inversions of all channels, of
        those that a mask keeps, and of those that it drops. They may be of another size than the image.

    Returns:
      A figure with a row for each image.

    Raises:
      ValueError: if there are not as many pictures as images.

    Example:
      >>> black = np.zeros((2, 8, 8, 3))
      >>> [axes.get_title() for axes in inversion(black, {"all channels": black}).axes]
      ['original', 'all channels', '', '']
    """
    columns = {"original": _pictures(image), **{title: np.asarray(pictures) for title, pictures in inversions.items()}}
    columns = {title: pictures[None] if pictures.ndim == 3 else pictures for title, pictures in columns.items()}
    lengths = {title: len(pictures) for title, pictures in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"there must be as many pictures as images, got {lengths}")
    count = lengths["original"]
    figure = Figure(figsize=(_CELL * len(columns), _CELL * count + 0.25), layout="constrained")
    for row, axes in enumerate(figure.subplots(count, len(columns), squeeze=False)):
        for panel, (title, pictures) in zip(axes, columns.items(), strict=True):
            _show(panel, pictures[row])
            if row == 0:
                panel.set_title(title, fontsize=8)
    return figure


def channels(result: ChannelResult) -> Figure:
    """What sets of channels answer, and which channels they are.

    Args:
      result: of a single image; index the result of a batch.

    Returns:
      A figure with the response to the set of each count, beside that to all channels, and the masks, a row each: channels in the order in
      which the sets take them up, those that no set holds left out.
    """
    if np.ndim(result.masks) != 2:
        raise ValueError("channels draws the result of a single image; index the result of a batch first: result[0]")
    asked, order = np.asarray(result.requested_areas), np.argsort(np.asarray(result.requested_areas))
    masks, summary = np.asarray(result.binary_masks())[order], summarize(result)
    figure = Figure(figsize=(4 * _CELL, 1.5 * _CELL), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(asked[order], np.asarray(summary.values)[order], "o-", color="0.2", label="the set")
    left.axhline(float(result.image_rewards), color="0.6", linestyle="--", label="all channels")
    left.set(xlabel=f"channels of {result.at}", ylabel=summary.name)
    _logarithmic(left, lambda count: f"{count:g}")
    left.spines[["top", "right"]].set_visible(False)
    left.legend(frameon=False)
    first = np.where(masks.any(axis=0), masks.argmax(axis=0), len(masks))
    shown = np.argsort(first, kind="stable")[: int((first < len(masks)).sum())]
    right.imshow(masks[:, shown], cmap="gray_r", vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    right.set(yticks=range(len(order)), yticklabels=asked[order], ylabel="channels asked for", xlabel="channels, as sets take them up")
    return figure


def class_channels(result: ClassChannels, pictures: Mapping[int, Any], count: int = 4, classes: Sequence[str] | None = None) -> Figure:
    """The top channels of each class, what they look for, and how many of them two classes have in common.

    Args:
      result: of some classes.
      pictures: by the index of a channel, (H, W, C) in [0, 1]: those of `maximize_channel`. Channels without one are left blank.
      count: how many of the top channels to show and to compare.
      classes: names for the classes.

    Returns:
      A figure with a row of pictures for each class, under the channel's index and the share of the class's images whose smallest
      sufficient set holds it, and a table of overlaps.
    """
    names = [classes[index] if classes else f"class {index}" for index in result.classes]
    top, rows = result.top(count), len(names)
    figure = Figure(figsize=(_CELL * (0.6 * count + 0.6 * rows**0.5 + 1), _CELL * 0.75 * rows), layout="constrained")
    parts: Any = figure.subfigures(1, 2, width_ratios=(count, 1 + rows**0.5))
    left, right = parts
    for name, attributions, channels, axes in zip(names, result.attributions, top, left.subplots(rows, count, squeeze=False), strict=True):
        for axis, channel in zip(axes, channels.tolist(), strict=True):
            title = f"{channel}  ({attributions[channel]:.0%})" if channel >= 0 else ""
            _show(axis, np.asarray(pictures.get(channel, np.ones((1, 1, 3)))), title)
        axes[0].set_ylabel(name, fontsize=8)
    table, overlap = right.subplots(), result.overlap(count)
    table.imshow(overlap, cmap="Greys", vmin=0, vmax=1)
    for (i, j), share in np.ndenumerate(overlap):
        table.text(j, i, f"{share:.0%}", ha="center", va="center", fontsize=7, color="white" if share > _DARK else "black")
    table.set(xticks=range(rows), yticks=range(rows))
    table.set_xticklabels(names, rotation=90, fontsize=8)
    table.set_yticklabels(names, fontsize=8)
    table.set_title(f"of the top {count} of {result.at}, in common", fontsize=8)
    return figure


def _masks_for(pictures: np.ndarray, result: ExtremalResult | SmallestArea) -> np.ndarray:
    """The masks; those of a layer resized to the pictures."""
    masks = np.asarray(result.masks)
    if result.at is None:
        return masks
    return np.asarray(jax.image.resize(masks, (*masks.shape[:-2], *pictures.shape[-3:-1]), "linear"))


def _area_axis(axes: Axes, label: str) -> None:
    """Areas as shares, on a logarithmic scale."""
    _logarithmic(axes, lambda area: f"{100 * area:g}%")
    axes.set_xlabel("area", fontsize=8)
    axes.set_ylabel(label, fontsize=8)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)


def _logarithmic(axes: Axes, label: Callable[[float], str]) -> None:
    """The horizontal axis on a logarithmic scale, with labels at 1, 2, 5, 10, 20 and so on."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(lambda value, _: label(value))


def _show(axes: Axes, pixels: np.ndarray, title: str = "", detail: str = "") -> None:
    axes.imshow(np.clip(pixels, 0, 1), cmap="gray", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(color="0.8", linewidth=0.5)
    if title:
        axes.set_title(f"{title}\n{detail}".rstrip(), fontsize=8)


def _outline(axes: Axes, mask: np.ndarray) -> None:
    """The line at which a mask is one half, where there is one."""
    if mask.min() < 0.5 < mask.max():
        axes.contour(mask, levels=[0.5], colors=_OUTLINE, linewidths=0.8)


def _selected(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """What a mask selects, in colour on a pale grey picture."""
    pale = _PALE + (1 - _PALE) * _grey(picture)
    return pale + (picture - pale) * mask[..., None]


def _heat(picture: np.ndarray, saliency: np.ndarray) -> np.ndarray:
    """A map laid over the picture in grey."""
    level = saliency / max(float(saliency.max()), 1e-6)
    opacity = 0.75 * np.sqrt(level)[..., None]
    return (1 - opacity) * _grey(picture) + opacity * colormaps["inferno"](level)[..., :3]


def _grey(picture: np.ndarray) -> np.ndarray:
    return picture.mean(axis=-1, keepdims=True).repeat(3, axis=-1)


def _pictures(image: Any) -> np.ndarray:
    """RGB in [0, 1]."""
    pixels = np.asarray(image)
    if pixels.dtype == np.uint8:
        pixels = pixels / 255
    pixels = pixels.astype(np.float32)
    low, high = float(pixels.min()), float(pixels.max())
    if low < 0 or high > 1:
        pixels = (pixels - low) / max(high - low, 1e-6)
    if pixels.shape[-1] == 3:
        return pixels
    return _grey(pixels)  # one channel, or many: brightness
