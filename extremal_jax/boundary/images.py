"""Images, reference images and initial parameters, checked. Under a trace, shapes and dtypes are checked, values are
not."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from extremal_jax.ground.checks import as_array, is_array, values_of
from extremal_jax.ground.pytrees import AnyArray
from extremal_jax.operators.axes import IMAGE, Axes, names

_COLOURS = (1, 3, 4)  # the channels that images have as a rule
_FEWEST_PIXELS = 8  # along a side, below which an axis may hold channels


def check_images(name: str, images: Any, axes: Axes = IMAGE) -> AnyArray:
    """Images as an array of finite floats, (H, W, C) or (N, H, W, C); or something else of other axes."""
    if isinstance(images, list | tuple):
        types = {as_array(name, part).dtype for part in images if is_array(part)}
        if len({bool(jnp.issubdtype(one, jnp.floating)) for one in types}) > 1:  # together they would be floats of two ranges
            raise TypeError(
                f"{name} must all hold floats as the model expects them, got {' and '.join(sorted(map(str, types)))}; prepare each of them"
            )
    images = as_array(name, images)
    if images.ndim not in (len(axes), len(axes) + 1):
        dimensions = "H, W, C" if axes == IMAGE else ", ".join(names(axes))
        hint = '; other inputs than images need `axes`, such as "video" or "series"' if axes == IMAGE else ""
        hint += ", and a grey image a last axis of one channel, `image[..., None]`" if hint and images.ndim == 2 else ""
        raise ValueError(f"{name} must have the shape ({dimensions}) or (N, {dimensions}), got {images.shape}{hint}")
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(
            f"{name} must hold floats as the model expects them, got {images.dtype}; prepare them as the model was trained"
            f" (model.preprocess(image) for this project's classifiers)"
        )
    if 0 in images.shape:
        raise ValueError(f"{name} must not be empty, got the shape {images.shape}")
    *batch, channels, height, width = images.shape if axes == IMAGE else (0, 0, 0)
    if channels in _COLOURS and width not in _COLOURS and min(height, width) >= _FEWEST_PIXELS:
        order = "(0, 2, 3, 1)" if batch else "(1, 2, 0)"
        raise ValueError(f"{name} must have their channels last, got the shape {images.shape}; {name}.transpose{order} puts them there")
    values = values_of(images, np.float32)
    if values is not None and not np.isfinite(values).all():
        raise ValueError(f"{name} must be finite, got NaN or infinity among the values; fill in missing values first")
    return images


def batch_size(images: AnyArray, rank: int = 3) -> int | None:
    """N of a batch (N, H, W, C), or None for a single image. What is not an image has another rank."""
    return len(images) if images.ndim == rank + 1 else None


def check_reference(reference: Any, images: AnyArray, needed: bool, axes: Axes = IMAGE) -> AnyArray | None:
    """A reference image of the shape of the images, or of one of them; None where the perturbation needs none."""
    if (reference is None) == needed:
        raise ValueError("reference must be given if, and only if, the config's perturbation is 'reference'")
    if reference is None:
        return None
    reference = check_images("reference", reference, axes)
    if reference.shape not in (images.shape, images.shape[-len(axes) :]):
        raise ValueError(f"reference must have the shape of the images or of one of them, {images.shape}, got {reference.shape}")
    return reference


def check_params(params: Any, shape: tuple[int, ...]) -> AnyArray:
    """Initial parameters as an array of floats in [0, 1] of the shape asked for."""
    params = as_array("initial_params", params)
    if params.shape != shape:
        raise ValueError(f"initial_params must have the shape {shape}, got {params.shape}")
    if not jnp.issubdtype(params.dtype, jnp.floating):
        raise TypeError(f"initial_params must be floats in [0, 1], got {params.dtype}")
    values = values_of(params)
    if values is not None and not np.all((values >= 0) & (values <= 1)):
        raise ValueError(f"initial_params must be in [0, 1], got values from {values.min()} to {values.max()}")
    return params


def check_model_input(images: Any, preparation: str, axes: Axes = IMAGE) -> Array:
    """The images (B, H, W, C), floats, that a model is called with, or something else of other axes; `preparation` says in a
    message how they are made."""
    images = jnp.asarray(images)
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(f"images must hold floats, {preparation}, got {images.dtype}")
    if images.ndim != len(axes) + 1:
        dimensions = "H, W, C" if axes == IMAGE else ", ".join(names(axes))
        raise ValueError(f"images must have the shape (B, {dimensions}), got {images.shape}; image[None] makes a batch of one image")
    return images
