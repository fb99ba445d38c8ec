"""Reading image files: checked before they are decoded, upright or as stored, in 8-bit RGB."""

from __future__ import annotations

import contextlib
import io
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.TiffImagePlugin import TiffImageFile

from extremal_jax.data.metadata import without_metadata
from extremal_jax.ground.files import as_path

MAX_PIXELS = 100_000_000
_UNTURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}  # from an upright image back to the stored one, by EXIF orientation
_SIDEWAYS = (5, 6, 7, 8)  # the EXIF orientations of images that are stored on their side
_REFUSED = ("EPS", "WMF", "IPTC")  # Pillow gives these to another program, such as Ghostscript; IPTC may contain any of them


def load_image(
    path: str | os.PathLike[str] | BinaryIO | io.IOBase, *, max_pixels: int = MAX_PIXELS, upright: bool = True
) -> UInt8[np.ndarray, "H W 3"]:
    """Read an image file.

    Args:
      path: a path, or an open binary file, of any format that Pillow reads by itself: not EPS, for which it runs
        Ghostscript, WMF or IPTC. Of an animation, the first frame is read. Transparency is laid on white.
      max_pixels: the largest number of pixels to decode; a larger image is refused before it takes any memory. Pillow's
        own limit, 179 million, applies as well.
      upright: whether to apply the EXIF orientation, unless the metadata are malformed. Without it, the pixels are as
        they are stored: the boxes and masks of datasets such as VOC and COCO refer to these.

    Returns:
      (H, W, 3) uint8, RGB.

    Raises:
      TypeError: if `path` is neither a path nor an open binary file.
      FileNotFoundError: if there is no such file.
      ValueError: if the file is not an image, is truncated, is too large, or needs another program.

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
        try:
            return _decoded(path, max_pixels, upright)
        except Image.DecompressionBombError:
            raise
        except Exception:
            plain = without_metadata(_content(path))
            if plain is None:
                raise
            return _decoded(io.BytesIO(plain), max_pixels, upright)
    except Image.DecompressionBombError as error:
        raise ValueError(f"image {name} is too large: {str(error).rstrip('.')}; scale it down first") from error
    except UnidentifiedImageError as error:
        raise ValueError(f"{name} is not an image of a known format") from error
    except Exception as error:  # each of Pillow's decoders reports a broken file in its own way
        raise ValueError(f"image {name} cannot be decoded: {error}") from error


def image_size(path: Path | BinaryIO | io.IOBase, *, upright: bool = True) -> tuple[int, int]:
    """(height, width) of the array that `load_image` makes of a file, without decoding it.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if the file is not an image.

    Example:
      >>> file = io.BytesIO()
      >>> Image.new("L", (3, 2), 128).save(file, "PNG")
      >>> image_size(file)
      (2, 3)
    """
    try:
        with _opened(path) as file:
            width, height = (file.tag_v2[tag] for tag in (256, 257)) if isinstance(file, TiffImageFile) else file.size  # as stored
            turned = upright and _orientation(file) in _SIDEWAYS
    except FileNotFoundError:
        raise FileNotFoundError(f"no image file {path}") from None
    except Exception:
        height, width = load_image(path, upright=upright).shape[:2]  # it mends what it can, or says what is wrong
        return height, width
    return (width, height) if turned else (height, width)


def _decoded(path: Any, max_pixels: int, upright: bool) -> UInt8[np.ndarray, "H W 3"]:
    with _opened(path) as file:
        width, height = file.size
        if width * height > max_pixels:
            raise Image.DecompressionBombError(f"{width}x{height} pixels are more than max_pixels={max_pixels}")
        return np.asarray(to_rgb(file, upright=upright))


@contextlib.contextmanager
def _opened(path: Any) -> Iterator[Image.Image]:
    """An image file whose pixels are not decoded yet, and need no other program."""
    with warnings.catch_warnings(action="ignore"), Image.open(path) as file:  # damaged metadata, and sizes below the limit
        if file.format in _REFUSED:
            raise ValueError(f"its format is {file.format}, which Pillow may give to another program; convert it to PNG first")
        yield file


def _content(path: Any) -> bytes:
    if not hasattr(path, "read"):
        return Path(path).read_bytes()
    path.seek(0)
    return path.read()


def to_rgb(picture: Image.Image, *, upright: bool = True) -> Image.Image:
    """Convert a Pillow image to 8-bit RGB: EXIF orientation applied, white below transparency.

    Args:
      picture: any image. Pillow itself turns a TIFF when it loads it.
      upright: whether to apply the EXIF orientation; otherwise the pixels are as they are stored, unless `picture` is a
        TIFF that was loaded before.

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
    orientation = 1 if upright else _orientation(picture)
    picture.load()  # some formats store metadata after the pixels
    if upright:
        with contextlib.suppress(Exception), warnings.catch_warnings(action="ignore"):  # Pillow reports malformed metadata in many ways
            picture = ImageOps.exif_transpose(picture)
    elif orientation in _UNTURNED and _orientation(picture) != orientation:  # Pillow turned it while loading: a TIFF
        picture = picture.transpose(_UNTURNED[orientation])
    if picture.mode.startswith("I;16"):  # Pillow itself would clip all values above 255
        sixteen, transparent = np.asarray(picture).astype(np.uint32), picture.info.get("transparency")
        picture = Image.fromarray(((sixteen + 128) // 257).astype(np.uint8))
        if transparent is not None:  # one of the 65,536 levels
            picture.putalpha(Image.fromarray(np.where(sixteen == transparent, 0, 255).astype(np.uint8)))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    rgb = picture.convert("RGB")
    rgb.info = {}
    return rgb


def _orientation(picture: Image.Image) -> int:
    """The EXIF orientation, from 1 to 8; 1, as stored, where the metadata are malformed or have none. A text is no orientation."""
    with contextlib.suppress(Exception), warnings.catch_warnings(action="ignore"):
        found = picture.getexif().get(0x0112, 1)
        return int(found) if found in range(1, 9) else 1
    return 1
