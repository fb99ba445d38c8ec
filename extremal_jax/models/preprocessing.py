"""From a picture to a network's input, and back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image

from extremal_jax.data.images import to_rgb
from extremal_jax.errors import check_choice

_LONGEST = 16  # times the shorter side, for a square input
_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True)
class Preprocessing:
    """Scale the shorter side, crop the centre, normalise.

    Attributes:
      size: (height, width) after the crop, in pixels.
      mean: of each channel, for values in [0, 1].
      std: likewise.
      crop: the share of the scaled picture's shorter side that the crop keeps.
      interpolation: "bilinear" or "bicubic"; widened when it shrinks a picture, so that nothing aliases.

    Example:
      >>> import numpy as np
      >>> prepare = Preprocessing((2, 2), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))
      >>> prepare(np.full((4, 8, 3), 255, np.uint8))[0, 0].tolist()
      [2.0, 2.0, 2.0]
      >>> prepare.picture(prepare(np.full((4, 8, 3), 51, np.uint8)))[0, 0].tolist()
      [51, 51, 51]
    """

    size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    crop: float = 1.0
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        check_choice("interpolation", self.interpolation, _FILTERS)

    def __call__(self, image: Image.Image | np.ndarray | Any) -> Float[np.ndarray, "H W C"]:
        """(H, W, C) float32 from a Pillow image, or an array (H, W, 3), (H, W, 1) or (H, W), of uint8 or of floats in [0, 1]."""
        picture = _middle(_pillow(image), self.size)
        scaled = picture.resize(self._scaled_size(picture.width, picture.height), _FILTERS[self.interpolation])
        height, width = self.size
        left, top = round((scaled.width - width) / 2), round((scaled.height - height) / 2)
        pixels = np.asarray(scaled.crop((left, top, left + width, top + height)), np.float32) / 255
        return (pixels - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)

    def _scaled_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of the scaled picture: the smallest in which the uncropped input fits, its longer side rounded down."""
        least_height, least_width = (math.floor(n / self.crop + 1e-6) for n in self.size)  # 224 / (224 / 232) is to be 232
        if width * least_height >= height * least_width:
            return width * least_height // height, least_height
        return least_width, height * least_width // width

    def picture(self, prepared: Float[Any, "*N H W C"]) -> np.ndarray:
        """The picture of a network's input: (..., H, W, 3) uint8, the inverse of the normalisation."""
        pixels = np.asarray(prepared, np.float32) * np.asarray(self.std, np.float32) + np.asarray(self.mean, np.float32)
        return np.rint(np.clip(pixels, 0, 1) * 255).astype(np.uint8)


def _middle(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    """The middle of a long strip, of which the crop keeps less: scaled whole, it would take the memory of its length."""
    longest = _LONGEST * max(size) // min(size) * min(picture.size)
    width, height = (min(side, longest) for side in picture.size)
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))


def _pillow(image: Image.Image | np.ndarray | Any) -> Image.Image:
    if isinstance(image, Image.Image):
        return to_rgb(image)
    pixels = np.asarray(image)
    if pixels.ndim == 3 and pixels.shape[-1] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[-1] != 3):
        raise ValueError(f"image must be a Pillow image or an array (H, W, 3), (H, W, 1) or (H, W), got the shape {pixels.shape}")
    if pixels.size == 0:
        raise ValueError(f"image must not be empty, got the shape {pixels.shape}")
    if pixels.dtype != np.uint8:
        if not np.issubdtype(pixels.dtype, np.floating):
            raise TypeError(f"image must hold uint8, or floats in [0, 1], got {pixels.dtype}")
        if not (np.isfinite(pixels).all() and pixels.min() >= 0 and pixels.max() <= 1):
            raise ValueError(f"image must hold floats in [0, 1], or uint8, got values from {pixels.min():g} to {pixels.max():g}")
        pixels = np.rint(pixels * 255).astype(np.uint8)
    return Image.fromarray(pixels).convert("RGB")
