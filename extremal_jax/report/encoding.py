"""Pictures, numbers and texts in the form in which an HTML page can hold them."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from extremal_jax.ground.html import data_uri

_QUALITY = 90  # of JPEG
_ESCAPES = {ord(char): f"\\u{ord(char):04x}" for char in "<>&\u2028\u2029"}


def jpeg(picture: np.ndarray, longest: int | None = None) -> str:
    """A picture (H, W, 3) in [0, 1], as the data URI of a JPEG image.

    Args:
      picture: the pixels.
      longest: the most pixels of a side; larger pictures are scaled down. None: as it is.

    Example:
      >>> jpeg(np.zeros((8, 8, 3)))[:23]
      'data:image/jpeg;base64,'
    """
    return data_uri(picture, "jpeg", longest, quality=_QUALITY, subsampling=0)


def png(values: np.ndarray) -> str:
    """A mask or map (H, W) in [0, 1], as the data URI of a grey PNG image of 8 bits.

    Example:
      >>> png(np.zeros((8, 8)))[:22]
      'data:image/png;base64,'
    """
    return data_uri(values, optimize=True)


def number(value: Any) -> float | None:
    """A number of five digits, or None for one that is not finite, which JSON cannot hold.

    Example:
      >>> number(1 / 3), number(np.float32(np.nan))
      (0.33333, None)
    """
    return float(f"{float(value):.5g}") if math.isfinite(value) else None


def numbers(values: Any) -> Any:
    """An array as nested lists of `number`s.

    Example:
      >>> numbers(np.array([[0.1, np.inf]], np.float32))
      [[0.1, None]]
    """
    array = np.asarray(values)
    return number(array) if array.ndim == 0 else [numbers(part) for part in array]


def json_text(content: Any) -> str:
    """JSON that may stand inside a `script` element: it cannot end the element, nor begin another.

    Example:
      >>> json_text({"name": "</script>&"})
      '{"name":"\\\\u003c/script\\\\u003e\\\\u0026"}'
    """
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).translate(_ESCAPES)
