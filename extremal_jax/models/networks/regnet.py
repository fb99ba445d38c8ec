"""RegNets of the kind Y (Radosavovic et al., CVPR 2020)."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from flax import nnx
from jax import Array

from extremal_jax.models.conversion import POINTWISE_KERNEL, Architecture, pytorch
from extremal_jax.models.entry import IMAGENET, Entry
from extremal_jax.models.networks.layers import ConvNorm, SqueezeExcitation, named, relu

STEM = 32
ACTIVATIONS = ("stem", "stages.0", "stages.1", "stages.2", "stages.3", "avgpool")


class Block(nnx.Module):
    """relu(x + f(x)) with f a 1x1, a grouped 3x3, a squeeze-and-excitation and a 1x1."""

    def __init__(self, before: int, width: int, stride: int, group: int, *, rngs: nnx.Rngs):
        layer = functools.partial(ConvNorm, activation=relu, rngs=rngs)
        self.conv1 = layer(before, width, 1)
        self.conv2 = layer(width, width, 3, stride, groups=width // group)
        self.squeeze = SqueezeExcitation(width, before // 4, rngs=rngs)
        self.conv3 = ConvNorm(width, width, 1, rngs=rngs)
        self.downsample = None if stride == 1 and before == width else ConvNorm(before, width, 1, stride, rngs=rngs)

    def __call__(self, x: Array) -> Array:
        y = self.conv3(self.squeeze(self.conv2(self.conv1(x))))
        return relu(y + (x if self.downsample is None else self.downsample(x)))


class RegNet(nnx.Module):
    """(B, H, W, 3) -> (B, classes).

    Args:
      depths: the number of blocks in each of the four stages.
      group: the number of features in a group of the 3x3 convolutions.
      first, second, third, fourth: the number of features in the stages.
      classes: the number of scores.
    """

    def __init__(
        self,
        depths: Sequence[int],
        group: int,
        first: int,
        second: int,
        third: int,
        fourth: int,
        classes: int = 1000,
        *,
        rngs: nnx.Rngs,
    ):
        self.stem = ConvNorm(3, STEM, 3, 2, activation=relu, rngs=rngs)
        before, stages = STEM, []
        for width, depth in zip((first, second, third, fourth), depths, strict=True):
            if width % group:
                raise ValueError(f"the features of a stage must be a multiple of {group}, got {width}")
            shapes = ((before, 2), *[(width, 1)] * (depth - 1))
            stages.append(nnx.List(Block(features, width, stride, group, rngs=rngs) for features, stride in shapes))
            before = width
        self.stages = nnx.List(stages)
        self.fc = nnx.Linear(before, classes, rngs=rngs)

    def __call__(self, images: Array) -> Array:
        x = named(self.stem(images), "stem")
        for index, stage in enumerate(self.stages):
            for block in stage:
                x = block(x)
            x = named(x, f"stages.{index}")
        return self.fc(named(x.mean(axis=(1, 2)), "avgpool"))


def _torchvision_block(found: re.Match[str]) -> str:
    stage = int(found[1]) + 1
    return f"trunk_output.block{stage}.block{stage}-{found[2]}"


_SQUEEZE = ((r"squeeze\.reduce", "se.fc1"), (r"squeeze\.expand", "se.fc2"))
_FORMS = ((r"squeeze\.(reduce|expand)\.kernel$", POINTWISE_KERNEL),)
LAYOUTS = (
    pytorch(
        "torchvision",
        (r"^stages\.(\d)\.(\d+)", _torchvision_block),
        *_SQUEEZE,
        (r"\.se\.", ".f.se."),
        (r"\.conv([123])\.", lambda found: f".f.{'abc'[int(found[1]) - 1]}."),
        ("downsample", "proj"),
        (r"\.conv\.kernel$", ".0.kernel"),
        (r"\.norm\.(\w+)$", r".1.\1"),
        forms=_FORMS,
    ),
    pytorch(
        "timm",
        (r"^stages\.(\d)\.(\d+)", lambda found: f"s{int(found[1]) + 1}.b{int(found[2]) + 1}"),
        *_SQUEEZE,
        (r"\.norm\.", ".bn."),
        ("^fc", "head.fc"),
        forms=_FORMS,
    ),
)
_WIDTHS = {name: (f"stages.{index}.0.conv3.norm.bias", 0) for index, name in enumerate(("first", "second", "third", "fourth"))}


class Member(NamedTuple):
    """The sizes of a network. timm's files of 800 MF and 8 GF have other widths, which are read from the file."""

    title: str
    depths: tuple[int, int, int, int]
    widths: tuple[int, int, int, int]
    group: int
    parameters: int

    def build(self) -> Callable[..., RegNet]:
        """Makes the network; the widths can be set."""
        widths: dict[str, Any] = dict(zip(_WIDTHS, self.widths, strict=True))
        return functools.partial(RegNet, self.depths, self.group, **widths)


_MEMBERS = {
    "400mf": Member("400 MF", (1, 3, 6, 6), (48, 104, 208, 440), 8, 4_344_144),
    "800mf": Member("800 MF", (1, 3, 8, 2), (64, 144, 320, 784), 16, 6_432_512),
    "1_6gf": Member("1.6 GF", (2, 6, 17, 2), (48, 120, 336, 888), 24, 11_202_430),
    "3_2gf": Member("3.2 GF", (2, 5, 13, 1), (72, 216, 576, 1512), 24, 19_436_338),
    "8gf": Member("8 GF", (2, 4, 10, 1), (224, 448, 896, 2016), 56, 39_381_472),
}

ENTRIES = tuple(
    Entry(
        name=f"regnet_y_{name}",
        description=f"RegNet-Y, {member.title}, ImageNet",
        parameters=member.parameters,
        activations=ACTIVATIONS,
        preprocessing_by_publisher={"timm": IMAGENET(crop=0.875, interpolation="bicubic")},
        architecture=Architecture(member.build(), LAYOUTS, {"classes": ("fc.bias", 0), **_WIDTHS}),
    )
    for name, member in _MEMBERS.items()
)
