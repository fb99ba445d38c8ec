"""ROAD: the score when the most, or the least, important pixels are replaced by noisy linear imputation."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from extremal_jax.attribution.evaluations import draw_each
from extremal_jax.boundary.images import check_images
from extremal_jax.boundary.models import Model
from extremal_jax.evaluation.faithfulness.altered import for_each, nan_where_unknown, prepare_altered, ranks, scores_of
from extremal_jax.evaluation.faithfulness.imputation import add_noise, fill
from extremal_jax.ground.checks import as_array, check_choice, check_key, check_not_negative

ORDERS = ("most", "least", "combined")


class Road(NamedTuple):
    """The scores of images after the removal of shares of their pixels.

    Attributes:
      shares: (T,), of pixels that are removed.
      scores: (N, T), or (T,) for a single image.
      mean: (N,), or a number: the mean over the shares.
    """

    shares: Float[Array, " T"]
    scores: Float[Array, "*N T"]
    mean: Float[Array, "*N"]


def road(
    model: Model,
    images: Any,
    targets: Any,
    maps: Any,
    *,
    shares: Any = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    order: str = "combined",
    noise: float = 0.01,
    key: Array | None = None,
    score: str = "softmax",
    chunk_size: int | None = None,
) -> Road:
    """The score when shares of the pixels are removed in the order of a map, and filled by noisy linear imputation.

    A constant in the place of removed pixels shows their outline, and so the class; imputation does not.

    Args:
      model, images, targets, chunk_size: as in `insertion`.
      maps: (H, W), or (N, H, W). Only the order of their values counts. Ties, and so constant maps, are taken in reading
        order; the least important pixels are the last of that order.
      shares: (T,) in (0, 1), of the pixels to remove.
      order: "most": the most important pixels are removed, and a low score is good. "least": the least important ones,
        and a high score is good. "combined": (least − most) / 2, and a high score is good.
      noise: the standard deviation of the noise on filled pixels, in units of the images; 0 for none.
      key: the random key of the noise, which is the same for all images; None: `jax.random.key(0)`.
      score: the function of the model's scores: "softmax", "sigmoid" or "logit".

    Returns:
      a `Road`. A map with NaN has scores of NaN.

    Raises:
      TypeError, ValueError: for arguments that do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> image = jnp.zeros((8, 8, 1)).at[2:4, 2:4].set(1.0)
      >>> found = road(lambda x: x.max(axis=(1, 2)), image, 0, image[..., 0], shares=(0.1, 0.5), noise=0.0, score="logit")
      >>> found.scores.tolist()
      [0.5, 0.5]

    Source: Rong, Leemann, Borisov, Kasneci and Kasneci, "A Consistent and Efficient Evaluation Strategy for Attribution
      Methods", ICML 2022. The combined score is pytorch-grad-cam's.

    Differences from pytorch-grad-cam: exactly round(share · pixels) are removed, where a percentile removes all pixels
      of its value; scores are those of the altered images, not their change. The combined score is the same by both.
    """
    check_choice("order", order, ORDERS)
    check_not_negative("noise", noise, " in units of the images")
    images, key = check_images("images", images), check_key(key)
    shares = as_array("shares", shares)
    values = np.asarray(shares, np.float64)
    if values.ndim != 1 or values.size == 0 or not ((values > 0) & (values < 1)).all():
        raise ValueError(f"shares must be a sequence of numbers between 0 and 1, such as (0.1, 0.5), got {values.tolist()}")
    counts = np.rint(values * images.shape[-3] * images.shape[-2]).astype(np.int32)
    orders = ("least", "most") if order == "combined" else (order,)
    call, length = prepare_altered(model, images, targets, maps, len(orders) * len(counts), score, chunk_size)
    scores = call.compute(_scores_of_shares, counts, np.float32(noise), key, length=length, orders=orders, score=score)
    return Road(jnp.asarray(values, jnp.float32), scores, scores.mean(axis=-1))


def _scores_of_shares(
    model: Model,
    images: Float[Array, "N H W C"],
    targets: Int[Array, " N"],
    maps: Float[Array, "N H W"],
    counts: Int[Array, " T"],
    noise: Float[Array, ""],
    key: Array,
    *,
    length: int,
    orders: tuple[str, ...],
    score: str,
) -> Float[Array, "N T"]:
    """The scores after the removal of so many pixels in each order; of two orders, half their difference."""
    places, num_pixels, num_shares = ranks(maps), maps.shape[1] * maps.shape[2], len(counts)

    def chunk(of: Array, which: Array) -> Array:
        count = counts[which % num_shares][:, None, None]
        last = jnp.array([order == "least" for order in orders])[which // num_shares][:, None, None]
        removed = jnp.where(last, places[of] >= num_pixels - count, places[of] < count)
        filled = add_noise(fill(images[of], removed), removed, noise * draw_each(key, which % num_shares, images.shape[1:]))
        return scores_of(model, score, filled, targets[of])

    scores = for_each(chunk, len(images), len(orders) * num_shares, length).reshape(len(images), len(orders), num_shares)
    found = scores[:, 0] if len(orders) == 1 else (scores[:, 0] - scores[:, 1]) / 2
    return nan_where_unknown(found, maps)
