"""Figures of results. They are matplotlib figures without a global state: `figure.savefig(path)` writes one, a notebook shows it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from extremal_jax.perturbation.result import ExtremalResult

_CELL = 2.0  # inches
_DIMMED = 0.12  # how bright what a mask removes is drawn


def overview(image: Any, result: ExtremalResult, classes: Sequence[str] | None = None) -> Figure:
    """The image, what each mask keeps of it, and the masks.

    Args:
      image: (H, W, C), or (N, H, W, C) for a batch: uint8, floats in [0, 1], or a model's input, which is scaled to its own range.
      result: of the same image or batch.
      classes: names for the targets.

    Returns:
      A figure with two rows for each image. Above: the image, and what the masks of each area keep. Below: where the masks agree, and the
      masks. Titles give the area that was reached, the reward, and its share of the response to the whole image.

    Raises:
      ValueError: if image and result are not of the same size.
    """
    pictures = _pictures(image)
    masks = np.asarray(result.masks)
    if masks.ndim == 3:
        pictures, masks = pictures[None] if pictures.ndim == 3 else pictures, masks[None]
    if pictures.shape[:-1] != (len(masks), *masks.shape[-2:]):
        raise ValueError(f"image and result must be of the same size, got an image of {pictures.shape} and masks of {masks.shape}")
    count, num_areas, height, width = masks.shape
    areas, rewards = (np.asarray(x).reshape(count, num_areas) for x in (result.areas, result.rewards))
    whole, targets = np.asarray(result.image_rewards).reshape(count), np.asarray(result.targets).reshape(count, -1)

    size = _CELL * (num_areas + 1), _CELL * count * (2 * height / width + 0.25)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(2 * count, num_areas + 1, squeeze=False)
    for i in range(count):
        upper, lower = axes[2 * i], axes[2 * i + 1]
        names = [classes[t] if classes else f"class {t}" for t in targets[i]]
        _show(upper[0], pictures[i], f"{' / '.join(names)}\nresponse {whole[i]:.2f}")
        _show(lower[0], _heat(pictures[i], masks[i].mean(axis=0)))
        for k in range(num_areas):
            kept = pictures[i] * (_DIMMED + (1 - _DIMMED) * masks[i, k][..., None])
            share = f" ({rewards[i, k] / whole[i]:.0%})" if whole[i] > 0 else ""
            _show(upper[k + 1], kept, f"area {areas[i, k]:.1%}\nreward {rewards[i, k]:.2f}{share}")
            _show(lower[k + 1], masks[i, k])
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
        axes.plot(values, label=[f"{area:.1%}" for area in np.asarray(result.requested_areas)])
        axes.set_xlabel("step")
        axes.set_ylabel(label)
        axes.spines[["top", "right"]].set_visible(False)
    axes.set_yscale("log")
    axes.legend(title="area", frameon=False)
    return figure


def _show(axes: Axes, pixels: np.ndarray, title: str = "") -> None:
    axes.imshow(np.clip(pixels, 0, 1), cmap="gray", vmin=0, vmax=1)
    axes.set_title(title, fontsize=8)
    axes.set_axis_off()


def _heat(picture: np.ndarray, saliency: np.ndarray) -> np.ndarray:
    """A map laid over the picture in grey."""
    from matplotlib import colormaps

    level = saliency / max(float(saliency.max()), 1e-6)
    grey = picture.mean(axis=-1, keepdims=True).repeat(3, axis=-1)
    opacity = 0.75 * np.sqrt(level)[..., None]
    return (1 - opacity) * grey + opacity * colormaps["inferno"](level)[..., :3]


def _pictures(image: Any) -> np.ndarray:
    """RGB in [0, 1]."""
    pixels = np.asarray(image)
    if pixels.dtype == np.uint8:
        pixels = pixels / 255
    pixels = pixels.astype(np.float32)
    low, high = float(pixels.min()), float(pixels.max())
    if low < 0 or high > 1:
        pixels = (pixels - low) / (high - low)
    if pixels.shape[-1] == 3:
        return pixels
    return pixels.mean(axis=-1, keepdims=True).repeat(3, axis=-1)  # one channel, or many: brightness
