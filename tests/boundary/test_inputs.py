"""Bad input: a sentence that names the argument, what came and what is expected. And unusual input that is fine."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
from extremal_jax.boundary.inputs import check_targets

import extremal_jax as ej
import small
from extremal_jax import Config

IMAGES = small.images()
QUICK = Config(num_steps=1, pitch=4, sigma=4.0, num_levels=2, max_blur=4.0)
MODEL = small.model()
KEY = jax.random.key(0)


def run(model=MODEL, images=IMAGES, targets=(1, 3), areas=(0.1,), config=QUICK, **options):
    return ej.extremal_perturbation(model, images, targets, areas, config=config, **options)


def fails(error, message, **arguments):
    with pytest.raises(error, match=message):
        run(**arguments)


@pytest.mark.parametrize(
    ("areas", "message"),
    [
        ((0.1, 0.0), r"areas must be shares of the image in \(0, 1\], got 0; 5 % is 0.05"),
        ((-0.1,), "areas must be shares"),
        ((5,), r"areas must be shares of the image in \(0, 1\], got 5; 5 % is 0.05"),
        ((0.1, np.nan), "areas must be shares .* got nan"),
        ((np.inf,), "areas must be shares .* got inf"),
        ((), r"areas must have the shape \(K,\) or \(2, K\), with at least one area, got \(0,\)"),
        (np.full((3, 1), 0.1), r"areas must have the shape \(K,\) or \(2, K\), with at least one area, got \(3, 1\)"),
        (np.full((1, 1, 1), 0.1), "areas must have the shape"),
    ],
)
def test_bad_areas(areas, message):
    fails(ValueError, message, areas=areas)


def test_areas_that_are_no_numbers():
    fails(TypeError, r"areas must be numbers in \(0, 1\], such as \(0.05, 0.1\), got 'many'", areas="many")


@pytest.mark.parametrize(
    "areas",
    [0.1, [0.1], np.float64(0.1), np.array([0.1], np.float16), jnp.array(0.1), jnp.array([0.1], jnp.bfloat16), np.array(["0.1"]), 1],
    ids=lambda areas: type(areas).__name__,
)
def test_areas_of_any_type(areas):
    assert run(areas=areas).masks.shape == (2, 1, 20, 24)


@pytest.mark.parametrize(
    ("targets", "error", "message"),
    [
        ((1, 5), ValueError, "targets must be class indices from 0 to 4, got 5"),
        (-1, ValueError, "targets must be class indices from 0 to 4, got -1"),
        ((1, 2, 3), ValueError, r"targets must be one class index for each of the 2 images, got the shape \(3,\)"),
        ([[1], [2]], ValueError, "targets must be one class index for each of the 2 images"),
        (1.0, TypeError, r"targets must be class indices \(whole numbers\) or names, got float64"),
        ("dog", TypeError, "the model has no `classes` to look a name up in, got 'dog'"),
    ],
)
def test_bad_targets(targets, error, message):
    fails(error, message, targets=targets)


def test_bad_targets_of_other_rewards():
    margin, labels = (dataclasses.replace(QUICK, reward=reward) for reward in ("margin", "labels"))
    fails(
        ValueError,
        r"targets must be a pair of class indices for each of the 2 images, got .* \(2, 3\)",
        targets=[[1, 2, 3]] * 2,
        config=margin,
    )
    fails(ValueError, r"a pair of class indices for each of the 2 images, got the shape \(\)", targets=1, config=margin)
    fails(ValueError, "a list of class indices for each of the 2 images", targets=np.zeros((2, 0), int), config=labels)
    fails(ValueError, r"targets must be one class index for the image, got the shape \(2,\)", images=IMAGES[0], targets=(1, 2))


def test_names_and_indices_together(classifier, images):
    wolf = classifier.classes.index("wolf")

    def indices(targets):
        return check_targets(targets, len(images), len(classifier.classes), "logit", classifier.classes).tolist()

    for targets in (["wolf", 2], ["wolf", np.int64(2)], ("wolf", classifier.classes[2]), np.array(["wolf", classifier.classes[2]])):
        assert indices(targets) == [wolf, 2]
    for other in (2.5, True, None):
        with pytest.raises(TypeError, match=rf"targets must be class indices \(whole numbers\) or names, got {other}"):
            indices(["wolf", other])


def test_unknown_class_name(classifier, images):
    with pytest.raises(ValueError, match=r"targets: unknown class 'wolff'; did you mean 'wolf'"):
        ej.extremal_perturbation(classifier, images, "wolff")


@pytest.mark.parametrize(
    ("images", "error", "message"),
    [
        (np.where(IMAGES > 2, np.nan, IMAGES), ValueError, "images must be finite, got NaN or infinity among the values"),
        (IMAGES[0, 0], ValueError, r"images must have the shape \(H, W, C\) or \(N, H, W, C\), got \(24, 3\)"),
        (IMAGES[None], ValueError, "images must have the shape"),
        (IMAGES[:0], ValueError, r"images must not be empty, got the shape \(0, 20, 24, 3\)"),
        (np.zeros((2, 0, 24, 3), np.float32), ValueError, "images must not be empty"),
        (IMAGES.astype(np.uint8), TypeError, "images must hold floats as the model expects them, got uint8; model.preprocess"),
        (IMAGES > 0, TypeError, "images must hold floats .* got bool"),
        (
            IMAGES[:, :4],
            ValueError,
            "images of 4x24 pixels are too small for a lattice of masks with step 4; give larger images, or a smaller step",
        ),
    ],
)
def test_bad_images(images, error, message):
    fails(error, message, images=images)


def test_images_and_targets_differ_in_number():
    fails(ValueError, "targets must be one class index for each of the 3 images", images=small.images(3))


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        ("resnet", TypeError, "model must be a function of images .* got str"),
        (lambda x: x.mean(axis=(1, 2, 3)), ValueError, r"model must return scores .* it returned float32\[2\]"),
        (lambda x: MODEL(x)[:1], ValueError, r"it returned float32\[1, 5\]"),
        (lambda x: (MODEL(x), x), ValueError, "it returned tuple"),
        (lambda x: MODEL(x).argmax(axis=1, keepdims=True), ValueError, r"it returned int32\[2, 1\]"),
        (lambda x: x @ jnp.ones((7, 5)), ValueError, "model failed when called with images of shape .2, 20, 24, 3. and dtype float32"),
    ],
)
def test_bad_models(model, error, message):
    fails(error, message, model=model)


def test_the_models_own_error_is_the_cause():
    def broken(images):
        raise RuntimeError("out of cheese")

    with pytest.raises(ValueError, match="out of cheese") as raised:
        run(model=broken)
    assert isinstance(raised.value.__cause__, RuntimeError)


def test_a_model_that_answers_nan_ends_in_the_status():
    def sometimes(images):
        scores = MODEL(images)
        return jnp.where((jnp.arange(len(images)) >= len(images) // 2)[:, None], jnp.nan, scores)

    status = run(model=sometimes).status
    assert not status.ok
    assert status.nonfinite_step.tolist() == [[-1], [0]]
    assert status.message == "image 1, area 0: the reward or its gradient was not finite at step 0; the mask is that of the step before"
    single = run(model=lambda images: MODEL(images) * jnp.nan, images=IMAGES[0], targets=1, areas=(0.1, 0.2)).status
    assert single.message.splitlines()[1].startswith("area 1: ")


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        (np.zeros((2, 1, 5, 5), np.float32), ValueError, r"initial_params must have the shape \(2, 1, 5, 6\), got \(2, 1, 5, 5\)"),
        (np.full((2, 1, 5, 6), 1.5, np.float32), ValueError, r"initial_params must be in \[0, 1\], got values from 1.5 to 1.5"),
        (np.full((2, 1, 5, 6), np.nan, np.float32), ValueError, "initial_params must be in"),
        (np.zeros((2, 1, 5, 6), int), TypeError, r"initial_params must be floats in \[0, 1\], got int64"),
    ],
)
def test_bad_parameters(params, error, message):
    fails(error, message, initial_params=params)


def test_references():
    needs = dataclasses.replace(QUICK, perturbation="reference")
    fails(ValueError, "reference must be given if, and only if, the config's perturbation is 'reference'", config=needs)
    fails(ValueError, "reference must be given if, and only if", reference=IMAGES)
    fails(
        ValueError,
        r"reference must have the shape of the images or of one of them, \(2, 20, 24, 3\), got \(20, 23, 3\)",
        config=needs,
        reference=IMAGES[0, :, :23],
    )


def test_other_options():
    fails(ValueError, "chunk_size must be a whole number, at least 1, got 0", chunk_size=0)
    with pytest.raises(ValueError, match="progress cannot be shown inside jit or vmap"):
        jax.jit(lambda images: run(images=images, progress=True))(IMAGES)


def test_traced_input_is_checked_for_what_is_known():
    with pytest.raises(TypeError, match="images must hold floats"):
        jax.jit(lambda images: run(images=images).masks)(IMAGES.astype(np.int32))
    with pytest.raises(ValueError, match="areas must have the shape"):
        jax.jit(lambda areas: run(areas=areas).masks)(jnp.zeros((0,)))


def test_two_classes_of_one_name():
    class Named:
        classes = ("crane", "b", "c", "crane", "e")

        def __call__(self, images):
            return MODEL(images)

    fails(ValueError, "targets: 2 classes are called 'crane'; give an index: 0, 3", model=Named(), targets="crane")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: run(model=None), "model must be a function of images"),
        (lambda: run(config=ej.ChannelConfig()), r"config must be a Config, such as Config\(num_steps=20\), got ChannelConfig"),
        (lambda: run(config={}), "config must be a Config, .* got dict"),
        (lambda: run(key=0), r"key must be one of JAX's keys, such as jax.random.key\(0\), got 0"),
        (lambda: run(progress=1), "progress must be True, False or a function that is called with a Progress, got 1"),
        (lambda: run(at=["first"]), r"at must be the name of one activation, .* got \['first'\]"),
        (lambda: ej.channel_perturbation(MODEL, IMAGES, 0, "second", (1,), config=Config()), "config must be a ChannelConfig"),
        (lambda: ej.smallest_area(MODEL, IMAGES, 0, config=ej.ChannelConfig()), "config must be a Config, .* got ChannelConfig"),
        (lambda: ej.smallest_area(MODEL, IMAGES, 1, response="0.4"), "response must be a number, or one for each image, got '0.4'"),
        (lambda: ej.invert_features(MODEL, np.ones((5, 6, 8)), "second", key=KEY, shape=(20, 24), prior=0.1), "prior must be a Natural"),
        (lambda: ej.invert_features(MODEL, "a", "second", key=KEY, shape=(20, 24)), "activation must be an array of numbers, got 'a'"),
        (lambda: jax.jit(lambda c: ej.maximize_channel(MODEL, c, "second", key=KEY, shape=(20, 24)))(1), "channels must be known numbers"),
        (lambda: Config(parity=1), "parity must be True or False, got 1"),
        (lambda: ej.ChannelConfig(exact_area="no"), "exact_area must be True or False, got 'no'"),
        (lambda: ej.ChannelConfig(ramp="a"), "ramp must be a number, one for each step, or a schedule, got 'a'"),
    ],
)
def test_arguments_of_another_kind(monkeypatch, call, message):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as for callers, whose types nobody checks
    with pytest.raises(TypeError, match=message):
        call()


@pytest.mark.parametrize("chunk_size", [0, -1, 2.5, "a"])
@pytest.mark.parametrize("method", [run, lambda **options: ej.smallest_area(MODEL, IMAGES, 0, config=QUICK, **options)])
def test_chunk_sizes_that_are_none(monkeypatch, method, chunk_size):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=f"chunk_size must be a whole number, at least 1, got {chunk_size!r}"):
        method(chunk_size=chunk_size)
