"""Configurations, schedules and optimizers."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from extremal_jax import Config
from extremal_jax.optimise.optimizers import PRESETS, dampened_momentum
from extremal_jax.optimise.schedules import Cosine, Doubling, Exponential, Geometric, Linear, schedule_values
from extremal_jax.optimise.settings import from_json, to_json


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(game="preserv"), "game must be one of 'preserve', 'delete', 'dual', got 'preserv'; did you mean 'preserve'"),
        (dict(perturbation="noise"), "perturbation must be one of 'blur', 'fade', 'reference', got 'noise'"),
        (dict(reward="logits"), "did you mean 'logit'"),
        (dict(padding="reflect"), "padding must be one of"),
        (dict(area_over="mask"), "area_over must be one of"),
        (dict(num_steps=0), "num_steps must be a whole number, at least 1, got 0"),
        (dict(num_steps=10.0), "num_steps must be a whole number"),
        (dict(num_levels=1), "num_levels must be a whole number, at least 2, got 1"),
        (dict(pitch=0), "pitch must be a whole number"),
        (dict(pitch=True), "pitch must be a whole number"),
        (dict(sigma=0), "sigma must be a positive number of pixels or None, got 0"),
        (dict(sigma=float("nan")), "sigma must be a positive number"),
        (dict(pitch=5, sigma=4), "sigma must be at least the pitch of 5 pixels"),
        (dict(temperature=-1), "temperature must be a positive number, got -1"),
        (dict(temperature=None), "temperature must be a positive number, got None"),
        (dict(max_blur="20"), "max_blur must be a positive number of pixels or None, got '20'"),
        (dict(ramp=0), "ramp must be a positive number"),
        (dict(anneal=1.5), "anneal must be a share of the steps, from 0 to 1, got 1.5"),
        (dict(learning_rate=-0.1), "learning_rate must be finite and not negative"),
        (dict(learning_rate=[0.1, 0.2]), r"learning_rate must give one number for each of the 50 steps, got an array of shape \(2,\)"),
        (dict(area_weight=lambda step: step / 0), "area_weight must be finite"),
    ],
)
def test_bad_settings(settings, message):
    with pytest.raises(ValueError, match=message):
        Config(**settings)


def test_optimizer_must_be_one():
    with pytest.raises(TypeError, match="optimizer must be an optax transformation such as"):
        Config(optimizer="adam")


@pytest.mark.parametrize(
    "schedule", [0.5, np.full(8, 0.5), [0.5] * 8, (0.5,) * 8, jnp.full(8, 0.5), optax.constant_schedule(0.5), lambda step: 0.5 + 0 * step]
)
def test_forms_of_a_schedule(schedule):
    config = Config(num_steps=8, area_weight=schedule)
    np.testing.assert_array_equal(config.schedules()["area_weight"], np.full(8, 0.5, np.float32))
    hash(config)


def test_schedules_by_their_ends():
    for schedule, first, last in [
        (Cosine(0.1), 0.1, 0.05 * (1 - np.cos(np.pi / 20))),
        (Geometric(300, 5000), 300, 5000),
        (Exponential(300, 1.0035), 300, 300 * 1.0035**19),
        (Doubling(300, 3), 300, 1200),
        (Linear(100, 200, 0.5), 100, 200),
    ]:
        values = schedule_values("area_weight", schedule, 20)
        assert values.shape == (20,)
        np.testing.assert_allclose([values[0], values[-1]], [first, last], rtol=1e-5)


def test_optax_schedule_sees_the_step():
    values = schedule_values("learning_rate", optax.linear_schedule(1.0, 0.0, 4), 5)
    np.testing.assert_allclose(values, [1, 0.75, 0.5, 0.25, 0])


def test_area_shrinks_over_the_annealed_part():
    shrinkage = Config(num_steps=10, anneal=0.5).schedules()["shrinkage"]
    np.testing.assert_allclose(shrinkage, [0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1, 1, 1], rtol=1e-6)
    np.testing.assert_array_equal(Config(num_steps=3, anneal=0).schedules()["shrinkage"], 1)


def test_learning_rate_follows_the_optimizer():
    """Another optimizer has its own learning rate."""
    assert Config(optimizer=optax.sgd(0.1)).schedules()["learning_rate"].tolist() == [1.0] * 50
    assert Config().schedules()["learning_rate"][0] == pytest.approx(0.1)


@pytest.mark.parametrize("side", [16, 28, 128, 224, 512])
def test_lengths_follow_the_image(side):
    config = Config().resolve((side, 2 * side))
    assert config.sigma == pytest.approx(max(1, side / 16))
    assert config.pitch == max(1, round(config.sigma / 3))
    assert config.max_blur == pytest.approx(20 * side / 224)
    assert config.resolve((7, 7)) == config  # nothing is left to fill in


AREA_LOSSES = (dict(), dict(exact_area=False), dict(relative_area_loss=False))


def test_given_lengths_stay():
    config = Config(pitch=4, max_blur=3.0).resolve((128, 128))
    assert (config.pitch, config.sigma, config.max_blur) == (4, 12.0, 3.0)
    assert Config(sigma=9).resolve((128, 128)).pitch == 3


def test_the_area_weight_suits_the_area_loss():
    ends = [Config(**changes).schedules()["area_weight"][[0, -1]].round().tolist() for changes in AREA_LOSSES]
    assert ends == [[5, 20], [30, 100], [300, 1000]]
    assert Config(area_weight=2.0, relative_area_loss=False).schedules()["area_weight"][0] == 2


def test_presets():
    torchray, paper = Config.torchray(), Config.paper()
    assert (torchray.num_steps, torchray.pitch, torchray.sigma, torchray.padding, torchray.area_over) == (800, 7, 21, "zeros", "canvas")
    assert (paper.area_over, paper.padding, paper.ties) == ("image", "edge", "share")
    assert Config.torchray(num_steps=3, game="delete") == dataclasses.replace(torchray, num_steps=3, game="delete")
    assert (torchray.relative_area_loss, paper.relative_area_loss) == (False, False)  # λ R_a, as published
    assert Config.paper(jitter=True).jitter
    np.testing.assert_allclose(torchray.schedules()["area_weight"][[0, 799]], [300, 300 * 1.0035**799], rtol=1e-4)


@pytest.mark.parametrize(
    "config",
    [
        Config(),
        Config.torchray(),
        Config.paper(sigma=30.0),
        Config(area_weight=[1.0, 2.0], num_steps=2),
        Config(area_weight=Linear(1.0, 2.0)),
    ],
)
def test_json_holds_everything(config):
    assert from_json(Config, to_json(config)) == config


def test_json_names_functions():
    def brightness(outputs, targets):
        return outputs.mean(axis=1)

    config = Config(reward=brightness, optimizer=optax.sgd(0.1), learning_rate=optax.linear_schedule(1.0, 0.0, 50))
    loaded = from_json(Config, to_json(config))
    np.testing.assert_array_equal(loaded.schedules()["learning_rate"], config.schedules()["learning_rate"])
    with pytest.raises(ValueError, match=r"the reward of the saved run .brightness. is not in its file"):
        loaded.reward(jnp.zeros((1, 2)), jnp.zeros(1))
    with pytest.raises(ValueError, match=r"the optimizer of the saved run .* is not in its file"):
        loaded.optimizer.init(jnp.zeros(2))


def test_dampened_momentum():
    """b_0 = g_0, b_t = 0.9 b_{t-1} + 0.1 g_t: the steps that PyTorch takes."""
    gradients, state = [1.0, 2.0, -4.0], dampened_momentum.init(jnp.zeros(()))
    average, taken = None, []
    for gradient in gradients:
        update, state = dampened_momentum.update(jnp.array(gradient), state)
        average = gradient if average is None else 0.9 * average + 0.1 * gradient
        taken.append((float(update), -average))
    np.testing.assert_allclose(*zip(*taken, strict=True), rtol=1e-6)


@pytest.mark.parametrize("name", PRESETS)
def test_optimizers_descend(name):
    optimizer = PRESETS[name]
    params = jnp.array([3.0, -2.0])
    state = optimizer.init(params)
    for _ in range(200):
        updates, state = optimizer.update(jax.grad(lambda p: (p**2).sum() / 2)(params), state, params)
        params = params + 0.05 * updates
    np.testing.assert_allclose(params, 0, atol=0.1)
