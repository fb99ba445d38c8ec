"""All methods by name, extremal perturbation among them: what the command line, the laws and the benchmark read."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from jax import Array
from jaxtyping import Float

from extremal_jax.attribution.common import finished, finishing
from extremal_jax.attribution.excitation import contrastive_excitation_backprop, excitation_backprop
from extremal_jax.attribution.gradients import deconvnet, grad_cam, grad_cam_plus_plus, gradient, guided_backprop, linear_approx
from extremal_jax.attribution.occlusion import occlusion
from extremal_jax.attribution.paths import integrated_gradients, smooth_grad
from extremal_jax.attribution.rise import rise
from extremal_jax.boundary.images import check_images
from extremal_jax.boundary.models import Model
from extremal_jax.extremal.config import Config
from extremal_jax.extremal.images import extremal_perturbation


class Method(NamedTuple):
    """A method of attribution.

    Attributes:
      function: of (model, images, targets), and options by keyword; it gives (N, h, w), or (h, w) for a single image.
      description: what a map shows, in a line.
      layers: whether it makes maps of layers too; to others, `at` is None.
    """

    function: Callable[..., Array]
    description: str
    layers: bool = True

    @property
    def options(self) -> frozenset[str]:
        """The names of the options that it takes: `at` where there is a layer to choose, `key`, `chunk_size` and so on."""
        names = frozenset(name for name, parameter in self._parameters.items() if parameter.kind is parameter.KEYWORD_ONLY)
        return names if self.layers else names - {"at"}

    @property
    def needs(self) -> frozenset[str]:
        """The names of the options that must be given."""
        return frozenset(name for name in self.options if self._parameters[name].default is inspect.Parameter.empty)

    @property
    def _parameters(self) -> dict[str, inspect.Parameter]:
        return dict(inspect.signature(self.function).parameters)


def extremal_saliency(
    model: Model,
    images: Any,
    targets: Any,
    *,
    at: str | None = None,
    areas: Any = (0.05, 0.1, 0.2),
    config: Config | None = None,
    key: Array | None = None,
    chunk_size: int | None = None,
    resize: bool | tuple[int, int] = False,
    smooth: float = 0.09,
) -> Float[Array, "*N h w"]:
    """Extremal perturbation as a map: the mean of its masks, smoothed.

    Args:
      model, images, targets, at, areas, config, key, chunk_size: as in `extremal_perturbation`.
      resize: True for maps of the images' size, (height, width) for another.
      smooth: as in `ExtremalResult.saliency`.

    Returns:
      (N, h, w), of the size of the images or of the layer, or (h, w) for a single image.
    """
    images = check_images("images", images)
    finish = finishing(resize, smooth, (images.shape[-3], images.shape[-2]))
    result = extremal_perturbation(model, images, targets, areas, at=at, config=config, key=key, chunk_size=chunk_size)
    return finished(dataclasses.replace(finish, smooth=0.0), result.saliency(finish.smooth))


METHODS = {
    "extremal_perturbation": Method(extremal_saliency, "the masks of given areas that excite the target most"),
    "gradient": Method(gradient, "how much the score changes with each pixel"),
    "linear_approx": Method(linear_approx, "value times gradient, summed over channels"),
    "guided_backprop": Method(guided_backprop, "the gradient through ReLUs that send back what is positive, where they were active"),
    "deconvnet": Method(deconvnet, "the gradient through ReLUs that send back what is positive"),
    "grad_cam": Method(grad_cam, "the channels of a layer, weighted by their mean gradients"),
    "grad_cam_plus_plus": Method(grad_cam_plus_plus, "Grad-CAM with weights under which several objects count alike"),
    "excitation_backprop": Method(excitation_backprop, "a probability handed down from the target to what excites it"),
    "contrastive_excitation_backprop": Method(
        contrastive_excitation_backprop, "excitation backprop of the target less that of its opposite"
    ),
    "integrated_gradients": Method(integrated_gradients, "what each pixel adds to the score on the way from a baseline", layers=False),
    "smooth_grad": Method(smooth_grad, "the mean of gradients under noise"),
    "rise": Method(rise, "the mean of random masks, weighted by what the model answers to them", layers=False),
    "occlusion": Method(occlusion, "how far the score falls where a window is hidden", layers=False),
}
