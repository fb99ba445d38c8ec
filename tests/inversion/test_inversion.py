"""Feature inversion: pictures as waves, their movements, and what is found where the answer is known."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.ad_checkpoint import checkpoint_name

import extremal_jax as ej
import small
from extremal_jax.inversion.fourier import pictures, spectrum_shape
from extremal_jax.inversion.movements import draw_movements, move

WEIGHTS, SHAPE, KEY = small.weights(), (16, 20), jax.random.key(0)
STILL = ej.NaturalImages(jitter=0, rotation=0, scale=0)


def model(images):
    """A layer of 6 channels, each of a kernel of its own, at half the resolution."""
    hidden = jax.lax.conv_general_dilated(images, WEIGHTS["first"], (2, 2), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return checkpoint_name(jax.nn.relu(hidden), "hidden").mean(axis=(1, 2)) @ WEIGHTS["second"][0, 0]


def activation(images):
    return np.asarray(ej.graph.capture(model, ["hidden"])(jnp.asarray(images))[1]["hidden"])


def scenes(count=2):
    """Pictures in [0, 1]: smooth, with all colours."""
    waves = jax.random.normal(jax.random.key(7), (count, *spectrum_shape(*SHAPE, 3)))
    return np.asarray(pictures(waves, SHAPE[1]))


SEEN = activation(scenes())


def run(activation=SEEN, mask=None, at="hidden", model=model, steps=10, **options):
    return ej.invert_features(model, activation, at, mask, **dict(key=KEY, shape=SHAPE, steps=steps) | options)


def test_waves_of_variance_one_make_pictures_of_variance_one():
    for height, width in ((16, 20), (15, 33)):
        waves = jax.random.normal(KEY, (200, *spectrum_shape(height, width, 3)))
        for decay in (0.0, 1.0):
            pixels = np.asarray(jax.scipy.special.logit(pictures(waves, width, decay=decay, correlation=0.0)))
            assert pixels.shape == (200, height, width, 3)
            np.testing.assert_allclose(pixels.var(), 1, rtol=0.1)  # of 200 pictures, whose slow waves are few


def test_colours_have_the_correlation_asked_for():
    waves = jax.random.normal(KEY, (50, *spectrum_shape(32, 32, 3)))
    pixels = np.asarray(jax.scipy.special.logit(pictures(waves, 32, decay=0.0, correlation=0.6))).reshape(-1, 3)
    np.testing.assert_allclose(np.cov(pixels.T), 0.6 + 0.4 * np.eye(3), atol=0.05)


def test_amplitudes_fall_with_the_frequency():
    waves = jax.random.normal(KEY, (200, *spectrum_shape(32, 32, 1)))
    pixels = jax.scipy.special.logit(pictures(waves, 32, decay=1.0, correlation=0.0))[..., 0]
    power = np.square(np.abs(np.fft.fft2(pixels))).mean(axis=0)
    assert power[0, 2] / power[0, 8] == pytest.approx(16, rel=0.3)
    assert power[2, 0] / power[8, 0] == pytest.approx(16, rel=0.3)


def test_movements():
    drawn = draw_movements(KEY, 1000, 3.0, 10.0, 0.2)
    assert {name: values.shape for name, values in drawn.items()} == dict(shift=(1000, 2), angle=(1000,), zoom=(1000,))
    for values, low, high in ((drawn["shift"], -3, 3), (np.rad2deg(drawn["angle"]), -10, 10), (drawn["zoom"], 0.8, 1.2)):
        assert low <= values.min() < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < values.max() <= high


def test_a_picture_is_shifted_turned_and_enlarged():
    image = jnp.asarray(np.random.default_rng(0).random((1, 9, 9, 2)), jnp.float32)
    none, one = jnp.zeros(2), jnp.ones(())
    moved = move(image, jnp.array([2.0, -3.0]), jnp.zeros(()), one)
    np.testing.assert_allclose(moved, jnp.roll(image, (2, -3), (1, 2)), atol=1e-5)
    turned = move(image, none, jnp.asarray(np.pi / 2), one)
    np.testing.assert_allclose(turned[0], np.rot90(image[0]), atol=1e-5)
    line = jnp.zeros((1, 1, 17, 1)).at[0, 0, 6:11].set(1)
    assert move(line, none, jnp.zeros(()), 2 * one).sum() > 8


@pytest.mark.parametrize("objective", ["dot", "l2"])
def test_finds_a_picture_with_the_activation(objective):
    result = run(objective=objective, steps=150, prior=STILL)
    assert result.images.shape == (2, *SHAPE, 3)
    assert result.status.ok
    assert result.status.message == "finished"
    assert np.all(result.cosines > 0.9)
    assert 0 <= result.images.min() < result.images.max() <= 1
    other = activation(result.images)[::-1]  # each has its own picture
    cross = (other * SEEN).sum((1, 2, 3)) / np.linalg.norm(other.reshape(2, -1), axis=1) / np.linalg.norm(SEEN.reshape(2, -1), axis=1)
    assert np.all(cross < result.cosines - 0.05)


def test_values_and_cosines_are_those_of_the_pictures():
    dot, l2 = run(cosine_power=3.0), run(objective="l2")
    for result, value in (
        (dot, lambda a, t, cosine: (a @ t) / (t @ t) * cosine**3),
        (l2, lambda a, t, cosine: -((a - t) @ (a - t)) / (t @ t)),
    ):
        for image, t, expected, cosine in zip(result.images, SEEN, result.values, result.cosines, strict=True):
            a, t = activation(image[None]).ravel(), t.ravel()
            np.testing.assert_allclose(cosine, a @ t / np.linalg.norm(a) / np.linalg.norm(t), rtol=1e-4)
            np.testing.assert_allclose(expected, value(a, t, cosine), rtol=1e-3)
    assert dot.history.shape == (2, 10)


def test_the_mask_chooses_channels():
    kept = np.arange(6) < 2
    result = run(mask=kept.astype(np.float32), objective="l2", steps=60, prior=STILL)
    shown = activation(result.images)
    whole = activation(run(objective="l2", steps=60, prior=STILL).images)
    assert shown[..., ~kept].mean() < 0.5 * whole[..., ~kept].mean()
    each = run(mask=np.stack([kept, ~kept]).astype(np.float32))
    for i, channels in enumerate((kept, ~kept)):
        np.testing.assert_allclose(run(SEEN * channels).images[i], each.images[i], atol=1e-4)
    places = np.zeros((1, *SEEN.shape[1:3], 1), np.float32)
    places[:, :4] = 1
    np.testing.assert_allclose(run(mask=places).images, run(SEEN * places).images, atol=1e-4)


def test_the_pictures_of_a_batch_one_by_one():
    result = run(steps=1)
    assert len(result) == 2
    np.testing.assert_array_equal(result[1].images, result.images[1])
    with pytest.raises(TypeError, match="this result is of a single image"):
        len(result[0])
    with pytest.raises(IndexError, match="this result is of 2 images, got the index 2"):
        result[2]


def test_a_batch_is_a_loop_in_chunks():
    whole = run()
    for i in range(2):
        one = run(SEEN[i])
        assert one.images.shape == (*SHAPE, 3)
        np.testing.assert_allclose(one.images, whole.images[i], atol=1e-3)
    np.testing.assert_allclose(run(chunk_size=1).images, whole.images, atol=1e-3)


def test_same_key_same_bits():
    np.testing.assert_array_equal(run().images, run().images)
    assert not np.array_equal(run(key=jax.random.key(1)).images, run().images)


@pytest.mark.parametrize(
    "changes",
    [dict(decay=0.5), dict(correlation=0.0), dict(contrast=0.1), dict(jitter=0.1), dict(rotation=20.0), dict(scale=0.2)],
    ids=lambda changes: next(iter(changes)),
)
def test_every_part_of_the_prior_matters(changes):
    prior = dataclasses.replace(ej.NaturalImages(), **changes)
    assert not np.allclose(run(steps=2, prior=prior).images, run(steps=2).images, atol=1e-3)


def test_other_numbers_compile_nothing(compilations):
    run()
    del compilations[:]
    run(2 * SEEN, prior=ej.NaturalImages(decay=0.7, correlation=0.1, rotation=1.0, total_variation=1.0), cosine_power=1.0)
    run(key=jax.random.key(3), learning_rate=0.01)
    assert not compilations


def test_total_variation_smooths():
    def roughness(weight):
        images = np.asarray(run(steps=40, prior=dataclasses.replace(STILL, total_variation=weight)).images)
        return np.abs(np.diff(images, axis=1)).mean()

    assert roughness(3.0) < 0.7 * roughness(0.0)


def test_normalize_is_applied():
    def normalized(images):
        return model(0.25 * images + 0.5)

    np.testing.assert_allclose(run(model=normalized, normalize=(0.5, 0.25)).images, run().images, atol=1e-3)
    assert not np.allclose(run(normalize=(0.5, 0.25)).images, run().images, atol=1e-2)


def test_learning_rate_and_optimizer():
    np.testing.assert_array_equal(run(learning_rate=0.0).params[0], run(learning_rate=0.0).params[1])  # all start alike
    assert not np.allclose(run(optimizer=optax.sgd(1.0)).images, run().images, atol=1e-3)


def test_progress():
    seen = []
    run(steps=20, progress=seen.append)
    assert [(p.step, p.num_steps) for p in seen] == [(10, 20), (20, 20)]


def test_a_run_that_goes_wrong_says_so():
    def breaks(images):
        bad = jnp.where(images[:, :1, :1, :1] > 2, images, jnp.nan)
        return checkpoint_name(bad, "hidden")

    result = run(np.ones((2, *SHAPE, 3), np.float32), model=breaks, steps=2)
    assert not result.status.ok
    assert result.status.message.startswith("picture 0: the objective or its gradient was not finite at step 0;")
    assert np.isfinite(result.images).all()


def test_a_classifier_says_shape_and_range(classifier, images):
    seen = ej.graph.capture(classifier, ["stem"])(jnp.asarray(images[:1]))[1]["stem"]
    result = ej.invert_features(classifier, seen, "stem", key=KEY, steps=1)
    again = np.asarray(ej.graph.capture(classifier, ["stem"])((result.images - 0.5) / 0.25)[1]["stem"])
    assert result.images.shape == (1, 128, 128, 3)
    cosine = (again * seen).sum() / np.linalg.norm(again) / np.linalg.norm(seen)
    np.testing.assert_allclose(result.cosines[0], cosine, rtol=1e-4)


def test_maximize_channel():
    first, second = np.argsort(-SEEN.mean(axis=(0, 1, 2)))[:2]  # those that a picture of noise excites most
    result = ej.maximize_channel(model, [first, second], "hidden", key=KEY, shape=SHAPE, steps=60)
    means = activation(result.images).mean(axis=(1, 2))  # (2, 6)
    np.testing.assert_allclose(result.values, means[[0, 1], [first, second]], rtol=1e-4)
    assert means[0, first] > means[1, first]
    assert means[1, second] > means[0, second]
    assert np.all(result.values > 1.1 * result.history[:, 0])
    assert ej.maximize_channel(model, first, "hidden", key=KEY, shape=SHAPE, steps=2).images.shape == (*SHAPE, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(objective="cosine"), "objective must be one of 'dot', 'l2', got 'cosine'"),
        (dict(at="hiden"), "at: unknown activation 'hiden'; did you mean 'hidden'"),
        (dict(shape=None), r"shape must be given, \(height, width\) of the picture"),
        (dict(activation=SEEN[..., :5]), r"activation must have the shape \(8, 10, 6\) that the layer 'hidden' has"),
        (dict(mask=np.ones(5)), r"mask must have the shape \(6,\), a value for each channel"),
        (dict(mask=np.zeros(6)), "the masked activation 0 is zero everywhere: there is nothing to look for"),
        (dict(activation=SEEN * np.nan), "activation and mask must be finite"),
        (dict(steps=0), "steps must be a whole number, at least 1, got 0"),
        (dict(chunk_size=0), "chunk_size must be a whole number, at least 1, got 0"),
        (dict(shape=(0, 8)), r"shape must be \(height, width\) of the picture, in whole pixels, got \(0, 8\)"),
        (dict(normalize=(0.0, 0.0)), "normalize must be finite, with a positive standard deviation"),
        (dict(normalize=((0, 0), (1, 1))), r"normalize must be \(mean, standard deviation\), numbers or one per channel"),
        (dict(cosine_power=-1.0), "cosine_power must be a positive number, got -1"),
    ],
)
def test_errors(options, message):
    with pytest.raises(ValueError, match=message):
        run(**options)


def test_errors_of_channels_and_priors():
    with pytest.raises(ValueError, match="channels must be from 0 to 5 at the layer 'hidden', got 6"):
        ej.maximize_channel(model, [0, 6], "hidden", key=KEY, shape=SHAPE)
    with pytest.raises(ValueError, match="channels must be the index of a channel"):
        ej.maximize_channel(model, 0.5, "hidden", key=KEY, shape=SHAPE)
    with pytest.raises(ValueError, match="decay must be a number, not negative, got -1"):
        ej.NaturalImages(decay=-1)
    with pytest.raises(ValueError, match="correlation and scale must be below 1"):
        ej.NaturalImages(correlation=1.0)
