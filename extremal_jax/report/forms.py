"""The forms in which a page holds an input and its masks: an image, slices one under the other, or lines.

An input whose masks have three axes is shown as slices along the first of them; one whose masks are smooth along one
axis only, as a line for each feature; all others, as an image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from PIL import Image, ImageDraw

from extremal_jax.operators.axes import IMAGE, Axes, masked, names
from extremal_jax.plots.panels import rgb_pictures
from extremal_jax.report.encoding import jpeg, numbers, png

THUMBNAIL = 160  # pixels
_MOST_SLICES = 32
_TALLEST = 16_384  # pixels, of slices one under the other: browsers decode no taller pictures
_MOST_FEATURES = 24
_MOST_TIMES = 2000
_NOUNS = {
    ("height", "width"): "image",
    ("time", "height", "width"): "clip",
    ("depth", "height", "width"): "volume",
    ("time", "frequency"): "spectrogram",
}
_INK, _PAPER = (84, 90, 98), (255, 255, 255)  # of the thumbnail of a series


class Shown(NamedTuple):
    """An input and what belongs to it. The axes that masks have come first, and one axis of channels last.

    Attributes:
      axes: of the input.
      values: (..., C), of the input; invalid ones are masked.
      removed: (..., C), the input with all removed; None: not known.
      masks: (K, ...) in [0, 1].
      maps: of other methods, by name, (...) in [0, 1] each.
      preprocessing: of the model, which knows the picture that an input was made of; None: scaled to its own range.
    """

    axes: Axes
    values: np.ma.MaskedArray
    removed: np.ma.MaskedArray | None
    masks: np.ndarray
    maps: Mapping[str, np.ndarray]
    preprocessing: Any = None


def arranged(axes: Axes, values: np.ma.MaskedArray) -> np.ma.MaskedArray:
    """An input with the axes that masks have first, and all others as one axis behind them."""
    own = [place for place, axis in enumerate(axes) if axis.masked]
    others = [place for place, axis in enumerate(axes) if not axis.masked]
    if values.ndim < len(axes):  # an image without channels
        return values[..., None]
    moved: np.ma.MaskedArray = values.transpose(*own, *others)
    return moved.reshape(*moved.shape[: len(own)], -1)


def fitted(axes: Axes, shape: Sequence[int], values: Any) -> np.ndarray:
    """A mask or a map in the size of the input's masks. What comes from a layer has no features of the input: it is one
    for all of them."""
    values, shape = np.asarray(values, np.float32), tuple(shape)
    if values.shape == shape:
        return values
    for place, axis in enumerate(masked(axes)):
        if not axis.smooth:
            values = values.mean(axis=place, keepdims=True)
    return np.asarray(jax.image.resize(values, shape, "linear"))


def form(shown: Shown) -> dict[str, Any]:
    """An input, its masks and maps, as the page's script reads them: the form, and what it needs."""
    along = masked(shown.axes)
    kind = _slices if len(along) == 3 else _series if len(along) == 1 or sum(axis.smooth for axis in along) == 1 else _image
    return dict(noun=_NOUNS.get(names(along), "series" if kind is _series else "input")) | kind(shown)


def _image(shown: Shown) -> dict[str, Any]:
    """One picture. Time, if it is the first axis, goes to the right, and the other axis upwards."""
    upright = masked(shown.axes)[0].name == "time"

    def turned(values: np.ndarray) -> np.ndarray:
        return np.flip(np.swapaxes(values, 0, 1), 0) if upright else values

    pictures = [turned(one) for one in _pictures(shown)]
    return dict(
        form="image",
        size=pictures[0].shape[:2],
        labels=[] if shown.axes == IMAGE else [*names(masked(shown.axes))][:: -1 if upright else 1],
        upright=upright,
        thumbnail=jpeg(pictures[0], THUMBNAIL),
        image=jpeg(pictures[0]),
        removed=jpeg(pictures[1]) if len(pictures) > 1 else None,
        masks=[png(turned(mask)) for mask in shown.masks],
        maps=[_map(name, turned(values)) for name, values in shown.maps.items()],
    )


def _slices(shown: Shown) -> dict[str, Any]:
    """Slices along the first axis, evenly spaced if they are many, one under the other."""
    count, height, width = shown.values.shape[:3]
    chosen = np.unique(np.linspace(0, count - 1, max(1, min(_MOST_SLICES, _TALLEST // height))).round().astype(int))
    kept = shown.masks.reshape(len(shown.masks), count, -1).mean(axis=-1)  # (K, count)

    def sheet(values: np.ndarray) -> np.ndarray:
        return values[chosen].reshape(-1, *values.shape[2:])

    pictures = _pictures(shown)
    best = chosen[np.argmax(kept[:1].sum(axis=0)[chosen])]
    return dict(
        form="slices",
        size=(height, width),
        labels=[*names(masked(shown.axes))],
        slices=chosen.tolist(),
        count=count,
        parts=numbers(kept),
        thumbnail=jpeg(pictures[0][best], THUMBNAIL),
        image=jpeg(sheet(pictures[0])),
        removed=jpeg(sheet(pictures[1])) if len(pictures) > 1 else None,
        masks=[png(sheet(mask)) for mask in shown.masks],
        maps=[_map(name, sheet(values), height, chosen) for name, values in shown.maps.items()],
    )


def _series(shown: Shown) -> dict[str, Any]:
    """A line for each feature, of those of which masks keep most. Of a long series, each point that is shown is the one
    of several neighbours that is farthest from the mean."""
    along = masked(shown.axes)
    first = len(along) == 2 and not along[0].smooth  # features, then times

    def lines(values: np.ndarray) -> Any:
        """(features, times) of an input."""
        flat = values if len(along) == 1 else values.mean(axis=-1)
        return flat if first else flat.T

    known = lines(shown.values)
    features, times = known.shape

    def shades(values: np.ndarray) -> np.ndarray:
        """(features, times) of a mask or map."""
        return np.broadcast_to(values if values.ndim == 1 or first else values.T, (features, times))

    masks = [shades(mask) for mask in shown.masks]
    kept = np.zeros(features) if not masks else np.sum(masks, axis=(0, 2))
    chosen = np.sort(np.argsort(-kept, kind="stable")[:_MOST_FEATURES])
    places = _places(known[chosen])

    def picked(values: Any) -> np.ndarray:
        """(chosen features, points)"""
        return np.take_along_axis(np.ma.filled(values, np.nan)[chosen], places, axis=1)

    return dict(
        form="series",
        size=places.shape,
        labels=[along[0 if not first else 1].name],
        features=chosen.tolist(),
        count=features,
        times=places.tolist() if times > _MOST_TIMES else None,
        thumbnail=jpeg(_sketch(picked(known))),
        image=None,
        removed=None,
        values=numbers(picked(known)),
        without=None if shown.removed is None else numbers(picked(lines(shown.removed))),
        masks=[png(picked(mask)) for mask in masks],
        maps=[_map(name, picked(shades(values))) for name, values in shown.maps.items()],
    )


def _places(lines: np.ma.MaskedArray) -> np.ndarray:
    """(features, points): the times that are shown."""
    features, times = lines.shape
    if times <= _MOST_TIMES:
        return np.broadcast_to(np.arange(times), (features, times))
    pitch = -(-times // _MOST_TIMES)
    whole = times // pitch * pitch  # the rest is shorter than one point
    far = np.abs(lines - lines.mean(axis=1, keepdims=True)).filled(0)[:, :whole]
    return far.reshape(features, -1, pitch).argmax(axis=-1) + np.arange(0, whole, pitch)


def _pictures(shown: Shown) -> list[np.ndarray]:
    """(..., 3) in [0, 1]: the input, and what is left where all is removed, if it is known."""
    parts = [shown.values] if shown.removed is None else [shown.values, shown.removed]
    to_picture = getattr(shown.preprocessing, "picture", None)
    if to_picture is not None:
        return [to_picture(part.filled(0)) / np.float32(255) for part in parts]
    stacked = np.ma.stack(parts)
    rows = rgb_pictures(stacked.reshape(-1, *stacked.shape[-3:]))  # of one range
    return [found.reshape(*shown.values.shape[:-1], 3) for found in np.split(rows, len(parts))]


def _map(name: str, heat: np.ndarray, height: int | None = None, chosen: np.ndarray | None = None) -> dict[str, Any]:
    """A map with the place of its highest value: row and column, and the slice where there are several."""
    row, column = np.unravel_index(np.argmax(heat), heat.shape)
    peak = [int(row), int(column)]
    if height is not None and chosen is not None:
        peak = [int(row) % height, int(column), int(row) // height]
    return dict(name=name, map=png(heat), peak=peak)


def _sketch(lines: np.ndarray) -> np.ndarray:
    """(160, 160, 3): the lines, one under the other, for a card."""
    shown = lines[:4]
    image = Image.new("RGB", (THUMBNAIL, THUMBNAIL), _PAPER)
    pen, high = ImageDraw.Draw(image), THUMBNAIL / len(shown)
    for row, line in enumerate(shown):
        known = np.nan_to_num(line, nan=float(np.nanmean(line)) if np.isfinite(line).any() else 0.0)
        low, span = known.min(), max(float(np.ptp(known)), 1e-9)
        x = np.linspace(4, THUMBNAIL - 4, len(known))
        y = high * (row + 0.9 - 0.8 * (known - low) / span)
        pen.line(list(zip(x.tolist(), y.tolist(), strict=True)), fill=_INK, width=2)
    return np.asarray(image) / np.float32(255)
