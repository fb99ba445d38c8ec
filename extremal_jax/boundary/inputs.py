"""What a caller gives, checked: images, targets, areas. Values are checked where they are known; under `jit` only shapes and dtypes are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from extremal_jax.ground.checks import nearest
from extremal_jax.ground.pytrees import AnyArray
from extremal_jax.operators.rewards import REWARDS, RewardFunction


def check_images(name: str, images: Any) -> AnyArray:
    """Images as a floating-point array (H, W, C) or (N, H, W, C).

    Raises:
      TypeError: if they are not an array of floats.
      ValueError: if their rank is wrong, they are empty, or a value is not finite.
    """
    if not hasattr(images, "dtype"):
        images = np.asarray(images)
    if images.ndim not in (3, 4):
        raise ValueError(f"{name} must have the shape (H, W, C) or (N, H, W, C), got {images.shape}")
    if not jnp.issubdtype(images.dtype, jnp.floating):
        raise TypeError(
            f"{name} must hold floats as the model expects them, got {images.dtype}; model.preprocess(image), or"
            f" images.astype('float32') / 255, makes them"
        )
    if 0 in images.shape:
        raise ValueError(f"{name} must not be empty, got the shape {images.shape}")
    if not isinstance(images, Tracer) and not bool(np.all(np.isfinite(np.asarray(images, np.float32)))):
        raise ValueError(f"{name} must be finite, got NaN or infinity among the values")
    return images


def check_reference(reference: Any, images: AnyArray) -> AnyArray | None:
    """What takes the place of what is masked: of the shape of the images, or of one of them.

    Raises:
      TypeError, ValueError: as `check_images` does, and for another shape.
    """
    if reference is None:
        return None
    reference = check_images("reference", reference)
    if reference.shape not in (images.shape, images.shape[-3:]):
        raise ValueError(f"reference must have the shape of the images or of one of them, {images.shape}, got {reference.shape}")
    return reference


def check_areas(areas: Any, count: int | None) -> AnyArray:
    """Areas as a float32 array, (K,) or (N, K), in (0, 1].

    Args:
      areas: a number, a sequence of numbers, or an array.
      count: N, where there is a batch, else None.
    """
    if not isinstance(areas, Array):
        try:
            areas = np.asarray(areas, np.float64)
        except (TypeError, ValueError) as error:
            raise TypeError(f"areas must be numbers in (0, 1], such as (0.05, 0.1), got {areas!r}") from error
    areas = areas.reshape(1) if areas.ndim == 0 else areas
    ranks = (1,) if count is None else (1, 2)
    if areas.ndim not in ranks or areas.size == 0 or (areas.ndim == 2 and areas.shape[0] != count):
        shapes = "(K,)" if count is None else f"(K,) or ({count}, K)"
        raise ValueError(f"areas must have the shape {shapes}, with at least one area, got {areas.shape}")
    if not isinstance(areas, Tracer):
        values = np.asarray(areas, np.float64)
        bad = values[~((values > 0) & (values <= 1))]
        if bad.size:
            raise ValueError(f"areas must be shares of the image in (0, 1], got {bad.flat[0]:g}; 5 % is 0.05")
    return areas.astype(np.float32)


def check_targets(
    targets: Any, count: int | None, num_classes: int, reward: str | RewardFunction, names: Sequence[str] | None = None
) -> AnyArray:
    """Targets as an int32 array with a leading axis of images: (N,), or (N, M) where a reward takes several classes.

    Args:
      targets: class indices or names: one for all images, or one per image.
      count: N, where there is a batch, else None.
      num_classes: how many there are.
      reward: what a target is for.
      names: the classes' names, if the model has them.

    Raises:
      TypeError: if targets are neither whole numbers nor names.
      ValueError: if there are too many or too few, or one is out of range or unknown.
    """
    if not isinstance(targets, jax.Array):
        targets = _indices(targets, names)
    if not jnp.issubdtype(targets.dtype, jnp.integer):
        raise TypeError(f"targets must be class indices (whole numbers) or names, got {targets.dtype}")
    arity = 1 if callable(reward) else REWARDS[reward].arity
    rank = 1 if arity == 1 else 2
    if count is None:
        targets = targets[None]
    elif targets.ndim == rank - 1:  # one target for all images
        targets = jnp.broadcast_to(targets, (count, *targets.shape))
    fits = targets.shape[:1] == (count or 1,) and (callable(reward) or targets.ndim == rank)
    if not fits or (rank == 2 and (targets.shape[1] != arity if arity else targets.shape[1] == 0)):
        form = {1: "one class index", 2: "a pair of class indices", None: "a list of class indices"}[arity]
        images, shape = ("the image", targets.shape[1:]) if count is None else (f"each of the {count} images", targets.shape)
        raise ValueError(f"targets must be {form} for {images}, got the shape {shape}")
    if not isinstance(targets, Tracer):
        values = np.asarray(targets)
        bad = values[(values < 0) | (values >= num_classes)]
        if bad.size and not callable(reward):
            raise ValueError(f"targets must be class indices from 0 to {num_classes - 1}, got {bad.flat[0]}")
    return targets.astype(np.int32)


def _indices(targets: Any, names: Sequence[str] | None) -> np.ndarray:
    """Class indices from indices or names."""
    array = np.asarray(targets)
    if array.dtype.kind not in "UO":
        return array
    array = np.asarray(targets, object)  # of names and numbers together, NumPy makes text
    if names is None:
        raise TypeError(f"targets must be class indices, since the model has no `classes` to look a name up in, got {targets!r}")

    def index(name: Any) -> int:
        if not isinstance(name, str):
            if isinstance(name, bool | np.bool) or not hasattr(name, "__index__"):
                raise TypeError(f"targets must be class indices (whole numbers) or names, got {name!r}")
            return int(name)
        try:
            return class_index(str(name), names)
        except ValueError as error:
            raise ValueError(f"targets: {error}") from error

    return np.asarray([index(name) for name in array.ravel()], np.int64).reshape(array.shape)


def class_index(name: str, names: Sequence[str]) -> int:
    """The index of a class.

    Raises:
      ValueError: if no class, or more than one, has this name.

    Example:
      >>> class_index("wolf", ["dog", "wolf", "fox"])
      1
    """
    found = [index for index, other in enumerate(names) if other == name]
    if not found:
        raise ValueError(f"unknown class {name!r}; {nearest(name, names)}")
    if len(found) > 1:
        raise ValueError(f"{len(found)} classes are called {name!r}; give an index: {', '.join(map(str, found))}")
    return found[0]


def check_params(params: Any, shape: tuple[int, ...]) -> AnyArray:
    """Initial parameters as an array of floats in [0, 1] of the shape asked for."""
    params = params if hasattr(params, "dtype") else np.asarray(params)
    if params.shape != shape:
        raise ValueError(f"initial_params must have the shape {shape}, got {params.shape}")
    if not jnp.issubdtype(params.dtype, jnp.floating):
        raise TypeError(f"initial_params must be floats in [0, 1], got {params.dtype}")
    if not isinstance(params, Tracer):
        values = np.asarray(params)
        if not np.all((values >= 0) & (values <= 1)):
            raise ValueError(f"initial_params must be in [0, 1], got values from {values.min()} to {values.max()}")
    return params
