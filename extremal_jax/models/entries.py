"""What is known of each classifier without loading it."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

from extremal_jax.data.scenes import CLASSES
from extremal_jax.models import layouts, resnet, scenes
from extremal_jax.models.conversion import Architecture
from extremal_jax.models.preprocessing import Preprocessing


@dataclass(frozen=True)
class Entry:
    """What is known of a classifier without loading it.

    Attributes:
      name: as in `load`.
      family: of networks.
      description: in a line.
      parameters: their number.
      activations: the names of its inner layers.
      classes: whose classes the published weights know: "imagenet", "voc", "coco" or "scenes".
      preprocessing: that of the published weights.
      preprocessing_by_publisher: where publishers of the same network differ.
      hub: the repository of the published weights on the Hugging Face hub; None: there is none.
      architecture: the network, and the files that can fill it.
    """

    name: str
    family: str
    description: str
    parameters: int
    activations: tuple[str, ...]
    classes: str
    preprocessing: Preprocessing
    architecture: Architecture = field(repr=False)
    preprocessing_by_publisher: Mapping[str, Preprocessing] = field(default_factory=dict, repr=False)
    hub: str | None = None

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of its input, in pixels."""
        return self.preprocessing.size


IMAGENET = functools.partial(Preprocessing, (224, 224), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CAFFE = Preprocessing((224, 224), tuple(mean / 255 for mean in (123.68, 116.779, 103.939)), (1 / 255,) * 3)  # [0, 255] less the mean
_DATASETS = {"voc": ("PASCAL VOC 2007", 20), "coco": ("COCO 2014", 80)}


def _scenes() -> list[Entry]:
    return [
        Entry(
            name="scenes",
            family="scenes",
            description="26 kinds of emoji objects in generated scenes; packaged, needs no network",
            parameters=872_218,
            activations=("stem", "blocks.0", "blocks.1", "blocks.2", "blocks.3", "pool"),
            classes="scenes",
            preprocessing=Preprocessing((scenes.SIZE,) * 2, (scenes.MEAN,) * 3, (scenes.STD,) * 3),
            architecture=Architecture(
                functools.partial(scenes.ScenesNetwork, classes=len(CLASSES)), layouts.SCENES, {"classes": ("head.bias", 0)}
            ),
        )
    ]


def _resnets() -> list[Entry]:
    basic, bottleneck = resnet.BasicBlock, resnet.Bottleneck
    members: dict[int, tuple[resnet.Block, tuple[int, ...], int]] = {
        18: (basic, (2, 2, 2, 2), 11_689_512),
        34: (basic, (3, 4, 6, 3), 21_797_672),
        50: (bottleneck, (3, 4, 6, 3), 25_557_032),
        101: (bottleneck, (3, 4, 23, 3), 44_549_160),
        152: (bottleneck, (3, 8, 36, 3), 60_192_808),
    }
    sizes = {"classes": ("fc.bias", 0)}
    imagenet = [
        Entry(
            name=f"resnet{depth}",
            family="resnet",
            description=f"residual network of {depth} layers, ImageNet",
            parameters=parameters,
            activations=resnet.ACTIVATIONS,
            classes="imagenet",
            preprocessing=IMAGENET(crop=0.875),
            architecture=Architecture(functools.partial(resnet.ResNet, block, depths), layouts.RESNET, sizes),
            hub=f"timm/resnet{depth}.tv_in1k",
        )
        for depth, (block, depths, parameters) in members.items()
    ]
    caffe = [
        Entry(
            name=f"resnet50_{dataset}{'_fully_convolutional' if dense else ''}",
            family="resnet",
            description=f"TorchRay's residual network of 50 layers, {title}{'; scores at each place' if dense else ''}",
            parameters=23_508_096 + 2049 * classes,
            activations=resnet.ACTIVATIONS,
            classes=dataset,
            preprocessing=CAFFE,
            architecture=Architecture(
                functools.partial(resnet.ResNet, *members[50][:2], classes=classes, caffe=True, dense=dense), layouts.CAFFE_RESNET, sizes
            ),
        )
        for dataset, (title, classes) in _DATASETS.items()
        for dense in (False, True)
    ]
    return imagenet + caffe


ENTRIES: dict[str, Entry] = {entry.name: entry for entry in [*_scenes(), *_resnets()]}
