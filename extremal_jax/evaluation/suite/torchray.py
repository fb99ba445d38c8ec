"""The settings of the methods in TorchRay's table of the pointing game, for its VGG-16 and ResNet-50."""

from __future__ import annotations

import types
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from extremal_jax.attribution import METHODS
from extremal_jax.boundary.models import Model
from extremal_jax.evaluation.suite.pairs import maps_of_pairs
from extremal_jax.ground.filters import resize
from extremal_jax.ground.pytrees import AnyArray


class Names(NamedTuple):
    """The name of a layer in each network."""

    vgg16: str
    resnet: str


class Settings(NamedTuple):
    """The settings of a method.

    Attributes:
      options: of the method's function.
      layers: the options that are layers.
      smooth: the standard deviation of the blur of a map, as a share of its longer side.
      square: whether the method sees the image squeezed to a square, of its shorter side.
    """

    options: Mapping[str, Any]
    layers: Mapping[str, Names] = types.MappingProxyType({})
    smooth: float = 0.0
    square: bool = False


_POOL4 = Names("features.23", "layer3")
_BEFORE_POOL5 = Names("features.29", "layer4")
_BEFORE_HEAD = Names("classifier.4", "avgpool")
_WEIGHTED = {"positions": "softmax"}
SETTINGS = {
    **dict.fromkeys(("gradient", "deconvnet", "guided_backprop"), Settings(_WEIGHTED, smooth=0.02)),
    "grad_cam": Settings(_WEIGHTED, {"at": _BEFORE_POOL5}),
    "excitation_backprop": Settings(_WEIGHTED, {"at": _POOL4}),
    "contrastive_excitation_backprop": Settings(_WEIGHTED, {"at": _POOL4, "contrast_at": _BEFORE_HEAD}),
    "rise": Settings({"score": "sigmoid", "num_masks": 8000}, square=True),
}


def layers(method: str, known: Collection[str]) -> dict[str, str]:
    """The layers that a method takes of a network, by its options.

    Args:
      method: a key of `SETTINGS`.
      known: the names of the network's layers.

    Raises:
      ValueError: if the method takes layers, and the network is neither a VGG-16 nor a ResNet.

    Example:
      >>> layers("grad_cam", ["layer1", "layer2", "layer3", "layer4", "avgpool"])
      {'at': 'layer4'}
    """
    wanted = SETTINGS[method].layers
    if not wanted:
        return {}
    if {"layer3", "layer4", "avgpool"} <= set(known):
        return {option: names.resnet for option, names in wanted.items()}
    if {"features.23", "features.30", "classifier.4"} <= set(known) and "features.31" not in known:
        return {option: names.vgg16 for option, names in wanted.items()}
    raise ValueError(
        f"{method}:torchray takes layers of VGG-16 or ResNet, as TorchRay's table does, and the layers here are"
        f" {', '.join(known) or 'none'}; {method} finds layers of any model"
    )


def maps(method: str, model: Model, images: AnyArray, targets: AnyArray, key: Array, known: Collection[str]) -> Float[Array, "N H W"]:
    """A method's maps with TorchRay's settings.

    Args:
      method: a key of `SETTINGS`.
      model, targets: as methods take them.
      images: (N, H, W, C).
      key: of random masks.
      known: the names of the model's layers.
    """
    settings, (height, width) = SETTINGS[method], images.shape[1:3]
    options = {**settings.options, **layers(method, known), "resize": (height, width), "key": key}
    options["smooth"] = settings.smooth * max(height, width) / min(height, width)
    shown = resize(jnp.asarray(images), (min(height, width),) * 2) if settings.square else images
    return maps_of_pairs(METHODS[method], model, shown, targets, **METHODS[method].complete(options, ()))
