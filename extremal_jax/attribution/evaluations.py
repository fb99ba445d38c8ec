"""Many evaluations of a model: sums over chunks of them, and responses to masked images."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Int

from extremal_jax.attribution.common import Model, wide
from extremal_jax.graph.varying import varying_alike
from extremal_jax.ground.checks import check_chunk_size, check_count
from extremal_jax.operators.rewards import image_scores

SCORES: dict[str, Callable[[Array], Array]] = {
    "logit": lambda scores: scores,
    "softmax": lambda scores: jax.nn.softmax(scores, axis=-1),
    "sigmoid": jax.nn.sigmoid,
}


GRADIENT_CHUNK = 16  # altered images at a time, of methods that send gradients back, where the caller does not say


def usual_chunk() -> int:
    """How many altered images the model gets at a time where the caller does not say: 16 on a CPU, 128 on another device.

    A CPU gains next to nothing from more, and a GPU has too little to do with 16 (`benchmarks/chunks.py`). Methods that
    send gradients back keep more of each image in memory, and take `GRADIENT_CHUNK`.
    """
    return 16 if jax.default_backend() == "cpu" else 128


def chunk_length(name: str, count: Any, chunk_size: Any, usual: int) -> int:
    """Choose how many of `count` elements to evaluate at a time: chunks of one length, with few elements left over.

    No chunk is longer than `chunk_size`, or `usual` if that is None. A ValueError names the argument that is no whole
    number of at least 1; the count is the argument `name`.

    Example:
      >>> chunk_length("num_masks", 40, None, usual=32)
      20
    """
    check_count(name, count, 1)
    check_chunk_size(chunk_size)
    return math.ceil(count / math.ceil(count / (chunk_size or usual)))


def draw_each(key: Array, which: Int[Array, " m"], shape: tuple[int, ...]) -> Float[Array, "m ..."]:
    """Normal numbers of a shape for each alteration, the same in any chunk: under `vmap`, some kinds of keys draw others.

    Example:
      >>> draw_each(jax.random.key(0), jnp.arange(3), (4, 5)).shape
      (3, 4, 5)
    """
    return lax.map(lambda one: jax.random.normal(jax.random.fold_in(key, one), shape, jnp.float32), which)


def blend(masks: Float[Array, "m H W 1"], image: Float[Array, "H W C"], baseline: Float[Array, "H W C"]) -> Float[Array, "m H W C"]:
    """M x + (1 − M) x̃: an image where masks are one, and a baseline where they are zero."""
    return masks * wide(image)[None] + (1 - masks) * wide(baseline)[None]


def sum_in_chunks(function: Callable[[Array, Array], Any], count: int, length: int, alike: Any) -> Any:
    """Sum a function over the elements 0, 1, ..., count - 1.

    Args:
      function: of elements (length,) and of whether each counts (length,), bool; returns the sum over those that
        count, a pytree.
      count: the number of elements.
      length: the number of elements at a time.
      alike: arrays; the sums vary over the axes of a device mesh as these do.

    Example:
      >>> int(sum_in_chunks(lambda elements, counts: (elements * counts).sum(), 5, 2, None))
      10
    """
    elements = jnp.arange(math.ceil(count / length) * length, dtype=jnp.int32).reshape(-1, length)
    if len(elements) == 1:
        return function(elements[0], elements[0] < count)

    def add_chunk(total: Any, elements: Array) -> tuple[Any, None]:
        chunk = function(jnp.minimum(elements, count - 1), elements < count)
        return jax.tree.map(jnp.add, total, chunk), None

    shapes = jax.eval_shape(function, elements[0], elements[0] < count)
    zeros, _ = varying_alike(jax.tree.map(lambda shape: jnp.zeros(shape.shape, shape.dtype), shapes), alike)
    return lax.scan(add_chunk, zeros, elements)[0]


def responses(
    model: Model, score: str, images: Float[Array, "m ..."], target: Int[Array, ""] | None
) -> Float[Array, " m"] | Float[Array, "m classes"]:
    """The scores of images, averaged over positions and passed through a function of `SCORES`: the target's, or all classes'."""
    outputs = wide(model(images))
    if score == "softmax" and outputs.shape[-1] == 1:
        raise ValueError("score='softmax' needs at least 2 classes, and the model has a single score; take 'sigmoid' or 'logit'")
    scores = SCORES[score](image_scores(outputs))
    return scores if target is None else scores[:, target]


def check_sides(
    name: str, value: Any, units: str, of: str, most: tuple[int, ...], alone: tuple[int | None, ...] | None = None
) -> tuple[int, ...]:
    """The whole numbers that a caller gives, one for each axis of a map or one for all; a ValueError unless they are from 1
    to `most`. Where `alone` has a number, it stands in place of the one for all: along axes that are not smooth.

    Example:
      >>> check_sides("grid", 7, "cells, or (rows, columns)", "the image's", (20, 24))
      (7, 7)
      >>> check_sides("window", 5, "places, or (time, feature)", "the input's", (50, 3), alone=(None, 1))
      (5, 1)
    """
    shape = np.shape(value)
    sides: list[Any] = np.broadcast_to(np.asarray(value), len(most)).tolist() if shape in ((), (len(most),)) else [None] * len(most)
    if alone is not None and shape == ():
        sides = [side if own is None else own for side, own in zip(sides, alone, strict=True)]
    if not all(type(n) is int and 1 <= n <= limit for n, limit in zip(sides, most, strict=True)):
        raise ValueError(f"{name} must be a number of {units}, from 1 to {of} {most}, got {value!r}")
    return tuple(sides)
