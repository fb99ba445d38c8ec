"""Occlusion: the fall of the score when a window of the image is hidden."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Int

from extremal_jax.attribution.common import Maps, Model, Resize, Smooth, check_images, prepare
from extremal_jax.attribution.evaluations import SCORES, check_pair, chunk_length, responses, substitute, sum_in_chunks
from extremal_jax.attribution.method import Method
from extremal_jax.ground.checks import check_choice

_USUAL_CHUNK = 16  # images at a time


def occlusion(
    model: Model,
    images: Any,
    targets: Any,
    *,
    window: int | tuple[int, int] | None = None,
    stride: int | tuple[int, int] | None = None,
    fill: Any = 0.0,
    score: str = "logit",
    chunk_size: int | None = None,
    resize: Resize = False,
    smooth: Smooth = None,
) -> Float[Array, "*N h w"]:
    """The score minus the score with a window hidden, averaged at each pixel over the windows that cover it; signed.

    The model need not be differentiable.

    Args:
      model, images, targets, resize, smooth: as in `gradient`, except that scores at several positions are averaged.
      window: the side of the window in pixels, or (height, width); None: an eighth of the image's sides.
      stride: the step of the window in pixels, or (down, across), at most the window; None: half the window. The last
        windows end at the border.
      fill: the content of the hidden window: a number; an array (C,), (H, W, C) or (N, H, W, C); or "blur" for the
        image blurred by a Gaussian whose standard deviation is 9 % of its shorter side.
      score: the function of the model's scores: "logit" for the scores themselves, "softmax" or "sigmoid".
      chunk_size: the most images that the model gets at a time, to bound memory; None for 16.

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
    check_choice("score", score, SCORES)
    images = check_images("images", images)
    starts, window = window_places((images.shape[-3], images.shape[-2]), window, stride)
    length = chunk_length("chunk_size", len(starts) + 1, chunk_size, _USUAL_CHUNK)  # the last hides nothing
    task = prepare("occlusion", model, images, targets, resize, smooth, length)
    fills = substitute("fill", fill, task.images)
    return task.compute(_mean_of_falls, starts, fills, length=length, window=window, score=score)


def _mean_of_falls(
    model: Model,
    images: Float[Array, "N H W C"],
    targets: Int[Array, " N"],
    starts: Int[Array, "P 2"],
    fills: Float[Array, "N H W C"],
    *,
    length: int,
    window: tuple[int, int],
    score: str,
) -> Maps:
    """The fall of the score, averaged at each pixel over the windows that hide it."""

    def hidden(elements: Array) -> Array:
        """(m, H, W): the windows, and nothing after the last of them."""
        firsts = starts[elements]
        down, across = (
            (firsts[:, axis, None] <= pixels) & (pixels < firsts[:, axis, None] + window[axis])
            for axis, pixels in enumerate(np.arange(n, dtype=np.int32)[None] for n in images.shape[1:3])
        )
        return down[:, :, None] & across[:, None, :] & (elements < len(starts))[:, None, None]

    def chunk(elements: Array, counts: Array) -> tuple[Array, Array, Array]:
        windows = hidden(elements)
        covered = (windows & counts[:, None, None]).astype(jnp.float32)

        def weighted(triple: tuple[Array, Array, Array]) -> tuple[Array, Array]:
            image, target, fill = triple
            scores = responses(model, score, jnp.where(windows[..., None], fill[None], image[None]), target)
            whole = jnp.where(counts & (elements == len(starts)), scores, 0).sum()
            return whole, jnp.einsum("m,mhw->hw", scores, covered, precision=lax.Precision.HIGHEST)

        return *lax.map(weighted, (images, targets, fills)), covered.sum(axis=0)

    whole, sums, cover = sum_in_chunks(chunk, len(starts) + 1, length, images)
    return Maps(whole[:, None, None] - sums / cover[None])


def window_places(size: tuple[int, int], window: Any, stride: Any) -> tuple[Int[np.ndarray, "P 2"], tuple[int, int]]:
    """The first pixels of all windows over an image of (H, W), row by row, and the (height, width) of a window.

    Raises:
      ValueError: if a window is larger than the image, or the stride leaves pixels between windows.

    Example:
      >>> window_places((4, 5), (4, 2), 2)[0].tolist()
      [[0, 0], [0, 2], [0, 3]]
    """
    window = tuple(-(-n // 8) for n in size) if window is None else window
    height, width = check_pair("window", window, "pixels, or (height, width)", "the image's", size)
    stride = ((height + 1) // 2, (width + 1) // 2) if stride is None else stride
    down, across = check_pair("stride", stride, "pixels, or (down, across)", "the window's", (height, width))
    rows, columns = ([*range(0, n - side, step), n - side] for n, side, step in ((size[0], height, down), (size[1], width, across)))
    return np.array([(row, column) for row in rows for column in columns], np.int32), (height, width)


METHODS = (Method("occlusion", "the fall of the score when a window is hidden", occlusion, signed=True, needs_gradient=False),)
