"""The objective of extremal perturbations, for many images and areas at once:

    Φ(m ⊗ x) − λ R_a(m)

x is an image, or the activation of a layer, and m a mask of its pixels or of its channels. The pieces are in
`operators`: the family of masks, the perturbation ⊗, the game and the reward that make Φ, and the area loss R_a. λ is
the schedule `area_weight` of the settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int

from extremal_jax.graph.contents import Alike
from extremal_jax.graph.functional import Arrays, Program
from extremal_jax.ground.pytrees import pytree
from extremal_jax.operators.area import AreaRule, area_loss, area_threshold, ramp
from extremal_jax.operators.axes import FLIPPED, SHIFTED, Axes, masked, places
from extremal_jax.operators.games import Game
from extremal_jax.operators.masks import Masks
from extremal_jax.operators.penalties import Penalty
from extremal_jax.operators.perturbations import interpolate
from extremal_jax.operators.rewards import reward
from extremal_jax.optimise.elements import take
from extremal_jax.optimise.solver import Now, Record, listen


@dataclass(frozen=True)
class Plan:
    """The static part of a problem: equal plans share one compilation."""

    model: Program  # (arrays, images or activations) -> scores
    masks: Masks
    game: Game  # which masks are shown, and how responses combine
    reward: Alike  # of the scores: a name, a `Reward` or a function
    area: AreaRule  # how masks are held to their areas
    optimizer: Alike  # of one mask's parameters, an `optax.GradientTransformation`
    axes: Axes  # of the images
    num_areas: int  # K
    chunk_size: int | None  # the most masks that are shown to the model at a time, or None for all
    penalties: tuple[Penalty, ...] = ()  # what masks are charged beside the area loss


class Shown(NamedTuple):
    """The masks of some parameters, as the model is shown them."""

    masks: Float[Array, "R ..."]  # (R, H, W), or (R, C) of channels
    masks_with_margin: Float[Array, "R H2 W2"] | None  # (R, H', W'), None where they were not asked for
    area_losses: Float[Array, " R"]  # (R,), R_a, before the projection to the exact area
    penalties: Float[Array, "P R"] | None = None  # (P, R), likewise; None where the settings have none


@pytree(static=("plan",))
class Problem:
    """Images, targets and areas: an objective over E = N K masks, image by image. A pytree."""

    arrays: Arrays  # of the model
    levels: Float[Array, "N L ..."]  # (N, L, H, W, C), or (N, L, ..., C) of activations: the perturbation's pyramids, the image itself last
    targets: Int[Array, "N ..."]  # (N, ...)
    areas: Float[Array, " E"]  # (E,), shares
    plan: Plan  # the static part

    def __call__(
        self, params: Float[Array, "R ..."], elements: Int[Array, "*some"] | None, now: Now, signal: Float[Array, " R"]
    ) -> tuple[Array, Record]:
        """The objective of some of the masks, or of all, and the record of this step."""
        shown = self.shown(params, elements, now["shrinkage"], now["ramp"])
        rewards = self.rewards(shown.masks, elements, now, signal)
        costs = shown.area_losses
        if self.plan.area.relative:
            costs = costs / take(self.areas, elements)
        values = rewards - now["area_weight"] * costs
        if shown.penalties is not None and "penalties" in now:
            values = values - now["penalties"] @ shown.penalties
        return values, Record(rewards, shown.area_losses)

    def shown(
        self,
        params: Float[Array, "R ..."],
        elements: Int[Array, "*some"] | None,
        shrinkage: Float[Array, ""],
        width: Float[Array, ""],
        with_margin: bool = False,
    ) -> Shown:
        """Masks as the model is shown them: of exact area, if the rule says so."""
        family: Any = self.plan.masks
        rule = self.plan.area
        areas, on_canvas = take(self.areas, elements), rule.over == "canvas"
        masks = rule.smoothed(family.with_margin(params) if on_canvas else family(params))
        region = masks.reshape(len(params), -1)
        losses, charged = area_loss(region, areas, rule.ties), self._penalties(masks, areas)
        threshold = area_threshold(region, areas**shrinkage, width) if rule.exact else None

        def finished(masks: Array) -> Array:
            return masks if threshold is None else rule.feathered(ramp(masks, threshold, width))

        masks = finished(masks)
        if on_canvas:
            return Shown(family.crop(masks), masks, losses, charged)
        canvas = family.uncrop(masks, finished(rule.smoothed(family.with_margin(params)))) if with_margin else None
        return Shown(masks, canvas, losses, charged)

    def _penalties(self, masks: Float[Array, "R ..."], areas: Float[Array, " R"]) -> Float[Array, "P R"] | None:
        """(P, R): the penalties of masks, before their weights."""
        along = masked(self.plan.axes)
        costs = [penalty.costs(masks, areas, along) for penalty in self.plan.penalties]
        return jnp.stack(costs) if costs else None

    def final(self, params: Float[Array, "R ..."], elements: Int[Array, "*some"] | None, width: Float[Array, ""]) -> Float[Array, "R ..."]:
        """Masks of the areas asked for, as at the end of a run."""
        return self.shown(params, elements, jnp.ones((), params.dtype), width).masks

    def rewards(
        self,
        masks: Float[Array, "R ..."],
        elements: Int[Array, "*some"] | None,
        jitter: Now | None = None,
        signal: Float[Array, " R"] | None = None,
    ) -> Float[Array, " R"]:
        """The rewards of masks: the responses to all that the game shows, combined. Under jitter, what is shown is
        perturbed less, flipped, shifted and noisy, where the values of the step have "strength", "flipped", "shift" and
        "noise"."""
        jitter, axes = jitter or {}, self.plan.axes
        perturbed = self.perturbed(masks, elements, jitter.get("strength"))
        if "flipped" in jitter:
            width = [perturbed.ndim + place for place in places(axes, FLIPPED)]
            perturbed = jnp.where(jitter["flipped"], lax.rev(perturbed, width), perturbed)
        if "shift" in jitter:
            perturbed = jnp.roll(perturbed, jitter["shift"], places(axes, *SHIFTED))
        if "noise" in jitter:
            noise = jax.random.normal(jitter["noise"], (1, 1, *perturbed.shape[2:]), perturbed.dtype)
            perturbed = perturbed + jitter["noise_scale"].astype(perturbed.dtype) * noise
        if signal is not None:
            perturbed = jax.vmap(listen, in_axes=(0, None))(perturbed, signal)
        return self.plan.game.combine(self.responses(perturbed, elements))

    def perturbed(
        self, masks: Float[Array, "R ..."], elements: Int[Array, "*some"] | None, strength: Float[Array, ""] | None = None
    ) -> Float[Array, "terms R ..."]:
        """m ⊗ x, for each mask that the game shows; with a share of the perturbation's full strength, if it is given."""
        plan = self.plan
        levels = self.levels if elements is None else take(self.levels, elements // plan.num_areas)
        masks = plan.game.show(masks)  # (terms, R, *shape)
        if strength is not None:
            masks = 1 - strength.astype(masks.dtype) * (1 - masks)
        weights = plan.masks.over(masks, levels.ndim - 2)
        grouped = weights.reshape(len(masks), len(levels), -1, *weights.shape[2:])
        perturbed = jax.vmap(interpolate, in_axes=(0, 1), out_axes=1)(levels, grouped)
        return perturbed.reshape(*masks.shape[:2], *levels.shape[2:]).astype(self.levels.dtype)

    def whole(self, elements: Int[Array, "*some"] | None) -> Float[Array, "terms R ..."]:
        """The image itself, in the place of each perturbed one."""
        images, num_areas = self.levels[:, -1], self.plan.num_areas
        images = jnp.repeat(images, num_areas, axis=0) if elements is None else take(images, elements // num_areas)
        return jnp.stack([images] * len(self.plan.game.terms))

    def responses(self, shown: Float[Array, "terms R ..."], elements: Int[Array, "*some"] | None) -> Float[Array, "terms R"]:
        """Φ of images or activations: one call of the model."""
        terms, rows = shown.shape[:2]
        targets = take(jnp.repeat(self.targets, self.plan.num_areas, axis=0), elements)
        outputs = self.plan.model(self.arrays, shown.reshape(-1, *shown.shape[2:]))
        outputs = outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32))
        return reward(self.plan.reward.value, outputs, jnp.concatenate([targets] * terms)).reshape(terms, rows)
