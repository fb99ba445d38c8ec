"""AlexNet, in the form of Krizhevsky, "One weird trick for parallelizing convolutional neural networks" (2014)."""

from __future__ import annotations

from flax import nnx
from jax import Array

from extremal_jax.models.conversion import FLAT_KERNEL, Architecture, pytorch
from extremal_jax.models.entry import Entry
from extremal_jax.models.networks.layers import Chain, MaxPool, WindowLinear, adaptive_mean, conv, named, relu

ACTIVATIONS = (*(f"features.{i}" for i in range(13)), "avgpool", *(f"classifier.{i}" for i in (1, 2, 4, 5)))
WINDOW = 6  # side of the map that the classifier takes


class AlexNet(nnx.Module):
    """(B, H, W, 3) -> (B, classes)."""

    def __init__(self, classes: int = 1000, *, rngs: nnx.Rngs):
        self.features = Chain(
            "features",
            [
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
            ],
        )
        self.fc1 = WindowLinear(WINDOW, 256, 4096, rngs=rngs)
        self.fc2 = nnx.Linear(4096, 4096, rngs=rngs)
        self.fc3 = nnx.Linear(4096, classes, rngs=rngs)

    def __call__(self, images: Array) -> Array:
        x = named(adaptive_mean(self.features(images), WINDOW), "avgpool")
        x = named(self.fc1(x), "classifier.1")  # 0 and 3 are dropout
        x = named(nnx.relu(x), "classifier.2")
        x = named(self.fc2(x), "classifier.4")
        return self.fc3(named(nnx.relu(x), "classifier.5"))


LAYOUTS = (
    pytorch(
        "torchvision",
        (r"^fc1\.conv", "classifier.1"),
        ("^fc2", "classifier.4"),
        ("^fc3", "classifier.6"),
        forms=((r"^fc1\.conv\.kernel$", FLAT_KERNEL),),
    ),
)

ENTRIES = (
    Entry(
        name="alexnet",
        description="AlexNet, ImageNet",
        parameters=61_100_840,
        activations=ACTIVATIONS,
        architecture=Architecture(AlexNet, LAYOUTS, {"classes": ("fc3.bias", 0)}),
    ),
)
