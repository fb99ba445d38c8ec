"""The shared path of all methods: check the arguments, split the model, compute and post-process the maps.

A method describes its computation by a function and its settings, and hands both to a `Task`. They are compiled once
for each function, settings, model and shape.
"""

from __future__ import annotations

import functools
import operator
import warnings
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jaxtyping import Bool, Float

from extremal_jax.boundary.layouts import Layout, check_inputs
from extremal_jax.boundary.models import Model as Model, check_model, failure_of_gradient, part
from extremal_jax.boundary.targets import check_targets
from extremal_jax.graph.canonical import canonical
from extremal_jax.graph.functional import Arrays, Program
from extremal_jax.graph.varying import like, varying_alike
from extremal_jax.ground.filters import gaussian_blur, resize as resized
from extremal_jax.ground.pytrees import AnyArray
from extremal_jax.operators.axes import Axes


class Maps(NamedTuple):
    """The result of a computation.

    Attributes:
      maps: (N, ..., h, w); of other axes than those of images, (N, ..., *places).
      sent: (N, ...), the values that were sent back from the scores; None for a method that sends nothing back.
    """

    maps: Float[Array, "N ..."]
    sent: Float[Array, "N ..."] | None = None


Resize = bool | tuple[int, ...]  # True: the size of the images; (height, width): another; False: as the map is
Smooth = float | None  # the standard deviation of a Gaussian blur, as a share of the shorter side; None: the method's own
Computation = Callable[..., Maps]  # (model, images, targets, *arrays, **settings) -> maps


@dataclass(frozen=True)
class Postprocess:
    """The post-processing of maps: resize, then smooth.

    Attributes:
      size: (height, width) to resize to by bilinear interpolation; None: keep the size.
      smooth: the standard deviation of a Gaussian blur, as a share of the shorter side.
      layout: of the inputs.
    """

    size: tuple[int, ...] | None
    smooth: float
    layout: Layout

    def __call__(self, maps: Float[Array, "..."]) -> Float[Array, "..."]:
        maps = maps[..., None]
        maps = maps if self.size is None else resized(maps, self.size)
        return gaussian_blur(maps, self.layout.lengths(self.smooth, maps.shape[-1 - len(self.layout.size) : -1]))[..., 0]


def postprocess(resize: Any, smooth: Any, layout: Layout) -> Postprocess:
    """Check the options `resize` and `smooth` of a method, for inputs of a layout.

    Raises:
      ValueError: if either is something else than `gradient` takes.

    Example:
      >>> from extremal_jax.operators.axes import IMAGE
      >>> postprocess(True, None, Layout(IMAGE, (224, 320, 3))).size
      (224, 320)
    """
    size = layout.size
    if not isinstance(resize, bool):
        wrong = ValueError(f"resize must be True, False or {layout.sides} in whole {layout.unit} of at least 1, got {resize!r}")
        try:
            size = tuple(map(operator.index, resize))
        except (TypeError, ValueError) as error:
            raise wrong from error
        if len(size) != len(layout.size) or min(size) < 1:
            raise wrong
    blur = 0.0 if smooth is None else number(smooth)
    if not 0 <= blur < np.inf:
        raise ValueError(f"smooth must be a share of the shorter side, such as 0.02, and not negative, got {smooth!r}")
    return Postprocess(None if resize is False else size, blur, layout)


def number(value: Any) -> float:
    """Convert a real number to a float, and anything else to NaN, which lies in no range.

    Example:
      >>> number(2), number("2"), number(None)
      (2.0, nan, nan)
    """
    try:
        return float("nan" if isinstance(value, str) else value)
    except (TypeError, ValueError):
        return float("nan")


def wide(values: Array) -> Array:
    """The values in float32, or in float64 if they are that."""
    return values.astype(jnp.promote_types(values.dtype, jnp.float32))


class Task(NamedTuple):
    """A model, images and targets, checked and ready for a computation.

    Attributes:
      method: the name of the method.
      program: the model without its arrays.
      arrays: the model's.
      images: (N, H, W, C); of other axes, as `layout` folds them.
      targets: (N,); None: all classes.
      single: whether the caller gave one image rather than a batch.
      layout: of the images.
      postprocess: the post-processing of the maps.
      example: images as the program is called with them.
    """

    method: str
    program: Program
    arrays: Arrays
    images: AnyArray
    targets: AnyArray | None
    single: bool
    layout: Layout
    postprocess: Postprocess
    example: jax.ShapeDtypeStruct | Array

    def compute(self, computation: Computation, *arrays: Any, **settings: Hashable) -> Float[Array, "*maps"]:
        """The maps, (N, ..., h, w), or without the first axis for a single image.

        Args:
          computation: a function of the model, images, targets, arrays and settings, defined once in its module.
          arrays: traced; other values of them compile nothing.
          settings: static.

        Warns:
          UserWarning: if everything that was sent back to an image is zero.
        """
        inputs = self.program, self.arrays, self.images, self.targets, *arrays
        maps, reached = _compute(computation, tuple(settings.items()), self.postprocess, *inputs)
        if reached is not None and not isinstance(reached, Tracer) and not np.all(reached):
            where = "the image" if self.single else f"images {np.flatnonzero(~np.asarray(reached)).tolist()}"
            warnings.warn(
                f"{self.method}: no gradient reached {where}, every value sent back is zero, and so is the map. A model may stop"
                f" its gradient (jax.lax.stop_gradient, rounding, argmax), or none of its units on the way may be active",
                stacklevel=3,
            )
        return maps[0] if self.single else maps

    def differentiate(self, computation: Computation, *arrays: Any, **settings: Hashable) -> Float[Array, "*maps"]:
        """As `compute`, for a computation that differentiates the model: a ValueError says so if the model has no derivative."""
        try:
            return self.compute(computation, *arrays, **settings)
        except Exception as failure:
            if reason := failure_of_gradient(self.program, self.arrays, self.example):
                raise ValueError(f"this model cannot be differentiated; rise and occlusion need no gradient. {reason}") from failure
            raise


def prepare(
    method: str,
    model: Any,
    images: Any,
    targets: Any,
    resize: Any,
    smooth: Any,
    shown: int | None = None,
    *,
    axes: Axes | str | None = None,
    all_classes: bool = False,
    laid_out: bool = True,
) -> Task:
    """Check the arguments of a method, and split the model.

    Args:
      method: its name.
      model, images, targets, resize, smooth, axes: as in `gradient`.
      shown: the number of images that the model gets at a time; None: all of them.
      all_classes: whether targets may be None, for maps of all classes.
      laid_out: whether the computation gets images in their layout. Otherwise it gets them as the caller has them, to hand
        them on to another method.

    Raises:
      TypeError, ValueError: as `extremal_perturbation` does.
    """
    check_model(model)
    if targets is None and not all_classes:
        raise TypeError("targets must be a class for each image, or one for all, got None; only rise explains all classes at once")
    images, layout = check_inputs(images, axes, model)
    images, targets = varying_alike(images, targets)
    count = layout.count(images)
    batch = images[None] if count is None else images
    parted = part(model, batch, shown or len(batch))
    if targets is not None:
        targets = check_targets(targets, count, parted.num_scores, "logit", parted.classes)
    finish = postprocess(resize, smooth, layout)
    program, batch = (layout.program(parted.tail), layout.fold(batch)) if laid_out else (parted.tail, batch)
    example = like(jax.ShapeDtypeStruct((shown or len(batch), *batch.shape[1:]), batch.dtype), images)
    return Task(method, program, parted.arrays, batch, targets, count is None, layout, finish, example)


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _compute(
    computation: Computation, settings: tuple[Any, ...], finish: Postprocess, program: Program, arrays: Arrays, *arguments: Any
) -> tuple[Float[Array, "N ..."], Bool[Array, " N"] | None]:
    """The maps, and for each image whether anything but zeros was sent back; None where nothing is sent back."""

    def whole(arrays: Arrays, *arguments: Any) -> tuple[Array, Array | None]:
        model = jax.tree_util.Partial(program, arrays)  # a pytree, so that it can be split again
        maps, sent = computation(model, *arguments, **dict(settings))
        return finish(maps), None if sent is None else (sent != 0).any(axis=tuple(range(1, sent.ndim)))

    return canonical(whole)(arrays, *jax.tree.map(jnp.asarray, arguments))
