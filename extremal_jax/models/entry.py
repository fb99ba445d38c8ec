"""The record of a classifier, and the preparations of images that several classifiers share."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from extremal_jax.models.conversion import Architecture
from extremal_jax.models.hub import HubFile
from extremal_jax.models.packages import PackageFile
from extremal_jax.models.preprocessing import Preprocessing
from extremal_jax.operators.axes import IMAGE, Axes

IMAGENET = functools.partial(Preprocessing, (224, 224), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""The normalisation of torchvision and timm."""
HALVES = functools.partial(Preprocessing, (224, 224), (0.5,) * 3, (0.5,) * 3)
"""The normalisation to [-1, 1]."""


def imagenet(side: int, scaled: float, interpolation: str = "bicubic") -> Preprocessing:
    """The preparation for a square of this side, cut out of an image whose shorter side is scaled to `scaled`, with `IMAGENET`'s mean."""
    return dataclasses.replace(IMAGENET(crop=side / scaled, interpolation=interpolation), size=(side, side))


CAFFE = Preprocessing(
    (224, 224), tuple(mean / 255 for mean in (123.68, 116.779, 103.939)), (1 / 255,) * 3, antialias=False
)  # [0, 255] less the mean
CAFFE_WHOLE = dataclasses.replace(CAFFE, crop=None)
CAFFE_DATASETS = {"voc": ("PASCAL VOC 2007", 20), "coco": ("COCO 2014", 80)}
"""The data sets of TorchRay's networks: title and number of classes."""


@dataclass(frozen=True)
class Entry:
    """A classifier, before it is loaded.

    Attributes:
      name: as in `load`.
      description: one line.
      parameters: their number.
      activations: the names of the inner layers.
      architecture: the network, and the files that can fill it.
      classes: the data set whose classes the published weights know: "imagenet", "voc", "coco", "scenes", "moving_scenes" or
        "series".
      preprocessing: the preparation of images for the published weights.
      preprocessing_by_publisher: the preparation by publisher, where publishers of the same network differ.
      hub: the published weights on the Hugging Face hub; None: there are none.
      package: the file of an installable package that has the weights; None: there is none.
      axes: of the input without the batch.
    """

    name: str
    description: str
    parameters: int
    activations: tuple[str, ...]
    architecture: Architecture = field(repr=False)
    classes: str = "imagenet"
    preprocessing: Any = IMAGENET(crop=0.875)
    preprocessing_by_publisher: Mapping[str, Preprocessing] = field(default_factory=dict, repr=False)
    hub: HubFile | None = field(default=None, repr=False)
    package: PackageFile | None = field(default=None, repr=False)
    axes: Axes = field(default=IMAGE, repr=False)

    @property
    def family(self) -> str:
        """The family of networks: the name of its module."""
        network = getattr(self.architecture.build, "func", self.architecture.build)
        return str(network.__module__).rpartition(".")[2]

    @property
    def input_size(self) -> tuple[int, ...]:
        """(height, width) of the input in pixels; if images are not cropped, the smallest size that they are scaled to. For clips
        (time, height, width), and for series (time, feature)."""
        return self.preprocessing.size


def timm(name: str, revision: str | None = None, sha256: str | None = None) -> HubFile:
    """Weights in one of timm's repositories, pinned to a commit, and to the digest of the file if it is known.

    A file is verified against this digest and against the one that the hub publishes. Without a commit, `load` asks for the
    repository by name.
    """
    return HubFile(f"timm/{name}", "model.safetensors", revision, sha256)
