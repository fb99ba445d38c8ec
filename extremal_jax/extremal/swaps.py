"""The objective of channel attribution, Φ(m · x) − λ R_a(m), for many images and counts at once; and a search over sets of channels.

    (m · x)(u, c) = m(c) x(u, c),    m ∈ [0, 1]^C

x is the activation of a layer, u a place in it (or a token) and c a channel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int

from extremal_jax.extremal.channel_config import ChannelConfig
from extremal_jax.extremal.problem import respond
from extremal_jax.graph.functional import Arrays, Program
from extremal_jax.ground.pytrees import pytree
from extremal_jax.operators.area import area_loss, area_threshold, ramp, select_top
from extremal_jax.operators.games import GAMES, Game
from extremal_jax.optimise.elements import take
from extremal_jax.optimise.solver import Now, Record


@dataclass(frozen=True)
class ChannelPlan:
    """What shapes the compiled program: equal plans share one compilation.

    Attributes:
      tail: the part of the model after the layer, without its arrays.
      config: the settings, without the schedules, which are arguments of the program.
      num_areas: K.
      chunk_size: the most masks that are shown to the tail at a time, or None.
    """

    tail: Program
    config: ChannelConfig
    num_areas: int
    chunk_size: int | None

    @property
    def game(self) -> Game:
        return GAMES[self.config.game]


@pytree(static=("plan",))
class ChannelProblem:
    """Activations, targets and counts: an objective over E = N K masks, image by image. A pytree.

    Attributes:
      arrays: the model's.
      activations: (N, ..., C), of the layer.
      targets: (N, ...).
      counts: (E,), how many channels each mask keeps.
      plan: what shapes the program.
    """

    arrays: Arrays
    activations: Float[Array, "N *places C"]
    targets: Int[Array, "N ..."]
    counts: Int[Array, " E"]
    plan: ChannelPlan

    def __call__(self, params: Float[Array, "R C"], elements: Int[Array, " R"] | None, now: Now) -> tuple[Array, Record]:
        """The objective of some of the masks, or of all, and what is noted of it."""
        masks, losses = self.shown(params, elements, now["shrinkage"], now["ramp"])
        rewards = self.rewards(masks, elements)
        return rewards - now["area_weight"] * losses, Record(rewards, losses)

    def shown(
        self, params: Float[Array, "R C"], elements: Int[Array, " R"] | None, shrinkage: Array, width: Array
    ) -> tuple[Float[Array, "R C"], Float[Array, " R"]]:
        """Masks as the tail is shown them, in exact area, if the config says so; and their area losses."""
        areas = take(self.counts, elements) / params.shape[1]
        losses = area_loss(params, areas)
        if not self.plan.config.exact_area:
            return params, losses
        return ramp(params, area_threshold(params, areas**shrinkage, width), width), losses

    def rewards(self, masks: Float[Array, "R C"], elements: Int[Array, " R"] | None) -> Float[Array, " R"]:
        """The rewards of masks, from the responses to all that the game shows."""
        game = self.plan.game
        rows = self.activations if elements is None else self.activations[elements // self.plan.num_areas]
        masks = game.show(masks)  # (terms, R, C)
        places = [1] * (rows.ndim - 2)
        grouped = masks.reshape(len(masks), len(rows), -1, *places, masks.shape[-1])
        shown = (rows[:, None] * grouped).reshape(*masks.shape[:2], *rows.shape[1:])
        return game.combine(self.responses(shown.astype(rows.dtype), elements))

    def responses(self, shown: Float[Array, "terms R *places C"], elements: Int[Array, " R"] | None) -> Float[Array, "terms R"]:
        """Φ of activations: one call of the tail."""
        targets = take(jnp.repeat(self.targets, self.plan.num_areas, axis=0), elements)
        return respond(self.plan.tail, self.arrays, shown, targets, self.plan.config.reward)

    def search(self, params: Float[Array, "R C"], elements: Int[Array, " R"] | None) -> Float[Array, "R C"]:
        """Sets of exactly as many channels as asked for, as masks of 0 and 1: the largest parameters first, and then what rounds of
        exchanges improve."""
        masks = select_top(params, take(self.counts, elements), "position")

        def reward(masks: Array) -> tuple[Array, Array]:
            rewards = self.rewards(masks, elements)
            return rewards.sum(), rewards

        def round_of_swaps(masks: Array, _: Any) -> tuple[Array, None]:
            gradient, rewards = jax.grad(reward, has_aux=True)(masks)
            out, into, promising = best_swaps(masks, gradient, self.plan.config.swaps)

            def attempt(swap: tuple[Array, Array, Array]) -> Array:
                values = self.rewards(swapped(masks, swap[0], swap[1]), elements)
                return jnp.where(swap[2] & jnp.isfinite(values), values, -jnp.inf)

            values = lax.map(attempt, (out.T, into.T, promising.T))  # (swaps, R)
            best = values.argmax(axis=0)[:, None]
            chosen = [jnp.take_along_axis(channels, best, axis=1)[:, 0] for channels in (out, into)]
            better = values.max(axis=0) > rewards
            return jnp.where(better[:, None], swapped(masks, *chosen), masks), None

        return lax.scan(round_of_swaps, masks, None, self.plan.config.swap_rounds)[0]


def best_swaps(masks: Float[Array, "R C"], gradient: Float[Array, "R C"], count: int) -> tuple[Int[Array, "R S"], Int[Array, "R S"], Any]:
    """The exchanges of a kept for another channel that promise most, to first order: the gradient of the one that enters minus that of the
    other.

    Args:
      masks: (R, C), 0 and 1.
      gradient: (R, C), of the reward.
      count: how many exchanges.

    Returns:
      (out, into, valid), each (R, S): the channels that leave and enter, and whether there is such an exchange; S is `count`, or less
      where there cannot be as many.

    Example:
      >>> import jax.numpy as jnp
      >>> out, into, valid = best_swaps(jnp.array([[1.0, 1.0, 0.0, 0.0]]), jnp.array([[3.0, 1.0, 2.0, 5.0]]), 2)
      >>> out.tolist(), into.tolist(), valid.tolist()
      ([[1, 0]], [[3, 3]], [[True, True]])
    """
    each = min(count, masks.shape[1])
    gradient = jnp.nan_to_num(gradient)
    gains, into = lax.top_k(jnp.where(masks == 0, gradient, -jnp.inf), each)
    losses, out = lax.top_k(jnp.where(masks == 0, -jnp.inf, -gradient), each)
    promise = (losses[:, :, None] + gains[:, None, :]).reshape(len(masks), -1)
    best, pairs = lax.top_k(promise, min(count, each**2))
    return jnp.take_along_axis(out, pairs // each, axis=1), jnp.take_along_axis(into, pairs % each, axis=1), jnp.isfinite(best)


def swapped(masks: Float[Array, "R C"], out: Int[Array, " R"], into: Int[Array, " R"]) -> Float[Array, "R C"]:
    """Masks in which one channel each has left, and another entered."""
    rows = jnp.arange(len(masks))
    return masks.at[rows, out].set(0).at[rows, into].set(1)
