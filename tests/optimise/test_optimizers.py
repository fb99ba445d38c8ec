"""The presets' optimizers."""

from __future__ import annotations

import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from extremal_jax.optimise.optimizers import PRESETS, dampened_momentum, forgotten, optimizer_name


def test_dampened_momentum() -> None:
    """b_0 = g_0, b_t = 0.9 b_{t-1} + 0.1 g_t, as in PyTorch."""
    gradients, state = [1.0, 2.0, -4.0], dampened_momentum.init(jnp.zeros(()))
    average, taken, expected = None, [], []
    for gradient in gradients:
        update, state = dampened_momentum.update(jnp.array(gradient), state)
        average = gradient if average is None else 0.9 * average + 0.1 * gradient
        taken.append(float(update))
        expected.append(-average)
    np.testing.assert_allclose(taken, expected, rtol=1e-6)


@pytest.mark.parametrize(("name", "other"), [("adam", optax.adam(1.0)), ("momentum", optax.sgd(1.0, momentum=0.9))])
def test_presets_are_those_of_optax(name: str, other: Any) -> None:
    gradient = jnp.array([3.0, -2.0])
    for _ in range(2):
        ours, theirs = (o.update(gradient, o.init(gradient), gradient)[0] for o in (PRESETS[name], other))
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", PRESETS)
def test_optimizers_descend(name: Any) -> None:
    optimizer = PRESETS[name]
    assert optimizer_name(optimizer) == name
    assert pickle.loads(pickle.dumps(optimizer)) == optimizer

    def step(_: Any, carry: Any) -> Any:
        params, state = carry
        updates, state = optimizer.update(params, state, params)  # the gradient of p² / 2
        return params + 0.05 * updates, state

    start = jnp.array([3.0, -2.0])
    params, _ = jax.jit(lambda carry: jax.lax.fori_loop(0, 200, step, carry))((start, optimizer.init(start)))
    np.testing.assert_allclose(params, 0, atol=0.1)


def test_an_optimizer_that_a_file_cannot_hold() -> None:
    with pytest.raises(ValueError, match=r"the optimizer of the saved run \(chain\) is not in its file; set `optimizer` again"):
        forgotten("chain").init(jnp.zeros(2))
