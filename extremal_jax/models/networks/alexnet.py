"""AlexNet, in the form of Krizhevsky, "One weird trick for parallelizing convolutional neural networks" (2014)."""

from __future__ import annotations

from flax import nnx

from extremal_jax.models.conversion import FLAT_KERNEL, Architecture
from extremal_jax.models.entry import Entry
from extremal_jax.models.networks.layers import Layer, MaxPool, WindowClassifier, conv, relu, window_layout

ACTIVATIONS = (*(f"features.{i}" for i in range(13)), "avgpool", *(f"classifier.{i}" for i in (1, 2, 4, 5)))


class AlexNet(WindowClassifier):
    """(B, H, W, 3) -> (B, classes)."""

    def __init__(self, classes: int = 1000, *, rngs: nnx.Rngs):
        layers: list[Layer] = [
            conv(3, 64, 11, 4, padding=2, rngs=rngs),
            relu,
            MaxPool(3, 2),
            conv(64, 192, 5, rngs=rngs),
            relu,
            MaxPool(3, 2),
            conv(192, 384, 3, rngs=rngs),
            relu,
            conv(384, 256, 3, rngs=rngs),
            relu,
            conv(256, 256, 3, rngs=rngs),
            relu,
            MaxPool(3, 2),
        ]
        super().__init__(layers, 6, 256, classes, first=1, rngs=rngs)


LAYOUTS = (window_layout("torchvision", ("classifier.1", "classifier.4", "classifier.6"), (r"^fc1\.kernel$", FLAT_KERNEL)),)

ENTRIES = (
    Entry(
        name="alexnet",
        description="AlexNet, ImageNet",
        parameters=61_100_840,
        activations=ACTIVATIONS,
        architecture=Architecture(AlexNet, LAYOUTS, {"classes": ("fc3.bias", 0)}),
    ),
)
