"""The settings of runs, and the presets."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import optax
import pytest

from extremal_jax import Config
from extremal_jax.operators.perturbations import Blur
from extremal_jax.optimise.schedules import Geometric
from extremal_jax.optimise.settings import from_json, to_json


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(game="preserv"), "game must be one of 'preserve', 'delete', 'dual', got 'preserv'; did you mean 'preserve'"),
        (dict(perturbation="noise"), "perturbation must be one of 'blur', 'fade', 'reference', 'moving_average', 'past_mean', got 'noise'"),
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
        (dict(ramp=0), "ramp must be a positive number, or positive at every step"),
        (dict(ramp=[0.5] * 49 + [0.0]), "ramp must be a positive number, or positive at every step, got values from 0.0 to 0.5"),
        (dict(smoothing=-1.0), "smoothing must be zero or a positive number of pixels or None, got -1.0"),
        (dict(feather="5"), "feather must be zero or a positive number of pixels or None, got '5'"),
        (dict(shift=0.5), "shift must be a whole number, at least 0, got 0.5"),
        (dict(min_strength=1.5), "min_strength must be a share of the full perturbation, from 0 to 1, got 1.5"),
        (dict(noise=-0.1), "noise must be zero or a positive number in units of the model's input, got -0.1"),
        (dict(ties="first"), "ties must be one of 'share', 'position', got 'first'"),
        (dict(flips="never"), "flips must be one of 'random', 'alternate', got 'never'"),
        (dict(anneal=1.5), "anneal must be a share of the steps, from 0 to 1, got 1.5"),
        (dict(learning_rate=-0.1), "learning_rate must be finite and not negative"),
        (dict(learning_rate=[0.1, 0.2]), r"learning_rate must give one number for each of the 50 steps, got an array of shape \(2,\)"),
        (dict(area_weight=lambda step: step / 0), "area_weight must be finite"),
    ],
)
def test_bad_settings(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Config(**settings)


def test_area_shrinks_over_the_annealed_part() -> None:
    shrinkage = Config(num_steps=10, anneal=0.5).schedules()["shrinkage"]
    np.testing.assert_allclose(shrinkage, [0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1, 1, 1], rtol=1e-6)
    np.testing.assert_array_equal(Config(num_steps=3, anneal=0).schedules()["shrinkage"], 1)


def test_learning_rate_follows_the_optimizer() -> None:
    """Another optimizer has its own learning rate."""
    assert Config(optimizer=optax.sgd(0.1)).schedules()["learning_rate"].tolist() == [1.0] * 50
    assert Config().schedules()["learning_rate"][0] == pytest.approx(0.1)


@pytest.mark.parametrize("side", [16, 28, 128, 224, 512])
def test_lengths_follow_the_image(side: int) -> None:
    config = Config().resolve((side, 2 * side))
    assert isinstance(config.sigma, float)
    assert config.sigma == pytest.approx(max(1, side * 3 / 32))
    assert config.pitch == max(1, round(config.sigma / 3))
    assert config.max_blur == pytest.approx(20 * side / 224)
    assert (config.smoothing, config.feather, config.shift) == pytest.approx((side / 12, side / 45, round(side / 37)))
    assert config.resolve((7, 7)) == config  # nothing is left to fill in


def test_given_lengths_stay() -> None:
    config = Config(pitch=4, max_blur=3.0).resolve((128, 128))
    assert (config.pitch, config.sigma, config.max_blur) == (4, 12.0, 3.0)
    assert Config(sigma=9).resolve((128, 128)).pitch == 3
    config = Config(smoothing=3, feather=0.0, shift=2).resolve((128, 128))
    assert (config.smoothing, config.feather, config.shift) == (3.0, 0.0, 2)


def test_masks_are_smoothed_only_where_their_areas_are_exact() -> None:
    config = Config(exact_area=False).resolve((128, 128))
    assert (config.smoothing, config.feather) == (0, 0)


def test_the_area_weight_suits_the_area_loss() -> None:
    losses: list[dict[str, Any]] = [dict(), dict(exact_area=False), dict(relative_area_loss=False)]
    ends = [Config(**changes).schedules()["area_weight"][[0, -1]].round().tolist() for changes in losses]
    assert ends == [[1, 10], [30, 100], [300, 1000]]
    assert Config(area_weight=2.0, relative_area_loss=False).schedules()["area_weight"][0] == 2


def test_presets() -> None:
    torchray, paper = Config.torchray(), Config.paper()
    assert (torchray.num_steps, torchray.pitch, torchray.sigma, torchray.padding, torchray.area_over) == (800, 7, 21, "zeros", "canvas")
    assert (paper.area_over, paper.padding) == ("image", "edge")
    parity = [(c.ties, c.flips, c.final_update, c.final_evaluation) for c in (torchray, paper, Config())]
    assert parity == [("position", "alternate", False, False), *[("share", "random", True, True)] * 2]
    assert Config.torchray(num_steps=3, game="delete") == dataclasses.replace(torchray, num_steps=3, game="delete")
    assert (torchray.relative_area_loss, paper.relative_area_loss) == (False, False)  # λ R_a, as published
    for preset in (torchray.resolve((224, 224)), paper.resolve((224, 224))):
        assert (preset.smoothing, preset.feather, preset.shift, preset.num_levels) == (0, 0, 0, 8)
        assert (preset.min_strength, preset.noise, preset.exchange) == (1, 0, False)
    assert Config.paper(jitter=True).jitter
    np.testing.assert_allclose(torchray.schedules()["area_weight"][[0, 799]], [300, 300 * 1.0035**799], rtol=1e-4)


def test_the_perturbations_record_follows_the_settings() -> None:
    assert Config(num_levels=3, max_blur=2.0, padding="zeros").resolve((8, 8)).perturbation_record() == Blur(3, 2.0, "zeros")
    assert Config(num_levels=3, perturbation=Blur(5, 1.0)).resolve((8, 8)).perturbation_record() == Blur(5, 1.0)


def test_settings_of_a_layer() -> None:
    inner = Config(min_strength=0.5, noise=0.1).resolve((8, 8), inner=True)
    assert (inner.perturbation, inner.jitter, inner.area_weight) == ("fade", False, 0.0)
    assert (inner.smoothing, inner.feather, inner.shift, inner.min_strength, inner.noise) == (0, 0, 0, 1, 0)
    assert Config(perturbation="blur", area_weight=1.0).resolve((8, 8), inner=True).perturbation == "blur"


def test_a_pitch_along_each_axis_has_no_kernel_where_masks_are_not_smooth() -> None:
    assert Config(axes="series", pitch=(2, 1)).resolve((50, 3)).sigma == (6.0, 0.0)
    assert Config(axes="series", pitch=2).resolve((50, 3)).sigma == (6.0, 0.0)


def test_numbers_of_numpy_are_those_of_python() -> None:
    numbers: Any = dict(
        num_steps=np.int64(7),
        sigma=np.float32(8),
        shift=np.int32(1),
        candidates=np.int64(2),
        learning_rate=np.float32(0.5),
    )
    config = Config(**numbers, ramp=Geometric(np.float64(0.25), np.float64(0.125)))
    assert config == Config(num_steps=7, sigma=8.0, shift=1, candidates=2, ramp=Geometric(0.25, 0.125), learning_rate=0.5)
    assert from_json(Config, to_json(config)) == config
