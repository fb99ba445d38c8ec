"""What models and records of one's own compute on a fixed input: numbers that tell apart most of those of one name and the same weights.
Differences as small as rounding, or at few of many outputs, are not seen."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from extremal_jax.boundary.models import Model
from extremal_jax.extremal.config import Config
from extremal_jax.graph.functional import Arrays, Program, partition
from extremal_jax.models.classifier import Classifier
from extremal_jax.operators.rewards import reward

Probes = dict[str, list[float | None]]
_NUM_PROJECTIONS = 8  # of each output
_CLOSE = 0.02  # the share of the largest number by which devices and versions of JAX may differ


def probes(model: Model, config: Config, shape: tuple[int, ...]) -> Probes:
    """The numbers, for an input of the shape (H, W, C).

    A `Classifier` is known by its name and its weights, and the reward, the perturbation and the game of a name by that.
    """
    rng = np.random.default_rng(0)
    image = rng.standard_normal((1, *shape), np.float32)
    found: Probes = {}
    if not isinstance(model, Classifier):
        found["model"] = _numbers(_scores(*partition(model, image), image))
    if not isinstance(config.reward, str):
        outputs = jax.eval_shape(model, image)
        scores = jnp.asarray(rng.standard_normal(outputs.shape), outputs.dtype)
        count = outputs.shape[-1]
        found["reward"] = _numbers(jnp.stack([reward(config.reward, scores, jnp.array([target])) for target in (0, count // 2, count - 1)]))
    perturbation: Any = config.perturbation
    if perturbation is not None and not isinstance(perturbation, str):
        levels = jnp.asarray(perturbation.levels(jnp.asarray(image), None))
        found["perturbation"] = _numbers(levels[0])
    game: Any = config.game
    if not isinstance(game, str):
        found["game"] = [float(part) for term in game.terms for part in term]
    return found


@functools.partial(jax.jit, static_argnums=0)
def _scores(program: Program, arrays: Arrays, image: Float[Array, "1 H W C"]) -> Array:
    return program(arrays, image)


def _numbers(values: Any) -> list[float | None]:
    """Random projections of an array, and the size of such projections; None for those that are not finite."""
    flat = np.asarray(values, np.float64).ravel()
    directions = np.random.default_rng(1).standard_normal((_NUM_PROJECTIONS, flat.size))
    found = [*(directions @ flat), np.linalg.norm(flat)]
    return [float(f"{number:.5g}") if np.isfinite(number) else None for number in found]


def same_numbers(before: Any, now: Mapping[str, Any]) -> bool:
    """Whether two runs of `probes` found the same, but for rounding.

    Example:
      >>> same_numbers({"model": [1.0, None]}, {"model": [1.0001, None]}), same_numbers({"model": [1.0, 2.0]}, {"model": [1.0, -2.0]})
      (True, False)
    """
    if not isinstance(before, Mapping) or before.keys() != now.keys():
        return False
    return all(len(before[name]) == len(now[name]) and _close(before[name], now[name]) for name in now)


def _close(before: list[float | None], now: list[float | None]) -> bool:
    one, other = np.array(before, np.float64), np.array(now, np.float64)  # None becomes NaN
    largest = np.nanmax(np.abs(one), initial=0.0)
    return bool(np.allclose(one, other, rtol=0, atol=_CLOSE * largest, equal_nan=True))
