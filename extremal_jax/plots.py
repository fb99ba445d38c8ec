"""Figures of results. They are matplotlib figures without a global state: `figure.savefig(path)` writes one, a notebook shows it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from extremal_jax.filters import resize
from extremal_jax.perturbation.result import ExtremalResult
from extremal_jax.summary import summarize

_CELL = 2.0  # inches
_PALE = 0.75  # how far what a mask removes is faded to white
_TITLE = 24  # letters in a line of a title
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
    masks = np.asarray(result.masks)
    if result.at is not None:
        masks = np.asarray(jax.image.resize(masks, (*masks.shape[:-2], *pictures.shape[-3:-1]), "linear"))
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
        axis.plot(*np.unravel_index(values.argmax(), values.shape)[::-1], "x", color="white", markersize=7, markeredgewidth=2)
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
