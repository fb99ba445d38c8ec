"""A caller's model: any function from images to scores, taken apart into a program and its arrays, and asked once what it returns."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.core import Tracer

from extremal_jax.graph.functional import Arrays, Program, partition

Model = Callable[..., Any]


class Scorer(NamedTuple):
    """A model taken apart.

    Attributes:
      program: (arrays, images) -> scores; hashable.
      arrays: the model's.
      num_classes: how many scores there are.
    """

    program: Program
    arrays: Arrays
    num_classes: int


def check_model(model: object) -> None:
    """Raise a TypeError unless a model is a function."""
    if not callable(model):
        raise TypeError(f"model must be a function of images (B, H, W, C), got {type(model).__name__}")


@contextlib.contextmanager
def model_failures(example: jax.ShapeDtypeStruct | Array) -> Iterator[None]:
    """Turn whatever a model raises into a ValueError that says with which images it was called."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"model failed when called with images of shape {example.shape} and dtype {example.dtype}: {error}") from error


def take_apart(model: Model, example: jax.ShapeDtypeStruct | Array) -> Scorer:
    """A model's program, its arrays, and its number of classes.

    Args:
      model: any function from images (B, H, W, C) to scores (B, classes) or (B, h, w, classes).
      example: the images that it will be called with.

    Raises:
      ValueError: if the model fails, or does not return scores.
    """
    with model_failures(example):
        program, arrays = partition(model, example)
        if isinstance(example, Tracer):
            outputs = jax.eval_shape(program, arrays, example)
        else:
            outputs = _outputs(program, tuple(jax.typeof(array) for array in arrays), example)
    shape = getattr(outputs, "shape", None)
    if shape is None or len(shape) not in (2, 4) or shape[0] != example.shape[0] or not jnp.issubdtype(outputs.dtype, jnp.floating):
        form = type(outputs).__name__ if shape is None else f"{outputs.dtype}{list(shape)}"
        raise ValueError(
            f"model must return scores (B, classes) or (B, h, w, classes), floats; for images of shape {example.shape} it returned {form}"
        )
    return Scorer(program, arrays, shape[-1])


@functools.lru_cache(maxsize=128)
def _outputs(program: Program, arrays: tuple[Any, ...], images: jax.ShapeDtypeStruct) -> Any:
    """What a program returns, in shape and dtype. Remembered, since tracing a model takes longer than a step of it on a GPU."""
    return jax.eval_shape(program, list(arrays), images)
