"""A model in two parts at a named layer: the head, which is run once for an image, and the tail, which is run at every step.

Both are hashable programs that take the model's arrays as arguments, like the model's own program, and split it whenever they are traced:
so equal heads and tails share a compilation, and other weights compile nothing.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import jax
from jax import Array
from jax.core import Tracer
from jaxtyping import Float

from extremal_jax.boundary.models import Model, Scorer, check_model, model_failures, take_apart
from extremal_jax.graph.activations import Activation, check_name
from extremal_jax.graph.cut import Parts, split
from extremal_jax.graph.functional import Arrays, Program, partition
from extremal_jax.graph.varying import like


@dataclass(frozen=True)
class Head:
    """The part of a model before a layer: (arrays, images) -> its activation.

    Attributes:
      model: the model's program.
      layer: the activation's name.
    """

    model: Program
    layer: str

    def __call__(self, arrays: Arrays, images: Float[Array, "B H W C"]) -> Float[Array, "B ..."]:
        return _parts(self.model, arrays, self.layer, images).before(images)


@dataclass(frozen=True)
class Tail:
    """The part of a model after a layer: (arrays, activation) -> scores.

    Attributes:
      model: the model's program.
      layer: the activation's name.
      shape: (H, W, C) of one of the images that the activation is of.
      dtype: of the images.
    """

    model: Program
    layer: str
    shape: tuple[int, ...]
    dtype: Any

    def __call__(self, arrays: Arrays, activation: Float[Array, "B ..."]) -> Any:
        images = like(jax.ShapeDtypeStruct((len(activation), *self.shape), self.dtype), activation)
        return _parts(self.model, arrays, self.layer, images).after(activation)


def activation_at(model: Model, at: str, images: Float[Array, "B H W C"]) -> Float[Array, "B ..."]:
    """The activation of images at a layer: one run of the head, compiled.

    Args:
      model: any function of images (B, H, W, C).
      at: the activation's name.
      images: (B, H, W, C).

    Raises:
      ValueError: if the model fails; if the name is not there or given twice; if the activation does not cut the model, in a sentence that
        says what passes around it; or if it has no leading axis of images.

    Example:
      >>> import jax.numpy as jnp
      >>> from jax.ad_checkpoint import checkpoint_name
      >>> def model(images):
      ...     return checkpoint_name(2 * images.mean(axis=(1, 2)), "means") + 1
      >>> activation_at(model, "means", jnp.ones((1, 4, 4, 2))).tolist()
      [[2.0, 2.0]]
    """
    program, arrays = part_before(model, at, like(jax.ShapeDtypeStruct(images.shape, images.dtype), images))
    return _run(program, arrays, images)


def part_before(model: Model, at: str, example: jax.ShapeDtypeStruct | Array) -> tuple[Head, Arrays]:
    """The head of a model, and its arrays.

    Args:
      model: any function of images (B, H, W, C).
      at: the activation's name.
      example: the images that the head will be called with.

    Raises:
      ValueError: as `activation_at` does.
    """
    check_model(model)
    with model_failures(example):
        program, arrays = partition(model, example)
    _check(program, arrays, at, example)
    return Head(program, at), arrays


def part_after(model: Model, at: str, example: jax.ShapeDtypeStruct | Array) -> Scorer:
    """The tail of a model, its arrays, and its number of classes.

    Args:
      model: any function from images (B, H, W, C) to scores (B, classes) or (B, h, w, classes).
      at: the activation's name.
      example: images, as many as the tail will be called with activations.

    Raises:
      ValueError: as `activation_at` does; and if the model does not return scores.
    """
    program, arrays, num_classes = take_apart(model, example)
    _check(program, arrays, at, example)
    return Scorer(Tail(program, at, example.shape[1:], example.dtype), arrays, num_classes)


def _parts(program: Program, arrays: Arrays, at: str, images: Any) -> Parts:
    return split(lambda images: program(arrays, images), at, images)


_run = jax.jit(lambda head, arrays, images: head(arrays, images), static_argnums=0)


def _check(program: Program, arrays: Arrays, at: str, example: jax.ShapeDtypeStruct | Array) -> None:
    """Raise an error unless a model comes apart at a layer."""
    check_name("at", at)
    try:
        if isinstance(example, Tracer):
            activation = _parts(program, arrays, at, example).activation
        else:
            activation = _activation(program, tuple(jax.typeof(array) for array in arrays), at, example)
    except ValueError as error:
        raise ValueError(f"at: {error}") from error
    if activation.shape[:1] != example.shape[:1]:
        raise ValueError(
            f"at: the activation {at!r} must have a leading axis of {example.shape[0]} images, got the shape {activation.shape}"
        )


@functools.lru_cache(maxsize=128)
def _activation(program: Program, arrays: tuple[Any, ...], at: str, images: jax.ShapeDtypeStruct) -> Activation:
    """What a program names, if it comes apart there. Remembered, since tracing a model takes longer than a step of it on a GPU."""
    activation: list[Activation] = []
    jax.eval_shape(lambda arrays: activation.append(_parts(program, arrays, at, images).activation), list(arrays))
    return activation[0]
