"""A search over sets of channels by swaps of a kept for a dropped channel."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float, Int

from extremal_jax.extremal.problem import Problem
from extremal_jax.operators.area import binarize
from extremal_jax.optimise.elements import take


def search(
    problem: Problem, params: Float[Array, "R C"], elements: Int[Array, "*some"] | None, rounds: int, swaps: int
) -> Float[Array, "R C"]:
    """Sets of exactly as many channels as asked for, as masks of 0 and 1: the largest parameters, improved by rounds of
    swaps. In each, the best of so many swaps is made, if it improves the reward."""
    masks = binarize(params, take(problem.areas, elements))

    def reward(masks: Array) -> tuple[Array, Array]:
        rewards = problem.rewards(masks, elements)
        return rewards.sum(), rewards

    def round_of_swaps(masks: Array, _: Any) -> tuple[Array, None]:
        gradient, rewards = jax.grad(reward, has_aux=True)(masks)
        out, into, valid = best_swaps(masks, gradient, swaps)

        def attempt(swap: tuple[Array, Array, Array]) -> Array:
            values = problem.rewards(swapped(masks, swap[0], swap[1]), elements)
            return jnp.where(swap[2] & jnp.isfinite(values), values, -jnp.inf)

        values = lax.map(attempt, (out.T, into.T, valid.T))  # (swaps, R)
        best = values.argmax(axis=0)[:, None]
        chosen = [jnp.take_along_axis(channels, best, axis=1)[:, 0] for channels in (out, into)]
        better = values.max(axis=0) > rewards
        return jnp.where(better[:, None], swapped(masks, *chosen), masks), None

    return lax.scan(round_of_swaps, masks, None, rounds)[0]


def best_swaps(
    masks: Float[Array, "R C"], gradient: Float[Array, "R C"], count: int
) -> tuple[Int[Array, "R S"], Int[Array, "R S"], Bool[Array, "R S"]]:
    """The most promising swaps of a kept for a dropped channel, to first order: by the gradient of the channel that
    enters minus the gradient of the channel that leaves.

    Returns:
      (out, into, valid), each (R, S): the channels that leave and enter, and whether there is such a swap. S is
        `count`, or less where there cannot be as many.

    Example:
      >>> out, into, valid = best_swaps(jnp.array([[1.0, 1.0, 0.0, 0.0]]), jnp.array([[3.0, 1.0, 2.0, 5.0]]), 2)
      >>> out.tolist(), into.tolist(), valid.tolist()
      ([[1, 0]], [[3, 3]], [[True, True]])
    """
    each = min(count, masks.shape[1])
    gradient = jnp.nan_to_num(gradient)
    gains, into = _largest(jnp.where(masks == 0, gradient, -jnp.inf), each)
    losses, out = _largest(jnp.where(masks == 0, -jnp.inf, -gradient), each)
    promise = (losses[:, :, None] + gains[:, None, :]).reshape(len(masks), -1)
    best, pairs = _largest(promise, min(count, each**2))
    return jnp.take_along_axis(out, pairs // each, axis=1), jnp.take_along_axis(into, pairs % each, axis=1), jnp.isfinite(best)


def _largest(values: Float[Array, "R C"], count: int) -> tuple[Float[Array, "R S"], Int[Array, "R S"]]:
    """The largest values of each row, in order, and where they are: `lax.top_k`, which would gather the rows of all devices."""
    order = jnp.argsort(values, axis=1, descending=True)[:, :count]
    return jnp.take_along_axis(values, order, axis=1), order


def swapped(masks: Float[Array, "R C"], out: Int[Array, " R"], into: Int[Array, " R"]) -> Float[Array, "R C"]:
    """The masks after one swap each: one channel leaves, another enters."""
    channels = jnp.arange(masks.shape[1], dtype=out.dtype)[None]
    return jnp.where(channels == out[:, None], 0, jnp.where(channels == into[:, None], 1, masks))
