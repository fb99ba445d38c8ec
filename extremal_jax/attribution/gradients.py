"""Methods that send the target's score back to the image, or to a layer: the gradient, and what is made of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from extremal_jax.attribution.common import Finish, Layer, finishing, prepare, pull_back
from extremal_jax.attribution.rules import DECONVNET, GUIDED
from extremal_jax.boundary.models import Model
from extremal_jax.graph.rules import RuleTable, with_backward_rules

ToMap = Callable[[Float[Array, "N h w C"], Float[Array, "N h w C"]], Float[Array, "N h w"]]  # of values and gradients


@dataclass(frozen=True)
class Backpropagation:
    """A pass back to a layer, and the map of it.

    Attributes:
      layer: where it ends.
      to_map: the map of the layer's values and what was sent back to them.
      finish: what is done to the map.
      table: the rules of the backward pass; None: the derivative.
    """

    layer: Layer
    to_map: ToMap
    finish: Finish
    table: RuleTable | None = None

    def __call__(self, model: Model, images: Float[Array, "N H W C"], targets: Int[Array, " N"]) -> Float[Array, "N h w"]:
        function = model if self.table is None else with_backward_rules(model, self.table)
        pair = pull_back(function, images, targets, self.layer.at)
        return self.finish(self.to_map(*(self.layer.spread(part, model, images) for part in pair)))


def backpropagate(
    model: Any,
    images: Any,
    targets: Any,
    layer: Layer,
    to_map: ToMap,
    resize: Any,
    smooth: float,
    table: RuleTable | None = None,
) -> Float[Array, "*N h w"]:
    """Check what a caller gave, and compute the maps of a pass back."""
    task = prepare(model, images, targets)
    return task.compute(Backpropagation(layer, to_map, finishing(resize, smooth, task.size), table))


def gradient(
    model: Model,
    images: Any,
    targets: Any,
    *,
    at: str | None = None,
    channel_axis: int = -1,
    resize: bool | tuple[int, int] = False,
    smooth: float = 0.0,
) -> Float[Array, "*N h w"]:
    """How much the target's score would change with a pixel: max over channels of |∂score / ∂x|.

    Args:
      model: any function from images (B, H, W, C) to scores (B, classes) or (B, h, w, classes), as in `extremal_perturbation`. Of scores
        at several places, the sum counts.
      images: (H, W, C), or a batch (N, H, W, C), floats as the model takes them.
      targets: one class for all images or one per image, (N,): indices, or names where the model has `classes`.
      at: the name of the activation whose map is made, a map or the tokens of one; None: the image.
      channel_axis: the axis of that activation's channels, where it is not the last: 1 in a model that is (N, C, H, W) inside.
      resize: True for maps of the images' size, (height, width) for another; by bilinear interpolation.
      smooth: standard deviation of a Gaussian blur after that, as a share of the longer side.

    Returns:
      (N, h, w), of the layer's size, or (h, w) for a single image; float32.

    Raises:
      TypeError, ValueError: for arguments that do not fit: an activation that is not there (the near ones are listed) or not spatial, a
        target out of range, a model that fails.

    Example:
      >>> import jax.numpy as jnp
      >>> def model(x):  # the colours of the image
      ...     return jnp.array([1.0, -2.0, 3.0]) * x.sum(axis=(1, 2))
      >>> gradient(model, jnp.ones((2, 2, 3)), 1).tolist()
      [[2.0, 2.0], [2.0, 2.0]]

    Source: Simonyan, Vedaldi and Zisserman, "Deep Inside Convolutional Networks", ICLR workshop 2014.
    """
    return backpropagate(model, images, targets, Layer(at, channel_axis), _largest, resize, smooth)


def guided_backprop(
    model: Model,
    images: Any,
    targets: Any,
    *,
    at: str | None = None,
    channel_axis: int = -1,
    resize: bool | tuple[int, int] = False,
    smooth: float = 0.0,
) -> Float[Array, "*N h w"]:
    """The gradient with ReLUs that send back positive gradients alone, where they were active.

    Arguments, returns and errors are those of `gradient`; besides, a ValueError if the model has no ReLU. As in TorchRay, an input of
    exactly zero counts as active.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> def model(x):  # how bright the light and the dark parts are
      ...     return jnp.stack([jax.nn.relu(x).sum((1, 2, 3)), -jax.nn.relu(-x).sum((1, 2, 3))], axis=-1)
      >>> guided_backprop(model, jnp.array([[[1.0], [-1.0]]]), 0).tolist()
      [[1.0, 0.0]]
      >>> guided_backprop(model, jnp.array([[[1.0], [-1.0]]]), 1).tolist()  # a negative gradient is stopped
      [[0.0, 0.0]]

    Source: Springenberg, Dosovitskiy, Brox and Riedmiller, "Striving for Simplicity", ICLR workshop 2015.
    """
    return backpropagate(model, images, targets, Layer(at, channel_axis), _largest, resize, smooth, GUIDED)


def deconvnet(
    model: Model,
    images: Any,
    targets: Any,
    *,
    at: str | None = None,
    channel_axis: int = -1,
    resize: bool | tuple[int, int] = False,
    smooth: float = 0.0,
) -> Float[Array, "*N h w"]:
    """The gradient with ReLUs that send back positive gradients alone, whether they were active or not.

    Arguments, returns and errors are those of `guided_backprop`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> def model(x):
      ...     return jax.nn.relu(x).sum((1, 2, 3))[:, None]
      >>> deconvnet(model, jnp.array([[[1.0], [-1.0]]]), 0).tolist()
      [[1.0, 1.0]]

    Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014.
    """
    return backpropagate(model, images, targets, Layer(at, channel_axis), _largest, resize, smooth, DECONVNET)


def linear_approx(
    model: Model,
    images: Any,
    targets: Any,
    *,
    at: str | None = None,
    channel_axis: int = -1,
    resize: bool | tuple[int, int] = False,
    smooth: float = 0.0,
) -> Float[Array, "*N h w"]:
    """What each place of a layer contributes to the score to first order: the sum over channels of value times gradient; signed.

    Arguments, returns and errors are those of `gradient`.

    Example:
      >>> import jax.numpy as jnp
      >>> linear_approx(lambda x: -x.sum(axis=(1, 2)), jnp.array([[[1.0], [-2.0]]]), 0).tolist()
      [[-1.0, 2.0]]

    Source: Shrikumar, Greenside, Shcherbina and Kundaje, "Not Just a Black Box", 2016 (gradient times input); Kindermans, Schütt, Müller
      and Dähne, "Investigating the Influence of Noise and Distractors on the Interpretation of Neural Networks", 2016.
    """
    return backpropagate(model, images, targets, Layer(at, channel_axis), _first_order, resize, smooth)


def grad_cam(
    model: Model,
    images: Any,
    targets: Any,
    *,
    at: str,
    channel_axis: int = -1,
    resize: bool | tuple[int, int] = False,
    smooth: float = 0.0,
) -> Float[Array, "*N h w"]:
    """The channels of a layer, each weighted by its mean gradient, where their sum is positive.

        max(0, Σ_c w_c A_c),   w_c = mean over places of ∂score / ∂A_c

    Arguments, returns and errors are those of `gradient`, but that `at` must be given: as a rule, the last convolutional layer.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jax.ad_checkpoint import checkpoint_name
      >>> def model(x):
      ...     return 3 * checkpoint_name(jax.nn.relu(x), "layer").mean(axis=(1, 2))
      >>> grad_cam(model, jnp.array([[[4.0], [-2.0], [2.0]]]), 0, at="layer").tolist()
      [[4.0, 0.0, 2.0]]

    Source: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV 2017.
    """
    return backpropagate(model, images, targets, _layer("grad_cam", at, channel_axis), _cam, resize, smooth)


def grad_cam_plus_plus(
    model: Model,
    images: Any,
    targets: Any,
    *,
    at: str,
    channel_axis: int = -1,
    resize: bool | tuple[int, int] = False,
    smooth: float = 0.0,
) -> Float[Array, "*N h w"]:
    """Grad-CAM with weights that count each place by what it would take to explain the score there alone: several objects count alike.

        max(0, Σ_c w_c A_c),   w_c = Σ_u α_cu max(0, g_cu),   α_cu = g_cu² / (2 g_cu² + g_cu³ Σ_v A_cv),   g = ∂score / ∂A

    The paper's factor exp(score) is left out: it scales each map as a whole.

    Arguments, returns and errors are those of `grad_cam`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jax.ad_checkpoint import checkpoint_name
      >>> def model(x):
      ...     return 3 * checkpoint_name(jax.nn.relu(x), "layer").mean(axis=(1, 2))
      >>> grad_cam_plus_plus(model, jnp.array([[[4.0], [-2.0], [2.0]]]), 0, at="layer").tolist()
      [[1.5, 0.0, 0.75]]

    Source: Chattopadhay, Sarkar, Howlader and Balasubramanian, "Grad-CAM++", WACV 2018.
    """
    return backpropagate(model, images, targets, _layer("grad_cam_plus_plus", at, channel_axis), _cam_plus_plus, resize, smooth)


def _layer(method: str, at: Any, channel_axis: Any) -> Layer:
    if at is None:
        raise ValueError(
            f"{method} makes the map of a layer: at must be the name of one, as a rule of the last convolutional layer, got None;"
            f" graph.activations(model, images) lists the names"
        )
    return Layer(at, channel_axis)


def _largest(values: Float[Array, "N h w C"], gradients: Float[Array, "N h w C"]) -> Float[Array, "N h w"]:
    return jnp.abs(gradients).max(axis=-1)


def _first_order(values: Float[Array, "N h w C"], gradients: Float[Array, "N h w C"]) -> Float[Array, "N h w"]:
    return (values * gradients).sum(axis=-1)


def _cam(values: Float[Array, "N h w C"], gradients: Float[Array, "N h w C"]) -> Float[Array, "N h w"]:
    return jax.nn.relu((values * gradients.mean(axis=(1, 2), keepdims=True)).sum(axis=-1))


def _cam_plus_plus(values: Float[Array, "N h w C"], gradients: Float[Array, "N h w C"]) -> Float[Array, "N h w"]:
    # g² / (2 g² + g³ Σ A) without the squares, which underflow
    bottom = 2 + gradients * values.sum(axis=(1, 2), keepdims=True)
    alphas = jnp.where((gradients == 0) | (bottom == 0), 0, 1 / jnp.where(bottom == 0, 1, bottom))
    weights = (alphas * jax.nn.relu(gradients)).sum(axis=(1, 2), keepdims=True)
    return jax.nn.relu((values * weights).sum(axis=-1))
