"""Rewards: the scalar Φ that is to be excited, from a model's outputs.

A reward is a function of outputs (B, classes) and targets (B,) or (B, M), integers, that gives (B,). Outputs of a dense model,
(B, h, w, classes), are first averaged over space. A caller's own function of the same form sees the outputs as they are.

The functions are written for one image and mapped over the batch, so that no reward can mix images. (TorchRay's contrastive reward
broadcasts K responses to K x K, and leaves the target out by setting it to −100, which fails for logits below that.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

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
    """The score of the first class of a pair minus that of the second: why this and not that."""
    return scores[pair[0]] - scores[pair[1]]


def labels(scores: Float[Array, " classes"], targets: Int[Array, " M"]) -> Float[Array, ""]:
    """The mean score of several classes: evidence for all of them at once."""
    return scores[targets].mean()


class Reward(NamedTuple):
    """A named reward.

    Attributes:
      function: of one image's scores and targets.
      arity: how many classes make one target: 1, 2, or None for any number.
    """

    function: RewardFunction
    arity: int | None = 1


REWARDS = {
    "logit": Reward(logit),
    "log_probability": Reward(log_probability),
    "contrastive": Reward(contrastive),
    "margin": Reward(margin, 2),
    "labels": Reward(labels, None),
}


def reward(name: str | RewardFunction, outputs: Float[Array, "B ..."], targets: Int[Array, "B ..."]) -> Float[Array, " B"]:
    """Responses of a batch.

    Args:
      name: a key of `REWARDS`, or a function of (outputs, targets) that gives one number per image.
      outputs: (B, classes), or (B, h, w, classes), which the named rewards average over space.
      targets: (B,) class indices, or (B, M) for the rewards of several classes.

    Returns:
      (B,).

    Example:
      >>> import jax.numpy as jnp
      >>> reward("contrastive", jnp.array([[1.0, 4.0, 2.0]]), jnp.array([1])).tolist()
      [2.0]
    """
    if callable(name):
        return name(outputs, targets)
    scores = outputs.mean(axis=(1, 2)) if outputs.ndim == 4 else outputs
    return jax.vmap(REWARDS[name].function)(scores, targets)
