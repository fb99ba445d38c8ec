"""Altered images: many for each image of a batch, made and scored a chunk at a time; and the order of pixels in maps."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Int

from extremal_jax.attribution.evaluations import SCORES, chunk_length, responses
from extremal_jax.boundary.layouts import check_inputs
from extremal_jax.boundary.models import Model
from extremal_jax.evaluation.calls import Call, prepare
from extremal_jax.ground.checks import check_choice
from extremal_jax.operators.axes import Axes

_USUAL_CHUNK = 32  # altered images at a time


def prepare_altered(
    model: Model,
    images: Any,
    targets: Any,
    maps: Any,
    count: int,
    score: Any,
    chunk_size: int | None = None,
    axes: Axes | str | None = None,
) -> tuple[Call, int]:
    """Check the arguments of a test that scores `count` altered images for each image: the call, and the length of chunks.

    Maps None stands for a test that takes them in another shape.
    """
    check_choice("score", score, SCORES)
    images, layout = check_inputs(images, axes, model)
    number = layout.count(images)
    length = chunk_length("chunk_size", count * (number or 1), chunk_size, _USUAL_CHUNK)
    if maps is None:
        maps = np.zeros(layout.size if number is None else (number, *layout.size), np.float32)
    return prepare(model, images, targets, maps, length, axes), length


def for_each(function: Callable[[Array, Array], Any], num_images: int, count: int, length: int) -> Any:
    """Compute a function of images and of the `count` alterations of each, a chunk at a time.

    Args:
      function: takes the indices of images (length,) and of alterations (length,), returns a pytree of arrays (length, ...).
      num_images: N, the number of images.
      count: the number of alterations of each image.
      length: how many altered images to take at a time.

    Returns:
      the pytree, of arrays (N, count, ...).

    Example:
      >>> for_each(lambda image, which: 10 * image + which, 2, 3, 4).tolist()
      [[0, 1, 2], [10, 11, 12]]
    """
    total = num_images * count
    chunks = np.minimum(np.arange(math.ceil(total / length) * length), total - 1).astype(np.int32).reshape(-1, length)

    def chunk(elements: Array) -> Any:
        return function(elements // count, elements % count)

    found = (
        jax.tree.map(lambda part: part[None], chunk(jnp.asarray(chunks[0]))) if len(chunks) == 1 else lax.map(chunk, jnp.asarray(chunks))
    )
    return jax.tree.map(lambda part: part.reshape(-1, *part.shape[2:])[:total].reshape(num_images, count, *part.shape[2:]), found)


def scores_of(model: Model, score: str, images: Float[Array, "m ... C"], targets: Int[Array, " m"]) -> Float[Array, " m"]:
    """The scores of images, each for its own target, passed through a function of `SCORES`."""
    return jnp.take_along_axis(responses(model, score, images, None), targets[:, None], axis=1)[:, 0]


def ranks(maps: Float[Array, "*N H W"]) -> Int[Array, "*N H W"]:
    """The place of each pixel in the order of falling values, from 0. Ties keep reading order, and NaN comes last.

    Example:
      >>> ranks(jnp.array([[1.0, 5.0, 5.0], [2.0, 1.0, 9.0]])).tolist()
      [[4, 1, 2], [3, 5, 0]]
    """
    flat = maps.reshape(*maps.shape[:-2], -1)
    order = jnp.argsort(-flat, axis=-1, stable=True).astype(jnp.int32)
    places = jnp.broadcast_to(jnp.arange(flat.shape[-1], dtype=jnp.int32), order.shape)
    return jnp.put_along_axis(jnp.zeros_like(order), order, places, axis=-1, inplace=False).reshape(maps.shape)


def cells(maps: Float[Array, "..."], sides: tuple[int, ...]) -> Float[Array, "..."]:
    """The sums of maps (..., H, W) over cells of a height and width, or of as many sides; the last ones end at the border.

    Example:
      >>> cells(jnp.ones((3, 4)), (2, 2)).tolist()
      [[4.0, 4.0], [2.0, 2.0]]
    """
    size, rank = maps.shape[-len(sides) :], len(sides)
    padded = jnp.pad(maps, [(0, 0)] * (maps.ndim - rank) + [(0, -n % side) for n, side in zip(size, sides, strict=True)])
    parts = [part for n, side in zip(size, sides, strict=True) for part in (-(-n // side), side)]
    return padded.reshape(*maps.shape[:-rank], *parts).sum(axis=tuple(range(1 - 2 * rank, 0, 2)))


def pixels(values: Array, sides: tuple[int, ...], size: tuple[int, ...]) -> Array:
    """The values (..., rows, columns) of cells of a height and width at each pixel, (..., H, W); or of as many sides.

    Example:
      >>> pixels(jnp.array([[1, 2]]), (2, 2), (2, 3)).tolist()
      [[1, 1, 2], [1, 1, 2]]
    """
    for axis, side in zip(range(-len(sides), 0), sides, strict=True):
        values = values.repeat(side, axis=axis)
    return values[..., *(slice(n) for n in size)]


def nan_where_unknown(values: Float[Array, "N ..."], maps: Float[Array, "N ..."]) -> Float[Array, "N ..."]:
    """NaN in place of the values of images whose maps hold NaN."""
    unknown = jnp.isnan(maps).any(axis=tuple(range(1, maps.ndim)))
    return jnp.where(jnp.expand_dims(unknown, tuple(range(1, values.ndim))), jnp.nan, values)
