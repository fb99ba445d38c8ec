"""What is known of each classifier without loading it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field

from extremal_jax.data.scenes import CLASSES
from extremal_jax.models import layouts
from extremal_jax.models.conversion import Architecture
from extremal_jax.models.hub import HubFile
from extremal_jax.models.networks import alexnet, convnext, densenet, googlenet, resnet, scenes, vgg, vit
from extremal_jax.models.preprocessing import Preprocessing
from extremal_jax.models.published import PUBLISHED


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

    @property
    def hub(self) -> HubFile | None:
        """Its published weights on the Hugging Face hub; None: there are none."""
        return PUBLISHED.get(self.name)

    @property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of its input, in pixels; where pictures are not cropped, the smallest that they are scaled to."""
        return self.preprocessing.size


IMAGENET = functools.partial(Preprocessing, (224, 224), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
CAFFE = Preprocessing(
    (224, 224), tuple(mean / 255 for mean in (123.68, 116.779, 103.939)), (1 / 255,) * 3, antialias=False
)  # [0, 255] less the mean
CAFFE_WHOLE = dataclasses.replace(CAFFE, crop=None)
_DATASETS = {"voc": ("PASCAL VOC 2007", 20), "coco": ("COCO 2014", 80)}


def _scenes() -> list[Entry]:
    return [
        Entry(
            name="scenes",
            family="scenes",
            description="26 kinds of emoji objects in generated scenes; packaged, needs no network",
            parameters=871_770,
            activations=("stem", "blocks.0", "blocks.1", "blocks.2", "blocks.3", "pool"),
            classes="scenes",
            preprocessing=Preprocessing((scenes.SIZE,) * 2, (scenes.MEAN,) * 3, (scenes.STD,) * 3),
            architecture=Architecture(
                functools.partial(scenes.ScenesNetwork, classes=len(CLASSES)), layouts.SCENES, {"classes": ("head.bias", 0)}
            ),
        )
    ]


def _alexnet() -> list[Entry]:
    return [
        Entry(
            name="alexnet",
            family="alexnet",
            description="AlexNet, ImageNet",
            parameters=61_100_840,
            activations=alexnet.ACTIVATIONS,
            classes="imagenet",
            preprocessing=IMAGENET(crop=0.875),
            architecture=Architecture(alexnet.AlexNet, layouts.ALEXNET, {"classes": ("fc3.bias", 0)}),
        )
    ]


def _vggs() -> list[Entry]:
    members = {
        11: ((1, 1, 2, 2, 2), 132_863_336),
        13: ((2, 2, 2, 2, 2), 133_047_848),
        16: ((2, 2, 3, 3, 3), 138_357_544),
        19: ((2, 2, 4, 4, 4), 143_667_240),
    }
    sizes = {"classes": ("fc3.bias", 0)}
    imagenet = [
        Entry(
            name=f"vgg{depth}{'_bn' if norm else ''}",
            family="vgg",
            description=f"VGG network of {depth} layers{', with batch norm' if norm else ''}, ImageNet",
            parameters=parameters + norm * 2 * sum(depth * width for depth, width in zip(depths, vgg.WIDTHS, strict=True)),
            activations=vgg.activations(depths, norm=norm),
            classes="imagenet",
            preprocessing=IMAGENET(crop=0.875),
            architecture=Architecture(functools.partial(vgg.VGG, depths, norm=norm), layouts.VGG, sizes),
        )
        for depth, (depths, parameters) in members.items()
        for norm in (False, True)
    ]
    depths = members[16][0]
    caffe = [
        Entry(
            name=f"vgg16_{dataset}{'_fully_convolutional' if dense else ''}",
            family="vgg",
            description=f"TorchRay's VGG network of 16 layers, {title}{'; slides over the image' if dense else ''}",
            parameters=134_260_544 + 4097 * classes,
            activations=vgg.activations(depths, dense=dense),
            classes=dataset,
            preprocessing=CAFFE_WHOLE if dense else CAFFE,
            architecture=Architecture(
                functools.partial(vgg.VGG, depths, classes=classes, caffe=True, dense=dense), layouts.CAFFE_VGG, sizes
            ),
        )
        for dataset, (title, classes) in _DATASETS.items()
        for dense in (False, True)
    ]
    return imagenet + caffe


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
            preprocessing=CAFFE_WHOLE if dense else CAFFE,
            architecture=Architecture(
                functools.partial(resnet.ResNet, *members[50][:2], classes=classes, caffe=True, dense=dense), layouts.CAFFE_RESNET, sizes
            ),
        )
        for dataset, (title, classes) in _DATASETS.items()
        for dense in (False, True)
    ]
    return imagenet + caffe


def _googlenet() -> list[Entry]:
    return [
        Entry(
            name="googlenet",
            family="googlenet",
            description="GoogLeNet, ImageNet",
            parameters=6_624_904,
            activations=googlenet.ACTIVATIONS,
            classes="imagenet",
            preprocessing=Preprocessing((224, 224), (0.5,) * 3, (0.5,) * 3, crop=0.875),  # torchvision's network does that to its input
            architecture=Architecture(googlenet.GoogLeNet, layouts.GOOGLENET, {"classes": ("fc.bias", 0)}),
        )
    ]


def _densenets() -> list[Entry]:
    members = {
        121: ((6, 12, 24, 16), 7_978_856),
        169: ((6, 12, 32, 32), 14_149_480),
        201: ((6, 12, 48, 32), 20_013_928),
    }
    return [
        Entry(
            name=f"densenet{depth}",
            family="densenet",
            description=f"densely connected network of {depth} layers, ImageNet",
            parameters=parameters,
            activations=densenet.ACTIVATIONS,
            classes="imagenet",
            preprocessing=IMAGENET(crop=0.875),
            architecture=Architecture(functools.partial(densenet.DenseNet, depths), layouts.DENSENET, {"classes": ("classifier.bias", 0)}),
        )
        for depth, (depths, parameters) in members.items()
    ]


def _convnexts() -> list[Entry]:
    members = {
        "tiny": ((3, 3, 9, 3), (96, 192, 384, 768), 28_589_128, 236),
        "small": ((3, 3, 27, 3), (96, 192, 384, 768), 50_223_688, 230),
        "base": ((3, 3, 27, 3), (128, 256, 512, 1024), 88_591_464, 232),
    }
    return [
        Entry(
            name=f"convnext_{size}",
            family="convnext",
            description=f"ConvNeXt, {size}, ImageNet",
            parameters=parameters,
            activations=convnext.ACTIVATIONS,
            classes="imagenet",
            preprocessing=IMAGENET(crop=0.875, interpolation="bicubic"),
            preprocessing_by_publisher={"torchvision": IMAGENET(crop=224 / scaled)},
            architecture=Architecture(functools.partial(convnext.ConvNeXt, depths, widths), layouts.CONVNEXT, {"classes": ("fc.bias", 0)}),
        )
        for size, (depths, widths, parameters, scaled) in members.items()
    ]


def _vits() -> list[Entry]:
    halves = Preprocessing((224, 224), (0.5,) * 3, (0.5,) * 3, crop=0.9, interpolation="bicubic")
    torchvision = IMAGENET(crop=0.875)
    members = {
        "vit_s_16": ("vision transformer, small", 384, halves),
        "vit_b_16": ("vision transformer, base", 768, halves),
        "deit_s_16": ("DeiT, small", 384, IMAGENET(crop=0.9, interpolation="bicubic")),
        "deit_b_16": ("DeiT, base", 768, IMAGENET(crop=0.9, interpolation="bicubic")),
    }
    return [
        Entry(
            name=name,
            family="vit",
            description=f"{description}, patches of 16x16 pixels, ImageNet",
            parameters={384: 22_050_664, 768: 86_567_656}[width],
            activations=vit.activations(),
            classes="imagenet",
            preprocessing=preprocessing,
            preprocessing_by_publisher={layout.publisher: torchvision for layout in layouts.VIT if "torchvision" in layout.publisher},
            architecture=Architecture(
                functools.partial(vit.ViT, width), layouts.VIT, {"classes": ("head.bias", 0), "positions": ("pos_embed", 1)}
            ),
        )
        for name, (description, width, preprocessing) in members.items()
    ]


ENTRIES: dict[str, Entry] = {
    entry.name: entry for entry in [*_scenes(), *_alexnet(), *_vggs(), *_resnets(), *_googlenet(), *_densenets(), *_convnexts(), *_vits()]
}
