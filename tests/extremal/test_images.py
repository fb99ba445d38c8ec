"""`extremal_perturbation`: its contract, what it finds, and the effect of each of its arguments and settings."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

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
from extremal_jax.operators.games import GAMES, Game
from extremal_jax.operators.perturbations import PERTURBATIONS, Blur, Fade
from extremal_jax.operators.rewards import REWARDS, Reward
from extremal_jax.optimise import driver
from extremal_jax.optimise.schedules import Linear
from small import CONFIG, IMAGES, MODEL, explain

SGD = dataclasses.replace(CONFIG, jitter=False, anneal=0.0, ramp=0.15, learning_rate=0.1, area_weight=10.0, optimizer=optax.sgd(1.0))


def changed(**changes: Any) -> Any:
    return explain(config=dataclasses.replace(CONFIG, **changes))


def same(a: Any, b: Any) -> Any:
    return np.array_equal(np.asarray(a.masks), np.asarray(b.masks))


# The contract


def test_shapes_of_a_batch() -> None:
    result = explain()
    shapes = {name: getattr(result, name).shape for name in ("masks", "rewards", "areas", "requested_areas", "image_rewards", "targets")}
    assert shapes == dict(masks=(2, 2, 20, 24), rewards=(2, 2), areas=(2, 2), requested_areas=(2, 2), image_rewards=(2,), targets=(2,))
    assert result.params.shape == (2, 2, 5, 6)
    assert result.masks_with_margin is not None
    assert result.masks_with_margin.shape == (2, 2, 25, 29)
    assert result.history.rewards.shape == result.history.area_losses.shape == (2, 4, 2)
    assert result.status.message == "finished"


def test_shapes_of_one_image() -> None:
    result = explain(IMAGES[0], 1, 0.2)
    assert result.masks.shape == (1, 20, 24)
    assert result.rewards.shape == result.areas.shape == (1,)
    assert result.image_rewards.shape == result.targets.shape == ()
    assert result.history.rewards.shape == (4, 1)


@pytest.fixture(scope="module")
def default(classifier: ej.models.Classifier, images: np.ndarray, targets: np.ndarray) -> Any:
    """The result of the offline classifier for one scene, with all settings at their defaults."""
    return ej.extremal_perturbation(classifier, images[:1], targets[:1])


def test_default_areas_and_config(default: Any, images: np.ndarray, targets: np.ndarray) -> None:
    result = default
    np.testing.assert_allclose(result.requested_areas, [[0.05, 0.1, 0.2]], rtol=1e-6)
    np.testing.assert_allclose(result.areas, result.requested_areas, atol=0.001)  # the promise of the default preset
    assert result.config == Config().resolve((128, 128))
    assert result.status.ok
    assert np.all(result.rewards > 0.5 * result.image_rewards[:, None])  # a twentieth of the pixels keeps half the evidence
    objects = [scene.masks[0, target] for scene, target in zip(ej.data.scenes.generate(5, 1, objects=2), targets[:1], strict=True)]
    for point, mask in zip(result.point(images[:1]), objects, strict=True):
        assert mask[tuple(point)]


def test_nested_masks_lose_little(default: Any, classifier: ej.models.Classifier, images: np.ndarray, targets: np.ndarray) -> None:
    """They excite the target almost as much as the separate masks."""
    counts = np.round(np.asarray(default.requested_areas[0]) * 128 * 128)
    nested = np.asarray(default.ranking())[:, None] < counts[:, None, None]
    pyramids = [ej.perturbation.blur_pyramid(jnp.asarray(image), 8, default.config.max_blur) for image in images[:1]]

    @jax.jit
    def responses(pyramid: Any, masks: Any, target: Any) -> Any:
        return classifier(ej.perturbation.perturb(pyramid, masks))[:, target]

    def mean(masks: Any) -> Any:
        return np.mean([responses(p, jnp.asarray(m, jnp.float32), t) for p, m, t in zip(pyramids, masks, targets[:1], strict=True)])

    assert mean(nested) > 0.95 * mean(default.binary_masks())


def test_rewards_are_responses_to_the_masks() -> None:
    """Anyone can compute the result's numbers from its masks and the public parts."""
    result = explain()
    for i in range(2):
        pyramid = ej.perturbation.blur_pyramid(jnp.asarray(IMAGES[i]), CONFIG.num_levels, small.MAX_BLUR)
        responses = MODEL(ej.perturbation.perturb(pyramid, result.masks[i]))[:, result.targets[i]]
        np.testing.assert_allclose(result.rewards[i], responses, rtol=1e-4)
        np.testing.assert_allclose(result.image_rewards[i], MODEL(IMAGES[i : i + 1])[0, result.targets[i]], rtol=1e-5)
    np.testing.assert_allclose(result.areas, result.masks.mean(axis=(2, 3)), rtol=1e-6)
    np.testing.assert_allclose(result.areas, result.requested_areas, atol=1e-3)


def test_masks_belong_to_the_parameters() -> None:
    """Without the projection, the masks are the smooth masks of the parameters."""
    result = changed(exact_area=False)
    smooth = ej.perturbation.SmoothMasks((20, 24), small.PITCH, small.SIGMA)
    np.testing.assert_allclose(result.masks, smooth(result.params), atol=1e-5)
    np.testing.assert_allclose(result.masks_with_margin, smooth.with_margin(result.params), atol=1e-5)
    assert not same(result, explain())


# What it finds


@pytest.mark.parametrize("game", GAMES)
def test_finds_the_evidence(game: Any) -> None:
    """The model sums the light inside a disc, so the mask is the disc."""
    y, x = np.mgrid[:32, :32]
    disc = np.hypot(y - 11, x - 16) < 7

    def light(images: Any) -> Any:
        inside = (images.mean(axis=-1) * disc).sum(axis=(1, 2))
        return jnp.stack([-inside, inside], axis=1)

    config = Config(game=game, perturbation="fade", pitch=2, sigma=4.0)
    result = explain(np.ones((32, 32, 3), np.float32), 1, disc.mean(), model=light, config=config)
    overlap = (np.asarray(result.binary_masks()[0]) * disc).sum() / disc.sum()
    assert overlap > 0.85  # of as many pixels; the kernel rounds the border off


def test_a_single_score_of_both_signs() -> None:
    """The score is the light above minus the light below; the positive class lies above, the negative one below."""

    def model(images: Any) -> Any:
        light = images.mean(axis=(2, 3))
        return (light[:, :10].sum(axis=1) - light[:, 10:].sum(axis=1))[:, None]

    config = dataclasses.replace(CONFIG, reward="binary", perturbation="fade", num_steps=10)
    result = explain(np.ones_like(IMAGES), [1, 0], (0.2, 0.3), model=model, config=config)
    above = result.masks[:, :, :10].mean(axis=(2, 3))
    below = result.masks[:, :, 10:].mean(axis=(2, 3))
    assert np.all(above[0] > 5 * below[0])
    assert np.all(below[1] > 5 * above[1])


# Arguments and settings


def test_every_argument_matters() -> None:
    base = explain()
    assert not same(base, explain(model=small.model(1)))
    assert not same(base, explain(small.images(seed=1)))
    assert not same(base, explain(targets=(1, 2)))
    assert not same(base, explain(areas=(0.1, 0.4)))
    assert not same(base, explain(initial_params=np.full(base.params.shape, 0.7, np.float32)))
    assert any(not same(base, explain(key=jax.random.key(seed))) for seed in (1, 2, 3))  # four coins may fall alike
    reference = dataclasses.replace(CONFIG, perturbation="reference")
    assert not same(explain(config=reference, reference=IMAGES[::-1].copy()), explain(config=reference, reference=IMAGES[0]))


@pytest.mark.parametrize(
    "changes",
    [
        dict(anneal=1.0),
        dict(ramp=0.9),
        dict(ramp=Linear(1.0, 0.15)),
        dict(learning_rate=0.02),
        dict(area_weight=10.0),
        dict(max_blur=2.0),
        dict(padding="zeros"),
        dict(perturbation="fade"),
        dict(flips="alternate"),
        dict(final_update=False),
        dict(jitter=False, shift=1),  # the shift alone stays
        dict(shift=2),
        dict(min_strength=0.3),
        dict(noise=0.5),
        dict(optimizer=SGD.optimizer, learning_rate=0.01),
        dict(ties="position"),
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_settings_change_the_masks(changes: Any) -> None:
    """`test_problem` has the settings that change the objective."""
    assert not same(explain(), changed(**changes))


def test_noise_and_strength_are_one_draw_for_all_masks() -> None:
    """So a batch is a loop, a key gives the same bits, and another key others."""
    robust = dataclasses.replace(CONFIG, min_strength=0.3, noise=0.5)
    base = explain(config=robust)
    assert same(base, explain(config=robust))
    assert not same(base, explain(config=robust, key=jax.random.key(1)))
    for index in range(2):
        np.testing.assert_allclose(explain(IMAGES[index], small.TARGETS[index], config=robust).masks, base.masks[index], atol=1e-4)
    np.testing.assert_allclose(explain(config=robust, chunk_size=3).masks, base.masks, atol=1e-4)


def test_rewards_of_results_are_without_noise() -> None:
    """The run's own are noisy, but the result's are evaluated on the image itself, perturbed in full."""
    still = dict(learning_rate=0.0, jitter=False, shift=0)
    plain, robust = changed(**still), changed(**still, min_strength=0.1, noise=1.0)
    np.testing.assert_allclose(robust.rewards, plain.rewards, rtol=1e-5)
    assert not np.allclose(robust.history.rewards, plain.history.rewards, rtol=1e-2)


def test_flips_alternate() -> None:
    """At even steps, whatever the key; the key draws them otherwise."""
    keys = [jax.random.key(seed) for seed in range(3)]
    alternating = [explain(config=dataclasses.replace(CONFIG, flips="alternate", shift=0), key=key) for key in keys]
    assert all(same(alternating[0], other) for other in alternating[1:])


def test_the_last_update_and_the_last_evaluation() -> None:
    """Without the last update, the parameters are those that the last step showed, as if its rate had been zero; without the last
    evaluation, the rewards are those of the last step."""
    base = explain()
    before = changed(final_update=False)
    np.testing.assert_array_equal(before.history.rewards, base.history.rewards)
    rates = [*CONFIG.schedules()["learning_rate"][:-1], 0.0]
    np.testing.assert_array_equal(before.params, changed(learning_rate=rates).params)
    assert not np.array_equal(before.params, base.params)
    recorded = changed(final_evaluation=False)
    np.testing.assert_array_equal(recorded.rewards, recorded.history.rewards[:, -1])
    assert same(recorded, base)
    assert not np.allclose(base.rewards, recorded.rewards, rtol=1e-3)


def test_warm_start(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parameters of a result are where another run can start."""
    first = explain(config=SGD)
    second = explain(config=SGD, initial_params=first.params)
    monkeypatch.setattr(driver, "chunks", lambda _: [slice(0, 4), slice(4, 8)])  # which are compiled already
    whole = explain(config=dataclasses.replace(SGD, num_steps=8))
    np.testing.assert_allclose(second.masks, whole.masks, atol=1e-5)
    np.testing.assert_array_equal(second.history.rewards, whole.history.rewards[:, 4:])


def test_each_image_has_its_own_areas() -> None:
    own = explain(areas=[[0.1, 0.3], [0.2, 0.4]])
    np.testing.assert_allclose(own.areas, [[0.1, 0.3], [0.2, 0.4]], atol=1e-3)
    np.testing.assert_array_equal(own.masks[0], explain().masks[0])
    np.testing.assert_array_equal(own.masks[1], explain(areas=(0.2, 0.4)).masks[1])


def test_a_reference_of_zeros_is_the_fade() -> None:
    reference = explain(config=dataclasses.replace(CONFIG, perturbation="reference"), reference=np.zeros_like(IMAGES))
    np.testing.assert_allclose(reference.masks, changed(perturbation="fade").masks, atol=1e-5)


def test_several_classes_in_a_target() -> None:
    scores = MODEL(IMAGES)
    margin = explain(targets=[[1, 0], [3, 2]], config=dataclasses.replace(CONFIG, reward="margin"))
    assert margin.targets.shape == (2, 2)
    np.testing.assert_allclose(margin.image_rewards, [scores[0, 1] - scores[0, 0], scores[1, 3] - scores[1, 2]], rtol=1e-4)
    labels = explain(targets=[[0, 2, 4], [1, 2, 3]], config=dataclasses.replace(CONFIG, reward="labels"))
    np.testing.assert_allclose(labels.image_rewards[0], scores[0, jnp.array([0, 2, 4])].mean(), rtol=1e-4)


@dataclasses.dataclass(frozen=True)
class Dimmed:
    """A perturbation of the caller's own."""

    max_blur: float = 9.0  # named like a setting
    name = "dimmed"
    description = "a share of the image's light"
    needs_reference = False

    def levels(self, images: Any, reference: Any = None) -> Any:
        return jnp.stack([images / self.max_blur, images], axis=1)


def test_records_of_the_callers_own() -> None:
    both = Game("both", "the mask keeps, its complement too", ((False, 1), (True, 1)))
    squared = Reward(lambda scores, target: scores[target] ** 2, "the target's score, squared")
    result = changed(game=both, reward=squared, perturbation=Dimmed())
    assert result.status.ok
    np.testing.assert_allclose(result.image_rewards, [MODEL(IMAGES)[i, t] ** 2 for i, t in enumerate(small.TARGETS)], rtol=1e-4)
    responses = [[MODEL((m + (1 - m) / 9)[..., None] * IMAGES[:1])[0, 1] ** 2 for m in (mask, 1 - mask)] for mask in result.masks[0]]
    np.testing.assert_allclose(result.rewards[0], np.sum(responses, axis=1), rtol=1e-4)


def test_a_record_is_taken_as_it_is() -> None:
    """A record that is given, instead of a name, does not follow the settings."""
    assert same(changed(perturbation=Fade()), changed(perturbation="fade"))
    assert same(changed(perturbation=Blur(2, 4.0)), explain())
    assert not same(changed(perturbation=Blur(2, 2.0)), explain())


def test_records_in_the_tables_have_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record's fields that are named like settings follow them."""
    monkeypatch.setitem(PERTURBATIONS, "dimmed", Dimmed())
    monkeypatch.setitem(GAMES, "keep", dataclasses.replace(GAMES["preserve"], name="keep"))
    monkeypatch.setitem(REWARDS, "score", Reward(lambda scores, target: scores[target], "the score"))
    named = changed(perturbation="dimmed", game="keep", reward="score")
    np.testing.assert_allclose(named.masks, changed(perturbation=Dimmed(max_blur=4.0)).masks, atol=1e-4)
    with pytest.raises(ValueError, match="did you mean 'dimmed'"):
        Config(perturbation="dimned")


# Models


def test_a_dense_model_is_averaged_over_space() -> None:
    np.testing.assert_allclose(explain(model=functools.partial(small.features, small.weights())).masks, explain().masks, atol=1e-4)


class NnxModel(nnx.Module):
    def __init__(self, weights: Any) -> None:
        self.weights = nnx.data({name: nnx.Param(value) for name, value in weights.items()})

    def __call__(self, images: Any) -> Any:
        return small.classify({name: value[...] for name, value in self.weights.items()}, images)


class LinenModel(flax.linen.Module):
    @flax.linen.compact
    def __call__(self, images: Any) -> Any:
        start = small.weights(1)
        return small.classify({name: self.param(name, lambda _, name=name: start[name]) for name in start}, images)


class EquinoxModel(equinox.Module):
    weights: dict

    def __call__(self, images: Any) -> Any:
        return small.classify(self.weights, images)


FRAMEWORKS = {
    "nnx": NnxModel,
    "linen": lambda weights: functools.partial(LinenModel().apply, {"params": weights}),
    "equinox": EquinoxModel,
    "closure": lambda weights: lambda images: small.classify(weights, images),
    "jit": lambda weights: jax.jit(lambda images: small.classify(weights, images)),
}


@pytest.mark.parametrize("framework", FRAMEWORKS.values(), ids=FRAMEWORKS)
def test_models_of_any_framework(framework: Any) -> None:
    arrays = small.weights()
    model = framework(arrays)
    before = [np.array(leaf) for leaf in jax.tree.leaves((model, arrays)) if hasattr(leaf, "shape")]
    np.testing.assert_allclose(explain(model=model).masks, explain().masks, atol=1e-5)
    after = [np.array(leaf) for leaf in jax.tree.leaves((model, arrays)) if hasattr(leaf, "shape")]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))  # never changed


def test_half_precision_images_of_any_number_of_channels() -> None:
    arrays = jax.tree.map(jnp.bfloat16, small.weights(channels=7))
    result = explain(jnp.asarray(small.images(channels=7), jnp.bfloat16), model=functools.partial(small.classify, arrays))
    assert result.masks.dtype == jnp.float32
    assert result.status.ok
    np.testing.assert_allclose(result.areas, result.requested_areas, atol=1e-3)


def test_mirrored_images_make_mirrored_masks() -> None:
    """With a lattice of one pixel and a model without left and right, the whole run is equivariant."""
    # Adam divides by gradients that may be all rounding; plain descent does not.
    config = dataclasses.replace(CONFIG, pitch=1, sigma=3.0, num_steps=8, jitter=False, optimizer=optax.sgd(1e-3))

    def symmetric(images: Any) -> Any:
        return MODEL(images) + MODEL(images[:, :, ::-1])

    result, mirrored = (explain(images, model=symmetric, config=config) for images in (IMAGES, IMAGES[:, :, ::-1].copy()))
    difference = np.abs(np.asarray(mirrored.masks)[..., ::-1] - result.masks)
    # By rounding, a pixel at the edge of the selection may fall in or out: 1e-3 of one parameter, at each step.
    assert difference.mean() < 1e-3
    assert difference.max() < 0.05
