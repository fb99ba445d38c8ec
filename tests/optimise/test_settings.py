"""Settings: as JSON, pickled and copied."""

from __future__ import annotations

import copy
import json
import pickle
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from extremal_jax import ChannelConfig, Config, InversionConfig, NaturalImages
from extremal_jax.operators.games import GAMES, Game
from extremal_jax.operators.perturbations import Blur
from extremal_jax.operators.rewards import REWARDS
from extremal_jax.optimise.schedules import Linear
from extremal_jax.optimise.settings import check_settings, from_json, to_json

SETTINGS = {
    "default": Config(),
    "torchray": Config.torchray(),
    "paper": Config.paper(sigma=30.0),
    "resolved": Config().resolve((20, 24)),
    "values": Config(area_weight=[1.0, 2.0], ramp=np.array([0.5, 0.25], np.float32), num_steps=2),
    "schedules": Config(area_weight=Linear(1.0, 2.0), ramp=Linear(0.5, 0.1)),
    "channels": ChannelConfig(spread=0.2),
    "channels, paper": ChannelConfig.paper(),
    "inversion": InversionConfig(prior=NaturalImages(total_variation=2.0), objective="l2"),
}
each = pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)


@each
def test_json_holds_everything(settings: Any) -> None:
    assert from_json(type(settings), to_json(settings)) == settings


@each
def test_settings_can_be_pickled_and_copied(settings: Any) -> None:
    for copied in (pickle.loads(pickle.dumps(settings)), copy.deepcopy(settings), copy.copy(settings)):
        assert copied == settings
        assert hash(copied) == hash(settings)


@pytest.mark.parametrize("record", [*GAMES.values(), *REWARDS.values(), Blur(num_levels=3)], ids=lambda record: record.name)
def test_records_can_be_pickled(record: Any) -> None:
    assert pickle.loads(pickle.dumps(record)) == record


@pytest.mark.parametrize(
    "schedule", [0.5, np.full(8, 0.5), [0.5] * 8, (0.5,) * 8, jnp.full(8, 0.5), optax.constant_schedule(0.5), lambda step: 0.5 + 0 * step]
)
@pytest.mark.parametrize("name", ["area_weight", "learning_rate", "ramp"])
def test_forms_of_a_schedule(name: str, schedule: Any) -> None:
    config = Config(num_steps=8, **{name: schedule})
    np.testing.assert_array_equal(config.schedules()[name], np.full(8, 0.5, np.float32))
    hash(config)


def test_functions_and_records_are_written_by_name() -> None:
    def brightness(outputs: Any, targets: Any) -> Any:
        return outputs.mean(axis=1)

    own = Game("both", "the mask and its complement keep the evidence", ((False, 1), (True, 1)))
    rate = optax.linear_schedule(1.0, 0.0, 50)
    config = Config(reward=brightness, optimizer=optax.sgd(0.1), learning_rate=rate, game=own, perturbation=Blur(num_levels=3))
    loaded: Any = from_json(Config, to_json(config))
    np.testing.assert_array_equal(loaded.schedules()["learning_rate"], config.schedules()["learning_rate"])
    with pytest.raises(ValueError, match=r"the reward of the saved run \(brightness\) is not in its file; set it again"):
        loaded.reward(jnp.zeros((1, 2)), jnp.zeros(1))
    with pytest.raises(ValueError, match=r"the game of the saved run \(both\) is not in its file"):
        loaded.game.show(jnp.zeros((1, 2, 2)))
    with pytest.raises(ValueError, match=r"the perturbation of the saved run \(blur\) is not in its file"):
        loaded.perturbation.levels(jnp.zeros((1, 2, 2, 3)))
    with pytest.raises(ValueError, match=r"the optimizer of the saved run .* is not in its file"):
        loaded.optimizer.init(jnp.zeros(2))


def test_settings_of_an_older_version() -> None:
    fields = json.loads(to_json(Config.torchray()))
    for name in ("pitch", "ties", "flips", "final_update", "final_evaluation"):
        del fields[name]
    assert from_json(Config, json.dumps({**fields, "step": 7, "parity": True})) == Config.torchray()
    assert from_json(Config, json.dumps({**fields, "step": 7, "parity": False})).ties == "share"


@pytest.mark.parametrize("kind", [Config, ChannelConfig, InversionConfig])
def test_settings_of_another_call(kind: Any) -> None:
    assert check_settings(None, kind) == kind()
    with pytest.raises(TypeError, match=rf"config must be a {kind.__name__}, such as {kind.__name__}\(num_steps=20\), got dict"):
        check_settings({}, kind)
