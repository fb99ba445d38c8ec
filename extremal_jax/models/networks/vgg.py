"""VGG networks (Simonyan and Zisserman, ICLR 2015), and the Caffe ones that TorchRay uses."""

from __future__ import annotations

from collections.abc import Sequence

from flax import nnx
from jax import Array

from extremal_jax.models.networks.layers import Chain, MaxPool, Relu, WindowLinear, adaptive_mean, conv, named

WIDTHS = (64, 128, 256, 512, 512)
WINDOW = 7  # the side of the map that the classifier sees


class VGG(nnx.Module):
    """(B, H, W, 3) -> (B, classes).

    Args:
      depths: the number of convolutions in each of the five stages.
      classes: the number of scores.
      norm: batch norm behind each convolution.
      caffe: max-pools that round up, as in Caffe.
      dense: slide the classifier over the map instead of resizing the map to its window: (B, h, w, classes).
    """

    def __init__(
        self,
        depths: Sequence[int],
        classes: int = 1000,
        *,
        norm: bool = False,
        caffe: bool = False,
        dense: bool = False,
        rngs: nnx.Rngs,
    ):
        self.dense = dense
        layers: list[nnx.Module] = []
        before = 3
        for depth, width in zip(depths, WIDTHS, strict=True):
            for _ in range(depth):
                layers.append(conv(before, width, 3, rngs=rngs))
                if norm:
                    layers.append(nnx.BatchNorm(width, rngs=rngs))
                layers.append(Relu())
                before = width
            layers.append(MaxPool(2, 2, ceil=caffe))
        self.features = Chain("features", layers)
        self.fc1 = WindowLinear(WINDOW, before, 4096, rngs=rngs)
        self.fc2 = nnx.Linear(4096, 4096, rngs=rngs)
        self.fc3 = nnx.Linear(4096, classes, rngs=rngs)

    def __call__(self, images: Array) -> Array:
        x = self.features(images)
        x = self.fc1.slide(x) if self.dense else self.fc1(named(adaptive_mean(x, WINDOW), "avgpool"))
        x = named(x, "classifier.0")
        x = named(nnx.relu(x), "classifier.1")
        x = named(self.fc2(x), "classifier.3")  # 2 and 5 are dropout
        return self.fc3(named(nnx.relu(x), "classifier.4"))


def activations(depths: Sequence[int], *, norm: bool = False, dense: bool = False) -> tuple[str, ...]:
    """The names of the inner layers of such a network."""
    features = sum(depths) * (3 if norm else 2) + len(depths)
    pool = () if dense else ("avgpool",)
    return (*(f"features.{i}" for i in range(features)), *pool, *(f"classifier.{i}" for i in (0, 1, 3, 4)))
