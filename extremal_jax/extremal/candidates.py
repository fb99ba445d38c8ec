"""Several candidates for each mask, of which the best goes on.

The objective has many hills, and more steps do not lead from one to another, but other starts do. So a run begins with
C candidates for each image and area. Whenever half of the steps left have passed, the better half of the candidates
goes on, until one is left. Four candidates cost 2.75 runs.

The masks of an image's other areas are candidates too. Their parameters make a mask of any area, so at each selection,
and at the end, each area goes on with those that suit it best. A larger area then keeps what a smaller one has found,
and its reward is seldom lower.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int, Shaped

from extremal_jax.boundary.models import Model
from extremal_jax.extremal.problem import Problem
from extremal_jax.extremal.run import Task, ascend, start
from extremal_jax.graph.canonical import canonical
from extremal_jax.ground.progress import Watcher, later, watching
from extremal_jax.operators.area import binarize
from extremal_jax.optimise import solver
from extremal_jax.optimise.driver import joined
from extremal_jax.optimise.elements import take

_CELLS = 5  # of the noise in the starts, across the lattice: hills are as wide as objects


def ascend_best(
    task: Task,
    model: Model,
    problem: Problem,
    initial_params: Any,
    schedule: dict[str, Any],
    key: Array,
    progress: bool | Watcher | None = None,
) -> tuple[solver.State, solver.Record]:
    """`ascend`, from `candidates` starts for each mask, with the path of the candidate that is left.

    Args:
      task: the checked call, with its settings resolved.
      model: as the caller gave it, which may have to be traced for another number of rows.
      problem: the problem of one mask for each image and area.
      initial_params: (..., K, h, w), the first candidate; None: the `start` of the settings everywhere.
      schedule: of all steps.
      key: for the starts of the other candidates.
      progress: as for `ascend`.
    """
    settings: Any = task.settings
    num_areas = problem.plan.num_areas
    if initial_params is None and settings.start != 1:
        masks: Any = problem.plan.masks
        initial_params = jnp.full((len(problem.areas), *masks.lattice), settings.start, jnp.float32)
    exchange = settings.exchange and num_areas > 1
    planned = stages(settings.candidates, settings.num_steps, exchange)
    if len(planned) == 1:
        return ascend(problem, start(problem, initial_params), schedule, progress)
    width, begin = jnp.asarray(schedule["ramp"][-1]), 0
    if settings.candidates > 1:
        initial_params = starts(problem, initial_params, settings.spread, key, settings.candidates)
    state: Any = start(_repeated(task, model, problem, settings.candidates), initial_params)
    record: Any = None
    with watching(progress) as watcher:
        for (candidates, end), left in zip(planned, [*(count for count, _ in planned[1:]), 1], strict=True):
            current = _repeated(task, model, problem, candidates)
            part = {name: values[begin:end] for name, values in schedule.items()}
            state, latest = ascend(current, state, part, later(watcher, begin, settings.num_steps))
            record = latest if record is None else joined([record, latest])
            if candidates > left or (exchange and (end < settings.num_steps or settings.final_evaluation)):
                pool = candidates * (num_areas if exchange else 1)
                best = best_rows(_judge(task, model, problem, pool, candidates), state, pool, width, left)
                state, record = _selected(state, record, best)
            begin = end
    return state, record


def stages(count: int, num_steps: int, exchange: bool) -> list[tuple[int, int]]:
    """How many candidates there are, and the step at which the best are selected; the last stage ends the run.

    Example:
      >>> stages(4, 60, False), stages(1, 60, True), stages(1, 60, False)
      ([(4, 30), (2, 45), (1, 60)], [(1, 30), (1, 60)], [(1, 60)])
    """
    found: list[tuple[int, int]] = []
    begin = 0
    while count > 1 or (exchange and not found and num_steps > 1):
        begin += -(-(num_steps - begin) // 2)
        found.append((count, begin))
        count = -(-count // 2)
    return [*found, (1, num_steps)]


def pooled(values: Shaped[Array, "R ..."], size: int, num_masks: int) -> Shaped[Array, "E P ..."]:
    """The values of the candidates of each mask: consecutive rows, `size` of them, which are the mask's own, or those of
    all areas of its image.

    Example:
      >>> rows = jnp.arange(4)  # of one image, two areas, two candidates for each
      >>> pooled(rows, 2, 2).tolist(), pooled(rows, 4, 2).tolist()
      ([[0, 1], [2, 3]], [[0, 1, 2, 3], [0, 1, 2, 3]])
    """
    pools = values.reshape(-1, size, *values.shape[1:])
    return jnp.repeat(pools, num_masks // len(pools), axis=0)


def _repeated(task: Task, model: Model, problem: Problem, count: int) -> Problem:
    """The problem of so many candidates for each mask, side by side."""
    num_areas = problem.plan.num_areas * count
    wider = task.for_areas(model, num_areas)
    plan: Any = wider.plan(problem.plan.masks, num_areas)
    return dataclasses.replace(problem, arrays=wider.parted.arrays, areas=jnp.repeat(problem.areas, count), plan=plan)


def _judge(task: Task, model: Model, problem: Problem, pool: int, count: int) -> Problem:
    """The problem of all candidates, so many for each mask, of which no more are shown at a time than in a step of
    `count` candidates for each mask."""
    step = len(problem.areas) * count
    return _repeated(dataclasses.replace(task, chunk_size=min(task.chunk_size or step, step)), model, problem, pool)


@functools.partial(jax.jit, static_argnums=4)
def starts(problem: Problem, initial_params: Any, spread: float | Float[Array, ""], key: Array, count: int) -> Float[Array, "R ..."]:
    """(E C, h, w): for each mask the start itself, and others that lie up to `spread` below it, each in other places.
    One draw for all masks, so that a batch is a loop."""
    masks: Any = problem.plan.masks
    lattice = masks.lattice
    cells = [_CELLS if sigma else n for sigma, n in zip(masks.sigmas, lattice, strict=True)]  # one for each place where none is smooth
    first = jnp.ones((len(problem.areas), *lattice)) if initial_params is None else jnp.asarray(initial_params).reshape(-1, *lattice)
    noise = jax.image.resize(jax.random.uniform(jax.random.fold_in(key, 2), (count, *cells), first.dtype), (count, *lattice), "linear")
    noise = noise.at[0].set(0)
    return jnp.clip(first[:, None] - spread * noise[None], 0, 1).reshape(-1, *lattice)


@jax.jit
def _selected(state: solver.State, record: solver.Record, best: Int[Array, "G S"]) -> tuple[solver.State, solver.Record]:
    """The best rows of each of G pools, of a state and of the record (T, R, ...) that led to it. No row leaves its pool,
    nor the device of its image."""

    def rows(values: Array) -> Array:
        pools = values.reshape(len(best), -1, *values.shape[1:])
        return jax.vmap(lambda pool, places: pool[places])(pools, best).reshape(-1, *values.shape[1:])

    return jax.tree.map(rows, state), jax.tree.map(jax.vmap(rows), record)


@functools.partial(jax.jit, static_argnums=(2, 4))
def best_rows(problem: Problem, state: solver.State, pool: int, width: Array, keep: int) -> Int[Array, "G S"]:
    """The rows that go on, as places in each of G pools: of each mask's candidates the `keep` whose binary masks,
    feathered like those of the run, have the highest rewards. The problem is that of all candidates of all masks, so many
    for each."""

    def rewards(params: Array, elements: Array | None) -> Array:
        masks = problem.final(params, elements, width)
        binary = binarize(masks.reshape(len(masks), -1), take(problem.areas, elements)).reshape(masks.shape)
        return problem.rewards(problem.plan.area.feathered(binary), elements)

    num_masks = len(problem.areas) // pool
    params = pooled(state.params, pool, num_masks).reshape(-1, *state.params.shape[1:])
    found = canonical(solver.in_chunks(rewards, problem.plan.chunk_size))(params).reshape(num_masks, pool)
    healthy = jnp.isfinite(found) & pooled(state.nonfinite_step == solver.NEVER, pool, num_masks)
    order = jnp.argsort(jnp.where(healthy, -found, jnp.inf), axis=1)  # `lax.top_k` would gather the rows of all devices
    return order[:, :keep].reshape(len(state.params) // pool, -1)
