"""Generated clips: emoji objects that move over coloured noise for some of the frames, with exact masks in time and space.

As for `extremal_jax.data.scenes`, the seed and the index determine a clip to the last bit on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int8, UInt8

from extremal_jax.data.scenes import BACKGROUND, CLASSES as SPRITES, OVERLAP, background, object_pixels, paste, whole_pair
from extremal_jax.ground.checks import check_count

CLASSES = ("dog", "fish", "car", "tree", "flower", "umbrella", "pizza", "ball")

_EXTENT = (0.3, 0.5)  # an object's longest side before rotation, as a share of the frame's shorter side
_SHOWN = (3, 6)  # an object is visible for this many ninths of the frames, from the least to the most
_ATTEMPTS = 400


@dataclass(frozen=True)
class MovingScenes:
    """Clips of one size and length.

    Attributes:
      clips: (N, T, H, W, 3), uint8, RGB.
      segmentation: (N, T, H, W), the index of the class visible at each pixel of each frame, or -1.
      classes: the names of the classes, by index.
    """

    clips: UInt8[np.ndarray, "N T H W 3"]
    segmentation: Int8[np.ndarray, "N T H W"]
    classes: tuple[str, ...] = CLASSES

    @property
    def labels(self) -> Bool[np.ndarray, "N classes"]:
        """(N, classes): whether a clip shows a class in any of its frames."""
        return np.stack([np.isin(np.arange(len(self.classes)), clip) for clip in self.segmentation])

    @property
    def masks(self) -> Bool[np.ndarray, "N classes T H W"]:
        """(N, classes, T, H, W): the visible pixels of every class, in every frame."""
        return self.segmentation[:, None] == np.arange(len(self.classes), dtype=np.int8)[:, None, None, None]

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int | slice) -> MovingScenes:
        if not isinstance(index, slice) and not -len(self) <= index < len(self):
            raise IndexError(f"clip {index} is out of range; there are {len(self)}")
        chosen = index if isinstance(index, slice) else slice(index, index + 1 or None)
        return MovingScenes(self.clips[chosen], self.segmentation[chosen], self.classes)

    def __iter__(self) -> Iterator[MovingScenes]:
        return (self[i] for i in range(len(self)))


def generate(seed: int, count: int, size: int = 48, frames: int = 12, *, objects: Any = (1, 2), first: int = 0) -> MovingScenes:
    """Generate clips. Each object is visible in consecutive frames, from a third to two thirds of all, and moves in a
    straight line.

    Args:
      seed: any non-negative integer.
      count: the number of clips, at least 1.
      size: height and width in pixels, at least 32.
      frames: the number of frames, at least 6.
      objects: the number of objects in each clip, 1 to 3, all of different classes; or (least, most).
      first: the index of the first clip: `generate(s, 9)` is `generate(s, 5)` and `generate(s, 4, first=5)`.

    Returns:
      `MovingScenes`, with clips, segmentation, labels and masks.

    Raises:
      ValueError: if a number is out of range.

    Example:
      >>> moving = generate(0, 2, objects=1)
      >>> moving.clips.shape, moving.masks.shape, moving.labels.sum(axis=1).tolist()
      ((2, 12, 48, 48, 3), (2, 8, 12, 48, 48), [1, 1])
    """
    least, most = whole_pair("objects", objects, "(least, most)")
    for name, value, minimum in (("seed", seed, 0), ("count", count, 1), ("size", size, 32), ("frames", frames, 6), ("first", first, 0)):
        check_count(name, value, minimum)
    if not 1 <= least <= most <= 3:
        raise ValueError(f"objects must be a number from 1 to 3, or two such numbers in ascending order, got {objects}")
    clips = np.empty((count, frames, size, size, 3), np.uint8)
    segmentation = np.empty((count, frames, size, size), np.int8)
    for i in range(count):
        rng = np.random.default_rng((seed, first + i))
        number = int(rng.integers(least, most + 1))
        while (clip := _clip(rng, size, frames, number)) is None:
            pass
        clips[i], segmentation[i] = clip
    return MovingScenes(clips, segmentation)


def _clip(rng: np.random.Generator, size: int, frames: int, objects: int) -> tuple[np.ndarray, np.ndarray] | None:
    """A clip and its segmentation; None if the first objects leave no room for the others."""
    clip = np.repeat(background(rng, size, size)[None], frames, axis=0)
    segmentation = np.full((frames, size, size), BACKGROUND, np.int8)
    for label in rng.choice(len(CLASSES), objects, replace=False).tolist():
        for _ in range(_ATTEMPTS):
            pixels = object_pixels(rng, SPRITES.index(CLASSES[label]), _EXTENT, size)
            places = _path(rng, size, frames, pixels.shape[:2])
            shape, under = pixels[..., 3] >= 128, [segmentation[place] for place in places]
            if np.count_nonzero(shape & (np.stack(under) != BACKGROUND)) * OVERLAP <= len(under) * np.count_nonzero(shape):
                break
        else:
            return None
        for place, labels in zip(places, under, strict=True):
            paste(clip[place], labels, pixels, label)
    return clip.astype(np.uint8), segmentation


def _path(rng: np.random.Generator, size: int, frames: int, shape: tuple[int, ...]) -> list[tuple[int, slice, slice]]:
    """The frame, rows and columns of an object of a shape (h, w), for each frame in which it is visible."""
    shown = int(rng.integers(-(-frames * _SHOWN[0] // 9), frames * _SHOWN[1] // 9 + 1))
    start = int(rng.integers(0, frames - shown + 1))
    sides = [(side, rng.integers(0, size - side + 1, 2)) for side in shape]
    places = []
    for index in range(shown):
        rows, columns = (
            slice(corner, corner + side)
            for side, (a, b) in sides
            for corner in [int(a) + (int(b) - int(a)) * index // (shown - 1)]  # whole pixels
        )
        places.append((start + index, rows, columns))
    return places
