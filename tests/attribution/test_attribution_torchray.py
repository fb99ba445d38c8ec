"""The methods against TorchRay 1.0.0.2, recorded on two small classifiers: every map within 1e-4 of its largest entry."""

from __future__ import annotations

import functools
import math
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

GOLDEN = {name: torchray(f"methods_{name}") for name in ("plain", "residual", "dense")}
each_network = pytest.mark.parametrize("network", ["plain", "residual"])


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


def residual(weights: Any, x: Any, window: tuple[int, int] = (5, 6)) -> Any:
    x = max_pooled(jax.nn.relu(normed(weights, "bn1", convolved(weights, "conv1", x, 2))), 3, 2, 1)
    y = jax.nn.relu(normed(weights, "abn", convolved(weights, "a", x)))
    y = normed(weights, "bbn", convolved(weights, "b", y, 2))
    x = checkpoint_name(jax.nn.relu(y + normed(weights, "sbn", convolved(weights, "skip", x, 2))), "layer")
    pool = lax.reduce_window(x, 0.0, lax.add, (1, *window, 1), (1, 1, 1, 1), "VALID") / math.prod(window)
    return convolved(weights, "fc", checkpoint_name(pool, "pool"))


def dense(weights: Any, x: Any) -> Any:
    """Scores at 3x4 positions."""
    return residual(weights, x, (3, 3))


def network_and_image(network: Any) -> Any:
    golden = GOLDEN[network]
    weights = {key.removeprefix("weights/"): jnp.asarray(value) for key, value in golden.items() if key.startswith("weights/")}
    model = jax.tree_util.Partial({"plain": plain, "residual": residual, "dense": dense}[network], weights)
    return model, jnp.moveaxis(jnp.asarray(golden["image"]), 0, -1)


def close(actual: Any, expected: Any) -> None:
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("network", GOLDEN)
def test_the_networks_are_the_recorded_ones(network: Any) -> None:
    model, image = network_and_image(network)
    expected = GOLDEN[network]["output"]
    scores = np.moveaxis(jax.jit(model)(image[None]), -1, 1)
    np.testing.assert_allclose(scores.ravel(), expected.ravel(), rtol=1e-4, atol=1e-4 * np.abs(expected).max())


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


POINTING: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("gradient", "guided_backprop", "deconvnet"), ()),
    **dict.fromkeys(("grad_cam", "excitation_backprop"), ("at",)),
    "contrastive_excitation_backprop": ("at", "contrast_at"),
}


@pytest.mark.parametrize("name", POINTING)
def test_maps_of_scores_at_several_positions(name: Any) -> None:
    """As TorchRay's table of the pointing game has them: weighted by the softmax over positions, enlarged, and smoothed."""
    model, image = network_and_image("dense")
    golden = GOLDEN["dense"]
    layers = {"at": str(golden["saliency_layer"]), "contrast_at": str(golden["contrast_layer"])}
    options: Any = {option: layers[option] for option in POINTING[name]}
    if "at" not in options:
        options["smooth"] = 0.02 * 80 / 60  # of the longer side
    method = functools.partial(getattr(attribution, name), model, image, int(golden["target"]), resize=(60, 80), **options)
    close(method(positions="softmax"), golden[name])
    assert np.abs(method() - golden[name]).max() > 0.01 * np.abs(golden[name]).max(), "all positions alike are other maps"


@pytest.mark.parametrize("name", ["linear_approx", "grad_cam_plus_plus"])
def test_positions_are_weights(name: Any) -> None:
    """Of methods that TorchRay's table does not have."""
    model, image = network_and_image("dense")
    golden = GOLDEN["dense"]

    def weighted(x: Any) -> Any:
        scores = model(x)
        return scores * lax.stop_gradient(jax.nn.softmax(scores, axis=(1, 2)))

    method, target, at = getattr(attribution, name), int(golden["target"]), str(golden["saliency_layer"])
    close(method(model, image, target, at=at, positions="softmax"), method(weighted, image, target, at=at))
