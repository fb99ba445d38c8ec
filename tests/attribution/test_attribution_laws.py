"""What must not matter to any method: jit, batches, chunks, a model's layout and framework; what must; and what compiles when."""

from __future__ import annotations

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import small
from extremal_jax import Config
from extremal_jax.attribution import METHODS

IMAGES, TARGETS = jnp.asarray(small.images()), np.array([1, 3])
WEIGHTS = small.weights()
LAYERS = {"at": "first", "contrast_at": "second"}
KEY = jax.random.key(0, impl="unsafe_rbg")  # which compiles sooner than the usual kind
QUICK = {  # options with which a method is quick
    "extremal_perturbation": dict(areas=(0.1,), config=Config(num_steps=2, step=4, sigma=4.0, num_levels=3, max_blur=4.0)),
    "integrated_gradients": dict(steps=3),
    "smooth_grad": dict(samples=3, key=KEY),
    "rise": dict(num_masks=5, grid=3, key=KEY),
    "occlusion": dict(window=12),
}
each_method = pytest.mark.parametrize("name", METHODS)
OTHERS = {name: method for name, method in METHODS.items() if name != "extremal_perturbation"}
each_other = pytest.mark.parametrize("name", OTHERS)  # these laws of extremal perturbation are in test_laws.py
RANDOM = [name for name, method in OTHERS.items() if "key" in method.options]
CHUNKED = [name for name, method in OTHERS.items() if "chunk_size" in method.options]


def model_of(weights):
    return jax.tree_util.Partial(small.classify, weights)


def explain(name, images=IMAGES, targets=TARGETS, model=None, **options):
    method = METHODS[name]
    options = {**{option: LAYERS[option] for option in method.needs}, **QUICK.get(name, {}), **options}
    return method.function(model_of(WEIGHTS) if model is None else model, images, targets, **options)


usual = functools.cache(explain)  # of a name alone


def close(actual, expected, tolerance=1e-4):
    """Other programs, other roundings: relative to the largest entry."""
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())


@each_method
def test_maps_are_maps(name):
    maps = usual(name)
    assert maps.shape == ((2, 10, 12) if "at" in METHODS[name].needs else (2, 20, 24))
    assert maps.dtype == jnp.float32
    assert np.isfinite(maps).all()
    assert np.ptp(maps, axis=(1, 2)).min() > 0


@each_method
def test_same_input_same_bits(name):
    np.testing.assert_array_equal(explain(name), usual(name))


@each_other
def test_a_batch_is_a_loop(name):
    for i in range(2):
        close(explain(name, IMAGES[i], TARGETS[i]), usual(name)[i])


@each_method
def test_the_order_of_images_does_not_matter(name):
    np.testing.assert_array_equal(explain(name, IMAGES[::-1], TARGETS[::-1].copy()), usual(name)[::-1])


@each_other
def test_inside_jit_and_vmap(name):
    mapped = jax.jit(jax.vmap(lambda image, target: explain(name, image, target)))(IMAGES, TARGETS)
    close(mapped, usual(name))


@each_other
def test_inside_shard_map(name):
    """Each of two devices explains one image."""
    mesh, spec = Mesh(np.array(jax.devices()[:2]), ("images",)), PartitionSpec("images")
    sharded = jax.shard_map(lambda images, targets: explain(name, images, targets), mesh=mesh, in_specs=spec, out_specs=spec)
    close(jax.jit(sharded)(IMAGES, TARGETS), usual(name))


@each_other
def test_sharded_images(name):
    """Images laid out over two devices are explained where they lie."""
    sharding = NamedSharding(Mesh(np.array(jax.devices()[:2]), ("images",)), PartitionSpec("images"))
    close(explain(name, jax.device_put(IMAGES, sharding), jax.device_put(TARGETS, sharding)), usual(name))


@each_other
def test_bfloat16(name):
    """The maps of a model of half the precision are float32, and alike but for the rectifiers that rounding switches."""
    half = functools.partial(jax.tree.map, lambda x: x.astype(jnp.bfloat16))
    maps = explain(name, half(IMAGES), model=model_of(half(WEIGHTS)))
    assert maps.dtype == jnp.float32
    for rough, exact in zip(np.asarray(maps), np.asarray(usual(name)), strict=True):
        assert (rough * exact).sum() > 0.85 * np.linalg.norm(rough) * np.linalg.norm(exact)


@each_other
def test_eager(name):
    """Without any compilation, equation by equation."""
    with jax.disable_jit():
        eager = explain(name, IMAGES[:1], TARGETS[:1])
    close(eager, usual(name)[:1])


@each_method
def test_another_target_gives_another_map(name):
    maps = explain(name, targets=TARGETS[::-1].copy())
    assert np.abs(maps - usual(name)).max(axis=(1, 2)).min() > 0


@each_method
def test_one_target_for_all(name):
    np.testing.assert_array_equal(explain(name, targets=1)[0], usual(name)[0])


@pytest.mark.parametrize("name", RANDOM)
def test_keys(name):
    np.testing.assert_array_equal(explain(name, key=jax.random.clone(KEY)), usual(name))
    assert np.abs(explain(name, key=jax.random.fold_in(KEY, 1)) - usual(name)).max() > 0


@pytest.mark.parametrize("name", CHUNKED)
def test_chunks_are_the_whole(name):
    close(explain(name, chunk_size=2), usual(name))


@pytest.mark.parametrize("name", CHUNKED)
def test_chunks_bound_what_the_model_sees(name):
    seen = []

    def model(images):
        seen.append(len(images))
        return small.classify(WEIGHTS, images)

    jax.eval_shape(lambda images: explain(name, images, 1, model=model, chunk_size=2), IMAGES[0])
    assert max(seen) == 2


@each_method
def test_a_constant_model(name):
    constant = jax.tree.map(jnp.zeros_like, WEIGHTS)
    assert np.isfinite(explain(name, model=model_of(constant))).all()


@each_method
def test_second_calls_compile_nothing(name, compilations):
    images, targets = np.asarray(IMAGES), TARGETS
    first = explain(name, images, targets)
    other, more = model_of(small.weights(1)), jax.block_until_ready(IMAGES * 2)
    images = np.asarray(more)
    del compilations[:]
    explain(name, images, targets[::-1].copy())
    second = explain(name, images, targets, model=other)
    assert not compilations
    assert not np.array_equal(first, second)


class Equinox(eqx.Module):
    """The small classifier, (C, H, W) inside, an image at a time."""

    weights: dict[str, jax.Array]

    def __call__(self, images):
        return jax.vmap(self.one)(images)

    def one(self, image):
        x = jnp.moveaxis(image, -1, 0)
        for name in ("first", "second"):
            kernel = jnp.transpose(self.weights[name], (3, 2, 0, 1))
            x = lax.conv_general_dilated(x[None], kernel, (2, 2), "SAME", dimension_numbers=("NCHW", "OIHW", "NCHW"))[0]
            x = checkpoint_name(jax.nn.relu(x), name)
        return jnp.einsum("chw,ck->khw", x, self.weights["head"]).mean(axis=(1, 2))


class Nnx(nnx.Module):
    """The small classifier."""

    def __init__(self, weights):
        options = dict(use_bias=False, kernel_init=nnx.initializers.zeros, rngs=nnx.Rngs(0))
        self.first = nnx.Conv(3, 6, (3, 3), strides=2, **options)
        self.second = nnx.Conv(6, 8, (3, 3), strides=2, **options)
        self.head = nnx.Linear(8, small.CLASSES, **options)
        for name, weight in weights.items():
            getattr(self, name).kernel[...] = weight

    def __call__(self, x):
        x = checkpoint_name(nnx.relu(self.first(x)), "first")
        x = checkpoint_name(nnx.relu(self.second(x)), "second")
        return self.head(x).mean(axis=(1, 2))


class Linen(linen.Module):
    """The small classifier."""

    @linen.compact
    def __call__(self, x):
        x = checkpoint_name(linen.relu(linen.Conv(6, (3, 3), 2, use_bias=False, name="first")(x)), "first")
        x = checkpoint_name(linen.relu(linen.Conv(8, (3, 3), 2, use_bias=False, name="second")(x)), "second")
        return linen.Dense(small.CLASSES, use_bias=False, name="head")(x).mean(axis=(1, 2))


@each_other
def test_layout_and_framework_do_not_matter(name):
    """Channels first, and mapped over images."""
    options = {"channel_axis": 1} if "at" in METHODS[name].needs else {}
    close(explain(name, model=Equinox(WEIGHTS), **options), usual(name), tolerance=1e-3)


@pytest.mark.parametrize("framework", ["nnx", "linen", "closure"])
def test_frameworks(framework):
    variables = {"params": {name: {"kernel": weight} for name, weight in WEIGHTS.items()}}
    models = {"nnx": Nnx(WEIGHTS), "linen": functools.partial(Linen().apply, variables), "closure": small.model()}
    close(explain("guided_backprop", model=models[framework]), usual("guided_backprop"))
