"""`extremal_perturbation`: its contract, and what each of its arguments and settings does."""

from __future__ import annotations

import dataclasses
import functools

import equinox
import flax.linen
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import extremal_jax as ej
import small
from extremal_jax import Config

IMAGES, MODEL = small.images(), small.model()
AREAS = (0.1, 0.3)
QUICK = Config(num_steps=4, pitch=4, sigma=4.0, num_levels=4, max_blur=4.0)


def run(images=IMAGES, targets=(1, 3), areas=AREAS, model=MODEL, config=QUICK, **options):
    return ej.extremal_perturbation(model, images, targets, areas, config=config, **options)


def same(a, b):
    return np.array_equal(np.asarray(a.masks), np.asarray(b.masks))


def test_shapes_of_a_batch():
    result = run()
    lattice = result.params.shape[-2:]
    shapes = {name: getattr(result, name).shape for name in ("masks", "rewards", "areas", "requested_areas", "image_rewards", "targets")}
    assert shapes == dict(masks=(2, 2, 20, 24), rewards=(2, 2), areas=(2, 2), requested_areas=(2, 2), image_rewards=(2,), targets=(2,))
    assert result.params.shape == (2, 2, *lattice)
    assert result.masks_with_margin.shape[:2] == (2, 2)
    assert result.masks_with_margin.shape[2] > 20
    assert result.history.rewards.shape == result.history.area_losses.shape == (2, 4, 2)
    assert result.status.ok
    assert result.status.message == "finished"


def test_shapes_of_one_image():
    result = run(IMAGES[0], 1, 0.2)
    assert result.masks.shape == (1, 20, 24)
    assert result.rewards.shape == result.areas.shape == (1,)
    assert result.image_rewards.shape == result.targets.shape == ()
    assert result.history.rewards.shape == (4, 1)


def test_default_areas_and_config(classifier, images, targets):
    result = ej.extremal_perturbation(classifier, images, targets)
    np.testing.assert_allclose(result.requested_areas, [[0.05, 0.1, 0.2]] * 2, rtol=1e-6)
    np.testing.assert_allclose(result.areas, result.requested_areas, atol=0.001)  # the promise of the default preset
    assert result.config == Config().resolve((128, 128))
    assert np.all(result.rewards > 0.5 * result.image_rewards[:, None])  # a twentieth of the pixels keeps half the evidence
    objects = [scene.masks[0, target] for scene, target in zip(ej.data.scenes.generate(5, 2, objects=2), targets, strict=True)]
    for point, mask in zip(result.point(images), objects, strict=True):
        assert mask[tuple(point)]


def test_rewards_are_responses_to_the_masks():
    """What the result says is what anyone can compute from its masks and the public parts."""
    result = run()
    for i in range(2):
        pyramid = ej.perturbation.blur_pyramid(jnp.asarray(IMAGES[i]), 4, 4.0)
        responses = MODEL(ej.perturbation.perturb(pyramid, result.masks[i]))[:, result.targets[i]]
        np.testing.assert_allclose(result.rewards[i], responses, rtol=1e-4)
        np.testing.assert_allclose(result.image_rewards[i], MODEL(IMAGES[i : i + 1])[0, result.targets[i]], rtol=1e-5)
    np.testing.assert_allclose(result.areas, result.masks.mean(axis=(2, 3)), rtol=1e-6)


def test_masks_belong_to_the_parameters():
    """Without the projection, the masks are the smooth masks of the parameters."""
    result = run(config=dataclasses.replace(QUICK, exact_area=False))
    config = result.config
    smooth = ej.perturbation.SmoothMasks((20, 24), config.pitch, config.sigma)
    np.testing.assert_allclose(result.masks, smooth(result.params), atol=1e-5)
    np.testing.assert_allclose(result.masks_with_margin, smooth.with_margin(result.params), atol=1e-5)


@pytest.mark.parametrize("game", ["preserve", "delete", "dual"])
def test_finds_the_evidence(game):
    """Where the answer is known: the light inside a disc is all that the model counts."""
    y, x = np.mgrid[:32, :32]
    disc = np.hypot(y - 11, x - 16) < 7

    def light(images):
        inside = (images.mean(axis=-1) * disc).sum(axis=(1, 2))
        return jnp.stack([-inside, inside], axis=1)

    config = Config(game=game, perturbation="fade", pitch=2, sigma=4.0)
    result = run(np.ones((32, 32, 3), np.float32), 1, disc.mean(), light, config)
    overlap = (np.asarray(result.binary_masks()[0]) * disc).sum() / disc.sum()
    assert overlap > 0.85  # of as many pixels; the kernel rounds the border off


@pytest.mark.parametrize(
    "changes",
    [
        dict(game="delete"),
        dict(game="dual"),
        dict(perturbation="fade"),
        dict(reward="log_probability"),
        dict(reward="contrastive"),
        dict(reward=lambda outputs, targets: outputs[:, 0]),
        dict(num_steps=5),
        dict(pitch=2),
        dict(sigma=6.0),
        dict(temperature=0.2),
        dict(num_levels=3),
        dict(max_blur=2.0),
        dict(padding="zeros"),
        dict(area_over="canvas"),
        dict(exact_area=False),
        dict(anneal=1.0),
        dict(ramp=0.9),
        dict(optimizer=optax.sgd(0.01)),
        dict(learning_rate=0.02),
        dict(area_weight=10.0),
        dict(jitter=False),
        dict(parity=True),
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_every_setting_matters(changes):
    assert not same(run(), run(config=dataclasses.replace(QUICK, **changes)))


def test_the_relative_area_loss_is_a_share_of_the_area():
    relative, absolute, less = (
        run(areas=(0.25,), config=dataclasses.replace(QUICK, area_weight=weight, relative_area_loss=share))
        for weight, share in ((30.0, True), (120.0, False), (30.0, False))
    )
    np.testing.assert_allclose(relative.masks, absolute.masks, atol=1e-5)
    assert np.abs(relative.masks - less.masks).max() > 1e-3
    np.testing.assert_allclose(relative.history.area_losses, absolute.history.area_losses, rtol=1e-4)  # R_a itself, in both


def test_every_argument_matters():
    base = run()
    assert not same(base, run(model=small.model(1)))
    assert not same(base, run(images=small.images(seed=1)))
    assert not same(base, run(targets=(1, 2)))
    assert not same(base, run(areas=(0.1, 0.4)))
    assert not same(base, run(initial_params=np.full(base.params.shape, 0.7, np.float32)))
    assert any(not same(base, run(key=jax.random.key(seed))) for seed in (1, 2, 3))  # four coins may fall alike
    reference = dataclasses.replace(QUICK, perturbation="reference")
    assert not same(run(config=reference, reference=IMAGES[::-1].copy()), run(config=reference, reference=IMAGES[0]))


def test_areas_of_their_own():
    """(N, K): each image has its own areas."""
    own = run(areas=[[0.1, 0.3], [0.2, 0.4]])
    np.testing.assert_allclose(own.areas, [[0.1, 0.3], [0.2, 0.4]], atol=1e-3)
    np.testing.assert_array_equal(own.masks[0], run().masks[0])
    np.testing.assert_array_equal(own.masks[1], run(areas=(0.2, 0.4)).masks[1])


def test_reference():
    """A reference of zeros is the fade."""
    reference = run(config=dataclasses.replace(QUICK, perturbation="reference"), reference=np.zeros_like(IMAGES))
    np.testing.assert_allclose(reference.masks, run(config=dataclasses.replace(QUICK, perturbation="fade")).masks, atol=1e-5)


def test_several_classes_in_a_target():
    margin = run(targets=[[1, 0], [3, 2]], config=dataclasses.replace(QUICK, reward="margin"))
    assert margin.targets.shape == (2, 2)
    scores = MODEL(IMAGES)
    np.testing.assert_allclose(margin.image_rewards, [scores[0, 1] - scores[0, 0], scores[1, 3] - scores[1, 2]], rtol=1e-4)
    labels = run(IMAGES[0], [0, 2, 4], config=dataclasses.replace(QUICK, reward="labels"))
    np.testing.assert_allclose(labels.image_rewards, scores[0, jnp.array([0, 2, 4])].mean(), rtol=1e-4)


def test_dense_model():
    """A model that answers for every place is averaged over space."""
    arrays = small.weights()
    np.testing.assert_allclose(run(model=functools.partial(small.features, arrays)).masks, run().masks, atol=1e-4)


def test_target_names():
    class Named:
        classes = ("a", "b", "c", "d", "e")

        def __call__(self, images):
            return MODEL(images)

    assert same(run(model=Named(), targets=["b", "d"]), run())
    assert same(run(model=Named(), targets="b"), run(targets=1))
    with pytest.raises(ValueError, match=r"targets: unknown class 'bb'; did you mean 'b'\?"):
        run(model=Named(), targets="bb")


class NnxModel(nnx.Module):
    def __init__(self, weights):
        self.weights = nnx.data({name: nnx.Param(value) for name, value in weights.items()})

    def __call__(self, images):
        return small.classify({name: value[...] for name, value in self.weights.items()}, images)


class LinenModel(flax.linen.Module):
    @flax.linen.compact
    def __call__(self, images):
        start = small.weights(1)
        return small.classify({name: self.param(name, lambda _, name=name: start[name]) for name in start}, images)


class EquinoxModel(equinox.Module):
    weights: dict

    def __call__(self, images):
        return small.classify(self.weights, images)


def nnx_model(weights):
    return NnxModel(weights)


def linen_model(weights):
    return functools.partial(LinenModel().apply, {"params": weights})


def equinox_model(weights):
    return EquinoxModel(weights)


def partial_model(weights):
    return functools.partial(small.classify, weights)


def jitted_model(weights):
    return jax.jit(lambda images: small.classify(weights, images))


FRAMEWORKS = [nnx_model, linen_model, equinox_model, partial_model, jitted_model]


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_models_of_any_framework(framework):
    arrays = small.weights()
    model = framework(arrays)
    before = [np.array(leaf) for leaf in jax.tree.leaves((model, arrays)) if hasattr(leaf, "shape")]
    result = run(model=model)
    np.testing.assert_allclose(result.masks, run().masks, atol=1e-5)
    after = [np.array(leaf) for leaf in jax.tree.leaves((model, arrays)) if hasattr(leaf, "shape")]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))  # never changed


def test_a_model_with_state_is_not_changed():
    class Stateful(nnx.Module):
        def __init__(self):
            self.norm = nnx.BatchNorm(3, rngs=nnx.Rngs(0))
            self.norm.train()

        def __call__(self, images):
            return MODEL(self.norm(images))

    model = Stateful()
    run(model=model)
    assert np.array_equal(model.norm.mean[...], np.zeros(3))


@pytest.mark.parametrize("channels", [1, 7])
def test_any_number_of_channels(channels):
    assert run(small.images(channels=channels), model=small.model(channels=channels)).status.ok


def test_half_precision_images():
    result = run(jnp.asarray(IMAGES, jnp.bfloat16), model=functools.partial(small.classify, jax.tree.map(jnp.bfloat16, small.weights())))
    assert result.masks.dtype == jnp.float32
    np.testing.assert_allclose(result.areas, result.requested_areas, atol=1e-3)


def test_mirrored_images_make_mirrored_masks():
    """With a lattice of one pixel, and a model that has no left and right, the whole run is equivariant."""
    # Adam divides by gradients that may be all rounding; plain descent does not.
    config = dataclasses.replace(QUICK, pitch=1, sigma=3.0, num_steps=8, jitter=False, optimizer=optax.sgd(1e-3))

    def symmetric(images):
        return MODEL(images) + MODEL(images[:, :, ::-1])

    result, mirrored = (run(images, model=symmetric, config=config) for images in (IMAGES, IMAGES[:, :, ::-1].copy()))
    difference = np.abs(np.asarray(mirrored.masks)[..., ::-1] - result.masks)
    # By rounding, a pixel at the edge of the selection may fall in or out: 1e-3 of one parameter, at each step.
    assert difference.mean() < 1e-3
    assert difference.max() < 0.05


def test_warm_start():
    """The parameters of a result are where a next run can start."""
    config = dataclasses.replace(QUICK, exact_area=False, jitter=False, learning_rate=0.1, area_weight=10.0, optimizer=optax.sgd(1.0))
    first = run(config=config)
    second = run(config=config, initial_params=first.params)
    whole = run(config=dataclasses.replace(config, num_steps=8))
    np.testing.assert_allclose(second.masks, whole.masks, atol=1e-5)
    np.testing.assert_array_equal(second.history.rewards, whole.history.rewards[:, 4:])
