"""The offline default: a compact residual network for generated scenes."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

from flax import nnx
from jax import Array
from jax.ad_checkpoint import checkpoint_name

from extremal_jax.data.scenes import CLASSES
from extremal_jax.models.conversion import Architecture, Layout
from extremal_jax.models.entry import Entry
from extremal_jax.models.networks.layers import ConvNorm
from extremal_jax.models.networks.resnet import BasicBlock
from extremal_jax.models.preprocessing import Preprocessing

WIDTHS = (32, 48, 96, 144, 144)
SIZE = 128  # side in pixels
MEAN, STD = 0.5, 0.25  # of channels in [0, 1]


class ScenesNetwork(nnx.Module):
    """(B, H, W, 3) -> (B, classes), one logit per class: several classes may be present.

    A 5x5 stem of stride 2, residual blocks (stride 2 wherever the width changes), global average, linear head. Activations, by name:
    `stem`, `blocks.0` ... `blocks.3`, `pool`.
    """

    def __init__(self, classes: int, widths: Sequence[int] = WIDTHS, *, rngs: nnx.Rngs):
        self.stem = ConvNorm(3, widths[0], 5, 2, rngs=rngs)
        self.blocks = nnx.List(
            BasicBlock(narrow, wide, 1 if narrow == wide else 2, rngs=rngs) for narrow, wide in itertools.pairwise(widths)
        )
        self.head = nnx.Linear(widths[-1], classes, rngs=rngs)

    def __call__(self, images: Array) -> Array:
        x = checkpoint_name(nnx.relu(self.stem(images)), "stem")
        for index, block in enumerate(self.blocks):
            x = checkpoint_name(block(x), f"blocks.{index}")
        return self.head(checkpoint_name(x.mean(axis=(1, 2)), "pool"))


LAYOUT = Layout("this project", ((r"\.conv1\.", ".first."), (r"\.conv2\.", ".second."), ("downsample", "shortcut")))

ENTRIES = (
    Entry(
        name="scenes",
        description="26 kinds of emoji objects in generated scenes; packaged, needs no network",
        parameters=871_770,
        activations=("stem", "blocks.0", "blocks.1", "blocks.2", "blocks.3", "pool"),
        classes="scenes",
        preprocessing=Preprocessing((SIZE,) * 2, (MEAN,) * 3, (STD,) * 3),
        architecture=Architecture(functools.partial(ScenesNetwork, classes=len(CLASSES)), (LAYOUT,), {"classes": ("head.bias", 0)}),
    ),
)
