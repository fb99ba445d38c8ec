"""Residual networks (He et al., CVPR 2016), and the Caffe ones that TorchRay uses."""

from __future__ import annotations

import functools
import itertools
import types
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import Array

from extremal_jax.models.conversion import BGR_KERNEL, Architecture, pytorch
from extremal_jax.models.entry import CAFFE, CAFFE_DATASETS, CAFFE_WHOLE, Entry, timm
from extremal_jax.models.networks.layers import ConvNorm, MaxPool, named

WIDTHS = (64, 128, 256, 512)
ACTIVATIONS = ("relu", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool")


class BasicBlock(nnx.Module):
    """relu(x + f(x)) with f two 3x3 convolutions."""

    expansion = 1

    def __init__(self, in_features: int, width: int, stride: int, *, early_stride: bool = False, rngs: nnx.Rngs):
        del early_stride  # the first convolution always has the stride
        self.conv1 = ConvNorm(in_features, width, 3, stride, rngs=rngs)
        self.conv2 = ConvNorm(width, width, 3, rngs=rngs)
        self.downsample = _shortcut(in_features, width, stride, rngs)

    def __call__(self, x: Array) -> Array:
        y = self.conv2(nnx.relu(self.conv1(x)))
        return nnx.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nnx.Module):
    """relu(x + f(x)) with f a 1x1, a 3x3 and a 1x1 convolution; `early_stride` gives the stride to the first instead of the second.

    The 3x3 convolution has `inner` times as many features as `width`, in groups.
    """

    expansion = 4

    def __init__(
        self, in_features: int, width: int, stride: int, *, early_stride: bool = False, groups: int = 1, inner: int = 1, rngs: nnx.Rngs
    ):
        first, second = (stride, 1) if early_stride else (1, stride)
        self.conv1 = ConvNorm(in_features, inner * width, 1, first, rngs=rngs)
        self.conv2 = ConvNorm(inner * width, inner * width, 3, second, groups=groups, rngs=rngs)
        self.conv3 = ConvNorm(inner * width, self.expansion * width, 1, rngs=rngs)
        self.downsample = _shortcut(in_features, self.expansion * width, stride, rngs)

    def __call__(self, x: Array) -> Array:
        y = self.conv3(nnx.relu(self.conv2(nnx.relu(self.conv1(x)))))
        return nnx.relu(y + (x if self.downsample is None else self.downsample(x)))


def _shortcut(in_features: int, out_features: int, stride: int, rngs: nnx.Rngs) -> ConvNorm | None:
    """A 1x1 convolution if the block changes the shape."""
    return None if stride == 1 and in_features == out_features else ConvNorm(in_features, out_features, 1, stride, rngs=rngs)


Block = type[BasicBlock] | type[Bottleneck]
Options = Mapping[str, int]


class ResNet(nnx.Module):
    """(B, H, W, 3) -> (B, classes).

    Args:
      block: the kind of block.
      depths: the number of blocks in each of the four layers.
      classes: the number of scores.
      caffe: a bias in the first convolution, a max-pool that rounds up instead of padding, and early strides, as in Caffe.
      dense: keep the spatial axes: (B, h, w, classes).
      window: for a dense network, the side of the windows that the last pool averages, with stride 1; None: the whole map, so
        that h = w = 1. A smaller map is pooled as a whole.
      options: of the blocks: `groups` and `inner` of bottlenecks.
    """

    def __init__(
        self,
        block: Block,
        depths: Sequence[int],
        classes: int = 1000,
        *,
        caffe: bool = False,
        dense: bool = False,
        window: int | None = None,
        options: Options = types.MappingProxyType({}),
        rngs: nnx.Rngs,
    ):
        self.dense, self.window = dense, window
        self.conv1 = ConvNorm(3, WIDTHS[0], 7, 2, bias=caffe, rngs=rngs)
        self.maxpool = MaxPool(3, 2, ceil=True) if caffe else MaxPool(3, 2, padding=1)
        widths = (WIDTHS[0], *(block.expansion * width for width in WIDTHS))
        for index, (depth, width, (before, after)) in enumerate(zip(depths, WIDTHS, itertools.pairwise(widths), strict=True)):
            first = block(before, width, 1 if index == 0 else 2, early_stride=caffe, **options, rngs=rngs)
            others = [block(after, width, 1, early_stride=caffe, **options, rngs=rngs) for _ in range(depth - 1)]
            setattr(self, f"layer{index + 1}", nnx.List([first, *others]))
        self.fc = nnx.Linear(widths[-1], classes, rngs=rngs)

    def __call__(self, images: Array) -> Array:
        x = named(nnx.relu(self.conv1(images)), "relu")
        x = named(self.maxpool(x), "maxpool")
        for name in ("layer1", "layer2", "layer3", "layer4"):
            for block in getattr(self, name):
                x = block(x)
            x = named(x, name)
        return self.fc(named(self._pooled(x), "avgpool"))

    def _pooled(self, x: Array) -> Array:
        if self.window is None:
            return jnp.mean(x, axis=(1, 2), keepdims=self.dense)
        height, width = (min(self.window, length) for length in x.shape[1:3])
        return nnx.avg_pool(x, (height, width))


_NAMES = (
    (r"downsample\.conv", "downsample.0"),
    (r"downsample\.norm", "downsample.1"),
    (r"conv(\d)\.norm", r"bn\1"),
    (r"conv(\d)\.conv", r"conv\1"),
)
LAYOUTS = (pytorch("torchvision and timm", *_NAMES),)
CAFFE_LAYOUTS = (
    pytorch(
        "TorchRay",
        *_NAMES,
        (r"(bn\d|downsample\.1)\.(mean|var)$", r"\1.0.\2"),  # Caffe normalises and scales in two layers
        (r"(bn\d|downsample\.1)\.(scale|bias)$", r"\1.1.\2"),
        (r"downsample\.0", "downsample.0.0"),
        forms=((r"^conv1\.conv\.kernel$", BGR_KERNEL),),
    ),
)

_CAFFE_FORMS: dict[str, tuple[dict[str, Any], str]] = {  # what the name ends in, the network's arguments, and the description
    "": ({}, ""),
    "_fully_convolutional": ({"dense": True}, "; scores of the whole image, at one position"),
    "_sliding": ({"dense": True, "window": 7}, "; scores of each window of 7x7 positions"),
}
_SIZES = {"classes": ("fc.bias", 0)}
_MEMBERS: dict[int, tuple[Block, tuple[int, ...], int]] = {
    18: (BasicBlock, (2, 2, 2, 2), 11_689_512),
    34: (BasicBlock, (3, 4, 6, 3), 21_797_672),
    50: (Bottleneck, (3, 4, 6, 3), 25_557_032),
    101: (Bottleneck, (3, 4, 23, 3), 44_549_160),
    152: (Bottleneck, (3, 8, 36, 3), 60_192_808),
}
_WIDE: dict[str, tuple[str, Options, int]] = {
    "resnext50_32x4d": ("ResNeXt of 50 layers, 32 groups of 4 features", {"groups": 32, "inner": 2}, 25_028_904),
    "wide_resnet50_2": ("residual network of 50 layers, twice as wide inside", {"inner": 2}, 68_883_240),
}
_PINS = {
    18: ("bbd144b3e5565108aad885f145491d11bc6ce807", "694f673df6520a3158624e8a89af086f59923ee4cd7436fe5bc3bc71d295ad81"),
    34: ("1b7b21cca82ff974d341713f777bf740c2db38c4", "0bb82595a564991a9d424708b33f5d843f5aaed7f6c0886ff10849ff97022235"),
    50: ("78f3ecfdb38e06d9b8397f662e7ab8fee96026fa", "5d061a3c593d795bfe682d9b152bafbcf550579873492def3515b46db1189888"),
    152: ("1f8fa579af406a6f10e457a6dce6909c9157a70f",),
}

ENTRIES = (
    *(
        Entry(
            name=f"resnet{depth}",
            description=f"residual network of {depth} layers, ImageNet",
            parameters=parameters,
            activations=ACTIVATIONS,
            architecture=Architecture(functools.partial(ResNet, block, depths), LAYOUTS, _SIZES),
            hub=timm(f"resnet{depth}.tv_in1k", *_PINS.get(depth, ())),
        )
        for depth, (block, depths, parameters) in _MEMBERS.items()
    ),
    *(
        Entry(
            name=name,
            description=f"{description}, ImageNet",
            parameters=parameters,
            activations=ACTIVATIONS,
            architecture=Architecture(functools.partial(ResNet, *_MEMBERS[50][:2], options=options), LAYOUTS, _SIZES),
        )
        for name, (description, options, parameters) in _WIDE.items()
    ),
    *(
        Entry(
            name=f"resnet50_{dataset}{ending}",
            description=f"TorchRay's residual network of 50 layers, {title}{note}",
            parameters=23_508_096 + 2049 * classes,
            activations=ACTIVATIONS,
            classes=dataset,
            preprocessing=CAFFE_WHOLE if form else CAFFE,
            architecture=Architecture(
                functools.partial(ResNet, *_MEMBERS[50][:2], classes=classes, caffe=True, **form), CAFFE_LAYOUTS, _SIZES
            ),
        )
        for dataset, (title, classes) in CAFFE_DATASETS.items()
        for ending, (form, note) in _CAFFE_FORMS.items()
    ),
)
