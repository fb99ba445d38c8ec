"""The presets' optimizers: optax transformations of unit learning rate. They are values, so that equal presets are equal."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

adam = optax.adam(1.0)

momentum = optax.sgd(1.0, momentum=0.9)


class DampenedMomentumState(NamedTuple):
    steps: Array
    average: Any


def _dampened_momentum(decay: float) -> optax.GradientTransformation:
    """Descent along a running average of gradients that begins with the first: PyTorch's SGD with dampening equal to its momentum."""

    def init(params: Any) -> DampenedMomentumState:
        return DampenedMomentumState(jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, params))

    def update(gradient: Any, state: DampenedMomentumState, params: Any = None) -> tuple[Any, DampenedMomentumState]:
        kept = jnp.where(state.steps == 0, 0.0, decay)
        average = jax.tree.map(lambda a, g: kept * a + (1 - kept) * g, state.average, gradient)
        return jax.tree.map(jnp.negative, average), DampenedMomentumState(state.steps + 1, average)

    return optax.GradientTransformation(init, update)


dampened_momentum = _dampened_momentum(0.9)

PRESETS = {"adam": adam, "momentum": momentum, "dampened_momentum": dampened_momentum}


def optimizer_name(optimizer: optax.GradientTransformation) -> str:
    """The name of one of the presets' optimizers, or that of the function that made another.

    Example:
      >>> optimizer_name(adam), optimizer_name(optax.sgd(0.1))
      ('adam', 'chain')
    """
    names = [name for name, preset in PRESETS.items() if preset == optimizer]
    return names[0] if names else optimizer.update.__qualname__.split(".")[0]


def forgotten(name: str) -> optax.GradientTransformation:
    """Stands for an optimizer that a file names but cannot hold."""

    def init(params: Any) -> Any:
        raise ValueError(f"the optimizer of the saved run ({name}) is not in its file; set `optimizer` again, with dataclasses.replace")

    return optax.GradientTransformation(init, lambda updates, state, params=None: (updates, state))
