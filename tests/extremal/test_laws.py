"""What must not matter: jit, batches, chunks, devices, the order of images; and what compiles when."""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

import extremal_jax as ej
import small
from extremal_jax import Config
from extremal_jax.optimise import driver

IMAGES, TARGETS, AREAS = jnp.asarray(small.images()), jnp.array([1, 3]), jnp.array([0.1, 0.3])
MODEL = small.model()
CONFIGS = {
    "default": Config(num_steps=4, pitch=4, sigma=4.0, num_levels=4, max_blur=4.0),
    "torchray": Config.torchray(num_steps=4, pitch=4, sigma=4.0, num_levels=4, max_blur=4.0),
    "paper": Config.paper(num_steps=4, pitch=4, sigma=4.0, num_levels=4, max_blur=4.0, game="dual"),
}
each_config = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)


def run(images=IMAGES, targets=TARGETS, areas=AREAS, config=CONFIGS["default"], **options):
    return ej.extremal_perturbation(MODEL, images, targets, areas, config=config, **options)


def close(a, b, tolerance=1e-4):
    """Other programs, other roundings: after four steps, they stay below the tolerance."""
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=tolerance, rtol=tolerance), a, b)


def equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


@each_config
def test_same_key_same_bits(config):
    equal(run(config=config), run(config=config))
    equal(run(config=config, key=jax.random.key(3)), run(config=config, key=jax.random.key(3)))


@each_config
def test_a_batch_is_a_loop(config):
    whole = run(config=config)
    for i in range(2):
        close(whole[i], run(IMAGES[i], TARGETS[i], config=config))
    equal(run(IMAGES[::-1], TARGETS[::-1], config=config).masks, whole.masks[::-1])


@each_config
def test_areas_do_not_see_each_other(config):
    whole = run(config=config)
    close(run(areas=AREAS[1:], config=config).masks, whole.masks[:, 1:])


@each_config
@pytest.mark.parametrize("chunk_size", [1, 3, 4, 100])
def test_chunks_are_the_whole(config, chunk_size):
    close(run(config=config, chunk_size=chunk_size), run(config=config))


@each_config
def test_inside_jit(config):
    traced = jax.jit(lambda images, targets, areas: run(images, targets, areas, config=config))(IMAGES, TARGETS, AREAS)
    assert isinstance(traced, ej.ExtremalResult)
    assert traced.status.ok
    close(traced, run(config=config))


@each_config
def test_eager(config):
    """Without any compilation, equation by equation: slow, so that two steps must do."""
    config = dataclasses.replace(config, num_steps=2)
    with jax.disable_jit():
        eager = run(IMAGES[0], TARGETS[0], config=config)
    close(eager, run(IMAGES[0], TARGETS[0], config=config))


def test_inside_vmap():
    mapped = jax.vmap(lambda image, target: run(image, target))(IMAGES, TARGETS)
    close(mapped, run())


def test_inside_shard_map():
    mesh = Mesh(np.array(jax.devices()[:2]), ("images",))
    spec = PartitionSpec("images")
    sharded = jax.jit(
        jax.shard_map(lambda images, targets: run(images, targets), mesh=mesh, in_specs=(spec, spec), out_specs=spec, check_vma=True)
    )
    assert len(jax.devices()) == 2
    close(sharded(IMAGES, TARGETS), run())


def test_sharded_images():
    """Images laid out over two devices: the same result, laid out likewise."""
    mesh = Mesh(np.array(jax.devices()[:2]), ("images",))
    sharding = jax.sharding.NamedSharding(mesh, PartitionSpec("images"))
    result = run(jax.device_put(IMAGES, sharding), jax.device_put(TARGETS, sharding))
    close(result, run())


def test_gradient_through_a_run():
    """With respect to the image, as for adversarial questions."""

    @jax.jit
    def reward(image):
        config = dataclasses.replace(CONFIGS["default"], num_steps=1, jitter=False)
        return run(image, TARGETS[0], AREAS[:1], config=config).rewards.sum()

    gradient = jax.jit(jax.grad(reward))(IMAGES[0])
    step = 1e-2 * jnp.asarray(np.random.default_rng(0).standard_normal(gradient.shape), jnp.float32)
    numeric = (reward(IMAGES[0] + step) - reward(IMAGES[0] - step)) / 2
    assert float(jnp.vdot(gradient, step)) == pytest.approx(float(numeric), rel=0.1)  # rectifiers bend on the way


def test_second_calls_compile_nothing(compilations):
    targets, areas, images = (np.asarray(x) for x in (TARGETS, AREAS, IMAGES))
    keys = jax.random.key(0), jax.random.key(5)
    run(images, targets, areas, key=keys[0])
    del compilations[:]
    run(images, targets[::-1].copy(), areas, key=keys[0])
    run(images, targets, areas / 2, key=keys[0])
    run(2 * images, targets, areas, key=keys[1])
    run(images, targets, areas, config=dataclasses.replace(CONFIGS["default"], learning_rate=0.05, area_weight=100.0, anneal=0.9))
    assert not compilations


def test_other_weights_compile_nothing(compilations):
    """The model's arrays are arguments of the program, also those of a closure made anew."""

    def explain(weights):
        partial = jax.tree_util.Partial(small.classify, weights)
        return ej.extremal_perturbation(partial, IMAGES, TARGETS, AREAS, config=CONFIGS["default"]).masks

    first = explain(small.weights(0))
    jax.block_until_ready(small.weights(1))
    del compilations[:]
    second = explain(small.weights(1))
    assert not compilations
    assert not np.array_equal(first, second)


def test_a_closure_is_read_anew():
    """A model's arrays may change between calls; the run must see it."""
    arrays = small.weights(0)
    model = functools.partial(lambda box, images: small.classify(box, images), arrays)
    before = ej.extremal_perturbation(model, IMAGES, TARGETS, AREAS, config=CONFIGS["default"])
    arrays.update(small.weights(1))
    after = ej.extremal_perturbation(model, IMAGES, TARGETS, AREAS, config=CONFIGS["default"])
    other = ej.extremal_perturbation(small.model(1), IMAGES, TARGETS, AREAS, config=CONFIGS["default"])
    assert not np.array_equal(before.masks, after.masks)
    close(after, other)


def test_length_of_the_parts_does_not_matter(monkeypatch):
    whole = run()
    monkeypatch.setattr(driver, "chunks", lambda _: [slice(0, 3), slice(3, 4)])
    close(run(), whole)


@pytest.mark.parametrize("num_steps", [1, 7, 10, 23, 24, 800])
def test_parts_make_the_whole(num_steps):
    steps = np.arange(num_steps)
    parts = [steps[part] for part in driver.chunks(num_steps)]
    np.testing.assert_array_equal(np.concatenate(parts), steps)
    assert max(map(len, parts)) <= 10
    assert len({len(part) for part in parts}) <= 2  # each length is compiled
