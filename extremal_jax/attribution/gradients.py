"""The gradient of the target's score, and maps that are made of it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from extremal_jax.attribution.backward import Layer, backpropagate
from extremal_jax.attribution.common import Model, Resize, Smooth
from extremal_jax.attribution.method import Method
from extremal_jax.attribution.rules import DECONVNET, GUIDED
from extremal_jax.graph.activations import check_name
from extremal_jax.operators.axes import Axes


def gradient(
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
    """The largest absolute derivative of the target's score over the channels of each place, max |∂score / ∂x|.

    Args:
      model: any function from images (B, H, W, C) to scores (B, classes) or (B, h, w, classes), as in
        `extremal_perturbation`. Scores at several positions are summed, with the weights of `positions`.
      images: (H, W, C), or a batch (N, H, W, C), floats as the model takes them.
      targets: one class for all images or one per image, (N,): indices, or names where the model has `classes`.
      at: the name of the activation that the map shows, a map or the tokens of one; None: the image.
      axes: what `images` are, if they are something else: "video", "volume", "spectrogram", "series", "moments" or a
        tuple of `Axis` records, as in `extremal_perturbation`. Maps have the masked axes in place of (H, W), and a layer
        `at` has as many.
      channel_axis: the axis of the activation's channels if it is not the last: 1 in a model that is (N, C, H, W)
        inside.
      positions: the weights of scores at several positions: "sum", one each; or "softmax", the softmax of the target's
        scores over the positions, as in TorchRay's pointing game (`get_pointing_gradient`).
      resize: True for maps of the images' size, (height, width) for another, of other axes a number for each; by
        bilinear interpolation.
      smooth: standard deviation of a Gaussian blur after that, as a share of the shorter side; None for no blur.

    Returns:
      (N, h, w), of the layer's size, or (h, w) for a single image; float32.

    Raises:
      TypeError, ValueError: for arguments that do not fit: an activation that is not there (near ones are listed) or
        not spatial, a target out of range, a model that fails or that cannot be differentiated.

    Warns:
      UserWarning: if no gradient reaches an image, so that its map is zero.

    Example:
      >>> import jax.numpy as jnp
      >>> def model(x):  # the sums of the colours
      ...     return jnp.array([1.0, -2.0, 3.0]) * x.sum(axis=(1, 2))
      >>> gradient(model, jnp.ones((2, 2, 3)), 1).tolist()
      [[2.0, 2.0], [2.0, 2.0]]

    Source: Simonyan, Vedaldi and Zisserman, "Deep Inside Convolutional Networks", ICLR workshop 2014.
    """
    return backpropagate(
        "gradient", model, images, targets, Layer(at, channel_axis), _largest, resize, smooth, axes=axes, positions=positions
    )


def linear_approx(
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
    """The first-order share of each place in the score: the sum over channels of value times gradient; signed.

    The arguments, the result, the errors and the warning are those of `gradient`.

    Example:
      >>> import jax.numpy as jnp
      >>> linear_approx(lambda x: -x.sum(axis=(1, 2)), jnp.array([[[1.0], [-2.0]]]), 0).tolist()
      [[-1.0, 2.0]]

    Source: Shrikumar, Greenside, Shcherbina and Kundaje, "Not Just a Black Box", 2016 (gradient times input);
      Kindermans, Schütt, Müller and Dähne, "Investigating the Influence of Noise and Distractors on the
      Interpretation of Neural Networks", 2016.
    """
    return backpropagate(
        "linear_approx", model, images, targets, Layer(at, channel_axis), _first_order, resize, smooth, axes=axes, positions=positions
    )


def guided_backprop(
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
    """The gradient through ReLUs that send back positive gradients only, and only where they are active.

    As in TorchRay, an input of exactly zero counts as active. The upper clip of a ReLU6 keeps its derivative.

    The arguments, the result and the warning are those of `gradient`.

    Raises:
      TypeError, ValueError: as `gradient` does; and if the model has no ReLU, max(x, 0), or if one is a part of another
        activation, such as a hard swish or a PReLU.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> def model(x):
      ...     return (jax.nn.relu(x) * jnp.array([[2.0], [-3.0], [4.0]])).sum(axis=(1, 2))
      >>> guided_backprop(model, jnp.array([[[1.0], [1.0], [-1.0]]]), 0).tolist()
      [[2.0, 0.0, 0.0]]

    Source: Springenberg, Dosovitskiy, Brox and Riedmiller, "Striving for Simplicity", ICLR workshop 2015.
    """
    return backpropagate(
        "guided_backprop", model, images, targets, Layer(at, channel_axis), _largest, resize, smooth, GUIDED, axes=axes, positions=positions
    )


def deconvnet(
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
    """The gradient through ReLUs that send back positive gradients only, whether they are active or not.

    The arguments, the result, the errors and the warning are those of `guided_backprop`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> deconvnet(lambda x: jax.nn.relu(x).sum((1, 2)), jnp.array([[[1.0], [-1.0]]]), 0).tolist()
      [[1.0, 1.0]]

    Source: Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", ECCV 2014.
    """
    return backpropagate(
        "deconvnet", model, images, targets, Layer(at, channel_axis), _largest, resize, smooth, DECONVNET, axes=axes, positions=positions
    )


def grad_cam(
    model: Model,
    images: Any,
    targets: Any,
    *,
    at: str,
    axes: Axes | str | None = None,
    channel_axis: int = -1,
    positions: str = "sum",
    resize: Resize = False,
    smooth: Smooth = None,
) -> Float[Array, "*maps"]:
    """The positive part of the sum of a layer's channels, each weighted by its mean gradient.

        max(0, Σ_c w_c A_c),   w_c = mean over positions of ∂score / ∂A_c

    The layer `at` is as a rule the last convolutional one. The arguments, the result, the errors and the warning are
    those of `gradient`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jax.ad_checkpoint import checkpoint_name
      >>> def model(x):
      ...     return 3 * checkpoint_name(jax.nn.relu(x), "layer").mean(axis=(1, 2))
      >>> grad_cam(model, jnp.array([[[4.0], [-2.0], [2.0]]]), 0, at="layer").tolist()
      [[4.0, 0.0, 2.0]]

    Source: Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization", ICCV
      2017.
    """
    check_name("at", at)
    return backpropagate("grad_cam", model, images, targets, Layer(at, channel_axis), _cam, resize, smooth, axes=axes, positions=positions)


def grad_cam_plus_plus(
    model: Model,
    images: Any,
    targets: Any,
    *,
    at: str,
    axes: Axes | str | None = None,
    channel_axis: int = -1,
    positions: str = "sum",
    resize: Resize = False,
    smooth: Smooth = None,
) -> Float[Array, "*maps"]:
    """Grad-CAM with weights that do not depend on the size of an object, so that several objects count alike.

        max(0, Σ_c w_c A_c),   w_c = Σ_u α_cu max(0, g_cu),   α_cu = g_cu² / (2 g_cu² + g_cu³ Σ_v A_cv),   g = ∂score / ∂A

    The paper's factor exp(score) is left out: it scales each map as a whole.

    The arguments, the result, the errors and the warning are those of `grad_cam`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from jax.ad_checkpoint import checkpoint_name
      >>> def model(x):
      ...     return 3 * checkpoint_name(jax.nn.relu(x), "layer").mean(axis=(1, 2))
      >>> grad_cam_plus_plus(model, jnp.array([[[4.0], [-2.0], [2.0]]]), 0, at="layer").tolist()
      [[1.5, 0.0, 0.75]]

    Source: Chattopadhay, Sarkar, Howlader and Balasubramanian, "Grad-CAM++", WACV 2018.
    """
    check_name("at", at)
    return backpropagate(
        "grad_cam_plus_plus",
        model,
        images,
        targets,
        Layer(at, channel_axis),
        _cam_plus_plus,
        resize,
        smooth,
        axes=axes,
        positions=positions,
    )


def _places(values: Float[Array, "N ... C"]) -> tuple[int, ...]:
    return tuple(range(1, values.ndim - 1))


def _largest(values: Float[Array, "N ... C"], gradients: Float[Array, "N ... C"]) -> Float[Array, "N ..."]:
    return jnp.abs(gradients).max(axis=-1)


def _first_order(values: Float[Array, "N ... C"], gradients: Float[Array, "N ... C"]) -> Float[Array, "N ..."]:
    return (values * gradients).sum(axis=-1)


def _cam(values: Float[Array, "N ... C"], gradients: Float[Array, "N ... C"]) -> Float[Array, "N ..."]:
    return jax.nn.relu((values * gradients.mean(axis=_places(values), keepdims=True)).sum(axis=-1))


def _cam_plus_plus(values: Float[Array, "N ... C"], gradients: Float[Array, "N ... C"]) -> Float[Array, "N ..."]:
    # g² / (2 g² + g³ Σ A) without the squares, which underflow
    bottom = 2 + gradients * values.sum(axis=_places(values), keepdims=True)
    alphas = jnp.where((gradients == 0) | (bottom == 0), 0, 1 / jnp.where(bottom == 0, 1, bottom))
    weights = (alphas * jax.nn.relu(gradients)).sum(axis=_places(values), keepdims=True)
    return jax.nn.relu((values * weights).sum(axis=-1))


METHODS = (
    Method("gradient", "the size of the score's derivative at each pixel", gradient),
    Method("linear_approx", "value times gradient, summed over channels", linear_approx, signed=True),
    Method("guided_backprop", "the gradient through ReLUs that send back positive values only, where they are active", guided_backprop),
    Method("deconvnet", "the gradient through ReLUs that send back positive values only", deconvnet),
    Method("grad_cam", "the channels of a layer, weighted by their mean gradients", grad_cam),
    Method("grad_cam_plus_plus", "Grad-CAM with weights under which several objects count alike", grad_cam_plus_plus),
)
