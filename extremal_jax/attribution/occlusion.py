"""Occlusion: the fall of the score when a window of the image is hidden."""

from __future__ import annotations

import itertools
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Int

from extremal_jax.attribution.common import Maps, Model, Resize, Smooth, prepare
from extremal_jax.attribution.evaluations import SCORES, check_sides, chunk_length, responses, sum_in_chunks, usual_chunk
from extremal_jax.attribution.method import Method
from extremal_jax.boundary.baselines import substitute
from extremal_jax.boundary.layouts import Layout, check_inputs
from extremal_jax.ground.checks import check_choice
from extremal_jax.operators.axes import Axes


def occlusion(
    model: Model,
    images: Any,
    targets: Any,
    *,
    axes: Axes | str | None = None,
    window: int | tuple[int, ...] | None = None,
    stride: int | tuple[int, ...] | None = None,
    fill: Any = 0.0,
    score: str = "logit",
    chunk_size: int | None = None,
    resize: Resize = False,
    smooth: Smooth = None,
) -> Float[Array, "*maps"]:
    """The score minus the score with a window hidden, averaged at each pixel over the windows that cover it; signed.

    The model need not be differentiable.

    Args:
      model, images, targets, axes, resize, smooth: as in `gradient`, except that scores at several positions are
        averaged.
      window: the side of the window in pixels, or (height, width); None: an eighth of the image's sides. Of other axes, a
        number holds along the smooth ones, and along the others, such as features, windows have one place each; a tuple
        has a side for each masked axis.
      stride: the step of the window in pixels, or (down, across), at most the window; None: half the window. The last
        windows end at the border.
      fill: the content of the hidden window: a number; an array of the shape of an image, of all of them or of their last
        axis, (H, W, C), (N, H, W, C) or (C,); "blur" for the image blurred along its smooth axes by a Gaussian whose
        standard deviation is 9 % of the shorter side; "mean" for the mean along them; "past_mean" for the mean of the
        values up to each, along the first axis; or "rise_blur" for the blur of RISE's insertion.
      score: the function of the model's scores: "logit" for the scores themselves, "softmax" or "sigmoid".
      chunk_size: the most images that the model gets at a time, to bound memory; None for 16 on a CPU, and for 128 on
        another device.

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
    images, layout = check_inputs(images, axes, model)
    starts, window = window_places(layout, window, stride)
    length = chunk_length("chunk_size", len(starts) + 1, chunk_size, usual_chunk())  # the last hides nothing
    task = prepare("occlusion", model, images, targets, resize, smooth, length, axes=layout.axes)
    fills = substitute("fill", fill, task.images, layout)
    return task.compute(_mean_of_falls, starts, fills, length=length, window=window, score=score)


def _mean_of_falls(
    model: Model,
    images: Float[Array, "N ... C"],
    targets: Int[Array, " N"],
    starts: Int[Array, "P axes"],
    fills: Float[Array, "N ... C"],
    *,
    length: int,
    window: tuple[int, ...],
    score: str,
) -> Maps:
    """The fall of the score, averaged at each pixel over the windows that hide it."""

    def hidden(elements: Array) -> Array:
        """(m, H, W): the windows, and nothing after the last of them."""
        firsts, size = starts[elements], images.shape[1:-1]
        windows = jnp.expand_dims(elements < len(starts), range(1, 1 + len(size)))
        for axis, side in enumerate(size):
            places, first = np.arange(side, dtype=np.int32)[None], firsts[:, axis, None]
            within = (first <= places) & (places < first + window[axis])
            windows &= jnp.expand_dims(within, [1 + other for other in range(len(size)) if other != axis])
        return windows

    def chunk(elements: Array, counts: Array) -> tuple[Array, Array, Array]:
        windows = hidden(elements)
        covered = (windows & jnp.expand_dims(counts, range(1, windows.ndim))).astype(jnp.float32)

        def weighted(triple: tuple[Array, Array, Array]) -> tuple[Array, Array]:
            image, target, fill = triple
            scores = responses(model, score, jnp.where(windows[..., None], fill[None], image[None]), target)
            whole = jnp.where(counts & (elements == len(starts)), scores, 0).sum()
            return whole, jnp.tensordot(scores, covered, 1, precision=lax.Precision.HIGHEST)

        return *lax.map(weighted, (images, targets, fills)), covered.sum(axis=0)

    whole, sums, cover = sum_in_chunks(chunk, len(starts) + 1, length, images)
    return Maps(jnp.expand_dims(whole, range(1, sums.ndim)) - sums / cover[None])


def window_places(layout: Layout, window: Any, stride: Any) -> tuple[Int[np.ndarray, "P axes"], tuple[int, ...]]:
    """The first pixels of all windows over images of a layout, row by row, and the sides of a window.

    Raises:
      ValueError: if a window is larger than the image, or the stride leaves pixels between windows.

    Example:
      >>> from extremal_jax.operators.axes import IMAGE
      >>> window_places(Layout(IMAGE, (4, 5, 3)), (4, 2), 2)[0].tolist()
      [[0, 0], [0, 2], [0, 3]]
    """
    size, single = layout.size, layout.along(None, 1)
    places = f"places, or {layout.sides}"
    units = ("pixels, or (height, width)", "pixels, or (down, across)") if layout.is_image else (places, places)
    if window is None:
        window = tuple(-(-n // 8) if smooth else 1 for n, smooth in zip(size, layout.smooth, strict=True))
    sides = check_sides("window", window, units[0], layout.owner, size, single)
    if stride is None:
        stride = tuple((side + 1) // 2 for side in sides)
    steps = check_sides("stride", stride, units[1], "the window's", sides, single)
    firsts = ([*range(0, n - side, step), n - side] for n, side, step in zip(size, sides, steps, strict=True))
    return np.array(list(itertools.product(*firsts)), np.int32), sides


METHODS = (Method("occlusion", "the fall of the score when a window is hidden", occlusion, signed=True, needs_gradient=False),)
