"""The optimisation: one step, and the scan that repeats it.

The solver maximises the objectives of independent elements, each with its own parameters: the mask of one image and one
area, or one picture of a feature inversion. The optimizer sees one element at a time, so that its norms, line searches
and counters cannot mix elements: a batch is a loop.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array, lax
from jaxtyping import Bool, Float, Int

from extremal_jax.graph.canonical import canonical
from extremal_jax.ground.pytrees import pytree
from extremal_jax.optimise.elements import Chunks, take

NEVER = -1
# The values of a schedule at one step: its number "step", the "learning_rate", and what else the objective reads.
Now = Mapping[str, Any]


class Record(NamedTuple):
    """The record of one step, element by element.

    Attributes:
      rewards: the game's reward.
      area_losses: R_a(m), before its weight.
    """

    rewards: Float[Array, "*T E"]
    area_losses: Float[Array, "*T E"]


# (parameters (R, ...), indices of their elements, as `elements.take` reads them, or None for all, now, signal (R,)) -> the
# values (R,) to maximise, and their record: a named tuple of arrays (R,) with the field `rewards`. The objective passes
# what it shows to the model through `listen(shown, signal)`.
Objective = Callable[[Array, Array | None, Now, Array], tuple[Array, Any]]
Projection = Callable[[Array], Array]


@jax.custom_vjp
def listen(shown: Float[Array, "R ..."], signal: Float[Array, " R"]) -> Float[Array, "R ..."]:
    """Return `shown` as it is, and listen to the gradient that comes back to it.

    The gradient with respect to `signal` is the sum of the absolute gradients that reach each row of `shown`. So the
    solver knows whether the model's reward has sent any gradient back, whatever other terms the objective has.

    Args:
      shown: (R, ...), for example masks as an objective shows them to the model.
      signal: (R,), of any value; the objective's own argument.

    Returns:
      (R, ...): `shown`.

    Example:
      >>> shown = jnp.ones((2, 3))
      >>> jax.grad(lambda signal: (2 * listen(shown, signal)).sum())(jnp.zeros(2)).tolist()
      [6.0, 6.0]
    """
    return shown


def _listened(signal: Array, gradient: Array) -> tuple[Array, Array]:
    return gradient, jnp.abs(gradient).reshape(len(gradient), -1).sum(axis=1).astype(signal.dtype)


listen.defvjp(lambda shown, signal: (shown, signal), _listened)


def unit_box(params: Float[Array, "*E"]) -> Float[Array, "*E"]:
    """The nearest parameters in [0, 1], as masks have them."""
    return jnp.clip(params, 0, 1)


@pytree()
class State:
    """The state of an optimisation.

    Attributes:
      params: (E, ...), the parameters of every element.
      shown: (E, ...), the parameters before the last update, which the last record describes.
      moments: the optimizer's state, with the same leading axis.
      nonfinite_step: (E,), the first step at which an element's reward or gradient was not finite, or `NEVER`. Its
        parameters stay as they were from then on.
      no_gradient: (E,), whether no gradient of the reward has come back so far.
    """

    params: Float[Array, "E ..."]
    shown: Float[Array, "E ..."]
    moments: Any
    nonfinite_step: Int[Array, " E"]
    no_gradient: Bool[Array, " E"]


def init(optimizer: optax.GradientTransformation, params: Float[Array, "E ..."]) -> State:
    """The state before the first step.

    Args:
      optimizer: an optax transformation of one element's parameters.
      params: (E, ...), the initial parameters of every element.

    Returns:
      The state, in which nothing has gone wrong and no gradient has come back so far.

    Example:
      >>> state = init(optax.sgd(1.0), jnp.zeros((2, 3)))
      >>> state.nonfinite_step.tolist(), state.no_gradient.tolist()
      ([-1, -1], [True, True])
    """
    # Made from the parameters, so that it varies over the same devices and batches.
    never = jnp.full_like(params, NEVER, jnp.int32).min(axis=tuple(range(1, params.ndim)))
    return State(params, params, jax.vmap(optimizer.init)(params), never, never == NEVER)


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
      objective: what to maximise: a function of (params (R, ...), elements or None for all, now, signal (R,)) that
        returns the R values, and a record with the field `rewards`. It passes what it shows to the model through
        `listen`.
      optimizer: an optax transformation; its updates, times the learning rate, are added to the parameters.
      state: where the optimisation stands.
      now: the values of the schedule at this step: arrays of shape (), the number "step", the "learning_rate", and what
        else the objective reads.
      chunk_size: the most elements that are evaluated at a time. It bounds memory and changes nothing else.
      project: brings the parameters back into their constraints after the step; by default into [0, 1].

    Returns:
      The next state, and the record of this step.

    Example:
      >>> def objective(params, elements, now, signal):
      ...     values = -jnp.square(listen(params, signal) - 0.5).sum(axis=1)
      ...     return values, Record(rewards=values, area_losses=0 * values)
      >>> optimizer, now = optax.sgd(1.0), {"step": jnp.int32(0), "learning_rate": jnp.float32(0.25)}
      >>> state, record = step(objective, optimizer, init(optimizer, jnp.zeros((1, 2))), now)
      >>> state.params.tolist(), record.rewards.tolist()
      ([[0.25, 0.25]], [-0.5])
    """
    gradient, received, record = in_chunks(functools.partial(_ascent, objective, now), chunk_size)(state.params)
    update = optax.with_extra_args_support(optimizer).update
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):  # optax relies on both
        updates, moments = jax.vmap(update)(jax.tree.map(jnp.negative, gradient), state.moments, state.params)
    params = project(state.params + now["learning_rate"].astype(updates.dtype) * updates)

    inner = tuple(range(1, params.ndim))
    finite = jnp.isfinite(record.rewards) & jnp.isfinite(gradient).all(axis=inner) & jnp.isfinite(updates).all(axis=inner)
    healthy = finite & (state.nonfinite_step == NEVER)
    params = jnp.where(jnp.expand_dims(healthy, inner), params, state.params)
    nonfinite_step = jnp.where(finite | (state.nonfinite_step != NEVER), state.nonfinite_step, now["step"])
    return State(params, state.params, moments, nonfinite_step, state.no_gradient & (received == 0)), record


def _ascent(objective: Objective, now: Now, params: Array, elements: Array | None) -> tuple[Array, Array, Any]:
    """The gradient of the objective, the gradient of the reward that came back to what was shown, and the record."""

    def total(params: Array, signal: Array) -> tuple[Array, Any]:
        values, record = objective(params, elements, now, signal)
        return values.sum(), record

    signal = jnp.zeros_like(params).sum(axis=tuple(range(1, params.ndim)))
    (gradient, received), record = jax.grad(total, argnums=(0, 1), has_aux=True)(params, signal)
    return gradient, received, record


def in_chunks(function: Callable[[Array, Array | None], Any], chunk_size: int | None) -> Callable[[Array], Any]:
    """Map a function of (parameters, indices of their elements) over all parameters, `chunk_size` elements at a time;
    None: all at once."""

    def chunked(params: Array) -> Any:
        if chunk_size is None or chunk_size >= len(params):
            return function(params, None)
        chunks = Chunks(len(params), chunk_size, jax.device_count())

        def chunk(positions: Array) -> Any:
            elements = chunks.elements(positions)
            return function(take(params, elements), elements)

        return jax.tree.map(chunks.joined, lax.map(chunk, chunks.positions()))

    return chunked


def scan(
    objective: Objective,
    optimizer: optax.GradientTransformation,
    state: State,
    schedule: Now,
    chunk_size: int | None = None,
    project: Projection = unit_box,
) -> tuple[State, Any]:
    """All steps of a schedule: one `lax.scan`, on every backend. The other arguments are those of `step`.

    Args:
      schedule: as `now` in `step`, with a leading axis of T steps.

    Returns:
      The last state, and the records, stacked along a leading axis of steps.

    Example:
      >>> def objective(params, elements, now, signal):
      ...     values = -jnp.square(listen(params, signal) - 0.5).sum(axis=1)
      ...     return values, Record(rewards=values, area_losses=0 * values)
      >>> optimizer, schedule = optax.sgd(1.0), {"step": jnp.arange(20), "learning_rate": jnp.full(20, 0.25)}
      >>> state, record = scan(objective, optimizer, init(optimizer, jnp.zeros((1, 2))), schedule)
      >>> state.params.round(3).tolist(), record.rewards.shape
      ([[0.5, 0.5]], (20, 1))
    """

    def body(state: State, now: Now) -> tuple[State, Any]:
        return step(objective, optimizer, state, now, chunk_size, project)

    return canonical(lambda state, schedule: lax.scan(body, state, schedule))(state, schedule)
