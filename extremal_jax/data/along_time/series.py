"""Generated series: events that are planted in noise, each in one feature for some time, with exact masks.

The seed and the index determine a series, up to the rounding of sines.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int8

from extremal_jax.ground.checks import check_count

CLASSES = ("rise", "fall", "step", "oscillation", "burst")
BACKGROUND = -1  # the label of values outside all events

_NOISE, _WANDER = 0.4, 0.4  # the deviation of white noise, and the amplitude of slow waves, in every feature
_HEIGHT = (2.0, 3.0)  # of an event
_LASTS = (15, 30)  # the length of an event, in hundredths of the series


@dataclass(frozen=True)
class EventSeries:
    """Series of one length.

    Attributes:
      values: (N, T, F), float32.
      events: (N, T, F), the index of the class of the event at each value, or `BACKGROUND`.
      classes: the names of the classes, by index.
    """

    values: Float32[np.ndarray, "N T F"]
    events: Int8[np.ndarray, "N T F"]
    classes: tuple[str, ...] = CLASSES

    @property
    def labels(self) -> Bool[np.ndarray, "N classes"]:
        """(N, classes): whether a series has an event of a class."""
        return np.stack([np.isin(np.arange(len(self.classes)), one) for one in self.events])

    @property
    def masks(self) -> Bool[np.ndarray, "N classes T F"]:
        """(N, classes, T, F): the times and the feature of the event of every class."""
        return self.events[:, None] == np.arange(len(self.classes), dtype=np.int8)[:, None, None]

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: int | slice) -> EventSeries:
        if not isinstance(index, slice) and not -len(self) <= index < len(self):
            raise IndexError(f"series {index} is out of range; there are {len(self)}")
        chosen = index if isinstance(index, slice) else slice(index, index + 1 or None)
        return EventSeries(self.values[chosen], self.events[chosen], self.classes)

    def __iter__(self) -> Iterator[EventSeries]:
        return (self[i] for i in range(len(self)))


def generate(
    seed: int, count: int, length: int = 100, features: int = 6, *, events: int | tuple[int, int] = (1, 2), first: int = 0
) -> EventSeries:
    """Generate series of noise with planted events: a rise to a height, a fall from it, a step up and down again, an
    oscillation, or a burst of noise.

    Args:
      seed: any non-negative integer.
      count: the number of series, at least 1.
      length: of each series, in steps of time, at least 40. An event lasts 15 to 30 hundredths of it.
      features: their number, at least 1.
      events: the number of events in each series, from 1 to 5, of different classes and in different features; or
        (least, most).
      first: the index of the first series: `generate(s, 9)` is `generate(s, 5)` and `generate(s, 4, first=5)`.

    Returns:
      `EventSeries`, with values, events, labels and masks. The noise has a deviation of about 0.5, and the height of
      an event is from 2 to 3.

    Raises:
      ValueError: if a number is out of range.

    Example:
      >>> planted = generate(0, 3, events=1)
      >>> planted.values.shape, planted.masks.shape, planted.labels.sum(axis=1).tolist()
      ((3, 100, 6), (3, 5, 100, 6), [1, 1, 1])
    """
    least, most = (events, events) if isinstance(events, int) else events
    for name, value, minimum in (("seed", seed, 0), ("count", count, 1), ("length", length, 40), ("features", features, 1)):
        check_count(name, value, minimum)
    check_count("first", first, 0)
    if not 1 <= least <= most <= min(len(CLASSES), features):
        raise ValueError(
            f"events must be a number from 1 to {min(len(CLASSES), features)}, since each has a class and a feature of its own, or two"
            f" such numbers in ascending order, got {events}"
        )
    found = [_one(np.random.default_rng((seed, first + i)), length, features, least, most) for i in range(count)]
    return EventSeries(np.stack([values for values, _ in found]), np.stack([labels for _, labels in found]))


def _one(rng: np.random.Generator, length: int, features: int, least: int, most: int) -> tuple[np.ndarray, np.ndarray]:
    """The values of a series, and the labels of its events."""
    times = np.arange(length)[:, None]
    waves = np.sin(2 * np.pi * (times / (length * rng.uniform(0.5, 2, features)) + rng.uniform(0, 1, features)))
    values = rng.normal(0, _NOISE, (length, features)) + _WANDER * waves
    labels = np.full((length, features), BACKGROUND, np.int8)
    number = int(rng.integers(least, most + 1))
    for label, feature in zip(rng.permutation(len(CLASSES))[:number], rng.permutation(features)[:number], strict=True):
        lasts = int(rng.integers(length * _LASTS[0] // 100, length * _LASTS[1] // 100 + 1))
        start = int(rng.integers(0, length - lasts + 1))
        values[start : start + lasts, feature] += rng.uniform(*_HEIGHT) * _shape(rng, CLASSES[label], lasts)
        labels[start : start + lasts, feature] = label
    return values.astype(np.float32), labels


def _shape(rng: np.random.Generator, name: str, lasts: int) -> np.ndarray:
    """The course of an event of height 1."""
    ramp = np.arange(1, lasts + 1) / lasts
    if name == "rise":
        return ramp
    if name == "fall":
        return ramp[::-1]
    if name == "step":
        return np.ones(lasts)
    if name == "oscillation":
        return np.sin(2 * np.pi * (np.arange(lasts) / rng.uniform(5, 8) + rng.uniform()))
    return rng.normal(0, 0.7, lasts)
