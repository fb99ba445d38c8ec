"""The objective of feature inversion: how similar a picture's activation is to the one asked for, and how natural the
picture is.

With all positions and channels of an activation as one vector:

    dot:      ⟨Φ_l(x), t⟩ / ‖t‖² · max(cos, 0.1)^p,    cos = ⟨Φ_l(x), t⟩ / (‖Φ_l(x)‖ ‖t‖)
    l2:       −‖Φ_l(x) − t‖² / ‖t‖²
    mean:     ⟨Φ_l(x), t⟩ / Σ t; for one channel, t = 1 there and 0 elsewhere, its mean

The dot product alone grows with any activation at all. Weighted by the cosine, the activation must also point where t
points.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from extremal_jax.graph.contents import Alike
from extremal_jax.graph.functional import Arrays, Program
from extremal_jax.ground.pytrees import pytree
from extremal_jax.inversion.fourier import pictures
from extremal_jax.inversion.movements import move
from extremal_jax.optimise.elements import take
from extremal_jax.optimise.solver import Now, listen

_LEAST_COSINE = 0.1  # so that a picture that shows nothing yet has a gradient


@dataclass(frozen=True)
class InversionPlan:
    """The static part of a problem: equal plans share one compilation."""

    head: Program  # the model up to the layer, without its arrays
    shape: tuple[int, int, int]  # (H, W, C) of the picture
    objective: str  # "dot", "l2" or "mean"
    optimizer: Alike  # of one picture's waves, an `optax.GradientTransformation`
    chunk_size: int | None  # the most pictures that are shown to the model at a time, or None


class Weights(NamedTuple):
    """The numbers of an objective; arguments of the compiled program."""

    decay: Array
    correlation: Array
    total_variation: Array
    cosine_power: Array


class InversionRecord(NamedTuple):
    """The record of one step, picture by picture: the objective, and the total variation."""

    rewards: Array
    total_variation: Array


@pytree(static=("plan",))
class InversionProblem:
    """An objective over N pictures. A pytree."""

    arrays: Arrays  # the model's
    targets: Array  # (N, ...), t
    mean: Array  # (C,), of the model's input
    std: Array  # (C,), likewise
    weights: Weights  # numbers
    plan: InversionPlan  # the static part

    def __call__(self, params: Array, elements: Array | None, now: Now, signal: Array) -> tuple[Array, InversionRecord]:
        images = self.images(params)
        moved = move(images, now["shift"], now["angle"], now["zoom"])
        values, _ = self.compare(listen(moved, signal), elements)
        down, across = (jnp.abs(jnp.diff(images, axis=axis)).mean(axis=(1, 2, 3)) for axis in (1, 2))
        variation = down + across
        return values - self.weights.total_variation * variation, InversionRecord(values, variation)

    def images(self, params: Array) -> Array:
        """(R, H, W, C) in [0, 1]."""
        return pictures(params, self.plan.shape[1], decay=self.weights.decay, correlation=self.weights.correlation)

    def compare(self, images: Array, elements: Array | None) -> tuple[Array, Array]:
        """The objective and the cosine of pictures, (R,) each."""
        activation = self.plan.head(self.arrays, (images - self.mean[None, None, None]) / self.std[None, None, None]).astype(jnp.float32)
        targets = take(self.targets, elements)
        a, t = activation.reshape(len(images), -1), targets.reshape(len(images), -1)
        product, squared = (a * t).sum(axis=1), (t * t).sum(axis=1)
        # The root of a sum of squares has no slope at zero, where a picture excites nothing.
        known = jnp.where(squared > 0, squared, 1)
        cosine = product / known * jax.lax.rsqrt(jnp.maximum((a * a).sum(axis=1) / known, 1e-12))
        if self.plan.objective == "l2":
            return -jnp.square(a - t).sum(axis=1) / squared, cosine
        if self.plan.objective == "mean":
            return product / t.sum(axis=1), cosine
        return product / squared * jnp.maximum(cosine, _LEAST_COSINE) ** self.weights.cosine_power, cosine
