"""Results to draw, with numbers that differ visibly, and what a figure shows."""

from __future__ import annotations

from typing import Any

import numpy as np

import extremal_jax as ej
from extremal_jax.perturbation import Curve

HEIGHT, WIDTH, AREAS = 24, 36, (0.1, 0.2, 0.4)
CLASSES = ("cat", "dog", "fox")


def picture(count: Any = None, channels: Any = 3) -> Any:
    shape = (HEIGHT, WIDTH, channels) if count is None else (count, HEIGHT, WIDTH, channels)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def result(count: Any = None, game: Any = "preserve", **changes: Any) -> Any:
    """A result of one image or a batch, with numbers that differ visibly."""
    lead, rng = () if count is None else (count,), np.random.default_rng(1)
    masks = rng.random((*lead, 3, HEIGHT, WIDTH), np.float32)
    rewards = np.arange(1, 1 + masks[..., 0, 0].size, dtype=np.float32).reshape(masks.shape[:-2])
    fields = dict(
        masks=masks,
        masks_with_margin=masks,
        params=masks[..., ::4, ::4],
        rewards=-rewards if game == "delete" else rewards,
        image_rewards=np.full(lead, 8, np.float32),
        areas=masks.mean(axis=(-1, -2)),
        requested_areas=np.broadcast_to(np.array(AREAS, np.float32), masks.shape[:-2]),
        targets=np.asarray(np.arange(count or 1, dtype=np.int32).reshape(lead) % 3),
        history=ej.History(*rng.random((2, *lead, 10, 3), np.float32)),
        status=ej.Status(np.full(masks.shape[:-2], -1, np.int32)),
        config=ej.Config(game=game),
    )
    return ej.ExtremalResult(**{**fields, **changes})


def drawn(axes: Any) -> Any:
    [image] = axes.images
    return np.asarray(image.get_array())


def titles(figure: Any) -> Any:
    return [axes.get_title() for axes in figure.axes]


def smallest(count: Any = 2) -> Any:
    """A result with numbers that differ visibly; the second image does not reach its response."""
    masks = np.zeros((count, HEIGHT, WIDTH), np.float32)
    masks[:, :6] = 1
    areas = np.tile(np.array([0.1, 0.25, 0.5], np.float32), (count, 1))
    numbers = np.arange(1, 1 + count, dtype=np.float32)
    return ej.SmallestArea(
        areas=np.where(numbers == 2, np.nan, 0.25).astype(np.float32),
        reached=numbers != 2,
        masks=masks,
        params=masks[:, ::4, ::4],
        responses=3 * numbers,
        binary_responses=4 * numbers,
        image_responses=8 * numbers,
        wanted=2 * numbers,
        targets=np.arange(count, dtype=np.int32),
        curve=Curve(areas, 10 * areas, 11 * areas),
        status=ej.Status(np.full((count, 3), -1, np.int32)),
        config=ej.Config(),
    )
