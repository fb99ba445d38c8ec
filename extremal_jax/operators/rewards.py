"""Rewards: the scalar Φ to be maximised, from a model's scores.

A reward is a function of the scores of one image, (classes,), and its target, () or (M,), integers. Scores of a dense
model, (B, h, w, classes), are first averaged over space. A caller's own function sees whole batches of outputs as they
are, (B, ...), with the targets (B,) or (B, M), and gives (B,).

The named functions are written for one image and mapped over the batch, so that no reward can mix images. (TorchRay's
contrastive reward broadcasts K responses to K x K, and leaves the target out by setting it to −100, which fails for
logits below that.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from extremal_jax.ground.pytrees import AnyArray

RewardFunction = Callable[[Array, Array], Array]


def logit(scores: Float[Array, " classes"], target: Int[Array, ""]) -> Float[Array, ""]:
    """The target's score, before any softmax: the paper's Φ."""
    return scores[target]


def log_probability(scores: Float[Array, " classes"], target: Int[Array, ""]) -> Float[Array, ""]:
    """The logarithm of the target's softmax probability: other classes count against it."""
    return jax.nn.log_softmax(scores)[target]


def contrastive(scores: Float[Array, " classes"], target: Int[Array, ""]) -> Float[Array, ""]:
    """The target's score minus the highest of the others."""
    return scores[target] - jnp.where(jnp.arange(scores.size) == target, -jnp.inf, scores).max()


def margin(scores: Float[Array, " classes"], pair: Int[Array, " 2"]) -> Float[Array, ""]:
    """The score of the first class of a pair minus the score of the second: why this and not that."""
    return scores[pair[0]] - scores[pair[1]]


def labels(scores: Float[Array, " classes"], targets: Int[Array, " M"]) -> Float[Array, ""]:
    """The mean score of several classes: evidence for all of them at once."""
    return scores[targets].mean()


def binary(scores: Float[Array, " classes"], target: Int[Array, ""]) -> Float[Array, ""]:
    """The single score of a model of two classes with its sign: target 1 is the positive class, target 0 the negative
    one."""
    return scores[0] * (2 * target - 1).astype(scores.dtype)


@dataclass(frozen=True)
class Reward:
    """A named reward. To add one, add a record to `REWARDS`.

    Attributes:
      function: of one image's scores and target.
      description: one line of help.
      arity: how many classes make one target: 1, 2, or None for any number.
      scores: how many scores the model must have at least; None: exactly one, for two classes.
    """

    function: RewardFunction
    description: str
    arity: int | None = 1
    scores: int | None = 1

    @property
    def name(self) -> str:
        """The name by which a `Config` asks for it."""
        return self.function.__name__

    def num_targets(self, num_scores: int) -> int:
        """How many classes there are to choose from, for a model of so many scores."""
        return 2 if self.scores is None else num_scores


REWARDS: dict[str, Reward] = {
    record.name: record
    for record in (
        Reward(logit, "the target's score"),
        Reward(log_probability, "the logarithm of the target's softmax probability", scores=2),
        Reward(contrastive, "the target's score minus the highest of the others", scores=2),
        Reward(margin, "the score of one class minus the score of another", arity=2, scores=2),
        Reward(labels, "the mean score of several classes", arity=None),
        Reward(binary, "the single score of a model of two classes, with the sign of the target, 1 or 0", scores=None),
    )
}


def closeness(outputs: Callable[[Array], Array], inputs: Float[AnyArray, "N ..."]) -> Callable[[Array], Array]:
    """A model whose scores say how close a model's outputs come to those for the inputs themselves: for regressors, and
    for models of several outputs that a mask should keep as they are.

        score_n(x) = −mean (f(x) − f(x_n))²

    Args:
      outputs: f, from inputs (B, ...) to outputs (B, ...), of any shape.
      inputs: (N, ...), the batch that will be explained.

    Returns:
      A function from inputs (B, ...) to scores (B, N), none above 0: input n has the target n.

    Example:
      >>> series = jnp.arange(6.0).reshape(1, 3, 2)
      >>> scores = closeness(lambda x: x.sum(axis=2), series)
      >>> float(scores(series)[0, 0]) == 0, scores(series + 1).tolist()
      (True, [[-4.0]])
    """
    wanted = outputs(jnp.asarray(inputs))
    count = len(wanted)

    def scores(x: Array) -> Array:
        found = outputs(x)
        apart = jnp.square(found[:, None] - wanted[None])
        return -apart.reshape(len(found), count, -1).mean(axis=2)

    return scores


def image_scores(outputs: Float[AnyArray, "B ... classes"]) -> Any:
    """(B, classes): the scores of images; those of a dense model, (B, h, w, classes), are averaged over space.

    Example:
      >>> image_scores(jnp.ones((2, 3, 4, 5))).shape
      (2, 5)
    """
    return outputs.mean(axis=tuple(range(1, outputs.ndim - 1))) if outputs.ndim > 2 else outputs


def reward(name: str | Reward | RewardFunction, outputs: Float[Array, "B ..."], targets: Int[Array, "B ..."]) -> Float[Array, " B"]:
    """The reward of each image of a batch.

    Args:
      name: a key of `REWARDS`, a `Reward`, or a function of (outputs, targets) that gives one number per image.
      outputs: (B, classes), or (B, h, w, classes), which the named rewards average over space.
      targets: (B,) class indices, or (B, M) for the rewards of several classes.

    Returns:
      (B,); NaN where a target of a named reward is not a class index.

    Raises:
      ValueError: for a function that gives an array of another shape.

    Example:
      >>> reward("contrastive", jnp.array([[1.0, 4.0, 2.0]]), jnp.array([1])).tolist()
      [2.0]
    """
    record = REWARDS[name] if isinstance(name, str) else name
    if not isinstance(record, Reward):
        values = jnp.asarray(record(outputs, targets))
        if values.shape != outputs.shape[:1]:
            raise ValueError(
                f"reward must be a function that gives one number per image, {outputs.shape[:1]}, got the shape {values.shape}"
            )
        return values
    scores = image_scores(outputs)
    values = jax.vmap(record.function)(scores, targets)
    known = (targets >= 0) & (targets < record.num_targets(scores.shape[-1]))  # an index out of range would be clamped in silence
    return jnp.where(known.reshape(len(values), -1).all(axis=1), values, jnp.nan)
