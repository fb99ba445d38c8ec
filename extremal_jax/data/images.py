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
      max_pixels: the most pixels to decode; a larger picture is refused before it takes any memory.

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
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is checked below
            with Image.open(path) as file:
                width, height = file.size
                if width * height > max_pixels:
                    raise ValueError(f"image {path} has {width}x{height} pixels, more than max_pixels={max_pixels}; scale it down first")
                picture = ImageOps.exif_transpose(file)
                if picture.has_transparency_data:
                    picture = picture.convert("RGBA")
                    white = Image.new("RGBA", picture.size, "white")
                    picture = Image.alpha_composite(white, picture)
                return np.asarray(picture.convert("RGB"))
    except Image.DecompressionBombError as error:
        raise ValueError(f"image {path} is too large to decode safely: {error}") from error
    except UnidentifiedImageError as error:
        raise ValueError(f"{path} is not an image of a known format") from error
    except (OSError, SyntaxError, EOFError) as error:  # Pillow reports broken files so
        raise ValueError(f"image {path} cannot be decoded: {error}") from error
