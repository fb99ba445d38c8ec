"""The methods against TorchRay 1.0.0.2, recorded on two small classifiers: every map within 1e-4 of its largest entry."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from extremal_jax import attribution
from golden_data import torchray

GOLDEN = {name: torchray(f"methods_{name}") for name in ("plain", "residual")}
each_network = pytest.mark.parametrize("network", GOLDEN)


def convolved(weights: Any, name: Any, x: Any, stride: Any = 1) -> Any:
    kernel = jnp.transpose(weights[f"{name}.weight"], (2, 3, 1, 0))
    pad = kernel.shape[0] // 2
    x = lax.conv_general_dilated(x, kernel, (stride, stride), [(pad, pad)] * 2, dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return x + weights[f"{name}.bias"] if f"{name}.bias" in weights else x


def max_pooled(x: Any, size: Any, stride: Any, padding: Any = 0) -> Any:
    pads = [(0, 0), (padding, padding), (padding, padding), (0, 0)]
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, size, size, 1), (1, stride, stride, 1), pads)


def normed(weights: Any, name: Any, x: Any) -> Any:
    mean, var, scale, bias = (weights[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    return (x - mean) / jnp.sqrt(var + 1e-5) * scale + bias


def plain(weights: Any, x: Any) -> Any:
    for index, name in enumerate(("features.0", "features.3", "features.6")):
        x = jax.nn.relu(convolved(weights, name, x))
        if index < 2:
            x = checkpoint_name(max_pooled(x, 2, 2), f"features.{3 * index + 2}")
    x = jnp.transpose(x, (0, 3, 1, 2)).reshape(len(x), -1)  # the order of the recorded weights
    x = checkpoint_name(jax.nn.relu(x @ weights["classifier.0.weight"].T + weights["classifier.0.bias"]), "classifier.1")
    return x @ weights["classifier.2.weight"].T + weights["classifier.2.bias"]


def residual(weights: Any, x: Any) -> Any:
    x = max_pooled(jax.nn.relu(normed(weights, "bn1", convolved(weights, "conv1", x, 2))), 3, 2, 1)
    y = jax.nn.relu(normed(weights, "abn", convolved(weights, "a", x)))
    y = normed(weights, "bbn", convolved(weights, "b", y, 2))
    x = checkpoint_name(jax.nn.relu(y + normed(weights, "sbn", convolved(weights, "skip", x, 2))), "layer")
    pool = checkpoint_name(lax.reduce_window(x, 0.0, lax.add, (1, 5, 6, 1), (1, 1, 1, 1), "VALID") / 30, "pool")
    return convolved(weights, "fc", pool)


def network_and_image(network: Any) -> Any:
    golden = GOLDEN[network]
    weights = {key.removeprefix("weights/"): jnp.asarray(value) for key, value in golden.items() if key.startswith("weights/")}
    model = jax.tree_util.Partial({"plain": plain, "residual": residual}[network], weights)
    return model, jnp.moveaxis(jnp.asarray(golden["image"]), 0, -1)


def close(actual: Any, expected: Any) -> None:
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@each_network
def test_the_networks_are_the_recorded_ones(network: Any) -> None:
    model, image = network_and_image(network)
    np.testing.assert_allclose(jax.jit(model)(image[None]).ravel(), GOLDEN[network]["output"].ravel(), rtol=1e-4)


MAPS: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
    "gradient": (attribution.gradient, ()),
    "guided_backprop": (attribution.guided_backprop, ()),
    "deconvnet": (attribution.deconvnet, ()),
    "gradient_at_layer": (attribution.gradient, ("at",)),
    "grad_cam": (attribution.grad_cam, ("at",)),
    "linear_approx": (attribution.linear_approx, ("at",)),
    "excitation_backprop": (attribution.excitation_backprop, ("at",)),
    "contrastive_excitation_backprop": (attribution.contrastive_excitation_backprop, ("at", "contrast_at")),
    "excitation_backprop_image": (attribution.excitation_backprop, ()),
}


@functools.cache
def maps(network: Any) -> Any:
    """All maps of a network: one program, since compiling takes longer than all the rest."""
    model, image = network_and_image(network)
    golden = GOLDEN[network]
    layers = {"at": str(golden["saliency_layer"]), "contrast_at": str(golden["contrast_layer"])}

    def explain(image: Any) -> Any:
        return {
            name: method(model, image, int(golden["target"]), **{option: layers[option] for option in options})
            for name, (method, options) in MAPS.items()
        }

    return jax.jit(explain)(image)


@each_network
@pytest.mark.parametrize("name", MAPS)
def test_maps(network: Any, name: Any) -> None:
    close(maps(network)[name], GOLDEN[network][name])


@each_network
def test_rise(network: Any) -> None:
    """All classes, with the recorded masks."""
    model, image = network_and_image(network)
    masks = GOLDEN[network]["rise_masks"].astype(np.float32)
    close(attribution.rise(model, image, masks=masks, score="sigmoid", chunk_size=16), GOLDEN[network]["rise"])
