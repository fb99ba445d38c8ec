"""Panels of figures: pictures and masks as images on axes, titles, labels, and any array as pictures.

Sizes are those of a paper: a column of 3.5 inches, a page of 7, and text of 7 points.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from typing import Any

import jax.numpy as jnp
import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import LogLocator, NullLocator

from extremal_jax.ground.checks import as_array, check_positive
from extremal_jax.ground.filters import resize

Names = Sequence[Any] | Mapping[Any, Any] | np.ndarray | None

COLUMN, PAGE = 3.5, 7.0  # inches
CELL = PAGE / 5  # inches, of a picture beside others
CHART = 2.2  # inches, the height of curves
LINE, GUIDE = "0.2", "0.6"  # greys of curves and outlines, and of lines for comparison
SMALL = 7  # points
TEXT: Any = dict(fontsize=SMALL, parse_math=False, usetex=False)  # a class may be called "$"
_DPI = 200  # also of the pictures inside a vector file
_PALE = 0.75  # how far removed pixels are faded to white
_TITLE = 24  # characters in a line of a title


def canvas(figure: object, width: float, height: float) -> Any:
    """The figure to draw on: the one that the caller gives, or a new one of this size in inches."""
    if figure is None:
        return Figure(figsize=(width, height), dpi=_DPI, layout="constrained")
    if not isinstance(figure, Figure | SubFigure):
        raise TypeError(f"figure must be a matplotlib Figure or SubFigure, such as plt.figure(), got {type(figure).__name__}")
    return figure


def whole(figure: Figure | SubFigure) -> Figure:
    """The figure that a part belongs to."""
    found: Any = figure.get_figure(root=True)
    return found


def panel(ax: object, width: float, height: float) -> Axes:
    """The axes to draw on: those that the caller gives, or those of a new figure of this size in inches."""
    if ax is None:
        return canvas(None, width, height).subplots()
    if not isinstance(ax, Axes):
        raise TypeError(f"ax must be matplotlib Axes, such as plt.gca(), got {type(ax).__name__}")
    return ax


def of_panel(axes: Axes, ax: Axes | None) -> Figure | Axes:
    """What a function of one panel returns: the caller's axes, or the new figure."""
    found: Any = axes.get_figure(root=True)
    return found if ax is None else ax


def checked_width(width: float | None, default: float) -> float:
    """The width of a figure in inches."""
    if width is None:
        return default
    check_positive("width", width)
    return float(width)


def pictures_width(columns: int) -> float:
    """The width in inches of pictures side by side: a column of a paper, a page, or more where there are more than five."""
    return max(COLUMN, CELL * columns)


def names_of(targets: Any, classes: Names) -> str:
    """The names of one or several classes."""
    if isinstance(classes, str | bytes | Set | Iterator):
        raise TypeError(f"classes must be a sequence of names, or a mapping from indices to names, got {type(classes).__name__}")
    if classes is None or len(classes) == 0:
        return " / ".join(f"class {index}" for index in np.ravel(targets))
    known = {int(index): name for index, name in (classes.items() if isinstance(classes, Mapping) else enumerate(classes))}
    if missing := [int(index) for index in np.ravel(targets) if int(index) not in known]:
        raise ValueError(f"classes must name every class that is drawn, got {len(known)} names and none of class {missing[0]}")
    return " / ".join(str(known[int(index)]) for index in np.ravel(targets))


def wrapped(text: str) -> str:
    """Two lines of a title, or less. They break between words and after underscores."""
    lines = textwrap.wrap(" ".join(text.replace("_", "_ ").split()), _TITLE, max_lines=2, placeholder=" …")
    return "\n".join(lines).replace("_ ", "_")


def percent(area: float) -> str:
    """A share in per cent, with as many digits as it has."""
    return f"{100 * area:g}%"


def label_axes(axes: Axes, horizontal: str, vertical: str, logarithmic: Callable[[float], str] | None = None) -> None:
    """Label the axes; `logarithmic` formats 1, 2, 5, 10, 20 and so on along a logarithmic horizontal axis."""
    if logarithmic is not None:
        low, high = axes.dataLim.intervalx
        if not 0 < low <= high < np.inf:  # no point is drawn
            axes.set_xlim(0.1, 1)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda value, _: logarithmic(value))
    axes.set_xlabel(horizontal, **TEXT)
    axes.set_ylabel(vertical, **TEXT)
    axes.tick_params(labelsize=SMALL)
    axes.spines[["top", "right"]].set_visible(False)


def show(axes: Axes, pixels: np.ndarray, title: str = "", detail: str = "") -> None:
    """Show a picture, or a mask in grey, under its title, wrapped, and a line of detail."""
    axes.imshow(np.clip(pixels, 0, 1), cmap="gray", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set(color="0.8", linewidth=0.5)
    if title:
        axes.set_title(f"{wrapped(str(title))}\n{detail}".rstrip(), **TEXT)


def select(axes: Axes, picture: np.ndarray, mask: np.ndarray, title: str, detail: str) -> None:
    """Show the selection of a mask in colour on a pale grey picture, and its outline."""
    pale = _PALE + (1 - _PALE) * grey(picture)
    show(axes, pale + (picture - pale) * mask[..., None], title, detail)
    outline(axes, mask)


def outline(axes: Axes, mask: np.ndarray) -> None:
    """Draw the line at which a mask is one half, if there is one; a picture one pixel high or wide has no room for it."""
    if min(mask.shape) > 1 and mask.min() < 0.5 < mask.max():
        axes.contour(mask, levels=[0.5], colors=LINE, linewidths=0.8)


def heat_over(picture: np.ndarray, saliency: np.ndarray) -> np.ndarray:
    """A map over the picture in grey."""
    level = saliency / max(float(saliency.max()), 1e-6)
    opacity = 0.75 * np.sqrt(level)[..., None]
    return (1 - opacity) * grey(picture) + opacity * colormaps["inferno"](level)[..., :3]


def map_on(name: str, values: Any, size: tuple[int, int]) -> np.ndarray:
    """A map (h, w) resized to (H, W), without its negative values."""
    numbers = as_numbers(name, values)
    if numbers.ndim != 2:
        raise ValueError(f"{name} must be of shape (h, w), got the shape {numbers.shape}")
    positive = jnp.asarray(np.maximum(numbers.filled(0), 0))
    return np.asarray(resize(positive[..., None], size))[..., 0]


def show_map(axes: Axes, picture: np.ndarray, values: np.ndarray, title: str = "") -> None:
    """Show a map over a picture, with a cross at its maximum."""
    show(axes, heat_over(picture, values), title)
    [cross] = axes.plot(*np.unravel_index(np.argmax(values), values.shape)[::-1], "x", color="white", markersize=6, markeredgewidth=1.5)
    cross.set_path_effects([withStroke(linewidth=3, foreground=LINE)])


def grey(picture: np.ndarray) -> np.ndarray:
    """(..., 3): the mean of the channels, thrice."""
    return picture.mean(axis=-1, keepdims=True).repeat(3, axis=-1)


def rgb_pictures(image: Any) -> np.ndarray:
    """(N, H, W, 3), RGB in [0, 1]."""
    image = image if isinstance(image, np.ma.MaskedArray) else np.asarray(as_array("image", image))
    pixels = as_numbers("image", image)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.ndim not in (3, 4) or pixels.size == 0:
        raise ValueError(f"image must have the shape (H, W, C) or (N, H, W, C), got {pixels.shape}")
    low, high = (float(pixels.min()), float(pixels.max())) if pixels.count() else (0.0, 1.0)
    most = 255 if np.issubdtype(image.dtype, np.integer) else 1
    if low >= 0 and high <= most:
        low, high = 0, most
    rgb = (pixels.filled(high) - low) / max(high - low, 1e-6)
    return (rgb if rgb.shape[-1] == 3 else grey(rgb)).reshape(-1, *rgb.shape[-3:-1], 3)  # one channel, or many: brightness


def as_numbers(name: str, values: Any) -> np.ma.MaskedArray:
    """An array of any library, or nested lists, in float32. Non-finite values are masked."""
    array = values if isinstance(values, np.ma.MaskedArray) else np.asarray(as_array(name, values))
    return np.ma.masked_invalid(array.astype(np.float32))
