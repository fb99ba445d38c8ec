"""The packaged classifier of series: convolutions over time, the same for each feature."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence

from flax import nnx
from jax import Array

from extremal_jax.data.along_time.series import CLASSES
from extremal_jax.models.conversion import Architecture, Layout
from extremal_jax.models.entry import Entry
from extremal_jax.models.networks.layers import named
from extremal_jax.models.preprocessing import SeriesPreprocessing
from extremal_jax.operators.axes import SERIES

WIDTHS = (8, 16, 24)
SHAPE = (100, 6)  # of the series that it was trained on
WINDOW = 9  # steps of time in a convolution


class SeriesNetwork(nnx.Module):
    """(B, T, F) -> (B, classes), one logit per class: several classes may be present.

    Three convolutions over nine steps of time, the first of stride 2, with the same weights for all features, the average over time
    and features, and a linear head, so that series may have any length and number of features. Activations, by name: `layers.0` to
    `layers.2`, (B, t, F, C), and `pool`.
    """

    def __init__(self, classes: int, widths: Sequence[int] = WIDTHS, *, rngs: nnx.Rngs):
        margins = [(WINDOW // 2, WINDOW // 2), (0, 0)]
        self.layers = nnx.List(
            nnx.Conv(narrow, wide, (WINDOW, 1), strides=(stride, 1), padding=margins, kernel_init=nnx.initializers.he_normal(), rngs=rngs)
            for stride, (narrow, wide) in zip((2, 1, 1), itertools.pairwise((1, *widths)), strict=True)
        )
        self.head = nnx.Linear(widths[-1], classes, rngs=rngs)

    def __call__(self, series: Array) -> Array:
        x = series[..., None]
        for index, layer in enumerate(self.layers):
            x = named(nnx.relu(layer(x)), f"layers.{index}")
        return self.head(named(x.mean(axis=(1, 2)), "pool"))


ENTRIES = (
    Entry(
        name="series",
        description="5 kinds of events in generated series; packaged, needs no network",
        parameters=4_853,
        activations=("layers.0", "layers.1", "layers.2", "pool"),
        classes="series",
        preprocessing=SeriesPreprocessing(SHAPE),
        architecture=Architecture(
            functools.partial(SeriesNetwork, classes=len(CLASSES)), (Layout("this project"),), {"classes": ("head.bias", 0)}
        ),
        axes=SERIES,
    ),
)
