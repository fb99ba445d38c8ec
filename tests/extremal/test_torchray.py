"""The torchray preset and its parts against recorded numbers of TorchRay 1.0.0.2.

The tolerances are those of the promise: 1e-5 for operations, relative to the largest entry for gradients, and 1e-4 for whole runs. The
rounding of another order of operations stays below them.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from extremal_jax import Config, extremal_perturbation
from extremal_jax.ground.filters import gaussian_blur, resize
from extremal_jax.operators.area import area_loss
from extremal_jax.operators.games import GAMES
from extremal_jax.operators.masks import SmoothMasks
from extremal_jax.operators.perturbations import blur_pyramid, perturb, reference_pyramid
from extremal_jax.operators.rewards import reward
from golden_data import cases, torchray, torchray_runs

OPERATION, RUN = 1e-5, 1e-4


def close(actual: Any, expected: Any, tolerance: Any = OPERATION) -> None:
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)


def close_gradient(actual: Any, expected: Any) -> None:
    close(actual, expected, OPERATION * np.abs(expected).max())


def channels_last(images: Any) -> Any:
    return jnp.moveaxis(jnp.asarray(images), -3, -1)


@pytest.mark.parametrize("case", cases(torchray("mask_generator")), ids=lambda case: f"step {case['step']}")
def test_masks(case: Any) -> None:
    smooth = SmoothMasks(tuple(case["shape"].tolist()), int(case["step"]), float(case["sigma"]))
    params = jnp.asarray(case["params"])
    with_margin, vjp = jax.vjp(smooth.with_margin, params)
    close(with_margin, case["mask_with_margin"])
    close(smooth(params), case["mask"])
    close_gradient(vjp(jnp.asarray(case["cotangent"]))[0], case["params_gradient"])


@pytest.mark.parametrize("case", cases(torchray("perturbation")), ids=lambda case: f"{case['kind']} {case['num_levels']}")
def test_perturbation(case: Any) -> None:
    image, levels = channels_last(case["image"]), int(case["num_levels"])
    if case["kind"] == "blur":
        pyramid = blur_pyramid(image, levels, float(case["max_blur"]), "zeros")
        close(pyramid, channels_last(case["pyramid"]))
    else:  # our fade has two levels; constant masks give those between
        pyramid = reference_pyramid(image)
        steps = jnp.linspace(0, 1, levels)[:, None, None] * jnp.ones(image.shape[:2])
        close(perturb(pyramid, steps), channels_last(case["pyramid"]))
    perturbed, vjp = jax.vjp(lambda masks: perturb(pyramid, masks), jnp.asarray(case["mask"]))
    close(perturbed, channels_last(case["perturbed"]))
    close_gradient(vjp(channels_last(case["cotangent"]))[0], case["mask_gradient"])


@pytest.mark.parametrize("ties", ["share", "position"])  # the recorded masks have no ties
def test_area_loss(ties: str) -> None:
    data = torchray("area_loss")
    losses, vjp = jax.vjp(lambda masks: area_loss(masks, jnp.asarray(data["areas"]), ties), jnp.asarray(data["mask"]))
    close(losses, data["loss"])
    close_gradient(vjp(jnp.ones(5))[0], data["mask_gradient"])


@pytest.mark.parametrize("game", GAMES)
@pytest.mark.parametrize(("name", "recorded"), [("logit", "simple"), ("contrastive", "contrastive")])
def test_rewards(game: Any, name: str, recorded: str) -> None:
    data = torchray("rewards")
    activation = jnp.asarray(data["activation"])
    responses = reward(name, activation, jnp.full(8, int(data["target"])))
    close(GAMES[game].combine(responses.reshape(len(GAMES[game].terms), -1)), data[f"{recorded}/{game}"])


def test_smoothing_and_resizing() -> None:
    data = torchray("saliency_post")
    saliency = jnp.asarray(data["saliency"])[..., None]
    for key, expected in data.items():
        kind, _, size = key.partition("/")
        if kind == "smooth":
            close(gaussian_blur(saliency, float(size), "zeros")[..., 0], expected)
        elif kind == "resize":
            width, height = map(int, size.split("x"))
            close(resize(saliency, (height, width))[..., 0], expected)


@pytest.fixture(scope="module")
def network() -> Any:
    data = {key: jnp.asarray(value) for key, value in torchray("runs").items()}

    def model(images: Any) -> Any:
        x = images
        for layer, stride, padding in (("c1", 2, 2), ("c2", 2, 1), ("c3", 1, 1)):
            kernel = data[f"weights/{layer}.weight"]
            numbers = ("NHWC", "OIHW", "NHWC")
            x = jax.lax.conv_general_dilated(x, kernel, (stride,) * 2, [(padding,) * 2] * 2, dimension_numbers=numbers)
            x = jax.nn.relu(x + data[f"weights/{layer}.bias"])
        return x.mean(axis=(1, 2)) @ data["weights/fc.weight"].T + data["weights/fc.bias"]

    return model, channels_last(data["image"])


@pytest.mark.parametrize("run", torchray_runs(), ids=lambda run: f"{run['variant']} {run['perturbation']}")
def test_runs(run: Any, network: Any) -> None:
    model, image = network
    recorded = cases(torchray("runs"))[run["index"]]
    config = Config.torchray(
        game=run["variant"],
        perturbation=run["perturbation"],
        jitter=run["jitter"],
        num_steps=run["max_iter"],
        pitch=run["step"],
        sigma=run["sigma"],
    )
    result = extremal_perturbation(model, image, run["target"], run["areas"], config=config, initial_params=recorded["initial_params"])
    close(result.masks, recorded["mask"], RUN)
    close(result.history.rewards.T, recorded["reward"], RUN)
    weights = config.schedules()["area_weight"]
    close(-weights * result.history.area_losses.T, recorded["negative_area_term"], RUN * np.abs(recorded["negative_area_term"]).max())
    np.testing.assert_array_equal(result.rewards, result.history.rewards[-1])
