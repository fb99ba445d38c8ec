"""Image files, read with care: a file's promises are checked before it is decoded."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

MAX_PIXELS = 100_000_000


def load_image(path: str | os.PathLike[str], *, max_pixels: int = MAX_PIXELS) -> UInt8[np.ndarray, "H W 3"]:
    """Read a picture from a file.

    Args:
      path: a file of any format that Pillow reads; of an animation, the first frame. A camera's rotation mark is obeyed; transparency is
        laid on white.
      max_pixels: the most pixels to decode; a larger picture is refused before it takes any memory. Pillow's own limit, 179 million,
        holds besides.

    Returns:
      (H, W, 3) uint8, RGB.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it is not a picture, is truncated, or is too large.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"no image file {path}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged remarks beside the pixels, and of sizes below the limit
            with Image.open(path) as file:
                width, height = file.size
                if width * height > max_pixels:
                    raise Image.DecompressionBombError(f"{width}x{height} pixels are more than max_pixels={max_pixels}")
                return np.asarray(to_rgb(ImageOps.exif_transpose(file)))
    except Image.DecompressionBombError as error:
        raise ValueError(f"image {path} is too large: {str(error).rstrip('.')}; scale it down first") from error
    except UnidentifiedImageError as error:
        raise ValueError(f"{path} is not an image of a known format") from error
    except Exception as error:  # each of Pillow's decoders reports a broken file in its own way
        raise ValueError(f"image {path} cannot be decoded: {error}") from error


def to_rgb(picture: Image.Image) -> Image.Image:
    """A picture in RGB of 8 bits: transparency is laid on white, 16 bits are scaled down.

    Raises:
      ValueError: if its numbers have no fixed range, so that nobody can say which of them is white.

    Example:
      >>> to_rgb(Image.new("RGBA", (1, 1), (0, 0, 0, 0))).getpixel((0, 0))
      (255, 255, 255)
    """
    if picture.mode in ("I", "F"):
        raise ValueError(f"its numbers have no fixed range (Pillow's mode {picture.mode}); convert it to 8 or 16 bits first")
    if picture.mode.startswith("I;16"):  # Pillow itself would cut off all that is above 255
        sixteen = np.asarray(picture).astype(np.uint32)
        picture = Image.fromarray(((sixteen + 128) // 257).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")
