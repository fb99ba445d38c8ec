"""The reward at exact areas: what exactly binary masks of equal areas are worth, whatever they were optimised with."""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from extremal_jax.boundary.areas import check_areas, check_pixels
from extremal_jax.boundary.baselines import substitute
from extremal_jax.boundary.layouts import Layout, check_inputs
from extremal_jax.boundary.models import Model
from extremal_jax.evaluation.calls import as_floats
from extremal_jax.evaluation.faithfulness.altered import for_each, nan_where_unknown, prepare_altered, scores_of
from extremal_jax.evaluation.faithfulness.curves import Curve
from extremal_jax.evaluation.selection import select_highest
from extremal_jax.ground.checks import check_choice, check_not_negative
from extremal_jax.ground.filters import gaussian_blur, resize
from extremal_jax.ground.pytrees import AnyArray
from extremal_jax.operators.axes import Axes

EDGES = ("feathered", "sharp")
_BLUR, _FEATHER = 20 / 224, 5 / 224  # standard deviations, as shares of the shorter side


def reward_at_areas(
    model: Model,
    images: Any,
    targets: Any,
    maps: Any,
    areas: Any,
    *,
    axes: Axes | str | None = None,
    edge: str = "feathered",
    blur: float = _BLUR,
    baseline: Any = None,
    feather: float = _FEATHER,
    score: str = "logit",
    chunk_size: int | None = None,
) -> Float[Array, "*N K"]:
    """The score when exactly the highest pixels of a map are shown, as many as each area allows, and the rest blurred.

    Edges are feathered by a Gaussian, because a sharp edge is evidence to a network by itself, and a test with sharp
    edges would favour the masks that were optimised with them. For the transfer to another network, call this with that
    network, the images as it takes them, and the same masks.

    Args:
      model: any function from images (B, H, W, C) to scores.
      images: (H, W, C), or a batch (N, H, W, C).
      targets: one class for all images or one per image.
      maps: (N, h, w), which serve every area, or masks (N, K, h, w), one for each area; without the first axis for a
        single image. They may have another size than the images: the binary masks are resized. Any range serves. Among
        ties, the last ones in reading order are shown first, as in the optimisation of masks; so a constant map shows
        the end of the image.
      areas: (K,) in (0, 1], shares of the image.
      axes: what `images` are, if they are something else, as in `extremal_perturbation`. Maps have the masked axes in place
        of (h, w). Blur and feathers are along the smooth ones, and are shares of the shortest side of their unit.
      edge: "feathered" or "sharp".
      blur: the standard deviation of the blur of the rest, as a share of the image's shorter side.
      baseline: what the rest is in place of blurred, as in `insertion`. A blur keeps the level of a series; 0.0 does not.
      feather: the standard deviation of the feathers, as a share of the mask's shorter side.
      score: the function of the model's scores: "logit" for the scores themselves, "softmax" or "sigmoid".
      chunk_size: the most images that the model gets at a time, to bound memory; None for 32.

    Returns:
      (N, K), or (K,) for a single image. A map with NaN has a score of NaN; a mask with NaN, at its area.

    Raises:
      TypeError, ValueError: for arguments that do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> image = jnp.array([[[1.0], [5.0], [2.0], [0.0]]])
      >>> options = dict(edge="sharp", blur=0.0)
      >>> reward_at_areas(lambda x: x.mean(axis=(1, 2)), image, 0, image[..., 0], (0.25, 1.0), **options).tolist()
      [2.0, 2.0]

    Source: Fong, Patrick and Vedaldi, "Understanding Deep Networks via Extremal Perturbations and Smooth Masks", ICCV
      2019, for masks of exact areas; the paper does not measure them so.
    """
    check_choice("edge", edge, EDGES)
    check_not_negative("blur", blur, ", a share of the shorter side")
    check_not_negative("feather", feather, ", a share of the shorter side")
    if baseline is not None and blur != _BLUR:
        raise ValueError(f"pass either blur or baseline, got both, {blur!r} and {baseline!r}")
    images, layout = check_inputs(images, axes, model)
    areas = check_areas(areas, None)
    masks = check_masks(maps, layout.count(images), len(areas), layout)
    size = masks.shape[2:]
    check_pixels(areas, math.prod(size))
    call, length = prepare_altered(model, images, targets, None, len(areas), score, chunk_size, layout.axes)
    others = None if baseline is None else substitute("baseline", baseline, call.images, layout)
    soft = layout.lengths(float(feather), size) if edge == "feathered" else (0.0,) * (len(size) + 1)
    return call.compute(_rewards, masks, areas, others, blur=layout.lengths(float(blur)), feather=soft, score=score, length=length)


def area_response(
    model: Model,
    images: Any,
    targets: Any,
    maps: Any,
    areas: Any = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0),
    *,
    axes: Axes | str | None = None,
    edge: str = "sharp",
    blur: float = _BLUR,
    baseline: Any = None,
    score: str = "softmax",
    chunk_size: int | None = None,
) -> Curve:
    """The curve of the response over the area that is shown, the rest blurred; a high area under the curve is good.

    Args:
      model, images, targets, maps, axes, edge, blur, baseline, score, chunk_size: as in `reward_at_areas`.
      areas: (K,) in (0, 1], rising, at least two.

    Returns:
      a `Curve`, whose shares are the areas and whose area is that of trapezoids, divided by the range of areas: the
      mean response. A map with NaN has scores of NaN.

    Raises:
      TypeError, ValueError: for arguments that do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> image = jnp.array([[[1.0], [5.0], [2.0], [0.0]]])
      >>> curve = area_response(lambda x: x.max(axis=(1, 2)), image, 0, image[..., 0], (0.5, 0.75, 1.0), score="logit")
      >>> curve.scores.tolist(), float(curve.auc)
      ([5.0, 5.0, 5.0], 5.0)

    Source: Fong, Patrick and Vedaldi, "Understanding Deep Networks via Extremal Perturbations and Smooth Masks", ICCV
      2019, whose figures show a mask and its response for each area.
    """
    shares = np.asarray(check_areas(areas, None))
    if len(shares) < 2 or not (np.diff(shares) > 0).all():
        raise ValueError(f"areas must be at least two rising numbers, got {shares.tolist()}")
    options = dict(axes=axes, edge=edge, blur=blur, baseline=baseline, score=score, chunk_size=chunk_size)
    scores = reward_at_areas(model, images, targets, maps, shares, **options)
    widths = np.diff(shares)
    auc = ((scores[..., 1:] + scores[..., :-1]) / 2 * widths).sum(axis=-1) / widths.sum()
    return Curve(jnp.asarray(shares), scores, auc)


def check_masks(maps: Any, count: int | None, num_areas: int, layout: Layout) -> Float[AnyArray, "N K ..."]:
    """Maps of a batch of `count` images, or of one image for None, as float32 masks; K is 1 for maps that serve every area.

    Example:
      >>> from extremal_jax.operators.axes import IMAGE
      >>> layout = Layout(IMAGE, (4, 5, 3))
      >>> check_masks(np.ones((2, 4, 5)), 2, 3, layout).shape, check_masks(np.ones((3, 4, 5)), None, 3, layout).shape
      ((2, 1, 4, 5), (1, 3, 4, 5))
    """
    rank = len(layout.size)
    found = as_floats("maps", maps)
    batch = () if count is None else (count,)
    rest = found.shape[len(batch) :]
    if found.shape[: len(batch)] != batch or len(rest) not in (rank, rank + 1) or (len(rest) > rank and rest[0] != num_areas) or 0 in rest:
        sides = ("h", "w") if layout.is_image else (layout.sides.strip("()"),)
        shapes = " or ".join(f"({', '.join(map(str, (*batch, *middle, *sides)))})" for middle in ((), (num_areas,)))
        raise ValueError(f"maps must have the shape {shapes}: one map for all areas, or one for each, got {found.shape}")
    for side, wanted, smooth in zip(rest[-rank:], layout.size, layout.smooth, strict=True):
        if side != wanted and not smooth:
            raise ValueError(f"maps must have the {wanted} places of the images along an axis that is not smooth, got {side}")
    return found.reshape(count or 1, *((1,) if len(rest) == rank else ()), *rest)


def binary_masks(masks: Float[AnyArray, "N M ..."], areas: Float[AnyArray, " K"]) -> Float[Array, "N K ..."]:
    """The round(a n) highest pixels of each mask as ones, the others as zeros; one mask, M = 1, serves every area. Masks of
    any range serve, since only their order counts; among ties, the last ones in reading order are ones.

    Example:
      >>> binary_masks(jnp.array([[[[3.0, -1.0, 7.0]]]]), jnp.array([0.34, 0.67])).tolist()
      [[[[0.0, 0.0, 1.0]], [[1.0, 0.0, 1.0]]]]
    """
    num_images, _, *size = masks.shape
    flat = jnp.asarray(masks, jnp.float32).reshape(*masks.shape[:2], -1)
    counts = jnp.round(jnp.asarray(areas) * flat.shape[-1]).astype(jnp.int32)
    shape = num_images, len(areas)
    keys, lowest = select_highest(jnp.broadcast_to(flat, (*shape, flat.shape[-1])), jnp.broadcast_to(counts, shape))
    above, ties = keys > lowest, keys == lowest
    behind = jnp.cumsum(ties[..., ::-1], axis=-1)[..., ::-1]  # ties from each on
    kept = above | (ties & (behind <= (counts - above.sum(axis=-1))[..., None]))
    return kept.astype(jnp.float32).reshape(num_images, -1, *size)


def _rewards(
    model: Model,
    images: Float[Array, "N ... C"],
    targets: Int[Array, " N"],
    _: Any,
    masks: Float[Array, "N M ..."],
    areas: Float[Array, " K"],
    others: Float[Array, "N ... C"] | None,
    *,
    blur: tuple[float, ...],
    feather: tuple[float, ...],
    score: str,
    length: int,
) -> Float[Array, "N K"]:
    """The scores of images of which binary masks show a part."""
    size = images.shape[1:-1]
    others = gaussian_blur(images, blur) if others is None else others
    binary = binary_masks(masks, areas)
    soft = gaussian_blur(binary[..., None], feather)[..., 0]
    sized = soft if soft.shape[2:] == size else resize(soft[..., None], size)[..., 0]

    def chunk(of: Array, area: Array) -> Array:
        kept = sized[of, area][..., None]
        return scores_of(model, score, (kept * images[of] + (1 - kept) * others[of]).astype(images.dtype), targets[of])

    scores = jnp.where(jnp.isnan(areas), jnp.nan, for_each(chunk, len(images), len(areas), length))  # of areas out of range under a trace
    each = jnp.broadcast_to(masks, binary.shape)
    return nan_where_unknown(scores.ravel(), each.reshape(-1, *each.shape[2:])).reshape(scores.shape)


def pieces(masks: Any) -> np.ndarray:
    """How many connected pieces the pixels above one half have, in each mask (..., H, W); diagonal neighbours are connected.

    Example:
      >>> pieces(np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0]])), pieces(np.array([[1, 0, 1]]))
      (array(1), array(2))
    """
    from scipy.ndimage import label

    above = np.asarray(masks) > 0.5
    found = [label(mask, np.ones((3, 3)))[1] for mask in above.reshape(-1, *above.shape[-2:])]
    return np.array(found).reshape(above.shape[:-2])


def growing(rewards: Any) -> float:
    """The share of neighbouring areas whose larger one has at least the reward of the smaller one, of rewards (..., K).

    Example:
      >>> growing(np.array([[1.0, 2.0, 1.5]]))
      0.5
    """
    return float((np.diff(np.asarray(rewards), axis=-1) >= 0).mean())
