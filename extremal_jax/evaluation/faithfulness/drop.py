"""Average drop and increase: the confidence in a class when the map dims the image."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from extremal_jax.boundary.images import check_images
from extremal_jax.boundary.models import Model
from extremal_jax.evaluation.calls import unit_range
from extremal_jax.evaluation.faithfulness.altered import for_each, nan_where_unknown, prepare_altered, ranks, scores_of
from extremal_jax.ground.checks import check_choice, check_share

CONFIDENCES = ("softmax", "sigmoid")


class Drop(NamedTuple):
    """The fall and the rise of the confidence in a class. Their means over images are the average drop and increase.

    Attributes:
      drop: (N,), or a number: the fall in percent of the confidence in the whole image, 0 to 100; low is good.
      increase: (N,), or a number: 1 where the confidence rises, else 0; high is good.
    """

    drop: Float[Array, "*N"]
    increase: Float[Array, "*N"]


def average_drop(
    model: Model,
    images: Any,
    targets: Any,
    maps: Any,
    *,
    area: float | None = None,
    score: str = "softmax",
    chunk_size: int | None = None,
) -> Drop:
    """The drop of the confidence in a class, and whether it increases, when the image is multiplied by its map.

        drop = 100 max(0, Y − O) / Y,    increase = [O > Y]

    Y is the confidence in the image, O in the image times its map, scaled to [0, 1]. In normalised images, what is
    multiplied by zero has the mean colour of the training set. A large map wins: one that is nearly constant but for a
    single low pixel hides nothing. Give an area to compare maps that show equally much.

    Args:
      model, images, targets, chunk_size: as in `insertion`. In the literature, targets are the predicted classes.
      maps: (H, W), or (N, H, W), scaled from their least to their largest value. A constant map becomes zero, and hides
        everything.
      area: the share of the pixels to show, in [0, 1]: exactly so many, the highest of the map, with ties in reading
        order, and nothing of the others; None: the scaled map.
      score: the confidence: "softmax" or "sigmoid".

    Returns:
      a `Drop`. A map with NaN has a drop and increase of NaN; a confidence of zero cannot drop.

    Raises:
      TypeError, ValueError: for arguments that do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> image = jnp.array([[[1.0], [-5.0], [2.0]]])
      >>> found = average_drop(lambda x: x.sum(axis=(1, 2)), image, 0, jnp.array([[3.0, 1.0, 3.0]]), score="sigmoid")
      >>> found
      Drop(drop=Array(0., dtype=float32), increase=Array(1., dtype=float32))

    Source: Chattopadhay, Sarkar, Howlader and Balasubramanian, "Grad-CAM++: Generalized Gradient-Based Visual
      Explanations for Deep Convolutional Networks", WACV 2018.

    Differences from Xplique: the map keeps its sign, where Xplique takes its absolute value.
    """
    check_choice("score", score, CONFIDENCES)
    images = check_images("images", images)
    if area is not None:
        check_share("area", area, "the image")
    count = None if area is None else np.int32(round(area * images.shape[-3] * images.shape[-2]))
    call, length = prepare_altered(model, images, targets, maps, 2, score, chunk_size)
    return call.compute(_drops, count, length=length, score=score)


def _drops(
    model: Model,
    images: Float[Array, "N H W C"],
    targets: Int[Array, " N"],
    maps: Float[Array, "N H W"],
    count: Int[Array, ""] | None,
    *,
    length: int,
    score: str,
) -> Drop:
    """The drop and increase of each image."""
    shown = unit_range(maps) if count is None else (ranks(maps) < count).astype(maps.dtype)

    def chunk(of: Array, masked: Array) -> Array:
        factors = jnp.where((masked == 1)[:, None, None], shown[of], 1)[..., None]
        return scores_of(model, score, images[of] * factors.astype(images.dtype), targets[of])

    whole, part = for_each(chunk, len(images), 2, length).T
    drop = 100 * jnp.maximum(0, whole - part) / jnp.maximum(whole, np.finfo(np.float32).tiny)
    increase = jnp.where(jnp.isnan(drop), jnp.nan, (part > whole).astype(drop.dtype))
    return Drop(nan_where_unknown(drop, maps), nan_where_unknown(increase, maps))
