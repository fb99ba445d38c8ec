"""Several candidates for each mask, of which the best goes on.

The objective has many hills, and more steps do not lead from one to another, but other starts do. So a run begins with
C candidates for each image and area. Whenever half of the steps left have passed, the better half of the candidates
goes on, until one is left. Four candidates cost 2.75 runs.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int

from extremal_jax.boundary.models import Model
from extremal_jax.extremal.evaluation import evaluate
from extremal_jax.extremal.problem import Problem
from extremal_jax.extremal.run import Task, ascend, start
from extremal_jax.ground.progress import Watcher, later, watching
from extremal_jax.optimise import solver

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
      initial_params: (..., K, h, w), the first candidate; None: ones.
      schedule: of all steps.
      key: for the starts of the other candidates.
      progress: as for `ascend`.
    """
    settings: Any = task.settings
    count, num_steps = settings.candidates, settings.num_steps
    if count == 1:
        return ascend(problem, start(problem, initial_params), schedule, progress)
    width, begin = jnp.asarray(schedule["ramp"][-1]), 0
    record: Any = None
    state: Any = None
    with watching(progress) as watcher:
        for candidates, end in stages(count, num_steps):
            current = _of_candidates(task, model, problem, candidates)
            if state is None:
                state = start(current, starts(problem, initial_params, count, settings.spread, key))
            part = {name: values[begin:end] for name, values in schedule.items()}
            state, latest = ascend(current, state, part, later(watcher, begin, num_steps))
            record = latest if record is None else jax.tree.map(lambda a, b: jnp.concatenate([a, b]), record, latest)
            if candidates > 1:
                rows = better_half(current, state, width, candidates)
                state = jax.tree.map(lambda values, rows=rows: values[rows], state)
                record = jax.tree.map(lambda values, rows=rows: values[:, rows], record)
            begin = end
    return state, record


def stages(count: int, num_steps: int) -> list[tuple[int, int]]:
    """How many candidates there are, and the step at which this changes.

    Example:
      >>> stages(4, 60), stages(3, 60), stages(1, 60)
      ([(4, 30), (2, 45), (1, 60)], [(3, 30), (2, 45), (1, 60)], [(1, 60)])
    """
    found, begin = [], 0
    while count > 1:
        begin += -(-(num_steps - begin) // 2)
        found.append((count, begin))
        count = -(-count // 2)
    return [*found, (1, num_steps)]


def _of_candidates(task: Task, model: Model, problem: Problem, count: int) -> Problem:
    """The problem of so many candidates for each mask, side by side."""
    num_areas = problem.plan.num_areas * count
    wider = task.for_areas(model, num_areas)
    plan: Any = wider.plan(problem.plan.masks, num_areas)
    return dataclasses.replace(problem, arrays=wider.parted.arrays, areas=jnp.repeat(problem.areas, count), plan=plan)


def starts(problem: Problem, initial_params: Any, count: int, spread: float, key: Array) -> Float[Array, "R h w"]:
    """(E C, h, w): for each mask the start itself, and others that lie up to `spread` below it, each in other places.
    One draw for all masks, so that a batch is a loop."""
    lattice = problem.plan.masks.lattice
    first = jnp.ones((len(problem.areas), *lattice)) if initial_params is None else jnp.asarray(initial_params).reshape(-1, *lattice)
    noise = jax.image.resize(
        jax.random.uniform(jax.random.fold_in(key, 2), (count, _CELLS, _CELLS), first.dtype), (count, *lattice), "linear"
    )
    noise = noise.at[0].set(0)
    return jnp.clip(first[:, None] - spread * noise[None], 0, 1).reshape(-1, *lattice)


@jax.jit(static_argnums=3)
def better_half(problem: Problem, state: solver.State, width: Array, count: int) -> Int[Array, " R"]:
    """The rows of the candidates that go on: those whose masks, of the areas asked for, have the highest rewards."""
    masks = solver.in_chunks(lambda params, elements: problem.final(params, elements, width), problem.plan.chunk_size)(state.params)
    rewards = evaluate(problem, masks).rewards[0]
    healthy = jnp.isfinite(rewards) & (state.nonfinite_step == solver.NEVER)
    _, best = lax.top_k(jnp.where(healthy, rewards, -jnp.inf).reshape(-1, count), -(-count // 2))
    return (jnp.arange(len(best), dtype=best.dtype)[:, None] * count + best).reshape(-1)
