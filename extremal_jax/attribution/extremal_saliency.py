"""Extremal perturbation as a method like the others: a map rather than masks."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

from jax import Array
from jax.core import Tracer
from jaxtyping import Float

from extremal_jax.attribution.common import Model, Resize, Smooth, postprocess
from extremal_jax.attribution.method import Method
from extremal_jax.boundary.layouts import check_inputs
from extremal_jax.extremal.config import Config
from extremal_jax.extremal.images import extremal_perturbation, on_axes
from extremal_jax.ground.progress import Watcher
from extremal_jax.operators.axes import Axes
from extremal_jax.optimise.settings import check_settings


def extremal_saliency(
    model: Model,
    images: Any,
    targets: Any,
    *,
    at: str | None = None,
    axes: Axes | str | None = None,
    areas: Any = (0.05, 0.1, 0.2),
    reference: Any = None,
    config: Config | None = None,
    key: Array | None = None,
    progress: bool | Watcher | None = None,
    chunk_size: int | None = None,
    resize: Resize = False,
    smooth: Smooth = None,
) -> Float[Array, "*maps"]:
    """The mean of the masks of `extremal_perturbation`, smoothed.

    Args:
      model, images, targets, at, axes, areas, reference, config, key, progress, chunk_size: as in `extremal_perturbation`.
      resize: True for maps of the images' size, (height, width) for another; by bilinear interpolation, after
        smoothing.
      smooth: standard deviation of a Gaussian blur, as a share of the shorter side; None: 0.09, as in
        `ExtremalResult.saliency`.

    Returns:
      (N, h, w), of the size of the images or of the layer, or (h, w) for a single image.

    Raises:
      TypeError, ValueError: as `extremal_perturbation` does, and for another `resize` or `smooth`.

    Example:
      >>> import jax.numpy as jnp
      >>> def model(x):  # the light of the upper half
      ...     return x[:, :8].sum((1, 2, 3))[:, None]
      >>> image = jnp.indices((16, 16, 3)).sum(0) % 4 / 3
      >>> map = extremal_saliency(model, image, 0, areas=[0.2], config=Config(num_steps=5))
      >>> map.shape
      (16, 16)

    Warns:
      UserWarning: if the status of the result is not "finished", with its message.
    """
    config = on_axes(check_settings(config, Config), axes, model)
    finish = postprocess(resize, smooth, check_inputs(images, config.input_axes)[1])
    options: Any = dict(at=at, config=config, reference=reference, key=key, progress=progress, chunk_size=chunk_size)
    result = extremal_perturbation(model, images, targets, areas, **options)
    if not isinstance(result.masks, Tracer) and not result.status.ok:
        warnings.warn(f"extremal_perturbation: {result.status.message}", stacklevel=2)
    saliency = result.saliency() if smooth is None else result.saliency(finish.smooth)
    return dataclasses.replace(finish, smooth=0.0)(saliency)


METHODS = (Method("extremal_perturbation", "the masks of given areas that excite the target most", extremal_saliency),)
