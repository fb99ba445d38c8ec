"""Inputs of each kind with evidence planted in them, and a classifier that looks for it."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.ad_checkpoint import checkpoint_name

import extremal_jax as ej
from extremal_jax.operators.axes import AXES, masked

STATIONS = (ej.Axis("variable", masked=False), ej.Axis("station", smooth=False), ej.Axis("time"))  # masked axes come last
KINDS: dict[str, Any] = {**AXES, "stations": STATIONS}
PLANTED: dict[str, tuple[tuple[int, ...], tuple[slice, ...]]] = dict(  # a shape, and the place of the evidence
    image=((8, 9, 2), (slice(2, 5), slice(4, 7), slice(None))),
    video=((6, 8, 7, 2), (slice(2, 4), slice(3, 6), slice(1, 4), slice(None))),
    volume=((6, 7, 8, 1), (slice(2, 5), slice(1, 4), slice(3, 6), slice(None))),
    spectrogram=((12, 8, 1), (slice(3, 7), slice(2, 5), slice(None))),
    series=((24, 3), (slice(8, 14), slice(1, 2))),
    moments=((24, 3), (slice(8, 14), slice(None))),
    stations=((2, 3, 16), (slice(None), slice(1, 2), slice(5, 9))),
)


def data(kind: str, count: int = 2) -> np.ndarray:
    """(N, ...): noise, and light at the planted place; each input is another."""
    shape, where = PLANTED[kind]
    found = np.random.default_rng(0).uniform(0.05, 0.2, (count, *shape)).astype(np.float32)
    found[:, *where] += 1
    return found


def truth(kind: str) -> np.ndarray:
    """The places of the evidence, of the shape of a map."""
    shape, where = PLANTED[kind]
    found = np.zeros(shape, bool)
    found[where] = True
    return np.asarray(found.any(axis=tuple(place for place, axis in enumerate(KINDS[kind]) if not axis.masked)))


@functools.cache
def model(kind: str) -> Any:
    """A classifier of planted light, of all light, and of none; its layer `light` is the input, rectified, with channels last."""
    shape, where = PLANTED[kind]
    planted = np.zeros(shape, np.float32)
    planted[where] = 1
    order = [place for place, axis in enumerate(KINDS[kind]) if axis.masked]
    others = [place for place in range(len(shape)) if place not in order]
    heads = np.stack([planted, np.full(shape, 0.1, np.float32), -planted]).transpose(0, *(1 + place for place in [*order, *others]))

    def classify(heads: Any, x: Any) -> Any:
        moved = x.transpose(0, *(1 + place for place in [*order, *others]))
        light = checkpoint_name(jax.nn.relu(moved.reshape(*moved.shape[: 1 + len(order)], -1)), "light")
        return light.reshape(len(x), -1) @ heads.T

    return jax.tree_util.Partial(classify, jnp.asarray(heads.reshape(3, -1)))


def sides(kind: str) -> tuple[int, ...]:
    """The shape of a map."""
    return tuple(n for n, axis in zip(PLANTED[kind][0], KINDS[kind], strict=True) if axis.masked)


def rank(kind: str) -> int:
    return len(masked(KINDS[kind]))
