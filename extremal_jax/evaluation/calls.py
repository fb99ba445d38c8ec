"""The shared path of all tests that evaluate the model: check the arguments, part the model, compute; and of maps: scale them.

A test describes its computation by a function and its settings, and hands both to a `Call`. They are compiled once for
each function, settings, model and shape.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from extremal_jax.boundary.layouts import Layout, check_inputs
from extremal_jax.boundary.models import Model, check_model, part
from extremal_jax.boundary.targets import check_targets
from extremal_jax.graph.canonical import canonical
from extremal_jax.graph.functional import Arrays, Program
from extremal_jax.ground.checks import as_array
from extremal_jax.ground.pytrees import AnyArray
from extremal_jax.operators.axes import Axes

Computation = Callable[..., Any]  # (model, images, targets, maps, *arrays, **settings) -> a pytree of arrays (N, ...)


class Call(NamedTuple):
    """A model, images, targets and maps, checked and ready for a computation.

    Attributes:
      program: the model without its arrays.
      arrays: the model's arrays.
      images: (N, H, W, C); of other axes, as `layout` folds them.
      targets: (N,), int32.
      maps: (N, H, W), or (N, *places), float32.
      single: whether the caller gave one image rather than a batch.
      layout: of the images.
    """

    program: Program
    arrays: Arrays
    images: AnyArray
    targets: AnyArray
    maps: AnyArray
    single: bool
    layout: Layout

    def compute(self, computation: Computation, *arrays: Any, **settings: Hashable) -> Any:
        """The pytree of arrays (N, ...) that a computation returns, or without the first axis for a single image.

        Args:
          computation: a function of the model, images, targets, maps, arrays and settings, defined once in its module.
          arrays: traced; other values of them compile nothing.
          settings: static.
        """
        inputs = self.program, self.arrays, self.images, self.targets, self.maps, *arrays
        found = _compute(computation, tuple(settings.items()), *inputs)
        return jax.tree.map(lambda values: values[0], found) if self.single else found


def prepare(model: Model, images: Any, targets: Any, maps: Any, shown: int, axes: Axes | str | None = None) -> Call:
    """Check the arguments of a test, and part the model.

    Args:
      model: any function from images (B, H, W, C) to scores, as in `extremal_perturbation`.
      images: (H, W, C), or a batch (N, H, W, C).
      targets: one class for all images or one per image.
      maps: (H, W), or (N, H, W), of the images' size.
      shown: how many images the model gets at a time.
      axes: of the images, as in `insertion`.

    Raises:
      TypeError, ValueError: as `extremal_perturbation` does; and for maps that are not one for each image, of its size.
    """
    check_model(model)
    images, layout = check_inputs(images, axes, model)
    count = layout.count(images)
    batch = images[None] if count is None else images
    parted = part(model, batch, shown)
    targets = check_targets(targets, count, parted.num_scores, "logit", parted.classes)
    maps = check_maps("maps", maps, layout.size if count is None else (count, *layout.size))
    program, folded = layout.program(parted.tail), layout.fold(batch)
    return Call(program, parted.arrays, folded, targets, maps.reshape(folded.shape[:-1]), count is None, layout)


def check_maps(name: str, maps: Any, shape: tuple[int, ...]) -> Float[AnyArray, "..."]:
    """Maps as float32, of exactly this shape."""
    found = as_floats(name, maps)
    if found.shape != shape:
        raise ValueError(f"{name} must have the shape of the images, {shape}, got {found.shape}; methods make such maps with resize=True")
    return found


def as_floats(name: str, values: Any) -> Float[AnyArray, "..."]:
    """An array of numbers as float32; a TypeError for one of anything else, such as booleans."""
    found = as_array(name, values)
    if not (jnp.issubdtype(found.dtype, jnp.floating) or jnp.issubdtype(found.dtype, jnp.integer)):
        raise TypeError(f"{name} must hold numbers, got {found.dtype}")
    return found.astype(np.float32)


@jax.jit
def unit_range(maps: Float[AnyArray, "*N H W"]) -> Float[Array, "*N H W"]:
    """Each map scaled to [0, 1], from its least to its largest value; a constant map becomes zero.

    Example:
      >>> unit_range(np.array([[-1.0, 0.0, 3.0]])).tolist()
      [[0.0, 0.25, 1.0]]
    """
    maps = jnp.asarray(maps, jnp.float32)
    low, high = (extreme(maps, axis=(-2, -1), keepdims=True) for extreme in (jnp.min, jnp.max))
    return (maps - low) / jnp.maximum(high - low, np.finfo(np.float32).tiny)


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def _compute(computation: Computation, settings: tuple[Any, ...], program: Program, arrays: Arrays, *arguments: Any) -> Any:
    def whole(arrays: Arrays, *arguments: Any) -> Any:
        return computation(jax.tree_util.Partial(program, arrays), *arguments, **dict(settings))

    return canonical(whole)(arrays, *jax.tree.map(jnp.asarray, arguments))
