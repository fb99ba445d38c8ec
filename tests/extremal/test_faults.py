"""Runs whose answer means nothing: the status says so, and which image and area; a healthy run is finished."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from jax.ad_checkpoint import checkpoint_name

import small
from extremal_jax import maximize_channel
from small import IMAGES, MODEL, TARGETS, channels, explain, smallest

NO_GRADIENT = "no gradient of the reward reached the mask, which therefore means nothing"


@pytest.mark.parametrize("call", small.CALLS.values(), ids=small.CALLS)
def test_healthy_runs(call: Any) -> None:
    result = call()
    if hasattr(result, "status"):
        assert result.status.ok
        assert result.status.message == "finished"


# No gradient


def rectified(bias: Any, images: Any) -> Any:
    """A model that is dead for dark images; the channels of `x` are the image's."""
    x = checkpoint_name(images, "x").mean(axis=(1, 2))
    return jax.nn.relu(x + bias) @ jnp.eye(3, 4)


DEAD, DARK = jax.tree_util.Partial(rectified, jnp.float32(-1e6)), jax.tree_util.Partial(rectified, jnp.float32(0))
ONE_DARK = np.stack([0.1 * IMAGES[0] + 1, 0.1 * IMAGES[1] - 1])


@pytest.mark.parametrize("call", [explain, lambda *a, **k: channels(*a, at="x", areas=(1, 2), **k)], ids=["extremal", "channels"])  # type: ignore[misc]
def test_a_dead_rectifier(call: Any) -> None:
    status = call(ONE_DARK, (0, 1), model=DEAD).status
    assert status.no_gradient.tolist() == [[True, True], [True, True]]
    assert status.message.splitlines() == [f"image {i}, area {k}: {NO_GRADIENT}" for i in range(2) for k in range(2)]
    status = call(ONE_DARK, (0, 1), model=DARK).status
    assert status.no_gradient.tolist() == [[False, False], [True, True]]
    assert status.message.splitlines() == [f"image 1, area {k}: {NO_GRADIENT}" for k in range(2)]


def test_a_frozen_backbone() -> None:
    status: Any = explain(model=lambda x: MODEL(jax.lax.stop_gradient(x))).status
    assert not status.ok
    assert status.no_gradient.all()


def test_the_search_for_the_smallest_area_without_a_gradient() -> None:
    status: Any = smallest(ONE_DARK, (0, 1), model=DARK, response=0.5, resolution=10.0).status
    assert status.no_gradient.tolist() == [[False, False], [True, True]]
    assert status.message.startswith("image 1, area 0: no gradient")


def test_pictures_without_a_gradient() -> None:
    def model(images: Any) -> Any:
        return checkpoint_name(jax.nn.relu(jnp.stack([images.mean(axis=-1), images.mean(axis=-1) - 1e6], axis=-1)), "x")

    status: Any = maximize_channel(model, [0, 1], at="x", shape=(8, 8), config=small.INVERSION_CONFIG).status
    assert status.no_gradient.tolist() == [False, True]
    assert status.message == "picture 1: no gradient of the reward reached the picture, which therefore means nothing"


# Values that are not finite


def test_scores_that_are_not_finite() -> None:
    def sometimes(images: Any) -> Any:
        return MODEL(images) * jnp.where(images[:, :1, 0, 0] == IMAGES[1, 0, 0, 0], jnp.nan, 1)

    marked = dataclasses.replace(small.CONFIG, perturbation="reference", shift=0)  # the corner stays as it is
    status: Any = explain(model=sometimes, config=marked, reference=IMAGES).status
    assert status.nonfinite_step.tolist() == [[-1, -1], [0, 0]]
    assert status.nonfinite_image.tolist() == [[False, False], [True, True]]
    assert "image 1, area 0: the reward or its gradient was not finite at step 0; the mask is that of the step before" in status.message


def test_a_response_to_the_image_that_is_not_finite() -> None:
    """Masks take light away, so that the model is finite at each of them."""

    def model(images: Any) -> Any:
        light = images.mean(axis=(1, 2, 3))
        return jnp.stack([light, jnp.where(light > 0.999, jnp.inf, light)], axis=1)

    config = dataclasses.replace(small.CONFIG, perturbation="fade", anneal=0.0)
    status: Any = explain(np.ones_like(IMAGES), (0, 1), model=model, config=config).status
    assert status.nonfinite_image.tolist() == [[False, False], [True, True]]
    assert "image 1, area 0: the response to the image itself is not finite" in status.message


def test_a_reward_that_is_not_finite_after_the_last_step() -> None:
    """The mask of the last update was never shown before; the first ones keep the whole image."""

    def model(images: Any) -> Any:
        return jnp.where(images.mean(axis=(1, 2, 3)) < 0.9, jnp.nan, 1.0)[:, None] * images.mean(axis=(1, 2))

    config = dataclasses.replace(small.CONFIG, perturbation="fade", num_steps=1, learning_rate=0.1, exact_area=False, shift=0)
    status: Any = explain(np.ones_like(IMAGES), (0, 1), model=model, config=config).status
    assert status.nonfinite_reward.all()
    assert status.message.splitlines()[0].startswith("image 0, area 0: the reward of the mask is not finite after the last step")


# Nothing to find


@pytest.mark.parametrize("kind", ["blur of a constant image", "reference that is the image", "layer of zeros"])
def test_a_perturbation_that_changes_nothing(kind: str) -> None:
    """Of the first image; the second is explained as usual."""
    images = np.stack([0 * IMAGES[0] + 0.3, IMAGES[1]])
    if kind == "layer of zeros":
        model = lambda x: checkpoint_name(jax.nn.relu(x - jnp.where(x.std(axis=(1, 2, 3), keepdims=True) > 0.01, 0, 9)), "x").mean((1, 2))  # noqa: E731
        status: Any = channels(images, (0, 1), model=model, at="x", areas=(1, 2)).status
    elif kind == "blur of a constant image":
        status = explain(images).status
    else:
        reference = np.stack([images[0], 0 * images[1]])
        status = explain(images, config=dataclasses.replace(small.CONFIG, perturbation="reference", shift=0), reference=reference).status
    assert status.unchanged.tolist() == [[True, True], [False, False]]
    first, second = status.message.splitlines()
    assert first == "image 0, area 0: the perturbation changes nothing of the image, so that any other mask would be as good"
    assert second.startswith("image 0, area 1: ")


def test_traced_targets_that_are_no_classes() -> None:
    status = jax.jit(lambda targets: explain(targets=targets).status)(jnp.array([1, 5]))
    assert status.nonfinite_step.tolist() == [[-1, -1], [0, 0]]
    assert status.nonfinite_image.tolist() == [[False, False], [True, True]]
    assert not status.ok


# Models that mix the images of a batch


class Normalised(nnx.Module):
    def __init__(self, dropout: Any = 0.0, **options: Any) -> None:
        rngs = nnx.Rngs(0)
        self.norm, self.dropout = nnx.BatchNorm(3, rngs=rngs), nnx.Dropout(dropout, rngs=rngs)
        self.options = options

    def __call__(self, images: Any) -> Any:
        return MODEL(self.dropout(self.norm(images, **self.options)))


@pytest.mark.parametrize("call", [explain, smallest])
def test_a_batch_norm_in_training_mode(call: Any) -> None:
    model = Normalised()
    with pytest.raises(
        ValueError, match=r"the model mixes the images of a batch: BatchNorm is in training mode; call model.eval\(\) before"
    ):
        call(model=model)
    assert np.array_equal(model.norm.mean[...], np.zeros(3))  # and the model is not changed


def test_models_in_inference_mode() -> None:
    """Switched by `eval`, or by an argument of the call: the same masks."""
    switched, told = Normalised(dropout=0.5), Normalised(use_running_average=True)
    switched.eval()  # type: ignore[no-untyped-call]
    np.testing.assert_allclose(explain(model=switched).masks, explain(model=told).masks, atol=1e-4)
    assert explain(model=told).status.ok


class Dropping(nnx.Module):
    """Dropout and a layer, all of whose arrays are its own."""

    def __init__(self) -> None:
        self.dropout, self.head = nnx.Dropout(0.5, rngs=nnx.Rngs(0)), nnx.Linear(3, small.CLASSES, rngs=nnx.Rngs(1))

    def __call__(self, images: Any) -> Any:
        return self.head(self.dropout(images).mean(axis=(1, 2)))


@pytest.mark.parametrize("seen", ["module", "method", "partial"])
def test_dropout_in_training_mode(seen: str) -> None:
    """Of a module itself, behind its method, and in a partial."""
    module = Dropping()
    model = dict(module=module, method=module.__call__, partial=functools.partial(Dropping.__call__, module))[seen]
    with pytest.warns(UserWarning, match=r"Dropout is in training mode, so scores are random; call model.eval\(\) before"):
        explain(model=model)


def test_a_closure_over_a_module_in_training_mode() -> None:
    """Flax refuses it by a sentence on traces."""
    module = Dropping()
    with pytest.raises(ValueError, match=r"Cannot mutate .*; a layer is in training mode: call model\.eval\(\) before"):
        explain(model=lambda images: module(images))


class LinenNorm(linen.Module):
    """A batch norm without a mode of its own: the call decides."""

    train: bool

    @linen.compact
    def __call__(self, images: Any) -> Any:
        return MODEL(linen.BatchNorm(use_running_average=not self.train)(images))


def linen_model(train: Any) -> Any:
    variables = LinenNorm(train).init(jax.random.key(0), jnp.asarray(IMAGES))
    return lambda images: LinenNorm(train).apply(variables, images, mutable=["batch_stats"])[0]


def by_hand(images: Any) -> Any:
    axes = (0, 1, 2)
    return MODEL((images - images.mean(axis=axes, keepdims=True)) / (1e-3 + images.std(axis=axes, keepdims=True)))


@pytest.mark.parametrize("model", [linen_model(train=True), by_hand], ids=["linen", "by hand"])
def test_a_batch_norm_that_nothing_announces(model: Any) -> None:
    """The status says so. The same masks alone, in chunks of one, depend on nothing else."""
    result: Any = explain(model=model)
    assert result.status.depends_on_batch.any()
    assert "the response depends on the other images of the batch; switch the model to inference: model.eval()" in result.status.message


def test_a_batch_norm_that_is_told_to_infer() -> None:
    assert explain(model=linen_model(train=False)).status.ok


def test_areas_of_a_call_do_not_influence_each_other() -> None:
    alone = explain(IMAGES[:1], TARGETS[:1], (0.1,))
    beside = explain(IMAGES[:1], TARGETS[:1], (0.1, 0.5))
    np.testing.assert_allclose(beside.masks[:, 0], alone.masks[:, 0], atol=1e-4)
