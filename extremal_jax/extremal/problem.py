"""The objective of extremal perturbations: Φ(m ⊗ x) − λ R_a(m), for many images and areas at once."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from extremal_jax.extremal.config import Config
from extremal_jax.graph.functional import Arrays, Program
from extremal_jax.ground.pytrees import pytree
from extremal_jax.operators.area import area_loss, area_threshold, ramp
from extremal_jax.operators.games import GAMES, Game
from extremal_jax.operators.masks import SmoothMasks
from extremal_jax.operators.perturbations import blur_pyramid, perturb, reference_pyramid
from extremal_jax.operators.rewards import RewardFunction, reward
from extremal_jax.optimise.elements import take
from extremal_jax.optimise.solver import Now, Record


@dataclass(frozen=True)
class Plan:
    """What shapes the compiled program: equal plans share one compilation.

    Attributes:
      model: the model without its arrays.
      config: the settings, resolved, and without the schedules, which are arguments of the program.
      shape: (H, W).
      num_areas: K.
      chunk_size: the most masks that are shown to the model at a time, or None.
    """

    model: Program
    config: Config
    shape: tuple[int, int]
    num_areas: int
    chunk_size: int | None

    @property
    def game(self) -> Game:
        return GAMES[self.config.game]

    @property
    def smooth(self) -> SmoothMasks:
        return smooth_masks(self.config, self.shape)


def smooth_masks(config: Config, shape: tuple[int, int]) -> SmoothMasks:
    """The family of masks that a resolved config describes, for images of one shape."""
    assert config.step is not None, "the config is resolved"
    assert config.sigma is not None, "the config is resolved"
    return SmoothMasks(shape, config.step, config.sigma, config.temperature)


class Shown(NamedTuple):
    """The masks of some parameters, and what the area asked for makes of them.

    Attributes:
      masks: (R, H, W), as they are shown.
      masks_with_margin: (R, H', W'), None where they were not needed.
      area_losses: (R,).
    """

    masks: Float[Array, "R H W"]
    masks_with_margin: Float[Array, "R H2 W2"] | None
    area_losses: Float[Array, " R"]


@pytree(static=("plan",))
class Problem:
    """Images, targets and areas: an objective over E = N K masks, image by image. A pytree.

    Attributes:
      arrays: the model's.
      pyramid: (N, L, H, W, C).
      targets: (N, ...).
      areas: (E,).
      plan: what shapes the program.
    """

    arrays: Arrays
    pyramid: Float[Array, "N L H W C"]
    targets: Int[Array, "N ..."]
    areas: Float[Array, " E"]
    plan: Plan

    def __call__(self, params: Float[Array, "R h w"], elements: Int[Array, " R"] | None, now: Now) -> tuple[Array, Record]:
        """The objective of some of the masks, or of all, and what is noted of it."""
        shown = self.shown(params, elements, now["shrinkage"])
        rewards = self.rewards(shown.masks, elements, now.get("mirrored"))
        costs = shown.area_losses
        if self.plan.config.relative_area_loss:
            costs = costs / take(self.areas, elements)
        return rewards - now["area_weight"] * costs, Record(rewards, shown.area_losses)

    def shown(self, params: Float[Array, "R h w"], elements: Int[Array, " R"] | None, shrinkage: Array, with_margin: bool = False) -> Shown:
        """Masks as the model is shown them: in exact area, if the config says so."""
        config, smooth = self.plan.config, self.plan.smooth
        over_canvas = config.area_over == "canvas"
        canvas = smooth.with_margin(params) if over_canvas or with_margin else None
        masks = smooth(params) if canvas is None else smooth.crop(canvas)
        region = canvas if canvas is not None and over_canvas else masks
        region = region.reshape(len(params), -1)
        areas = take(self.areas, elements)
        losses = area_loss(region, areas, "position" if config.parity else "share")
        if config.exact_area:
            threshold = area_threshold(region, areas**shrinkage, config.ramp)
            masks = ramp(masks, threshold, config.ramp)
            canvas = None if canvas is None else ramp(canvas, threshold, config.ramp)
        return Shown(masks, canvas, losses)

    def rewards(
        self, masks: Float[Array, "R H W"], elements: Int[Array, " R"] | None, mirrored: Bool[Array, ""] | None = None
    ) -> Float[Array, " R"]:
        """The rewards of masks, from the responses to all images that the game shows."""
        game = self.plan.game
        pyramid = self.pyramid if elements is None else self.pyramid[elements // self.plan.num_areas]
        masks = game.show(masks)  # (terms, R, H, W)
        grouped = masks.reshape(len(game.terms), len(pyramid), -1, *masks.shape[-2:])
        perturbed = jax.vmap(perturb, in_axes=(0, 1), out_axes=1)(pyramid, grouped)
        perturbed = perturbed.reshape(*masks.shape, -1).astype(self.pyramid.dtype)
        if mirrored is not None:
            perturbed = jnp.where(mirrored, perturbed[..., ::-1, :], perturbed)
        return game.combine(self.responses(perturbed, elements))

    def responses(self, images: Float[Array, "terms R H W C"], elements: Int[Array, " R"] | None) -> Float[Array, "terms R"]:
        """Φ of images: one call of the model."""
        targets = take(jnp.repeat(self.targets, self.plan.num_areas, axis=0), elements)
        return respond(self.plan.model, self.arrays, images, targets, self.plan.config.reward)


def respond(
    model: Program, arrays: Arrays, shown: Float[Array, "terms R ..."], targets: Int[Array, "R ..."], name: str | RewardFunction
) -> Float[Array, "terms R"]:
    """Φ of what a game shows: one call of the model.

    Args:
      model: (arrays, batch) -> scores.
      arrays: the model's.
      shown: (terms, R, ...), what is shown to the model, term by term.
      targets: (R, ...).
      name: of the reward, or the reward itself.
    """
    terms, rows = shown.shape[:2]
    outputs = model(arrays, shown.reshape(-1, *shown.shape[2:]))
    scores = reward(name, outputs.astype(jnp.promote_types(outputs.dtype, jnp.float32)), jnp.concatenate([targets] * terms))
    return scores.reshape(terms, rows)


@functools.partial(jax.jit, static_argnums=0)
def pose(
    plan: Plan,
    arrays: Arrays,
    images: Float[Array, "N H W C"],
    targets: Int[Array, "N ..."],
    areas: Float[Array, "*N K"],
    reference: Float[Array, "*M H W C"] | None,
) -> Problem:
    """The problem of a batch of images."""
    pyramid = perturbation_pyramid(plan.config, images, reference)
    areas = jnp.broadcast_to(areas, (len(images), plan.num_areas)).reshape(-1)
    return Problem(arrays, pyramid, targets, areas, plan)


def perturbation_pyramid(
    config: Config, images: Float[Array, "*N H W C"], reference: Float[Array, "*M H W C"] | None = None
) -> Float[Array, "*N L H W C"]:
    """The pyramid of the perturbation that a resolved config describes."""
    if config.perturbation == "blur":
        assert config.max_blur is not None, "the config is resolved"
        return blur_pyramid(images, config.num_levels, config.max_blur, config.padding)
    return reference_pyramid(images, 0.0 if reference is None else reference)
