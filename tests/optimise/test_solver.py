"""The solver and the driver, on objectives with known answers."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from extremal_jax.optimise import driver, solver
from extremal_jax.optimise.elements import take
from extremal_jax.optimise.solver import Record, listen

PEAKS = jnp.array([[0.2, 0.9], [0.5, 0.1], [2.0, -1.0]])  # the last lies outside the box


def concave(params: Any, elements: Any, now: Any, signal: Any) -> Any:
    """Element e is highest at PEAKS[e]."""
    peaks = take(PEAKS, elements)
    values = -jnp.square(listen(params, signal) - peaks).sum(axis=1)
    return values, Record(values, jnp.zeros_like(values))


def schedule(steps: int, rate: float = 0.1) -> Any:
    return {"step": jnp.arange(steps), "learning_rate": jnp.full(steps, rate)}


def solve(objective: Any = concave, optimizer: Any = None, steps: Any = 60, rate: Any = 0.2, chunk_size: Any = None) -> Any:
    optimizer = optimizer or optax.sgd(1.0)
    start = solver.init(optimizer, jnp.full((3, 2), 0.5))
    return jax.jit(lambda state: solver.scan(objective, optimizer, state, schedule(steps, rate), chunk_size))(start)


@pytest.fixture(scope="module")
def solved() -> Any:
    return solve()


def test_ascends_to_the_highest_point_of_the_box(solved: Any) -> None:
    state, record = solved
    np.testing.assert_allclose(state.params, jnp.clip(PEAKS, 0, 1), atol=1e-4)
    assert record.rewards.shape == (60, 3)
    assert np.all(np.diff(record.rewards, axis=0) >= 0)


@pytest.mark.parametrize("chunk_size", [1, 2, 5])
def test_chunks_change_nothing(solved: Any, chunk_size: int) -> None:
    chunked, record = solve(chunk_size=chunk_size)
    np.testing.assert_array_equal(chunked.params, solved[0].params)
    np.testing.assert_array_equal(chunked.no_gradient, solved[0].no_gradient)
    np.testing.assert_array_equal(record.rewards, solved[1].rewards)


def test_elements_do_not_share_an_optimizer() -> None:
    """A transformation that clips by the global norm must see one element at a time."""
    optimizer = optax.chain(optax.clip_by_global_norm(0.01), optax.sgd(1.0))
    state, _ = solve(optimizer=optimizer, steps=1, rate=1.0)
    np.testing.assert_allclose(jnp.linalg.norm(state.params - 0.5, axis=1), 0.01, rtol=1e-4)


def test_extra_arguments_and_learning_rate() -> None:
    """Optimizers that need the parameters receive them; a rate of zero changes nothing."""
    state, _ = solve(optimizer=optax.chain(optax.add_decayed_weights(1.0), optax.sgd(1.0)), steps=1, rate=0.1)
    np.testing.assert_allclose(state.params, 0.5 + 0.1 * (2 * (PEAKS - 0.5) - 0.5), atol=1e-6)
    still, _ = solve(rate=0.0)
    np.testing.assert_array_equal(still.params, 0.5)


def test_the_shown_parameters_are_those_of_the_last_record() -> None:
    state, record = solve(steps=7)
    before, _ = solve(steps=6)
    np.testing.assert_array_equal(state.shown, before.params)
    np.testing.assert_allclose(record.rewards[-1], concave(state.shown, None, {}, jnp.zeros(3))[0], rtol=1e-5)


def test_a_nonfinite_element_stops_alone() -> None:
    def breaks(params: Any, elements: Any, now: Any, signal: Any) -> Any:
        values, record = concave(params, elements, now, signal)
        broken = (jnp.arange(3) == 1) & (now["step"] >= 4)
        rewards = jnp.where(broken, jnp.nan, record.rewards)
        return jnp.where(broken, jnp.nan, values), Record(rewards, record.area_losses)

    state, _ = solve(breaks, steps=10)
    healthy, _ = solve(steps=10)
    stopped, _ = solve(steps=4)
    assert state.nonfinite_step.tolist() == [solver.NEVER, 4, solver.NEVER]
    np.testing.assert_array_equal(state.params[jnp.array([0, 2])], healthy.params[jnp.array([0, 2])])
    np.testing.assert_array_equal(state.params[1], stopped.params[1])


def test_a_nonfinite_gradient_counts() -> None:
    """At zero, the square root has a value but no slope."""

    def root(params: Any, elements: Any, now: Any, signal: Any) -> Any:
        values = jnp.sqrt(listen(params, signal) - 0.5).sum(axis=1)
        return values, Record(values, values)

    state, record = solve(root, steps=3)
    assert np.all(np.isfinite(record.rewards[0]))
    assert state.nonfinite_step.tolist() == [0, 0, 0]
    np.testing.assert_array_equal(state.params, 0.5)


def test_elements_without_a_gradient_of_the_reward() -> None:
    """Another term of the objective moves all elements, and does not count; one step with a gradient is enough."""

    def partly(params: Any, elements: Any, now: Any, signal: Any) -> Any:
        shown = listen(params, signal)
        alive = (jnp.arange(3) == 0) | (jnp.arange(3) == 1) & (now["step"] == 2)
        rewards = jnp.where(alive, shown.sum(axis=1), jax.lax.stop_gradient(shown).sum(axis=1))
        return rewards - jnp.square(params).sum(axis=1), Record(rewards, rewards)

    state, _ = solve(partly, steps=4)
    assert state.no_gradient.tolist() == [False, False, True]
    assert np.all(state.params[2] != 0.5)
    early, _ = solve(partly, steps=2)
    assert early.no_gradient.tolist() == [False, True, True]


def test_listening_changes_no_value_and_no_gradient() -> None:
    shown, signal = jnp.arange(6.0).reshape(2, 3), jnp.zeros(2)
    value, (gradient, received) = jax.value_and_grad(lambda x, s: (jnp.sin(listen(x, s)) ** 2).sum(), argnums=(0, 1))(shown, signal)
    expected, slope = jax.value_and_grad(lambda x: (jnp.sin(x) ** 2).sum())(shown)
    assert value == expected
    np.testing.assert_array_equal(gradient, slope)
    np.testing.assert_allclose(received, jnp.abs(slope).sum(axis=1), rtol=1e-6)


def test_step_by_step_is_the_scan() -> None:
    optimizer = optax.adam(1.0)
    state = solver.init(optimizer, jnp.full((3, 2), 0.5))
    whole, _ = jax.jit(lambda state: solver.scan(concave, optimizer, state, schedule(4)))(state)
    step = jax.jit(lambda state, now: solver.step(concave, optimizer, state, now)[0])
    for index in range(4):
        state = step(state, {"step": jnp.array(index), "learning_rate": jnp.array(0.1)})
    np.testing.assert_allclose(state.params, whole.params, atol=1e-6)


@pytest.mark.parametrize("num_steps", [1, 7, 10, 23, 24, 800])
def test_parts_of_a_run_make_the_whole(num_steps: int) -> None:
    steps = np.arange(num_steps)
    parts = [steps[part] for part in driver.chunks(num_steps)]
    np.testing.assert_array_equal(np.concatenate(parts), steps)
    assert max(map(len, parts)) <= 10
    assert len({len(part) for part in parts}) <= 2  # each length is compiled
