"""MobileNetV2 (Sandler et al., CVPR 2018) and MobileNetV3 (Howard et al., ICCV 2019)."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator

from extremal_jax.models.conversion import POINTWISE_KERNEL, Architecture, Layout, shifted
from extremal_jax.models.entry import IMAGENET, Entry
from extremal_jax.models.networks.efficientnet import (
    RELU6,
    Inverted,
    InvertedNetwork,
    Stages,
    Style,
    activations,
    divisible,
    first_blocks,
    timm_layout,
    torchvision_layout,
)
from extremal_jax.models.networks.layers import Activation, relu

HARD_SWISH = Activation("hard_swish")
_V2 = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
"""Expansion, features, number of blocks and stride of the first of them."""
_V3 = {
    "large": (
        (((16, 16, 3, 1),), False, relu),
        (((64, 24, 3, 2), (72, 24, 3, 1)), False, relu),
        (((72, 40, 5, 2), (120, 40, 5, 1), (120, 40, 5, 1)), True, relu),
        (((240, 80, 3, 2), (200, 80, 3, 1), (184, 80, 3, 1), (184, 80, 3, 1)), False, HARD_SWISH),
        (((480, 112, 3, 1), (672, 112, 3, 1)), True, HARD_SWISH),
        (((672, 160, 5, 2), (960, 160, 5, 1), (960, 160, 5, 1)), True, HARD_SWISH),
    ),
    "small": (
        (((16, 16, 3, 2),), True, relu),
        (((72, 24, 3, 2), (88, 24, 3, 1)), False, relu),
        (((96, 40, 5, 2), (240, 40, 5, 1), (240, 40, 5, 1)), True, HARD_SWISH),
        (((120, 48, 5, 1), (144, 48, 5, 1)), True, HARD_SWISH),
        (((288, 96, 5, 2), (576, 96, 5, 1), (576, 96, 5, 1)), True, HARD_SWISH),
    ),
}
"""The stages: the expanded features, features, size and stride of each block; squeeze-and-excitation or not; the activation."""


class MobileNet(InvertedNetwork):
    """(B, H, W, 3) -> (B, classes): an `InvertedNetwork`."""


def _stages_v2() -> Iterator[tuple[Inverted, ...]]:
    before = 32
    for expansion, after, depth, stride in _V2:
        rows = ((before, stride), *[(after, 1)] * (depth - 1))
        yield tuple(Inverted(features, expansion * features, after, 3, step, 0, RELU6) for features, step in rows)
        before = after


def _stages_v3(size: str) -> Iterator[tuple[Inverted, ...]]:
    before = 16
    for rows, squeeze, activation in _V3[size]:
        blocks = []
        for expanded, after, kernel, stride in rows:
            blocks.append(Inverted(before, expanded, after, kernel, stride, squeeze * divisible(expanded // 4), activation))
            before = after
        yield tuple(blocks)


def _torchvision_v2(stages: Stages) -> Layout:
    starts = first_blocks(stages)

    def project(found: re.Match[str]) -> str:
        stage, block = int(found[1]), int(found[2])
        index = len(stages[stage][block].layers) - 1 + (found[3] == "norm")
        return f"features.{1 + starts[stage] + block}.conv.{index}"

    return torchvision_layout(stages, (r"^stages\.(\d+)\.(\d+)\.project\.(conv|norm)", project), flat=True, block="conv")


def _layouts_v3(stages: Stages) -> tuple[Layout, ...]:
    last = f"blocks.{len(stages)}.0"
    return (
        torchvision_layout(stages, ("^hidden", "classifier.0"), ("^fc", "classifier.3"), flat=True),
        timm_layout(
            stages,
            (r"^head\.conv", f"{last}.conv"),
            (r"^head\.norm", f"{last}.bn1"),
            ("^hidden", "conv_head"),
            forms=((r"^hidden\.kernel$", POINTWISE_KERNEL), (r"\.var$", shifted(_TIMM_EPSILON - _V3_STYLE.epsilon))),
        ),
    )


_V3_STYLE = Style(epsilon=1e-3, activation=relu, gate=Activation("hard_sigmoid"))
_TIMM_EPSILON = 1e-5
_SIZES = {"classes": ("fc.bias", 0)}
_TIMM = {"timm": IMAGENET(crop=0.875, interpolation="bicubic")}


def _v2() -> Entry:
    stages = tuple(_stages_v2())
    return Entry(
        name="mobilenet_v2",
        description="MobileNetV2, ImageNet",
        parameters=3_504_872,
        activations=activations(len(stages)),
        preprocessing_by_publisher=_TIMM,
        architecture=Architecture(
            functools.partial(MobileNet, stages, 1280, activation=RELU6, style=Style()),
            (_torchvision_v2(stages), timm_layout(stages)),
            _SIZES,
        ),
    )


def _v3(size: str, parameters: int, hidden: int) -> Entry:
    stages = tuple(_stages_v3(size))
    width = 6 * stages[-1][-1].after
    return Entry(
        name=f"mobilenet_v3_{size}",
        description=f"MobileNetV3, {size}, ImageNet",
        parameters=parameters,
        activations=activations(len(stages), hidden=True),
        preprocessing_by_publisher=_TIMM,
        architecture=Architecture(
            functools.partial(MobileNet, stages, width, hidden, activation=HARD_SWISH, style=_V3_STYLE),
            _layouts_v3(stages),
            _SIZES,
        ),
    )


ENTRIES = (_v2(), _v3("small", 2_542_856, 1024), _v3("large", 5_483_032, 1280))
