"""The evaluation of masks: their rewards, the response to the image itself, and whether the images of a batch mix."""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Bool, Float

from extremal_jax.extremal.problem import Problem
from extremal_jax.graph.canonical import canonical
from extremal_jax.optimise import solver

_MIXED = 1e-3  # of a response: more than another order of summation changes


class Evaluation(NamedTuple):
    """The rewards of masks."""

    rewards: Float[Array, "S E"]  # (S, E), of each of S sets of masks
    image_responses: Float[Array, " E"]  # (E,), the response to the image itself
    depends_on_batch: Bool[Array, " E"]  # (E,), whether the response changed with the other images of the batch


@jax.jit
def evaluate(problem: Problem, *masks: Float[Array, "E ..."]) -> Evaluation:
    """Evaluate sets of masks, (E, H, W) or (E, C) each, one mask for each element of the problem. No jitter."""

    def rows(stacked: Array, elements: Array | None) -> tuple[Array, Array, Array]:
        whole = problem.whole(elements)
        sets = [problem.perturbed(stacked[:, index], elements) for index in range(len(masks))]
        # Some rows from the first set, the rest whole images: the responses stay the same, unless the rows see each other.
        chosen = some_rows(whole.shape[0] * whole.shape[1]).reshape(whole.shape[:2])
        shown = jnp.stack([*sets, whole, jnp.where(jnp.expand_dims(chosen, tuple(range(2, whole.ndim))), sets[0], whole)])
        responses = lax.map(lambda batch: problem.responses(batch, elements), shown)  # one trace of the model for all
        first, image, mixed = responses[0], responses[-2], responses[-1]
        apart = jnp.abs(mixed - jnp.where(chosen, first, image)) > _MIXED * jnp.maximum(jnp.abs(first), jnp.abs(image))
        return jax.vmap(problem.plan.game.combine)(responses[:-2]).T, image[0], apart.any(axis=0)

    rewards, image_responses, mixed = canonical(solver.in_chunks(rows, problem.plan.chunk_size))(jnp.stack(masks, axis=1))
    return Evaluation(rewards.T, image_responses, mixed)


def some_rows(count: int) -> Bool[np.ndarray, " count"]:
    """About half of the rows of a batch, so that every kind of mix puts a chosen row beside another.

    Their number has no divisor in common with the number of rows, so a partition of the rows into groups of one size has
    a group of both kinds: pairs, the groups of a batch norm, the rows that follow one another `k` apart. The first row is
    chosen and the last is not, so the reversed batch differs too.

    Example:
      >>> some_rows(5).astype(int).tolist()
      [1, 0, 0, 1, 0]
    """
    number = next((n for n in range(count // 2, 0, -1) if math.gcd(n, count) == 1), 0)
    order = np.append(0, np.random.default_rng(0).permutation(np.arange(1, max(count - 1, 1))))
    return np.isin(np.arange(count), order[:number])
