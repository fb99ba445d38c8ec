"""Arguments that all calls share, and arguments of another kind: keys, settings, chunk sizes, progress."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

import extremal_jax
import small

ej: Any = extremal_jax  # called wrongly below, as type checkers would say

pytestmark = pytest.mark.usefixtures("unchecked")
each_call = pytest.mark.parametrize("call", small.CALLS.values(), ids=small.CALLS)


@each_call
@pytest.mark.parametrize("chunk_size", [0, -1, 2.5, "a", True])
def test_chunk_sizes(call: Any, chunk_size: Any) -> None:
    with pytest.raises(ValueError, match=f"chunk_size must be a whole number, at least 1, got {chunk_size!r}"):
        call(chunk_size=chunk_size)


@each_call
@pytest.mark.parametrize("key", [0, "seed", np.zeros(2, np.float32)])
def test_keys(call: Any, key: Any) -> None:
    with pytest.raises(TypeError, match=r"key must be one of JAX's keys, such as jax.random.key\(0\), got"):
        call(key=key)


@each_call
def test_keys_beside_initial_parameters(call: Any) -> None:
    if call in (small.explain, small.channels):
        with pytest.raises(TypeError, match="key must be one of JAX's keys"):
            call(key=0, initial_params=call().params)


@each_call
def test_settings_of_another_call(call: Any) -> None:
    with pytest.raises(TypeError, match=r"config must be a (Config|ChannelConfig|InversionConfig), such as .* got dict"):
        call(config={})
    other = ej.ChannelConfig() if call in (small.explain, small.smallest) else ej.Config()
    with pytest.raises(TypeError, match=f"got {type(other).__name__}"):
        call(config=other)


@each_call
def test_progress(call: Any) -> None:
    with pytest.raises(TypeError, match="progress must be True, False or a function that is called with a Progress, got 1"):
        call(progress=1)


@each_call
def test_names_of_layers(call: Any) -> None:
    with pytest.raises(TypeError, match=r"at must be the name of one activation, .* got \['first'\]"):
        call(at=["first"])


def test_progress_under_a_trace() -> None:
    with pytest.raises(ValueError, match="progress cannot be shown inside jit or vmap"):
        jax.eval_shape(lambda images: small.explain(images, progress=True), small.IMAGES)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: small.smallest(response="0.4"), "response must be a number, or one for each image, got '0.4'"),
        (lambda: small.invert("a"), "activation must be an array of numbers, got 'a'; the layer is given by its name, at='second'"),
        (lambda: jax.jit(lambda c: ej.maximize_channel(small.MODEL, c, at="second", shape=(20, 24)))(1), "channels must be known numbers"),
        (lambda: ej.InversionConfig(prior=0.1), r"prior must be a NaturalImages, such as NaturalImages\(total_variation=1.0\), got float"),
        (lambda: ej.Config(jitter=1), "jitter must be True or False, got 1"),
        (lambda: ej.Config(final_update="no"), "final_update must be True or False, got 'no'"),
        (lambda: ej.ChannelConfig(exact_area="no"), "exact_area must be True or False, got 'no'"),
        (lambda: ej.ChannelConfig(ramp="a"), "ramp must be a number, one for each step, or a schedule, got 'a'"),
        (lambda: ej.Config(optimizer="adam"), "optimizer must be an optax transformation such as optax.adam"),
    ],
)
def test_arguments_of_another_kind(call: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: small.invert(num_steps=3), "num_steps"),
        (lambda: small.invert(steps=3), r"steps is now num_steps of the config: config=InversionConfig\(num_steps=...\)"),
        (lambda: small.invert(prior=ej.NaturalImages()), r"prior is now prior of the config: config=InversionConfig\(prior=...\)"),
        (lambda: ej.maximize_channel(small.MODEL, 1, at="second", learning_rate=0.1), r"config=InversionConfig\(learning_rate=...\)"),
        (lambda: ej.Config(parity=True), "parity is now four settings, .* ties, flips, final_update and final_evaluation"),
    ],
)
def test_old_names_without_a_single_new_one(call: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()


def test_the_old_name_of_the_pitch_warns_once() -> None:
    with pytest.warns(DeprecationWarning, match="Config: `step` is now called `pitch`") as caught:
        config = ej.Config(step=4)
    assert len(caught) == 1
    assert config == ej.Config(pitch=4)
    with pytest.warns(DeprecationWarning, match="Config: `step` is now called `pitch`") as caught:
        assert config.step == 4
    assert len(caught) == 1


def test_masks_of_a_layer_given_where_the_areas_stand() -> None:
    """Where the layer stood in an earlier version."""
    with pytest.raises(TypeError, match=r"areas must be numbers of channels, .* give the layer by its name, at='second'"):
        small.channels(areas="second")
    with pytest.raises(TypeError, match="mask must be an array of numbers, got 'hidden'"):
        small.invert(mask="hidden")
