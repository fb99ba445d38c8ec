"""Masks of growing area as one order of pixels: nested masks.

The masks of two areas are optimised separately, so the smaller need not lie within the larger. Nested masks do: S_1 ⊂
S_2 ⊂ ... ⊂ S_K, each of exactly as many pixels as asked for,

    S_k = S_{k−1} ∪ the n_k − n_{k−1} pixels outside of it that m_k values highest
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from extremal_jax.operators.area import select_top


def rank_places(masks: Float[Array, "..."], areas: Float[Array, "*N K"], importance: Float[Array, "..."]) -> Int[Array, "..."]:
    """`rank_pixels` of the masks (..., K, H, W) of one image or of a batch, as maps (..., H, W)."""
    flat = masks.reshape(-1, areas.shape[-1], math.prod(masks.shape[areas.ndim :]))
    order = jax.vmap(rank_pixels)(flat, areas.reshape(len(flat), -1), importance.reshape(len(flat), -1))
    return order.reshape(importance.shape)


def rank_pixels(masks: Float[Array, "K n"], areas: Float[Array, " K"], importance: Float[Array, " n"]) -> Int[Array, " n"]:
    """The pixels in the order in which growing masks come to keep them.

    A pixel's place is decided by the smallest area whose nested mask keeps it, then by the value that the mask of this
    area gives it, then by `importance`. Pixels that no mask keeps come last, by the sum of the masks.

    Args:
      masks: (K, n) in [0, 1]: the masks of one image as rows.
      areas: (K,) in (0, 1], in any order.
      importance: (n,), which of equal pixels comes first: the higher.

    Returns:
      (n,): each number from 0, the most important, to n − 1 once. `order < round(a n)` is the nested mask of area a.

    Example:
      >>> masks = jnp.array([[0.9, 0.0, 0.1, 0.0], [0.0, 1.0, 0.5, 0.7]])
      >>> rank_pixels(masks, jnp.array([0.25, 0.75]), jnp.zeros(4)).tolist()
      [0, 1, 3, 2]
    """
    num_masks, n = masks.shape
    growing = jnp.argsort(areas)
    masks, counts = masks[growing], jnp.round(areas[growing] * n).astype(jnp.int32)
    kept = jnp.zeros_like(masks[0])
    level, value = jnp.full((n,), num_masks), masks.sum(axis=0)
    for k in range(num_masks):
        # Halved, which is exact, so that what is kept already stands above all else.
        grown = select_top(jnp.where(kept > 0, 1, masks[k] / 2)[None], counts[k : k + 1], "position")[0]
        new = (grown > 0) & (kept == 0)
        level, value = jnp.where(new, k, level), jnp.where(new, masks[k], value)
        kept = jnp.maximum(kept, grown)
    order = jnp.lexsort((-importance, -value, level))
    return jnp.zeros((n,), jnp.int32).at[order].set(jnp.arange(n, dtype=jnp.int32))
