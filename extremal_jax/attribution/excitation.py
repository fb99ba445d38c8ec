"""Excitation backpropagation: each unit passes its probability to the units that excited it, in proportion.

    p_j = x_j Σ_i W⁺_ij p_i / (Σ_k W⁺_ik x_k)

The rules, one for each kind of operation, are the table `EXCITATION`. Normalisations and other products with constants
pass the whole probability on. Where x is not negative and each unit is excited by another, the maps of all layers have
the same sum.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from extremal_jax.attribution.backward import POSITIONS, Layer, backpropagate, pull_back
from extremal_jax.attribution.common import Maps, Model, Resize, Smooth, prepare
from extremal_jax.attribution.method import Method
from extremal_jax.attribution.rules import CONTRAST, EXCITATION
from extremal_jax.graph.activations import activations, capture, check_name, intervene
from extremal_jax.graph.rules import with_backward_rules
from extremal_jax.graph.varying import like
from extremal_jax.ground.checks import check_choice
from extremal_jax.operators.axes import Axes


def excitation_backprop(
    model: Model,
    images: Any,
    targets: Any,
    *,
    at: str | None = None,
    axes: Axes | str | None = None,
    channel_axis: int = -1,
    positions: str = "sum",
    resize: Resize = False,
    smooth: Smooth = None,
) -> Float[Array, "*maps"]:
    """The probability of one at the target, passed down by each unit to the units that excite it; summed over channels.

    The arguments, the result and the warning are those of `gradient`.

    Raises:
      TypeError, ValueError: as `gradient` does; and for a model with an operation that has no rule (attention, a layer
        norm, a gate, a softmax), by its name.

    Example:
      >>> import jax.numpy as jnp
      >>> def model(x):  # light excites the first class, dark the second
      ...     return x.sum(axis=(1, 2)) @ jnp.array([[1.0, -1.0]])
      >>> excitation_backprop(model, jnp.array([[[3.0], [0.0], [1.0]]]), 0).tolist()
      [[0.75, 0.0, 0.25]]

    Source: Zhang, Lin, Brandt, Shen and Sclaroff, "Top-down Neural Attention by Excitation Backprop", ECCV 2016.
    """
    layer = Layer(at, channel_axis)
    return backpropagate(
        "excitation_backprop", model, images, targets, layer, _summed, resize, smooth, EXCITATION, axes=axes, positions=positions
    )


def contrastive_excitation_backprop(
    model: Model,
    images: Any,
    targets: Any,
    *,
    at: str | None = None,
    axes: Axes | str | None = None,
    contrast_at: str,
    channel_axis: int = -1,
    positions: str = "sum",
    resize: Resize = False,
    smooth: Smooth = None,
) -> Float[Array, "*maps"]:
    """The positive part of excitation backprop of the target minus excitation backprop of its opposite.

    The opposite is a class whose weights in the last linear layer are the negated weights of the target. The difference
    is taken at a layer near the scores, and passed down from there.

    Args:
      model, images, targets, at, axes, channel_axis, positions, resize, smooth: as in `gradient`.
      contrast_at: the name of the activation where the difference is taken, between `at` and the last linear layer; of
        any shape.

    Returns, Warns: as `gradient`.

    Raises:
      TypeError, ValueError: as `excitation_backprop` does; and if `contrast_at` is not there, comes before `at`, or
        comes after the last linear layer.

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
    check_choice("positions", positions, POSITIONS)
    task = prepare("contrastive_excitation_backprop", model, images, targets, resize, smooth, axes=axes)
    return task.differentiate(_contrast, layer=Layer(at, channel_axis).of(task.layout), contrast_at=contrast_at, positions=positions)


def _contrast(
    model: Model, images: Float[Array, "N ... C"], targets: Int[Array, " N"], *, layer: Layer, contrast_at: str, positions: str
) -> Maps:
    """The map of a layer, with the opposite subtracted at `contrast_at`."""
    _check_contrast(model, images, layer.at, contrast_at)
    _, opposite = pull_back(with_backward_rules(model, CONTRAST), images, targets, contrast_at, positions=positions)
    taps = {contrast_at: lambda value: _minus(value, opposite)}
    _, sent = pull_back(with_backward_rules(model, EXCITATION), images, targets, layer.at, taps, positions)
    return Maps(jax.nn.relu(layer.spread(sent, model, images).sum(axis=-1)), sent)


def _check_contrast(model: Model, images: Array, at: str | None, contrast_at: str) -> None:
    """Raise a ValueError unless `contrast_at` lies between a layer and the last linear layer."""
    if CONTRAST.matches(model, images).count("negated head") == 0:
        raise ValueError("contrastive excitation backprop negates the weights of the last linear layer; the model has none")
    names = [activation.name for activation in activations(model, images)]
    if at in names and contrast_at in names and names.index(contrast_at) < names.index(at):
        raise ValueError(f"contrast_at must lie between at and the scores, but {contrast_at!r} comes before {at!r}")
    shape = jax.eval_shape(lambda images: capture(model, contrast_at)(images)[1][contrast_at], images)

    def rest(value: Array) -> Array:
        return intervene(model, {contrast_at: lambda _: value})(images)

    try:
        is_before_the_head = CONTRAST.matches(rest, like(shape, images)).count("negated head") > 0
    except ValueError:  # no rule applies to anything
        is_before_the_head = False
    if not is_before_the_head:
        raise ValueError(f"contrast_at must lie between at and the last linear layer, but {contrast_at!r} comes after it")


@jax.custom_vjp
def _minus(value: Array, contrast: Array) -> Array:
    """The value, whose cotangent the contrast is subtracted from."""
    return value


_minus.defvjp(lambda value, contrast: (value, contrast), lambda contrast, g: (g - contrast, jnp.zeros_like(contrast)))


def _summed(values: Float[Array, "N ... C"], sent: Float[Array, "N ... C"]) -> Float[Array, "N ..."]:
    return sent.sum(axis=-1)


METHODS = (
    Method("excitation_backprop", "a probability passed down from the target to the units that excite it", excitation_backprop),
    Method(
        "contrastive_excitation_backprop",
        "excitation backprop of the target minus excitation backprop of its opposite",
        contrastive_excitation_backprop,
    ),
)
