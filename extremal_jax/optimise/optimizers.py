"""The presets' optimizers: optax transformations of unit learning rate.

Their functions are defined at the level of the module, so that equal presets are equal and settings can be pickled.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

_ADAM, _MOMENTUM = optax.adam(1.0), optax.sgd(1.0, momentum=0.9)
_DECAY = 0.9  # of the dampened average


def _adam_init(params: Any) -> Any:
    # A count in floats: 1 − 0.999^count of an integer would be taken in double precision where that is switched on, and
    # its first values differ by 1e-5 of themselves.
    moments, *rest = _ADAM.init(params)
    return moments._replace(count=moments.count.astype(jnp.float32)), *rest


def _adam_update(gradient: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
    return _ADAM.update(gradient, state, params)


def _momentum_init(params: Any) -> Any:
    return _MOMENTUM.init(params)


def _momentum_update(gradient: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
    return _MOMENTUM.update(gradient, state, params)


class DampenedMomentumState(NamedTuple):
    steps: Array
    average: Any


def _dampened_init(params: Any) -> DampenedMomentumState:
    return DampenedMomentumState(jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, params))


def _dampened_update(gradient: Any, state: DampenedMomentumState, params: Any = None) -> tuple[Any, DampenedMomentumState]:
    """Descent along a running average of gradients that starts with the first: PyTorch's SGD with dampening equal to
    its momentum."""
    kept = jnp.where(state.steps == 0, 0.0, _DECAY)
    average = jax.tree.map(lambda a, g: kept.astype(g.dtype) * a + (1 - kept).astype(g.dtype) * g, state.average, gradient)
    return jax.tree.map(jnp.negative, average), DampenedMomentumState(state.steps + 1, average)


adam = optax.GradientTransformation(_adam_init, _adam_update)
momentum = optax.GradientTransformation(_momentum_init, _momentum_update)
dampened_momentum = optax.GradientTransformation(_dampened_init, _dampened_update)
PRESETS = {"adam": adam, "momentum": momentum, "dampened_momentum": dampened_momentum}


def optimizer_name(optimizer: optax.GradientTransformation) -> str:
    """The name of a preset's optimizer, or of the function that made another.

    Example:
      >>> optimizer_name(adam), optimizer_name(optax.sgd(0.1))
      ('adam', 'chain')
    """
    names = [name for name, preset in PRESETS.items() if preset == optimizer]
    return names[0] if names else optimizer.update.__qualname__.split(".")[0]


def forgotten(name: str) -> optax.GradientTransformation:
    """A stand-in for an optimizer that a file names but cannot hold."""

    def init(params: Any) -> Any:
        raise ValueError(f"the optimizer of the saved run ({name}) is not in its file; set `optimizer` again, with dataclasses.replace")

    return optax.GradientTransformation(init, lambda updates, state, params=None: (updates, state))
