"""One figure of each kind, always the same, and how pictures of figures are compared.

`python tests/figure_cases.py` draws them anew into `golden/figures/`, after a change of how figures look.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

import extremal_jax as ej
import plot_results
from extremal_jax.data.scenes import generate

FOLDER = Path(__file__).parent / "golden" / "figures"
DPI = 30  # of the recorded pictures, which are small
SIDE = 6  # pixels of a recorded picture whose mean is compared: a letter is smaller, and a panel larger
AREAS = np.array([0.025, 0.1, 0.2], np.float32)
IMAGES = generate(3, 2, 48, objects=2).images
_ROWS, _COLUMNS = np.mgrid[:48, :48]
MASKS = np.stack([np.clip(1.5 - np.hypot(_ROWS - 18, _COLUMNS - 20) / radius, 0, 1) for radius in (5, 9, 13)]).astype(np.float32)
_STEPS = np.linspace(0, 1, 20, dtype=np.float32)[:, None] * np.array([1, 2, 3], np.float32)


def result(**changes: Any) -> ej.ExtremalResult:
    """Three discs around the sail of the first image."""
    fields: dict[str, Any] = dict(
        masks=MASKS,
        masks_with_margin=MASKS,
        params=MASKS,
        areas=MASKS.mean(axis=(1, 2)),
        rewards=np.array([2.0, 6.0, 8.0], np.float32),
        requested_areas=AREAS,
        history=ej.History(_STEPS, np.exp(-_STEPS)),
    )
    return plot_results.result(**(fields | changes))


def _moving() -> ej.ExtremalResult:
    masks = np.stack([MASKS[:, ::4, ::4] * share for share in (0.0, 0.5, 1.0, 0.5)], axis=1)
    return result(masks=masks, areas=masks.mean(axis=(1, 2, 3)), config=ej.Config(axes="video"))


def _series() -> ej.ExtremalResult:
    masks = np.stack([np.exp(-(((np.arange(40) - 15) / width) ** 2)) for width in (2, 4, 8)]).astype(np.float32)[..., None]
    return result(masks=np.concatenate([masks, masks / 2], axis=2), config=ej.Config(axes="series"))


def _channels() -> ej.ChannelResult:
    masks = np.zeros((3, 12), np.float32)
    for row, count in enumerate((1, 3, 6)):
        masks[row, :count] = 1
    return ej.ChannelResult(
        masks=masks,
        params=masks,
        rewards=np.array([2.0, 5.0, 7.0], np.float32),
        image_rewards=np.array(8, np.float32),
        areas=masks.sum(axis=1),
        requested_areas=np.array([1, 3, 6], np.int32),
        targets=np.array(0, np.int32),
        history=ej.History(_STEPS, _STEPS),
        status=ej.Status(np.full(3, -1, np.int32)),
        config=ej.ChannelConfig(),
        at="blocks.3",
    )


def _class_channels() -> ej.ClassChannels:
    return ej.ClassChannels(
        classes=np.array([0, 1]),
        attributions=np.array([[0.9, 0, 0.4], [0, 1, 0.6]], np.float32),
        precedence=np.zeros((2, 3), np.float32),
        images_per_class=np.array([10, 5]),
        counts=np.full(15, 2),
        reached=np.ones(15, bool),
        at="blocks.3",
    )


def _smallest() -> ej.SmallestArea:
    masks = np.stack([MASKS[0], MASKS[2]])
    return dataclasses.replace(plot_results.smallest(2), masks=masks, params=masks)[0]


CLIP = np.stack([np.roll(IMAGES[0][::4, ::4], step, axis=1) for step in range(4)])
WAVES = np.sin(np.arange(40)[:, None] / np.array([3, 6]))
SHARES = np.outer(np.linspace(0.5, 1.5, 9), [0.2, 0.6, 0.9])
CASES: dict[str, Callable[..., Any]] = {  # functions of the options of the kind of figure
    "channels": lambda **options: ej.plots.channels(_channels(), **options),
    "class_channels": lambda **options: ej.plots.class_channels(
        _class_channels(), {0: IMAGES[0] / 255, 1: IMAGES[1] / 255}, 2, plot_results.CLASSES, **options
    ),
    "comparison": lambda **options: ej.plots.comparison(
        IMAGES[0], {"grad_cam": MASKS[1], "contrastive_excitation_backprop": MASKS[2][:, ::-1]}, MASKS[1] > 0.5, **options
    ),
    "heat": lambda **options: ej.plots.heat(IMAGES[0], MASKS[2], "saliency", **options),
    "history": lambda **options: ej.plots.history(result(), **options),
    "inversion": lambda **options: ej.plots.inversion(IMAGES, {"all channels": IMAGES / 255, "kept channels": IMAGES / 510}, **options),
    "overview": lambda **options: ej.plots.overview(IMAGES[0], result(), plot_results.CLASSES, **options),
    "responses": lambda **options: ej.plots.responses(AREAS, SHARES, **options),
    "selection": lambda **options: ej.plots.selection(IMAGES[0], MASKS[1], "area 10 %", **options),
    "series": lambda **options: ej.plots.series(WAVES, _series(), plot_results.CLASSES, **options),
    "slices": lambda **options: ej.plots.slices(CLIP, _moving(), plot_results.CLASSES, **options),
    "smallest_area": lambda **options: ej.plots.smallest_area(IMAGES[0], _smallest(), plot_results.CLASSES, **options),
}
PANELS = ("heat", "responses", "selection")  # the kinds of one panel


def picture(figure: Figure) -> np.ndarray:
    """(H, W, 3), a figure as it is recorded."""
    file = io.BytesIO()
    figure.savefig(file, dpi=DPI)
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"))


def coarse(pixels: np.ndarray) -> np.ndarray:
    """Means of squares, from 0 to 1, which a shift of letters by a version of matplotlib hardly changes."""
    rows, columns = (length // SIDE for length in pixels.shape[:2])
    squares = pixels[: rows * SIDE, : columns * SIDE].reshape(rows, SIDE, columns, SIDE, 3)
    return squares.mean(axis=(1, 3)) / 255


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, draw in CASES.items():
        Image.fromarray(picture(draw())).save(FOLDER / f"{name}.png", optimize=True)
