"""Invented results of every form that a report shows, with numbers that differ visibly."""

from __future__ import annotations

from typing import Any

import numpy as np

import extremal_jax as ej
from extremal_jax.inversion.result import InversionStatus
from plot_results import result as masks_of

SHAPES: dict[str, tuple[int, ...]] = dict(
    video=(6, 8, 10, 3), volume=(5, 8, 10, 1), spectrogram=(20, 12, 1), series=(30, 4), moments=(30, 4)
)
CHANNELS, COUNTS = 12, (5, 1, 3)


def values(kind: str, count: Any = None) -> Any:
    """Inputs of a kind of axes, in [0, 1]."""
    shape = SHAPES[kind] if count is None else (count, *SHAPES[kind])
    return np.random.default_rng(0).random(shape, np.float32)


def masked_shape(kind: str) -> tuple[int, ...]:
    shape = SHAPES[kind]
    return shape[:1] if kind == "moments" else shape if kind == "series" else shape[:-1]


def result(kind: str, count: Any = None, **changes: Any) -> ej.ExtremalResult:
    """Three masks of boxes, which grow from the second place along each axis."""
    shape = masked_shape(kind)
    masks = np.zeros((3, *shape), np.float32)
    for k in range(3):
        box: Any = (k, *(slice(1, 2 + k) for _ in shape))
        masks[box] = 1
    masks = masks if count is None else np.stack([masks] * count)
    areas = masks.reshape(*masks.shape[: -len(shape)], -1).mean(axis=-1)
    fields: dict[str, Any] = dict(masks=masks, params=masks, masks_with_margin=None, areas=areas)
    return masks_of(count, **fields | dict(config=ej.Config(axes=kind)) | changes)


def channels(count: Any = None, **changes: Any) -> ej.ChannelResult:
    """Sets of channels: one keeps the second channel, three the second to fourth, five the second to sixth."""
    lead = () if count is None else (count,)
    masks = np.zeros((*lead, 3, CHANNELS), np.float32)
    for k, size in enumerate(COUNTS):
        masks[..., k, 1 : 1 + size] = 1
    rng = np.random.default_rng(1)
    fields: dict[str, Any] = dict(
        masks=masks,
        params=masks,
        rewards=np.broadcast_to(np.array([4, 2, 3], np.float32), (*lead, 3)).copy(),
        image_rewards=np.full(lead, 8, np.float32),
        areas=masks.sum(axis=-1),
        requested_areas=np.broadcast_to(np.array(COUNTS, np.int32), (*lead, 3)).copy(),
        targets=np.full(lead, 1, np.int32),
        history=ej.History(*rng.random((2, *lead, 20, 3), np.float32)),
        status=ej.Status(np.full((*lead, 3), -1, np.int32)),
        config=ej.ChannelConfig(),
        at="blocks.2",
    )
    return ej.ChannelResult(**fields | changes)


def inversion(count: Any = None, seed: int = 0, **changes: Any) -> ej.InversionResult:
    lead, rng = () if count is None else (count,), np.random.default_rng(seed)
    fields: dict[str, Any] = dict(
        images=rng.random((*lead, 16, 24, 3), np.float32),
        values=np.full(lead, 2.5, np.float32),
        cosines=np.full(lead, 0.75, np.float32),
        params=np.zeros((*lead, 2, 16, 13, 3), np.float32),
        history=rng.random((*lead, 10), np.float32),
        status=InversionStatus(np.full(lead, -1, np.int32)),
        config=ej.InversionConfig(),
        at="blocks.2",
    )
    return ej.InversionResult(**fields | changes)
