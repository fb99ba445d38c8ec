"""Reading image files: checked before they are decoded, upright, in 8-bit RGB."""

from __future__ import annotations

import contextlib
import os
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from extremal_jax.ground.files import as_path

MAX_PIXELS = 100_000_000


def load_image(path: str | os.PathLike[str] | BinaryIO, *, max_pixels: int = MAX_PIXELS) -> UInt8[np.ndarray, "H W 3"]:
    """Read an image file.

    Args:
      path: a path, or an open binary file, of any format that Pillow reads. Of an animation, the first frame is read.
        The EXIF orientation is applied, unless the metadata are malformed; transparency is laid on white.
      max_pixels: the largest number of pixels to decode; a larger image is refused before it takes any memory. Pillow's
        own limit, 179 million, applies as well.

    Returns:
      (H, W, 3) uint8, RGB.

    Raises:
      TypeError: if `path` is neither a path nor an open binary file.
      FileNotFoundError: if there is no such file.
      ValueError: if the file is not an image, is truncated, or is too large.

    Example:
      >>> import io
      >>> file = io.BytesIO()
      >>> Image.new("L", (3, 2), 128).save(file, "PNG")
      >>> load_image(file).shape
      (2, 3, 3)
    """
    name = getattr(path, "name", type(path).__name__) if hasattr(path, "read") else as_path(path)
    if isinstance(name, Path) and not name.is_file():
        raise FileNotFoundError(f"no image file {path}")
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(path) as file:  # damaged metadata, and sizes below the limit
            width, height = file.size
            if width * height > max_pixels:
                raise Image.DecompressionBombError(f"{width}x{height} pixels are more than max_pixels={max_pixels}")
            return np.asarray(to_rgb(file))
    except Image.DecompressionBombError as error:
        raise ValueError(f"image {name} is too large: {str(error).rstrip('.')}; scale it down first") from error
    except UnidentifiedImageError as error:
        raise ValueError(f"{name} is not an image of a known format") from error
    except Exception as error:  # each of Pillow's decoders reports a broken file in its own way
        raise ValueError(f"image {name} cannot be decoded: {error}") from error


def to_rgb(picture: Image.Image) -> Image.Image:
    """Convert a Pillow image to upright 8-bit RGB: EXIF orientation applied, white below transparency.

    Returns:
      A new image without metadata, so that a second conversion changes nothing.

    Raises:
      ValueError: if the pixel format has no fixed range, so that it does not define white.

    Example:
      >>> to_rgb(Image.new("RGBA", (1, 1), (0, 0, 0, 0))).getpixel((0, 0))
      (255, 255, 255)
    """
    if picture.mode in ("I", "F"):
        raise ValueError(f"its pixels have no fixed range (Pillow's mode {picture.mode}); convert it to 8 or 16 bits first")
    picture.load()  # some formats store metadata after the pixels
    with contextlib.suppress(Exception), warnings.catch_warnings(action="ignore"):  # Pillow reports malformed metadata in many ways
        picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I;16"):  # Pillow itself would clip all values above 255
        sixteen = np.asarray(picture).astype(np.uint32)
        picture = Image.fromarray(((sixteen + 128) // 257).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    rgb = picture.convert("RGB")
    rgb.info = {}
    return rgb
