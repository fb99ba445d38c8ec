"""The optimisation: one step, and the scan that repeats it.

It maximises the objectives of independent elements, each with its own parameters: the masks of one image and one area, or the pictures of a
feature inversion. The optimizer sees one element at a time, so that no norm, line search or counter of its own can mix them: a batch is a
loop.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax
from jaxtyping import Float, Int

from extremal_jax.graph.canonical import canonical
from extremal_jax.ground.pytrees import pytree

NEVER = -1
# What the schedule says of one step: its number as "step", the "learning_rate", and what the objective wants to know.
Now = Mapping[str, Any]


class Record(NamedTuple):
    """What is noted of a step, element by element.

    Attributes:
      rewards: what the model answered.
      area_losses: R_a(m), before its weight.
    """

    rewards: Float[Array, "*T E"]
    area_losses: Float[Array, "*T E"]


# (parameters (R, ...), the elements that they belong to (R,) or None for all, now) -> the values (R,) to maximise, and their record: a
# named tuple of arrays (R,), with the field `rewards`
Objective = Callable[[Array, Array | None, Now], tuple[Array, Any]]
Projection = Callable[[Array], Array]


def unit_box(params: Float[Array, "*E"]) -> Float[Array, "*E"]:
    """The nearest parameters in [0, 1]: those of masks."""
    return jnp.clip(params, 0, 1)


def everywhere(params: Float[Array, "*E"]) -> Float[Array, "*E"]:
    """No constraint at all."""
    return params


@pytree()
class State:
    """Where an optimisation stands.

    Attributes:
      params: (E, ...), the parameters of every element.
      shown: (E, ...), those of the step before: the ones that the last record tells of.
      moments: the optimizer's state, with the same leading axis.
      nonfinite_step: (E,), the first step at which an element's reward or gradient was not finite, or `NEVER`. From then on its parameters
        stay.
    """

    params: Float[Array, "E ..."]
    shown: Float[Array, "E ..."]
    moments: Any
    nonfinite_step: Int[Array, " E"]


def init(optimizer: optax.GradientTransformation, params: Float[Array, "E ..."]) -> State:
    """The state before the first step, from the parameters (E, ...) to start with."""
    # Made from the parameters, so that it varies over whatever devices and batches they vary over.
    never = jnp.full_like(params, NEVER, jnp.int32).min(axis=tuple(range(1, params.ndim)))
    return State(params, params, jax.vmap(optimizer.init)(params), never)


def step(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    state: State,
    now: Now,
    chunk_size: int | None = None,
    project: Projection = unit_box,
) -> tuple[State, Any]:
    """One step of ascent.

    Args:
      objective: what to maximise.
      optimizer: an optax transformation; its updates, times the learning rate, are added to the parameters.
      state: where the optimisation stands.
      now: what the schedule says of this step.
      chunk_size: the most elements that are evaluated at a time; it bounds memory and changes nothing else.
      project: what brings parameters back to where they must stay, after each step.

    Returns:
      The next state, and the record of the one that came.
    """
    gradient, record = in_chunks(functools.partial(_ascent, objective, now), chunk_size)(state.params)
    update = optax.with_extra_args_support(optimizer).update
    updates, moments = jax.vmap(update)(jax.tree.map(jnp.negative, gradient), state.moments, state.params)
    params = project(state.params + now["learning_rate"] * updates)

    inner = tuple(range(1, params.ndim))
    finite = jnp.isfinite(record.rewards) & jnp.isfinite(gradient).all(axis=inner) & jnp.isfinite(updates).all(axis=inner)
    healthy = finite & (state.nonfinite_step == NEVER)
    params = jnp.where(jnp.expand_dims(healthy, inner), params, state.params)
    nonfinite_step = jnp.where(finite | (state.nonfinite_step != NEVER), state.nonfinite_step, now["step"])
    return State(params, state.params, moments, nonfinite_step), record


def _ascent(objective: Objective, now: Now, params: Array, elements: Array | None) -> tuple[Array, Any]:
    def total(params: Array) -> tuple[Array, Any]:
        values, record = objective(params, elements, now)
        return values.sum(), record

    return jax.grad(total, has_aux=True)(params)


def in_chunks(function: Callable[[Array, Array | None], Any], chunk_size: int | None) -> Callable[[Array], Any]:
    """A function of (parameters, their elements) as a function of all parameters, evaluated so many elements at a time."""

    def chunked(params: Array) -> Any:
        count = len(params)
        if chunk_size is None or chunk_size >= count:
            return function(params, None)
        chunks = math.ceil(count / chunk_size)
        elements = jnp.minimum(jnp.arange(chunks * chunk_size), count - 1).reshape(chunks, chunk_size)
        outputs = lax.map(lambda chunk: function(params[chunk], chunk), elements)
        return jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:])[:count], outputs)

    return chunked


def scan(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    state: State,
    schedule: Now,
    chunk_size: int | None = None,
    project: Projection = unit_box,
) -> tuple[State, Any]:
    """As many steps as the schedule has: one `lax.scan`, on every backend. Records are stacked along a leading axis of steps."""

    def body(state: State, now: Now) -> tuple[State, Any]:
        return step(objective, optimizer, state, now, chunk_size, project)

    return canonical(lambda state, schedule: lax.scan(body, state, schedule))(state, schedule)
