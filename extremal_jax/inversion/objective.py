"""The objective of feature inversion: how near a picture's activation comes to the one asked for, and how natural the picture is.

With all places and channels of an activation as one vector:

    dot:      ⟨Φ_l(x), t⟩ / ‖t‖² · max(cos, 0.1)^p,    cos = ⟨Φ_l(x), t⟩ / (‖Φ_l(x)‖ ‖t‖)
    l2:       −‖Φ_l(x) − t‖² / ‖t‖²
    mean:     ⟨Φ_l(x), t⟩ / Σ t; for one channel, t = 1 there and 0 elsewhere, its mean

The dot product alone grows with any activation at all; weighted by the cosine, it must point where t does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array

from extremal_jax.graph.functional import Arrays, Program
from extremal_jax.ground.pytrees import pytree
from extremal_jax.inversion.fourier import pictures
from extremal_jax.inversion.movements import move
from extremal_jax.inversion.prior import NaturalImages
from extremal_jax.optimise.solver import Now

_LEAST_COSINE = 0.1  # so that a picture that shows nothing yet has somewhere to go


@dataclass(frozen=True)
class InversionPlan:
    """What shapes the compiled program.

    Attributes:
      head: the model up to the layer, without its arrays.
      shape: (H, W, C) of the picture.
      objective: "dot", "l2" or "mean".
      optimizer: of one picture's waves.
      chunk_size: the most pictures that are shown to the model at a time, or None.
    """

    head: Program
    shape: tuple[int, int, int]
    objective: str
    optimizer: optax.GradientTransformation
    chunk_size: int | None


class Weights(NamedTuple):
    """The numbers of an objective; arguments of the compiled program."""

    decay: Array
    correlation: Array
    total_variation: Array
    cosine_power: Array


def weights_of(prior: NaturalImages, cosine_power: float) -> Weights:
    """The numbers of a prior, and p of the objective "dot"."""
    return Weights(*(jnp.float32(x) for x in (prior.decay, prior.correlation, prior.total_variation, cosine_power)))


class InversionRecord(NamedTuple):
    """What is noted of a step, picture by picture: the objective, and the total variation."""

    rewards: Array
    total_variation: Array


@pytree(static=("plan",))
class InversionProblem:
    """An objective over N pictures. A pytree.

    Attributes:
      arrays: the model's.
      targets: (N, ...), t.
      mean: (C,), of the model's input.
      std: (C,), likewise.
      weights: numbers.
      plan: what shapes the program.
    """

    arrays: Arrays
    targets: Array
    mean: Array
    std: Array
    weights: Weights
    plan: InversionPlan

    def __call__(self, params: Array, elements: Array | None, now: Now) -> tuple[Array, InversionRecord]:
        images = self.images(params)
        values, _ = self.compare(move(images, now["shift"], now["angle"], now["zoom"]), elements)
        down, across = (jnp.abs(jnp.diff(images, axis=axis)).mean(axis=(1, 2, 3)) for axis in (1, 2))
        variation = down + across
        return values - self.weights.total_variation * variation, InversionRecord(values, variation)

    def images(self, params: Array) -> Array:
        """(R, H, W, C) in [0, 1]."""
        return pictures(params, self.plan.shape[1], decay=self.weights.decay, correlation=self.weights.correlation)

    def compare(self, images: Array, elements: Array | None) -> tuple[Array, Array]:
        """The objective and the cosine of pictures, (R,) each."""
        activation = self.plan.head(self.arrays, (images - self.mean) / self.std).astype(jnp.float32)
        targets = self.targets if elements is None else self.targets[elements]
        a, t = activation.reshape(len(images), -1), targets.reshape(len(images), -1)
        product, squared = (a * t).sum(axis=1), (t * t).sum(axis=1)
        # The root of a sum of squares has no slope at zero, where a picture excites nothing.
        cosine = product * jax.lax.rsqrt(jnp.maximum((a * a).sum(axis=1) * squared, 1e-12))
        if self.plan.objective == "l2":
            return -jnp.square(a - t).sum(axis=1) / squared, cosine
        if self.plan.objective == "mean":
            return product / t.sum(axis=1), cosine
        return product / squared * jnp.maximum(cosine, _LEAST_COSINE) ** self.weights.cosine_power, cosine
