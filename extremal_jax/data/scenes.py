"""Generated scenes: emoji objects on coloured noise, with exact masks.

The seed and the index determine a scene to the last bit on every machine: all pixel arithmetic is in integers, also in
Pillow (nearest-neighbour warps and 8-bit resampling run in fixed point). Rendering needs no font:
`examples/scenes/render_sprites.py` drew the sheet of sprites once from Noto Color Emoji.
"""

from __future__ import annotations

import functools
import importlib.resources
import math
import numbers
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Int8, UInt8
from PIL import Image

from extremal_jax.ground.checks import check_count

CLASSES = (
    *("dog", "wolf", "fox", "cat", "horse", "bird", "fish"),
    *("car", "bus", "truck", "bicycle", "airplane", "boat", "tree"),
    *("flower", "apple", "tomato", "peach", "pizza", "umbrella", "guitar"),
    *("clock", "book", "house", "ball", "key"),
)
COLUMNS, CELL = 7, 128  # of the sprite sheet: cells per row, and the side of a cell in pixels
BACKGROUND = -1  # the label of pixels outside all objects

_OCTAVES = {2: 724, 4: 512, 8: 362, 16: 256, 32: 181}  # cells of noise along a side: weight, proportional to cells**-0.5
_EXTENT = (0.22, 0.5)  # an object's longest side before rotation, as a share of the image's shorter side
_ROTATION = 25  # degrees, in either direction
OVERLAP = 50  # at most one in 50 pixels of an object may fall on another object
_SUPERSAMPLING = 4
_ATTEMPTS = 400


@dataclass(frozen=True)
class Scenes:
    """Scenes of one size.

    Attributes:
      images: (N, H, W, 3), uint8, RGB.
      segmentation: (N, H, W), the index of the class visible at each pixel, or `BACKGROUND`.
      classes: the names of the classes, by index.
    """

    images: UInt8[np.ndarray, "N H W 3"]
    segmentation: Int8[np.ndarray, "N H W"]
    classes: tuple[str, ...] = CLASSES

    @property
    def labels(self) -> Bool[np.ndarray, "N classes"]:
        """(N, classes): whether a scene shows a class."""
        return np.stack([np.isin(np.arange(len(self.classes)), scene) for scene in self.segmentation])

    @property
    def masks(self) -> Bool[np.ndarray, "N classes H W"]:
        """(N, classes, H, W): the visible pixels of every class."""
        return self.segmentation[:, None] == np.arange(len(self.classes), dtype=np.int8)[:, None, None]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int | slice) -> Scenes:
        if not isinstance(index, slice) and not -len(self) <= index < len(self):
            raise IndexError(f"scene {index} is out of range; there are {len(self)}")
        chosen = index if isinstance(index, slice) else slice(index, index + 1 or None)
        return Scenes(self.images[chosen], self.segmentation[chosen], self.classes)

    def __iter__(self) -> Iterator[Scenes]:
        return (self[i] for i in range(len(self)))


def generate(seed: int, count: int, size: Any = 128, *, objects: Any = (1, 3), first: int = 0) -> Scenes:
    """Generate scenes.

    Args:
      seed: any non-negative integer.
      count: the number of scenes, at least 1.
      size: height and width in pixels, or one number for both; at least 32.
      objects: the number of objects in each scene, 1 to 6, all of different classes; or (least, most).
      first: the index of the first scene: `generate(s, 9)` is `generate(s, 5)` and `generate(s, 4, first=5)`.

    Returns:
      `Scenes`, with images, segmentation, labels and masks.

    Raises:
      ValueError: if a number is out of range.

    Example:
      >>> scenes = generate(0, 2, size=64, objects=2)
      >>> scenes.images.shape, scenes.labels.sum(axis=1).tolist()
      ((2, 64, 64, 3), [2, 2])
    """
    height, width = whole_pair("size", size, "(height, width)")
    least, most = whole_pair("objects", objects, "(least, most)")
    for name, value, minimum in (("seed", seed, 0), ("count", count, 1), ("first", first, 0)):
        check_count(name, value, minimum)
    if min(height, width) < 32:
        raise ValueError(f"size must be at least 32 pixels a side, got {(height, width)}")
    if not 1 <= least <= most <= 6:
        raise ValueError(f"objects must be a number from 1 to 6, or two such numbers in ascending order, got {objects}")
    images = np.empty((count, height, width, 3), np.uint8)
    segmentation = np.empty((count, height, width), np.int8)
    for i in range(count):
        rng = np.random.default_rng((seed, first + i))
        number = int(rng.integers(least, most + 1))
        while (scene := _scene(rng, height, width, number)) is None:
            pass
        images[i], segmentation[i] = scene
    return Scenes(images, segmentation)


def whole_pair(name: str, value: Any, meaning: str) -> tuple[int, int]:
    """Two whole numbers from a sequence of two, or from one that stands for both.

    Args:
      name: of the argument, for the message.
      value: a whole number, or a sequence of two.
      meaning: of the two, for the message, such as "(height, width)".

    Returns:
      The two numbers.

    Raises:
      ValueError: if it is something else.

    Example:
      >>> whole_pair("size", 64, "(height, width)"), whole_pair("size", (48, 64), "(height, width)")
      ((64, 64), (48, 64))
    """
    parts = [value, value] if np.ndim(value) == 0 else list(value)
    if len(parts) != 2 or not all(isinstance(part, numbers.Integral) and not isinstance(part, bool) for part in parts):
        raise ValueError(f"{name} must be a whole number, or two of them, {meaning}, got {value!r}")
    return int(parts[0]), int(parts[1])


def _scene(rng: np.random.Generator, height: int, width: int, objects: int) -> tuple[np.ndarray, np.ndarray] | None:
    """An image and its segmentation; None if the first objects leave no room for the others."""
    image = background(rng, height, width)
    segmentation = np.full((height, width), BACKGROUND, np.int8)
    for label in rng.choice(len(CLASSES), objects, replace=False).tolist():
        for _ in range(_ATTEMPTS):
            pixels = object_pixels(rng, label, _EXTENT, min(height, width))
            h, w = pixels.shape[:2]
            y, x = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
            under, shape = segmentation[y : y + h, x : x + w], pixels[..., 3] >= 128
            if np.count_nonzero(shape & (under != BACKGROUND)) * OVERLAP <= np.count_nonzero(shape):
                break
        else:
            return None
        paste(image[y : y + h, x : x + w], under, pixels, label)
    return image.astype(np.uint8), segmentation


def paste(image: np.ndarray, segmentation: np.ndarray, pixels: np.ndarray, label: int) -> None:
    """Lay the pixels of an object on a part of an image, and its label on the same part of the segmentation.

    Args:
      image: (h, w, 3) int32 in 0..255.
      segmentation: (h, w) integers; the label is written where the object is more opaque than not.
      pixels: (h, w, 4) int32 in 0..255, premultiplied by alpha.
      label: of the object.

    Returns:
      None; image and segmentation are changed in place.

    Example:
      >>> image, segmentation = np.zeros((1, 1, 3), np.int32), np.full((1, 1), -1)
      >>> paste(image, segmentation, np.full((1, 1, 4), 255), 3)
      >>> image.tolist(), segmentation.tolist()
      ([[[255, 255, 255]]], [[3]])
    """
    image[...] = (image * (255 - pixels[..., 3:]) + 127) // 255 + pixels[..., :3]
    segmentation[pixels[..., 3] >= 128] = label


def background(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Noise of several scales; a random factor dims each channel.

    Args:
      rng: draws the noise.
      height, width: in pixels.

    Returns:
      (H, W, 3) int32 in 0..255.

    Example:
      >>> background(np.random.default_rng(0), 4, 6).shape
      (4, 6, 3)
    """
    total = np.zeros((height, width, 3), np.int32)
    for cells, weight in _OCTAVES.items():
        noise = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), np.uint8))
        total += weight * np.asarray(noise.resize((width, height), Image.Resampling.BICUBIC), np.int32)
    total -= np.min(total)
    return total * 255 // np.max(total) * rng.integers(51, 257, 3) // 256


def object_pixels(rng: np.random.Generator, label: int, extents: tuple[float, float], side: int) -> np.ndarray:
    """The sprite of a class, randomly scaled, rotated, mirrored and coloured; cropped.

    Args:
      rng: draws all that is random.
      label: of the class.
      extents: (least, most), of the longest side before the rotation, as shares of `side`.
      side: of the image, in pixels.

    Returns:
      (h, w, 4) int32 in 0..255, premultiplied by alpha.

    Example:
      >>> object_pixels(np.random.default_rng(0), 0, (0.3, 0.3), 64).shape[-1]
      4
    """
    sprite, extent = _sprites()[label], rng.uniform(*extents) * side
    angle = math.radians(rng.uniform(-_ROTATION, _ROTATION))
    mirror = 1 - 2 * int(rng.integers(2))
    box = math.ceil(extent * (math.cos(angle) + math.sin(abs(angle))))
    # The warp maps pixels of the supersampled box to pixels of the sprite, both measured from their centres.
    scale = CELL / (extent * _SUPERSAMPLING)
    a, b = scale * math.cos(angle), scale * math.sin(angle)
    centre = box * _SUPERSAMPLING / 2
    rows = [(mirror * a, mirror * b), (-b, a)]
    matrix = [c for x, y in rows for c in (x, y, CELL / 2 - centre * (x + y))]
    large = sprite.transform((box * _SUPERSAMPLING,) * 2, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST, fillcolor=0)
    small = large.reduce(_SUPERSAMPLING)
    pixels = np.asarray(small.crop(small.getchannel("a").getbbox()), np.int32)
    alpha = pixels[..., 3:]
    gain, shift = rng.integers(179, 308, 3), rng.integers(-21, 22, 3)
    colours = np.clip(pixels[..., :3] * gain // 256 + shift * alpha // 255, 0, alpha)
    return np.concatenate([colours, alpha], axis=-1).astype(np.int32)


@functools.cache
def _sprites() -> list[Image.Image]:
    """The sprite of each class, CELL x CELL, premultiplied by alpha."""
    with importlib.resources.files(__package__).joinpath("sprites.png").open("rb") as file:
        sheet = Image.open(file).convert("RGBA").convert("RGBa")
    corners = [(i % COLUMNS * CELL, i // COLUMNS * CELL) for i in range(len(CLASSES))]
    return [sheet.crop((x, y, x + CELL, y + CELL)) for x, y in corners]
