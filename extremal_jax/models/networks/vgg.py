"""VGG networks (Simonyan and Zisserman, ICLR 2015), and the Caffe ones that TorchRay uses."""

from __future__ import annotations

import functools
from collections.abc import Sequence

from flax import nnx

from extremal_jax.models.conversion import BGR_KERNEL, FLAT_KERNEL, POINTWISE_KERNEL, Architecture
from extremal_jax.models.entry import CAFFE, CAFFE_DATASETS, CAFFE_WHOLE, Entry, timm
from extremal_jax.models.networks.layers import Layer, MaxPool, WindowClassifier, conv, relu, window_layout

WIDTHS = (64, 128, 256, 512, 512)


class VGG(WindowClassifier):
    """(B, H, W, 3) -> (B, classes).

    Args:
      depths: the number of convolutions in each of the five stages.
      classes: the number of scores.
      norm: add batch norm after each convolution.
      caffe: use max-pools that round up, as in Caffe.
      dense: slide the classifier over the map instead of resizing the map to its window: (B, h, w, classes).
    """

    def __init__(
        self, depths: Sequence[int], classes: int = 1000, *, norm: bool = False, caffe: bool = False, dense: bool = False, rngs: nnx.Rngs
    ):
        layers: list[Layer] = []
        before = 3
        for depth, width in zip(depths, WIDTHS, strict=True):
            for _ in range(depth):
                layers.append(conv(before, width, 3, rngs=rngs))
                if norm:
                    layers.append(nnx.BatchNorm(width, rngs=rngs))
                layers.append(relu)
                before = width
            layers.append(MaxPool(2, 2, ceil=caffe))
        super().__init__(layers, 7, before, classes, first=0, dense=dense, rngs=rngs)


def activations(depths: Sequence[int], *, norm: bool = False, dense: bool = False) -> tuple[str, ...]:
    """The names of the inner layers of such a network."""
    features = sum(depths) * (3 if norm else 2) + len(depths)
    pool = () if dense else ("avgpool",)
    return (*(f"features.{i}" for i in range(features)), *pool, *(f"classifier.{i}" for i in (0, 1, 3, 4)))


_POINTWISE = (r"^fc2\.kernel$", POINTWISE_KERNEL)
LAYOUTS = (
    window_layout("torchvision", ("classifier.0", "classifier.3", "classifier.6"), (r"^fc1\.kernel$", FLAT_KERNEL)),
    window_layout("timm", ("pre_logits.fc1", "pre_logits.fc2", "head.fc"), _POINTWISE),
)
CAFFE_LAYOUTS = (
    window_layout(
        "TorchRay",
        ("classifier.0", "classifier.2", "classifier.4"),
        (r"^features\.0\.kernel$", BGR_KERNEL),
        _POINTWISE,
        (r"^fc3\.kernel$", POINTWISE_KERNEL),
    ),
)

_SIZES = {"classes": ("fc3.bias", 0)}
_MEMBERS = {
    11: ((1, 1, 2, 2, 2), 132_863_336),
    13: ((2, 2, 2, 2, 2), 133_047_848),
    16: ((2, 2, 3, 3, 3), 138_357_544),
    19: ((2, 2, 4, 4, 4), 143_667_240),
}
_PINS = {
    "vgg11": ("38b46049b490ec2bdb6d4d32b8354c74977f3347", "682c023808812148d4e60c76d80ad83dbeaf5d50eb1a952a0b836895003151e5"),
    "vgg11_bn": ("1eb350bbb712e01a71a259d3296ac996539a9f0e",),
    "vgg13": ("398c5a92d29787ceca04d7b45c8a07efd8f934f7",),
    "vgg13_bn": ("ed6e64d6167edbe08697cb4d7ceaef5077972131",),
    "vgg16": ("b8d8aa2dd860af9233c8c67385a8097fd6c35d3f", "57b026918159a6bf9faf8405c3a551903768e7138989d9c6224a14227203fad8"),
    "vgg16_bn": ("e00c01e7cee168262dcba6428dc4a8f41e27e965",),
    "vgg19": ("128d4708565b3a414bcbb9bbad440b2fe37b9f18",),
    "vgg19_bn": ("857683a806d7bac35f54d8fc1ed0331536e7e68f",),
}

ENTRIES = (
    *(
        Entry(
            name=(name := f"vgg{depth}{'_bn' if norm else ''}"),
            description=f"VGG network of {depth} layers{', with batch norm' if norm else ''}, ImageNet",
            parameters=parameters + norm * 2 * sum(depth * width for depth, width in zip(depths, WIDTHS, strict=True)),
            activations=activations(depths, norm=norm),
            architecture=Architecture(functools.partial(VGG, depths, norm=norm), LAYOUTS, _SIZES),
            hub=timm(f"{name}.tv_in1k", *_PINS[name]),
        )
        for depth, (depths, parameters) in _MEMBERS.items()
        for norm in (False, True)
    ),
    *(
        Entry(
            name=f"vgg16_{dataset}{'_fully_convolutional' if dense else ''}",
            description=f"TorchRay's VGG network of 16 layers, {title}{'; slides over the image' if dense else ''}",
            parameters=134_260_544 + 4097 * classes,
            activations=activations(_MEMBERS[16][0], dense=dense),
            classes=dataset,
            preprocessing=CAFFE_WHOLE if dense else CAFFE,
            architecture=Architecture(
                functools.partial(VGG, _MEMBERS[16][0], classes=classes, caffe=True, dense=dense), CAFFE_LAYOUTS, _SIZES
            ),
        )
        for dataset, (title, classes) in CAFFE_DATASETS.items()
        for dense in (False, True)
    ),
)
