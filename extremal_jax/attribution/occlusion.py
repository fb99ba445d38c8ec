"""Occlusion: how far the score falls where a window of the image is hidden."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Int

from extremal_jax.attribution.chunks import chunk_length, sum_in_chunks
from extremal_jax.attribution.common import Finish, check_no_layer, finishing, prepare
from extremal_jax.attribution.masked import answers, check_score, substitute
from extremal_jax.boundary.images import check_images
from extremal_jax.boundary.models import Model


def occlusion(
    model: Model,
    images: Any,
    targets: Any,
    *,
    at: None = None,
    window: int | tuple[int, int] | None = None,
    stride: int | tuple[int, int] | None = None,
    fill: Any = 0.0,
    score: str = "logit",
    chunk_size: int | None = 32,
    resize: bool | tuple[int, int] = False,
    smooth: float = 0.0,
) -> Float[Array, "*N h w"]:
    """The score less that of the image with a window hidden: at each pixel, the mean over the windows that cover it; signed.

    Args:
      model: any function from images (B, H, W, C) to scores (B, classes) or (B, h, w, classes), whose mean over places counts.
      images: (H, W, C), or a batch (N, H, W, C), floats as the model takes them.
      targets: one class for all images or one per image: indices, or names where the model has `classes`.
      at: None: there is no layer to choose.
      window: the side of the window in pixels, or (height, width); None: an eighth of the image's sides.
      stride: how far the window moves at a time, in pixels, or (down, across), at most the window; None: half the window. The last windows
        end at the border.
      fill: what is seen in the window: a number; an array (C,), (H, W, C) or (N, H, W, C); or "blur", the image blurred by 9 % of its
        shorter side.
      score: the model's "logit", or its "softmax" or "sigmoid".
      chunk_size: the most images that are shown to the model at a time, to bound memory; None: all.
      resize: True for maps of the images' size, which they have, (height, width) for another.
      smooth: standard deviation of a Gaussian blur, as a share of the longer side.

    Returns:
      (N, H, W), or (H, W) for a single image.

    Raises:
      TypeError, ValueError: for arguments that do not fit, among them a window larger than the image.

    Example:
      >>> import jax.numpy as jnp
      >>> occlusion(lambda x: x.sum(axis=(1, 2)), jnp.array([[[1.0], [5.0], [2.0]]]), 0, window=1).tolist()
      [[1.0, 5.0, 2.0]]

    Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014.
    """
    check_no_layer("occlusion", at)
    check_score(score)
    images = check_images("images", images)
    starts, window = window_places((images.shape[-3], images.shape[-2]), window, stride)
    length = chunk_length("chunk_size", len(starts) + 1, chunk_size)  # and once, no window
    task = prepare(model, images, targets, length)
    record = Occlusion(len(starts), length, window, score, finishing(resize, smooth, task.size))
    return task.compute(record, starts, substitute("fill", fill, task.images))


@dataclass(frozen=True)
class Occlusion:
    """A sum over images with a window hidden.

    Attributes:
      count: how many windows.
      length: how many at a time.
      window: (height, width).
      score: what the model is asked.
      finish: what is done to the maps.
    """

    count: int
    length: int
    window: tuple[int, int]
    score: str
    finish: Finish

    def __call__(
        self,
        model: Model,
        images: Float[Array, "N H W C"],
        targets: Int[Array, " N"],
        starts: Int[Array, "P 2"],
        fills: Float[Array, "N H W C"],
    ) -> Float[Array, "N h w"]:
        def hidden(elements: Array) -> Array:
            """(m, H, W): the windows; beyond the last of them, nothing."""
            down, across = (
                (starts[elements, axis, None] <= jnp.arange(n)) & (jnp.arange(n) < starts[elements, axis, None] + self.window[axis])
                for axis, n in enumerate(images.shape[1:3])
            )
            return down[:, :, None] & across[:, None, :] & (elements < self.count)[:, None, None]

        def chunk(elements: Array, counts: Array) -> tuple[Array, Array, Array]:
            windows = hidden(elements)
            covered = jnp.where(counts[:, None, None], windows, 0).astype(jnp.float32)

            def weighted(triple: tuple[Array, Array, Array]) -> tuple[Array, Array]:
                image, target, fill = triple
                scores = answers(model, self.score, jnp.where(windows[..., None], fill, image), target)
                whole = jnp.where(counts & (elements == self.count), scores, 0).sum()
                return whole, jnp.einsum("m,mhw->hw", scores, covered, precision=lax.Precision.HIGHEST)

            return *lax.map(weighted, (images, targets, fills)), covered.sum(axis=0)

        whole, sums, cover = sum_in_chunks(chunk, self.count + 1, self.length, images)
        return self.finish(whole[:, None, None] - sums / cover)


def window_places(size: tuple[int, int], window: Any, stride: Any) -> tuple[Int[np.ndarray, "P 2"], tuple[int, int]]:
    """Where windows begin, row by row, and their (height, width).

    Args:
      size: (H, W) of the image.
      window, stride: as in `occlusion`.

    Raises:
      ValueError: if a window is larger than the image, or the stride leaves pixels between windows.

    Example:
      >>> window_places((4, 5), (4, 2), 2)[0].tolist()
      [[0, 0], [0, 2], [0, 3]]
    """
    height, width = _pair("window", tuple(-(-n // 8) for n in size) if window is None else window)
    down, across = _pair("stride", ((height + 1) // 2, (width + 1) // 2) if stride is None else stride)
    if height > size[0] or width > size[1]:
        raise ValueError(f"window must fit into the image of {size[0]}x{size[1]} pixels, got {height}x{width}")
    if down > height or across > width:
        raise ValueError(f"stride must be at most the window, {height}x{width}, so that no pixel is left out, got {down}x{across}")
    rows, columns = ([*range(0, n - side, step), n - side] for n, side, step in ((size[0], height, down), (size[1], width, across)))
    return np.array([(row, column) for row in rows for column in columns], np.int32), (height, width)


def _pair(name: str, value: Any) -> tuple[int, int]:
    pair = np.broadcast_to(np.asarray(value), (2,)).tolist() if np.shape(value) in ((), (2,)) else []
    if not pair or not all(type(n) is int and n >= 1 for n in pair):
        raise ValueError(f"{name} must be a number of pixels, or (height, width), of at least 1, got {value!r}")
    return pair[0], pair[1]
