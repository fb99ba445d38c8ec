"""The packaged classifier of clips: a small residual network of each frame, and a convolution over time."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

from flax import nnx
from jax import Array

from extremal_jax.data.along_time.moving_scenes import CLASSES
from extremal_jax.models.conversion import Architecture, Layout
from extremal_jax.models.entry import Entry
from extremal_jax.models.networks.layers import ConvNorm, named
from extremal_jax.models.networks.resnet import BasicBlock
from extremal_jax.models.preprocessing import ClipPreprocessing
from extremal_jax.operators.axes import VIDEO

WIDTHS = (12, 24, 40)
SHAPE = (12, 48, 48)  # of the clips that it was trained on
MEAN, STD = 0.5, 0.25  # of channels in [0, 1]


class MovingScenesNetwork(nnx.Module):
    """(B, T, H, W, 3) -> (B, classes), one logit per class: several classes may be present.

    In each frame a 5x5 stem of stride 2 and residual blocks of stride 2, then a convolution over three frames, the average over time
    and space, and a linear head. Activations, by name: `stem`, `blocks.0`, `blocks.1`, `time`, all (B, T, h, w, C), and `pool`.
    """

    def __init__(self, classes: int, widths: Sequence[int] = WIDTHS, *, rngs: nnx.Rngs):
        self.stem = ConvNorm(3, widths[0], 5, 2, rngs=rngs)
        self.blocks = nnx.List(BasicBlock(narrow, wide, 2, rngs=rngs) for narrow, wide in itertools.pairwise(widths))
        self.time = nnx.Conv(widths[-1], widths[-1], (3, 1), padding=[(1, 1), (0, 0)], rngs=rngs)
        self.head = nnx.Linear(widths[-1], classes, rngs=rngs)

    def __call__(self, clips: Array) -> Array:
        batch, frames = clips.shape[:2]

        def as_clips(x: Array, name: str) -> Array:
            return named(x.reshape(batch, frames, *x.shape[1:]), name)

        x = as_clips(nnx.relu(self.stem(clips.reshape(batch * frames, *clips.shape[2:]))), "stem")
        for index, block in enumerate(self.blocks):
            x = as_clips(block(x.reshape(batch * frames, *x.shape[2:])), f"blocks.{index}")
        over_time = self.time(x.reshape(batch, frames, -1, x.shape[-1])).reshape(x.shape)
        x = named(nnx.relu(x + over_time), "time")
        return self.head(named(x.mean(axis=(1, 2, 3)), "pool"))


ENTRIES = (
    Entry(
        name="moving_scenes",
        description="8 kinds of emoji objects that move through generated clips; packaged, needs no network",
        parameters=38_540,
        activations=("stem", "blocks.0", "blocks.1", "time", "pool"),
        classes="moving_scenes",
        preprocessing=ClipPreprocessing(SHAPE, (MEAN,) * 3, (STD,) * 3),
        architecture=Architecture(
            functools.partial(MovingScenesNetwork, classes=len(CLASSES)), (Layout("this project"),), {"classes": ("head.bias", 0)}
        ),
        axes=VIDEO,
    ),
)
