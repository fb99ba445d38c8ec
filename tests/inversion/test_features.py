"""Feature inversion: what it finds where the answer is known, and the effect of each argument."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.ad_checkpoint import checkpoint_name

import extremal_jax as ej
import small
from extremal_jax import InversionConfig, NaturalImages
from extremal_jax.inversion.fourier import pictures, spectrum_shape
from extremal_jax.optimise.schedules import Linear

SHAPE, KEY = (16, 20), jax.random.key(0)
STILL = NaturalImages(jitter=0, rotation=0, scale=0)


def layer(kernel: Any, images: Any) -> Any:
    """A layer of 6 channels, each of a kernel of its own, at half the resolution."""
    hidden = jax.lax.conv_general_dilated(images, kernel, (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return checkpoint_name(jax.nn.relu(hidden), "hidden")


MODEL = jax.tree_util.Partial(layer, small.weights()["first"])
SEEN = np.asarray(jax.jit(MODEL)(pictures(jax.random.normal(jax.random.key(7), (2, *spectrum_shape(*SHAPE, 3))), SHAPE[1])))
LONG = 60


def config(num_steps: Any = 10, prior: Any = None, **settings: Any) -> Any:
    return InversionConfig(num_steps=num_steps, prior=prior or NaturalImages(), **settings)


def run(activation: Any = SEEN, mask: Any = None, config: Any = config(), model: Any = MODEL, **options: Any) -> Any:  # noqa: B008
    return ej.invert_features(model, activation, mask, **dict(at="hidden", shape=SHAPE, config=config) | options)


def maximize(channels: Any, config: Any = config(), **options: Any) -> Any:  # noqa: B008
    return ej.maximize_channel(MODEL, channels, **dict(at="hidden", shape=SHAPE, config=config) | options)


def cosines(a: Any, b: Any) -> Any:
    a, b = (np.asarray(x).reshape(len(x), -1) for x in (a, b))
    return (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


# What it finds


@pytest.mark.parametrize("objective", ["dot", "l2"])
def test_finds_a_picture_with_the_activation(objective: str) -> None:
    result = run(config=config(150, STILL, objective=objective))
    assert result.images.shape == (2, *SHAPE, 3)
    assert result.status.ok
    assert result.status.message == "finished"
    assert np.all(result.cosines > 0.9)
    assert 0 <= result.images.min() < result.images.max() <= 1
    assert np.all(cosines(MODEL(result.images)[::-1], SEEN) < result.cosines - 0.05)  # each has its own picture


@pytest.mark.parametrize(
    ("settings", "value"),
    [
        (dict(cosine_power=3.0), lambda a, t, cosine: (a @ t) / (t @ t) * cosine**3),
        (dict(objective="l2"), lambda a, t, cosine: -((a - t) @ (a - t)) / (t @ t)),
    ],
    ids=["dot", "l2"],
)
def test_values_and_cosines_are_those_of_the_pictures(settings: Any, value: Any) -> None:
    result = run(config=config(**settings))
    activation = np.asarray(MODEL(result.images))
    np.testing.assert_allclose(result.cosines, cosines(activation, SEEN), rtol=1e-4)
    expected = [value(a.ravel(), t.ravel(), cosine) for a, t, cosine in zip(activation, SEEN, result.cosines, strict=True)]
    np.testing.assert_allclose(result.values, expected, rtol=1e-3)
    assert result.history.shape == (2, 10)


def test_the_mask_chooses_channels() -> None:
    kept = np.arange(6) < 2
    settings = config(LONG, STILL, objective="l2")
    shown, whole = (MODEL(run(mask=mask, config=settings).images) for mask in (kept.astype(np.float32), None))
    assert shown[..., ~kept].mean() < 0.5 * whole[..., ~kept].mean()
    each = np.stack([kept, ~kept]).astype(np.float32)
    np.testing.assert_allclose(run(mask=each).images, run(SEEN * each[:, None, None]).images, atol=1e-4)
    places = np.zeros((1, *SEEN.shape[1:3], 1), np.float32)
    places[:, :4] = 1
    np.testing.assert_allclose(run(mask=places).images, run(SEEN * places).images, atol=1e-4)


def test_maximal_channels() -> None:
    first, second = np.argsort(-SEEN.mean(axis=(0, 1, 2)))[:2]  # those that a picture of noise excites most
    result = maximize([first, second], config(LONG))
    means = MODEL(result.images).mean(axis=(1, 2))  # (2, 6)
    np.testing.assert_allclose(result.values, means[jnp.arange(2), jnp.array([first, second])], rtol=1e-4)
    assert means[0, first] > means[1, first]
    assert means[1, second] > means[0, second]
    assert np.all(result.values > 1.1 * result.history[:, 0])


def test_one_maximal_channel_is_one_picture() -> None:
    assert maximize(2, config(1)).images.shape == (*SHAPE, 3)


def test_total_variation_smooths() -> None:
    def roughness(weight: Any) -> Any:
        images = np.asarray(run(config=config(40, dataclasses.replace(STILL, total_variation=weight))).images)
        return np.abs(np.diff(images, axis=1)).mean()

    assert roughness(3.0) < 0.7 * roughness(0.0)


def test_a_classifier_gives_shape_and_range(classifier: ej.models.Classifier, images: np.ndarray) -> None:
    seen = ej.graph.capture(classifier, ["stem"])(jnp.asarray(images[:1]))[1]["stem"]
    result = ej.invert_features(classifier, seen, at="stem", config=config(1))
    again = ej.graph.capture(classifier, ["stem"])((result.images - 0.5) / 0.25)[1]["stem"]
    assert result.images.shape == (1, 128, 128, 3)
    np.testing.assert_allclose(result.cosines, cosines(again, seen), rtol=1e-4)


# Arguments and settings


def test_one_picture_of_a_batch() -> None:
    whole = run()
    assert len(whole) == 2
    np.testing.assert_array_equal(whole[1].images, whole.images[1])
    for i in range(2):
        one = run(SEEN[i])
        assert one.images.shape == (*SHAPE, 3)
        np.testing.assert_allclose(one.images, whole.images[i], atol=1e-3)
    np.testing.assert_allclose(run(chunk_size=1).images, whole.images, atol=1e-3)
    with pytest.raises(TypeError, match="this result is of a single image"):
        len(whole[0])
    with pytest.raises(IndexError, match="this result is of 2 images, got the index 2"):
        whole[2]


def test_same_key_same_bits() -> None:
    np.testing.assert_array_equal(run().images, run(key=KEY).images)
    assert not np.array_equal(run(key=jax.random.key(1)).images, run().images)


@pytest.mark.parametrize(
    "changes",
    [dict(decay=0.5), dict(correlation=0.0), dict(contrast=0.1), dict(jitter=0.1), dict(rotation=20.0), dict(scale=0.2)],
    ids=lambda changes: next(iter(changes)),
)
def test_every_part_of_the_prior_matters(changes: Any) -> None:
    assert not np.allclose(run(config=config(prior=NaturalImages(**changes))).images, run().images, atol=1e-3)


@pytest.mark.parametrize(
    "changes",
    [dict(learning_rate=0.02), dict(learning_rate=Linear(0.1, 0.0)), dict(cosine_power=0.5), dict(optimizer=optax.sgd(1.0))],
    ids=", ".join,
)
def test_settings_matter(changes: Any) -> None:
    assert not np.allclose(run(config=config(**changes)).images, run().images, atol=1e-3)
    assert run(config=config(num_steps=11)).history.shape == (2, 11)


def test_a_run_of_learning_rate_zero_stays_where_it_starts() -> None:
    still = run(config=config(learning_rate=0.0))
    np.testing.assert_array_equal(still.params[0], still.params[1])  # all pictures start alike


def test_other_numbers_compile_nothing(compilations: list[str]) -> None:
    run()
    other = config(prior=NaturalImages(decay=0.7, correlation=0.1, rotation=1.0, total_variation=1.0), cosine_power=1.0, learning_rate=0.01)
    key = jax.random.key(3)
    del compilations[:]
    run(2 * SEEN, config=other, key=key)
    assert not compilations


def test_normalize_is_applied() -> None:
    def normalized(images: Any) -> Any:
        return MODEL(0.25 * images + 0.5)

    np.testing.assert_allclose(run(model=normalized, normalize=(0.5, 0.25)).images, run().images, atol=1e-3)
    assert not np.allclose(run(normalize=(0.5, (0.25, 0.25, 0.3))).images, run().images, atol=1e-2)


def test_progress() -> None:
    seen: list[Any] = []
    run(config=config(20), progress=seen.append)
    assert [(p.step, p.num_steps) for p in seen] == [(10, 20), (20, 20)]


def test_a_nonfinite_run_says_so() -> None:
    def breaks(images: Any) -> Any:
        bad = jnp.where(images[:, :1, :1, :1] > 2, images, jnp.nan)
        return checkpoint_name(bad, "hidden")

    result = run(np.ones((2, *SHAPE, 3), np.float32), model=breaks)
    assert not result.status.ok
    assert result.status.message.startswith("picture 0: the reward or its gradient was not finite at step 0;")
    assert np.isfinite(result.images).all()


# Bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(at="hiden"), "at: unknown activation 'hiden'; did you mean 'hidden'"),
        (dict(shape=None), r"shape must be given, \(height, width\) of the picture"),
        (dict(activation=SEEN[..., :5]), r"activation must have the shape \(8, 10, 6\) that the layer 'hidden' has"),
        (dict(activation=np.float32(1.0)), r"activation must have the shape \(8, 10, 6\)"),
        (dict(mask=np.ones(5)), r"mask must have the shape \(6,\), a value for each channel"),
        (dict(mask=np.zeros(6)), "the masked activation 0 is zero everywhere, so that no picture is similar to it"),
        (dict(activation=SEEN * np.nan), "activation and mask must be finite"),
        (dict(shape=(0, 8)), r"shape must be \(height, width\) of the picture, in whole pixels, got \(0, 8\)"),
        (dict(normalize=(0.0, 0.0)), "normalize must be finite, with a positive standard deviation"),
        (dict(normalize=((0, 0), (1, 1))), r"normalize must be \(mean, standard deviation\), numbers or one per channel"),
    ],
)
def test_errors(options: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(**options)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(objective="cosine"), "objective must be one of 'dot', 'l2', got 'cosine'"),
        (dict(num_steps=0), "num_steps must be a whole number, at least 1, got 0"),
        (dict(cosine_power=-1.0), "cosine_power must be a positive number, got -1"),
        (dict(learning_rate=-1.0), "learning_rate must be finite and not negative"),
    ],
)
def test_bad_settings(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        InversionConfig(**settings)


def test_bad_channels_and_priors() -> None:
    with pytest.raises(ValueError, match="channels must be from 0 to 5 at the layer 'hidden', got 6"):
        maximize([0, 6])
    with pytest.raises(ValueError, match="channels must be the index of a channel"):
        maximize(0.5)
    with pytest.raises(ValueError, match="decay must be a number of at least 0, got -1"):
        NaturalImages(decay=-1)
    with pytest.raises(ValueError, match="correlation and scale must be below 1"):
        NaturalImages(correlation=1.0)
