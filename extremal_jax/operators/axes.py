"""The axes of an input: which of them masks have, and whether masks are smooth along them.

An image has a height, a width and channels; a mask has a height and a width, and is one for all channels. A clip, a
volume, a spectrogram or a series has other axes. A tuple of `Axis` records says once what they are; everything that
depends on them reads it from there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from extremal_jax.ground.checks import check_flag

FLIPPED = "width"  # the axis along which jitter flips
SHIFTED = ("height", "width")  # those along which it shifts
Length = float | tuple[float, ...]  # along all axes of a mask, or along each
Pitch = int | tuple[int, ...]


@dataclass(frozen=True)
class Axis:
    """One axis of an input.

    Attributes:
      name: such as "time". An axis called "width" is the one along which jitter flips; "height" and "width" are those
        along which it shifts.
      masked: whether masks have this axis. Otherwise one mask value holds for all places along it, as for channels.
      smooth: whether masks and blurs are smooth along it. The features of a series have no order, so that neighbours
        have nothing in common.
      unit: axes of one unit share their lengths: a default length is a share of the shortest of them. None: the axis
        has a unit of its own.

    Example:
      >>> Axis("time"), Axis("channel", masked=False).smooth
      (Axis(name='time', masked=True, smooth=True, unit=None), True)
    """

    name: str
    masked: bool = True
    smooth: bool = True
    unit: str | None = None

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and self.name.isidentifier()):
            raise ValueError(f"name must be a word, such as 'time', got {self.name!r}")
        check_flag("masked", self.masked)
        check_flag("smooth", self.smooth)
        if self.unit is not None and not isinstance(self.unit, str):
            raise TypeError(f"unit must be a word, such as 'pixel', or None, got {self.unit!r}")


Axes = tuple[Axis, ...]

_HEIGHT, _WIDTH, _CHANNEL = Axis("height", unit="pixel"), Axis("width", unit="pixel"), Axis("channel", masked=False)
IMAGE: Axes = (_HEIGHT, _WIDTH, _CHANNEL)
VIDEO: Axes = (Axis("time"), *IMAGE)
VOLUME: Axes = (Axis("depth", unit="pixel"), *IMAGE)
SPECTROGRAM: Axes = (Axis("time"), Axis("frequency"), _CHANNEL)
SERIES: Axes = (Axis("time"), Axis("feature", smooth=False))
MOMENTS: Axes = (Axis("time"), Axis("feature", masked=False))

AXES: dict[str, Axes] = dict(image=IMAGE, video=VIDEO, volume=VOLUME, spectrogram=SPECTROGRAM, series=SERIES, moments=MOMENTS)


def check_axes(axes: Any) -> Axes:
    """The axes that a caller gives, by a name of `AXES` or as a tuple of records.

    Raises:
      TypeError, ValueError: if they are neither, or repeat a name, or if masks have none of them or more than three.

    Example:
      >>> names(check_axes("series"))
      ('time', 'feature')
    """
    if isinstance(axes, str):
        if axes not in AXES:
            raise ValueError(f"axes must be one of {', '.join(AXES)}, or a tuple of Axis records, got {axes!r}")
        return AXES[axes]
    if not isinstance(axes, (tuple, list)) or not all(isinstance(axis, Axis) for axis in axes):
        raise TypeError(f"axes must be one of {', '.join(AXES)}, or a tuple of Axis records, got {axes!r}")
    found = tuple(axes)
    if len(set(names(found))) < len(found):
        raise ValueError(f"axes must have different names, got {', '.join(names(found))}")
    if not 1 <= len(masked(found)) <= 3:
        raise ValueError(f"axes must have from one to three that are masked, got {len(masked(found))} in {', '.join(names(found))}")
    return found


def names(axes: Axes) -> tuple[str, ...]:
    """The names of axes.

    Example:
      >>> names(IMAGE)
      ('height', 'width', 'channel')
    """
    return tuple(axis.name for axis in axes)


def masked(axes: Axes) -> Axes:
    """The axes that masks have.

    Example:
      >>> names(masked(VIDEO))
      ('time', 'height', 'width')
    """
    return tuple(axis for axis in axes if axis.masked)


def sides(axes: Axes, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The reference length of each masked axis, of which default lengths are shares: the shortest side of its unit.

    Args:
      axes: of the input.
      shape: of a mask.

    Example:
      >>> sides(VIDEO, (16, 112, 96))
      (16, 96, 96)
    """
    units = [axis.unit or axis.name for axis in masked(axes)]
    return tuple(min(n for n, other in zip(shape, units, strict=True) if other == unit) for unit in units)


def each(axes: Axes, shape: tuple[int, ...], given: Length | None, default: Callable[[int], float]) -> tuple[float, ...]:
    """A length along each masked axis: the given one, or a default by `sides`; 0 along axes that are not smooth.

    Example:
      >>> each(SERIES, (50, 3), None, lambda side: side / 10), each(SERIES, (50, 3), 4.0, lambda side: side / 10)
      ((5.0, 0.0), (4.0, 0.0))
    """
    if isinstance(given, tuple):
        return tuple(map(float, given))
    lengths = [default(side) if given is None else given for side in sides(axes, shape)]
    return tuple(float(length) * axis.smooth for length, axis in zip(lengths, masked(axes), strict=True))


def over_all(axes: Axes, lengths: Length) -> Length:
    """Lengths along the masked axes as lengths along all axes: 0 along the others. A number stays a number.

    Example:
      >>> over_all(VIDEO, (1.0, 20.0, 20.0))
      (1.0, 20.0, 20.0, 0.0)
    """
    if not isinstance(lengths, tuple):
        return lengths
    left = iter(lengths)
    return tuple(next(left) if axis.masked else 0.0 for axis in axes)


def places(axes: Axes, *wanted: str) -> tuple[int, ...]:
    """The positions, counted from the end, of the axes with these names; names that are not among them are left out.

    Example:
      >>> places(VIDEO, "height", "width"), places(SERIES, "width")
      ((-3, -2), ())
    """
    return tuple(place - len(axes) for place, axis in enumerate(axes) if axis.name in wanted)


def check_gaps(pitch: Pitch, sigma: Length, axes: Axes) -> None:
    """Raise a ValueError if the kernel is smaller than the pitch along an axis, so that masks would have gaps. Along axes
    with sigma 0 there is no kernel, and the pitch must be 1."""
    along = len(axes)
    pitches, sigmas = (given if isinstance(given, tuple) else (given,) * along for given in (pitch, sigma))
    for axis, step, radius in zip(axes, pitches, sigmas, strict=True):
        if radius < step and not (radius == 0 and step == 1):
            where = f" along {axis.name}" if isinstance(pitch, tuple) or isinstance(sigma, tuple) else ""
            raise ValueError(f"sigma must be at least the pitch of {step} pixels{where}, or masks have gaps, got {radius}")
