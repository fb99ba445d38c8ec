"""Excitation backpropagation: a probability that is handed down from the target, each unit sharing among those that excite it.

    p_j = x_j Σ_i W⁺_ij p_i / (Σ_k W⁺_ik x_k)

The rules, one for each kind of operation, are the table `EXCITATION`. Normalisations and other products with constants pass the
probability on whole; where x is not negative and something excites each unit, each layer's map has the sum of the one above.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from extremal_jax.attribution.common import Finish, Layer, finishing, prepare, pull_back
from extremal_jax.attribution.gradients import backpropagate
from extremal_jax.attribution.rules import CONTRAST, EXCITATION
from extremal_jax.boundary.models import Model
from extremal_jax.graph.activations import activations, capture, check_name, intervene
from extremal_jax.graph.rules import with_backward_rules
from extremal_jax.graph.varying import like


def excitation_backprop(
    model: Model,
    images: Any,
    targets: Any,
    *,
    at: str | None = None,
    channel_axis: int = -1,
    resize: bool | tuple[int, int] = False,
    smooth: float = 0.0,
) -> Float[Array, "*N h w"]:
    """Where the probability of one, set at the target, ends up when each unit hands it down to what excites it; summed over channels.

    Arguments and returns are those of `gradient`.

    Raises:
      TypeError, ValueError: as `gradient` does; besides, for a model with an operation that has no rule (attention, a layer norm, a gate, a
        softmax), by its name.

    Example:
      >>> import jax.numpy as jnp
      >>> def model(x):  # light excites the first class, dark the second
      ...     return x.sum(axis=(1, 2)) @ jnp.array([[1.0, -1.0]])
      >>> excitation_backprop(model, jnp.array([[[3.0], [0.0], [1.0]]]), 0).tolist()
      [[0.75, 0.0, 0.25]]
      >>> excitation_backprop(model, jnp.array([[[3.0], [0.0], [1.0]]]), 1).tolist()
      [[0.0, 0.0, 0.0]]

    Source: Zhang, Lin, Brandt, Shen and Sclaroff, "Top-down Neural Attention by Excitation Backprop", ECCV 2016.
    """
    return backpropagate(model, images, targets, Layer(at, channel_axis), _summed, resize, smooth, EXCITATION)


def contrastive_excitation_backprop(
    model: Model,
    images: Any,
    targets: Any,
    *,
    contrast_at: str,
    at: str | None = None,
    channel_axis: int = -1,
    resize: bool | tuple[int, int] = False,
    smooth: float = 0.0,
) -> Float[Array, "*N h w"]:
    """Excitation backprop of the target less that of its opposite, subtracted at a layer near the scores; positive parts.

    The opposite is the class whose weights are the negated ones of the target, in the last linear layer: what speaks against it.

    Args:
      contrast_at: the name of the activation where the two are subtracted, between `at` and the last linear layer; of any shape.
      model, images, targets, at, channel_axis, resize, smooth: as in `gradient`.

    Returns:
      (N, h, w), or (h, w) for a single image.

    Raises:
      TypeError, ValueError: as `excitation_backprop` does; besides, if `contrast_at` is not there, comes before `at`, or
        after the last linear layer.

    Example:
      >>> import jax.numpy as jnp
      >>> from jax.ad_checkpoint import checkpoint_name
      >>> def model(x):
      ...     pool = checkpoint_name(x.reshape(len(x), -1), "pool")
      ...     return pool @ jnp.array([[1.0, 0.0], [1.0, 0.0], [-1.0, 1.0]])
      >>> image = jnp.array([[[3.0], [1.0], [1.0]]])
      >>> contrastive_excitation_backprop(model, image, 0, contrast_at="pool").tolist()
      [[0.75, 0.25, 0.0]]

    Source: as `excitation_backprop`.
    """
    check_name("contrast_at", contrast_at)
    task = prepare(model, images, targets)
    return task.compute(Contrastive(Layer(at, channel_axis), contrast_at, finishing(resize, smooth, task.size)))


@dataclass(frozen=True)
class Contrastive:
    """Contrastive excitation backprop.

    Attributes:
      layer: where it ends.
      contrast_at: where the opposite is subtracted.
      finish: what is done to the map.
    """

    layer: Layer
    contrast_at: str
    finish: Finish

    def __call__(self, model: Model, images: Float[Array, "N H W C"], targets: Int[Array, " N"]) -> Float[Array, "N h w"]:
        self._check(model, images)
        _, opposite = pull_back(with_backward_rules(model, CONTRAST), images, targets, self.contrast_at)
        taps = {self.contrast_at: lambda value: _less(value, opposite)}
        _, sent = pull_back(with_backward_rules(model, EXCITATION), images, targets, self.layer.at, taps)
        return self.finish(jax.nn.relu(self.layer.spread(sent, model, images).sum(axis=-1)))

    def _check(self, model: Model, images: Array) -> None:
        if CONTRAST.matches(model, images).count("negated head") == 0:
            raise ValueError("contrastive excitation backprop needs a linear last layer, whose weights it negates; the model has none")
        names = [activation.name for activation in activations(model, images)]
        at = self.layer.at
        if at in names and self.contrast_at in names and names.index(self.contrast_at) < names.index(at):
            raise ValueError(f"contrast_at must lie between at and the scores, but {self.contrast_at!r} comes before {at!r}")
        if not self._is_before_the_head(model, images):
            raise ValueError(f"contrast_at must lie between at and the last linear layer, but {self.contrast_at!r} comes after it")

    def _is_before_the_head(self, model: Model, images: Array) -> bool:
        """Whether the last linear layer lies between `contrast_at` and the scores."""
        name = self.contrast_at
        shape = jax.eval_shape(lambda images: capture(model, name)(images)[1][name], images)

        def rest(value: Array) -> Array:
            return intervene(model, {name: lambda _: value})(images)

        try:
            return CONTRAST.matches(rest, like(shape, images)).count("negated head") > 0
        except ValueError:  # no rule applies to anything
            return False


@jax.custom_vjp
def _less(value: Array, contrast: Array) -> Array:
    """The value; from what is sent back to it, the contrast is subtracted."""
    return value


_less.defvjp(lambda value, contrast: (value, contrast), lambda contrast, g: (g - contrast, jnp.zeros_like(contrast)))


def _summed(values: Float[Array, "N h w C"], sent: Float[Array, "N h w C"]) -> Float[Array, "N h w"]:
    return sent.sum(axis=-1)
