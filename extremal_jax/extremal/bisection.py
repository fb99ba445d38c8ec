"""The search for the smallest sufficient area: a bracket of two areas, narrowed by new masks and the responses to them."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from extremal_jax.extremal.result import Curve
from extremal_jax.ground.pytrees import pytree
from extremal_jax.operators.area import area_threshold, binarize, ramp
from extremal_jax.operators.nesting import rank_places
from extremal_jax.optimise.status import Status


@pytree()
class Tried:
    """One mask for each image, and the responses to it."""

    areas: Array  # (N,)
    masks: Array  # (N, H, W), of exactly these areas
    params: Array  # (N, h, w)
    responses: Array  # (N,)
    binary_responses: Array  # (N,)
    status: Status  # of (N,)


@jax.jit
def cut(masks: Array, areas: Array) -> tuple[Array, Array]:
    """Masks (N, H, W), made of exactly their areas, and binary."""
    flat = masks.reshape(len(masks), -1)
    # A ramp of width 1 only shifts the values and clips them; masks of exact area stay as they are.
    flat = ramp(flat, area_threshold(flat, areas, 1.0), 1.0)
    return flat.reshape(masks.shape), binarize(flat, areas).reshape(masks.shape)


@pytree()
class Search:
    """The state of the search."""

    low: Array  # (N,), the largest area that was not enough, next to the smallest that was
    low_params: Array  # (N, h, w), its mask's parameters
    best: Tried  # the smallest area that was enough; if there is none, area 1, with the mask of the highest response
    reached: Array  # (N,), whether any area was enough


@functools.partial(jax.jit, static_argnums=3)
def begin(tried: list[Tried], wanted: Array, whole: Array, binary: bool) -> Search:
    """The bracket after a sweep of growing areas: the first that is enough, and the one before it, or itself if there
    is none."""
    stacked = stack(tried)
    responses = stacked.binary_responses if binary else stacked.responses
    enough = responses >= wanted[:, None]
    found, first, count = enough.any(axis=1), enough.argmax(axis=1), len(tried)

    def at(index: Array) -> Tried:
        return jax.tree.map(lambda leaf: jnp.take_along_axis(leaf, index.reshape(-1, *[1] * (leaf.ndim - 1)), axis=1)[:, 0], stacked)

    below = at(jnp.where(found, jnp.maximum(first - 1, 0), count - 1))
    image = jax.tree.map(jnp.ones_like, below)
    image = dataclasses.replace(image, responses=whole, binary_responses=whole)
    suffices = whole >= wanted
    highest = dataclasses.replace(at(jnp.where(jnp.isnan(responses), -jnp.inf, responses).argmax(axis=1)), areas=jnp.ones_like(below.areas))
    best = _choose(found, at(first), _choose(suffices, image, highest))
    return Search(below.areas, below.params, best, found | suffices)


@functools.partial(jax.jit, static_argnums=3)
def narrow(search: Search, new: Tried, wanted: Array, binary: bool) -> Search:
    """The half of the bracket that a new area leaves."""
    responses = new.binary_responses if binary else new.responses
    enough, best = responses >= wanted, search.best
    smaller = enough & (new.areas < best.areas)
    highest = ~search.reached & ~enough & (responses > (best.binary_responses if binary else best.responses))
    best = _choose(smaller, new, _choose(highest, dataclasses.replace(new, areas=best.areas), best))
    params = jnp.where(enough[:, None, None], search.low_params, new.params)
    return Search(jnp.where(enough, search.low, new.areas), params, best, search.reached | enough)


def _choose(where: Array, a: Tried, b: Tried) -> Tried:
    return jax.tree.map(lambda x, y: jnp.where(where.reshape(-1, *[1] * (x.ndim - 1)), x, y), a, b)


def stack(trees: list[Any]) -> Any:
    """Arrays, or trees of them, along a second axis."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves, axis=1), *trees)


@jax.jit
def order_of(tried: list[Tried]) -> Array:
    """(N, H, W): the pixels in order of importance, from all masks tried, made to contain one another."""
    stacked = stack(tried)
    return rank_places(stacked.masks, stacked.areas, stacked.masks.mean(axis=1))


@jax.jit
def curve_of(tried: list[Tried]) -> Curve:
    """The responses to all masks tried, by growing area."""
    stacked = stack(tried)
    order = jnp.argsort(stacked.areas, axis=1)
    values = stacked.areas, stacked.responses, stacked.binary_responses
    return Curve(*(jnp.take_along_axis(value, order, axis=1) for value in values))
