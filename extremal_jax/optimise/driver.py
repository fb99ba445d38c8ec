"""The driver: a run in parts of about ten steps, between which it can be watched and interrupted. Under a trace, in one
part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.core import Tracer

from extremal_jax.ground.progress import Progress, Watcher, watching

State = TypeVar("State")
_CHUNK = 10  # steps between two moments at which a run can be watched or interrupted, where their number allows


def drive(
    advance: Callable[[State, Mapping[str, Any]], tuple[State, Any]],
    state: State,
    schedule: Mapping[str, Any],
    progress: bool | Watcher | None = None,
) -> tuple[State, Any]:
    """Run all steps of a schedule, arrays with a leading axis of steps; the state and the record of the whole run.

    `advance` is a compiled function of (state, schedule) that runs as many steps as the schedule has, a `lax.scan`, and
    returns the state after them and their record. It is a `jax.tree_util.Partial`, so that a trace of its arrays is
    seen.
    """
    num_steps = len(jax.tree.leaves(schedule)[0])
    traced = any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((advance, state, schedule)))
    if traced and progress:
        raise ValueError("progress cannot be shown inside jit or vmap; leave it at None there")
    records: list[Any] = []
    with watching(progress) as watcher:
        for chunk in [slice(0, num_steps)] if traced else chunks(num_steps):
            state, record = advance(state, {name: values[chunk] for name, values in schedule.items()})
            if records and not traced:
                jax.block_until_ready(records[-1])  # one chunk ahead at most, so that an interruption is heard
            records.append(record)
            if watcher:
                watcher(Progress(chunk.stop, num_steps, float(record.rewards[-1].mean())))
    return state, joined(records)


def chunks(num_steps: int) -> list[slice]:
    """The steps of a run in parts of about ten, of equal length if possible: each length is compiled once.

    Example:
      >>> [part.stop for part in chunks(30)], [part.stop for part in chunks(15)], [part.stop for part in chunks(23)]
      ([10, 20, 30], [5, 10, 15], [10, 20, 23])
    """
    length = next((n for n in range(_CHUNK, _CHUNK // 2 - 1, -1) if num_steps % n == 0), _CHUNK)
    return [slice(start, min(start + length, num_steps)) for start in range(0, num_steps, length)]


@jax.jit
def joined(records: list[Any]) -> Any:
    """The records of consecutive steps as one."""
    return jax.tree.map(lambda *parts: jnp.concatenate(parts), *records)
