"""From what a caller gives to a problem, and from a problem to parameters: the path that images, channels and smallest
areas share."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Bool, Float, Int

from extremal_jax.boundary.images import batch_size
from extremal_jax.boundary.models import Model, PartedModel, check_differentiable, for_rows, part
from extremal_jax.boundary.targets import check_targets
from extremal_jax.extremal.evaluation import evaluate
from extremal_jax.extremal.mask_settings import MaskSettings
from extremal_jax.extremal.problem import Plan, Problem
from extremal_jax.extremal.result import History
from extremal_jax.graph.contents import Alike, alike
from extremal_jax.graph.varying import varying_alike
from extremal_jax.ground.checks import check_chunk_size, find
from extremal_jax.ground.progress import Watcher
from extremal_jax.ground.pytrees import AnyArray
from extremal_jax.operators.games import GAMES, Game
from extremal_jax.operators.masks import Masks
from extremal_jax.operators.perturbations import Perturbation
from extremal_jax.optimise import solver
from extremal_jax.optimise.driver import drive
from extremal_jax.optimise.elements import Elements
from extremal_jax.optimise.status import Status

_ROUNDING = 1e-5  # of blurs, as a share of the largest value


@dataclass(frozen=True)
class Task:
    """A checked call: images and targets, and the model, parted for them."""

    parted: PartedModel
    images: AnyArray  # (N, H, W, C)
    targets: AnyArray  # (N, ...), int32
    count: int | None  # N, or None for a single image
    game: Game  # of the settings
    settings: MaskSettings  # as they came
    chunk_size: int | None  # the most masks that are shown to the model at a time, or None for all

    @property
    def lead(self) -> tuple[int, ...]:
        """The leading axes of results: (N,) for a batch, () for a single image."""
        return () if self.count is None else (self.count,)

    def for_areas(self, model: Model, num_areas: int) -> Task:
        """The same call for another number of areas. The model's checks hold."""
        shown = _num_shown(self.game, len(self.images) * num_areas, self.chunk_size)
        return dataclasses.replace(self, parted=for_rows(self.parted, model, self.images, shown))

    def plan(self, masks: Masks, num_areas: int) -> Plan:
        """The static part of the problem of so many areas."""
        settings: Any = self.settings
        chunk_size = self.chunk_size if self.chunk_size is not None and self.chunk_size < len(self.images) * num_areas else None
        return Plan(
            self.parted.tail,
            masks,
            self.game,
            alike(settings.reward),
            settings.area_rule,
            alike(settings.optimizer),
            settings.input_axes,
            num_areas,
            chunk_size,
            settings.mask_penalties,
        )

    def pose(self, masks: Masks, perturbation: Perturbation, areas: AnyArray, reference: AnyArray | None = None) -> Problem:
        """The problem of masking the images, or their activations, for areas (K,) or (N, K): the head of the model runs
        here."""
        if reference is not None:
            batch = jnp.asarray(reference if reference.ndim == self.images.ndim else reference[None])
            reference = self.parted.activation(jnp.broadcast_to(batch, self.images.shape))
        plan, values = self.plan(masks, areas.shape[-1]), self.parted.activation(self.images)
        posed = _posed(plan, alike(perturbation), self.parted.arrays, values, self.targets, areas, reference)
        return dataclasses.replace(posed, plan=plan)  # the compiled function returns that of its first call, which is only equal


def check_call(
    model: Model, images: AnyArray, targets: Any, num_areas: int, settings: MaskSettings, chunk_size: int | None, at: str | None = None
) -> Task:
    """Check a call whose images `check_images` gave, and part the model, before anything is computed."""
    check_chunk_size(chunk_size)
    count = batch_size(images, len(settings.input_axes))
    batch = images if count is not None else images[None]
    game = find("game", settings.game, GAMES, Game)
    parted = part(model, batch, _num_shown(game, len(batch) * num_areas, chunk_size), at)
    check_differentiable(parted)
    targets = check_targets(targets, count, parted.num_scores, settings.reward, parted.classes)
    return Task(parted, batch, targets, count, game, settings, chunk_size)


def _num_shown(game: Game, masks: int, chunk_size: int | None) -> int:
    """How many images or activations the model sees at a time."""
    return len(game.terms) * min(masks, chunk_size or masks)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _posed(
    plan: Plan,
    perturbation: Alike,
    arrays: Any,
    values: Float[AnyArray, "N ..."],
    targets: Int[AnyArray, "N ..."],
    areas: Float[AnyArray, "*N K"],
    reference: Float[Array, "..."] | None,
) -> Problem:
    values, targets, areas = (jnp.asarray(given) for given in (values, targets, areas))  # NumPy's, where nothing is compiled
    areas = jnp.broadcast_to(areas if areas.ndim == 2 else areas[None], (len(values), plan.num_areas)).reshape(-1)
    return Problem(arrays, perturbation.value.levels(values, reference), targets, areas, plan)


def ascend(
    problem: Problem, state: solver.State, schedule: dict[str, Any], progress: bool | Watcher | None = None
) -> tuple[solver.State, solver.Record]:
    """Run the solver over a schedule."""
    return drive(jax.tree_util.Partial(_advance, problem), state, schedule, progress)


@jax.jit
def start(problem: Problem, initial_params: Array | None) -> solver.State:
    """The solver's state at parameters (..., K, h, w), or at ones, the whole image."""
    dtype = jnp.promote_types(problem.levels.dtype, jnp.float32)
    shape = (len(problem.areas), *problem.plan.masks.lattice)
    params = jnp.ones(shape, dtype) if initial_params is None else initial_params.reshape(shape).astype(dtype)
    params, _ = varying_alike(params, problem.areas)
    return solver.init(problem.plan.optimizer.value, params)


@jax.jit
def _advance(problem: Problem, state: solver.State, schedule: solver.Now) -> tuple[solver.State, solver.Record]:
    return solver.scan(problem, problem.plan.optimizer.value, state, schedule, problem.plan.chunk_size)


def concluded(
    problem: Problem, state: solver.State, record: solver.Record, masks: Array, params: Array, count: int | None
) -> dict[str, Any]:
    """The fields that the results of all masks share: of images and of channels."""
    evaluation = evaluate(problem, masks)
    elements = Elements(count, problem.plan.num_areas)
    lost = ~jnp.isfinite(evaluation.rewards[0]) & (state.nonfinite_step == solver.NEVER)
    status = Status(
        nonfinite_step=state.nonfinite_step,
        no_gradient=state.no_gradient,
        nonfinite_image=~jnp.isfinite(evaluation.image_responses),
        depends_on_batch=evaluation.depends_on_batch,
        nonfinite_reward=lost,
        unchanged=unchanged(problem),
    )
    return dict(
        masks=elements.by_image(masks),
        params=elements.by_image(params),
        rewards=elements.by_image(evaluation.rewards[0]),
        image_rewards=elements.by_image(evaluation.image_responses)[..., 0],
        targets=problem.targets if count is not None else problem.targets[0],
        history=History(elements.path(record.rewards), elements.path(record.area_losses)),
        status=jax.tree.map(elements.by_image, status),
    )


def unchanged(problem: Problem) -> Bool[Array, " E"]:
    """(E,), whether the perturbation changes nothing of each element's image, but for rounding."""
    levels = problem.levels.reshape(*problem.levels.shape[:2], -1)
    change, largest = jnp.ptp(levels, axis=1).max(axis=-1), jnp.abs(levels).max(axis=(1, 2))
    return jnp.repeat(change <= _ROUNDING * largest, problem.plan.num_areas)
