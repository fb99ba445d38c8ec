"""Changes that must not matter: jit, batches, chunks, devices, the order of images; and the number of compilations."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

import extremal_jax as ej
import small
from extremal_jax import Config
from extremal_jax.optimise import driver
from small import CONFIG

IMAGES, TARGETS, AREAS = jnp.asarray(small.IMAGES), jnp.array(small.TARGETS), jnp.array(small.AREAS)
QUICK = dict(num_steps=4, pitch=4, sigma=4.0, num_levels=2, max_blur=4.0)
CONFIGS = {"areas alone": CONFIG, "torchray": Config.torchray(**QUICK), "paper": Config.paper(**QUICK, game="dual")}
each_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


def run(images: Any = IMAGES, targets: Any = TARGETS, areas: Any = AREAS, config: Any = CONFIG, **options: Any) -> Any:
    return small.explain(images, targets, areas, config=config, **options)


def close(a: Any, b: Any, tolerance: Any = 1e-4) -> None:
    """Other programs round differently; after four steps, the differences stay below the tolerance."""
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=tolerance, rtol=tolerance), a, b)


def equal(a: Any, b: Any) -> None:
    jax.tree.map(np.testing.assert_array_equal, a, b)


@each_config
def test_same_key_same_bits(config: Any) -> None:
    equal(run(config=config, key=jax.random.key(3)), run(config=config, key=jax.random.key(3)))
    equal(run(config=config), run(config=config, key=jax.random.key(0)))


@each_config
def test_the_order_of_images_does_not_matter(config: Any) -> None:
    equal(run(IMAGES[::-1], TARGETS[::-1], config=config).masks, run(config=config).masks[::-1])


@each_config
def test_a_batch_is_a_loop_over_images_and_areas(config: Any) -> None:
    whole = run(config=config)
    for i in range(2):
        close(run(IMAGES[i], TARGETS[i], AREAS[1:], config=config).masks, whole.masks[i, 1:])


def test_one_image_in_chunks_of_one_mask() -> None:
    for i in range(2):
        close(run(IMAGES[i], TARGETS[i], chunk_size=1), run()[i])


@pytest.mark.parametrize("chunk_size", [3, 100])  # the last chunk has one mask
def test_chunks_are_the_whole(chunk_size: int) -> None:
    close(run(chunk_size=chunk_size), run())


def test_inside_jit() -> None:
    traced = jax.jit(run)(IMAGES, TARGETS, AREAS)
    assert isinstance(traced, ej.ExtremalResult)
    assert traced.status.ok
    close(traced, run())


@pytest.mark.slow
def test_without_any_compilation() -> None:
    """Operation by operation is slow, so one mask, one step and a linear model must do."""
    options = dict(model=lambda images: images.mean(axis=(1, 2)), config=dataclasses.replace(CONFIG, num_steps=1))
    with jax.disable_jit():
        eager = run(IMAGES[0], TARGETS[0], AREAS[:1], **options)
    close(eager, run(IMAGES[0], TARGETS[0], AREAS[:1], **options))


def test_inside_vmap() -> None:
    close(jax.jit(jax.vmap(lambda image, target: run(image, target)))(IMAGES, TARGETS), run())


def test_inside_shard_map() -> None:
    mesh = Mesh(np.array(jax.devices()[:2]), ("images",))
    spec = PartitionSpec("images")
    sharded = jax.shard_map(lambda images, targets: run(images, targets), mesh=mesh, in_specs=(spec, spec), out_specs=spec, check_vma=True)
    assert len(jax.devices()) == 2
    close(jax.jit(sharded)(IMAGES, TARGETS), run())


def test_gradient_through_a_run() -> None:
    """With respect to the image, as for adversarial questions."""

    @jax.jit
    @jax.value_and_grad
    def reward(image: Any) -> Any:
        config = dataclasses.replace(CONFIG, num_steps=1, jitter=False, ramp=0.15)
        return run(image, TARGETS[0], AREAS[:1], config=config).rewards.sum()

    _, gradient = reward(IMAGES[0])
    # Larger steps meet jumps, where an update changes its sign; smaller ones drown in rounding.
    step = 3e-4 * jnp.asarray(np.random.default_rng(0).standard_normal(gradient.shape), jnp.float32)
    numeric = (reward(IMAGES[0] + step)[0] - reward(IMAGES[0] - step)[0]) / 2
    assert float(jnp.vdot(gradient, step)) == pytest.approx(float(numeric), rel=0.01)


def test_second_calls_compile_nothing(compilations: list[str]) -> None:
    targets, areas, images = (np.asarray(x) for x in (TARGETS, AREAS, IMAGES))
    keys = jax.random.key(0), jax.random.key(5)
    run(images, targets, areas, key=keys[0])
    del compilations[:]
    run(images, targets[::-1].copy(), areas, key=keys[0])
    run(images, targets, areas / 2, key=keys[0])
    run(2 * images, targets, areas, key=keys[1])
    run(images, targets, areas, config=dataclasses.replace(CONFIG, learning_rate=0.05, area_weight=100.0, anneal=0.9, ramp=0.3))
    assert not compilations


def test_other_weights_compile_nothing(compilations: list[str]) -> None:
    """The model's arrays are arguments of the program."""
    first, other = run().masks, small.model(1)
    del compilations[:]
    second = run(model=other).masks
    assert not compilations
    assert not np.array_equal(first, second)


def test_a_closure_is_read_anew(compilations: list[str]) -> None:
    """A model's arrays may change between calls, and the run must see it, without another compilation."""
    arrays = dict(small.weights(0))
    model = lambda images: small.classify(arrays, images)  # noqa: E731
    before = run(model=model)
    arrays.update(other := small.weights(1))
    jax.block_until_ready(other)
    del compilations[:]
    after = run(model=model)
    assert not compilations
    assert not np.array_equal(before.masks, after.masks)
    close(after, run(model=small.model(1)))


def test_the_length_of_the_parts_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run()
    monkeypatch.setattr(driver, "chunks", lambda _: [slice(0, 2), slice(2, 4)])
    close(run(), whole)
