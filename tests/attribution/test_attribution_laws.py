"""Laws of every method: what must not matter (jit, batches, chunks, layouts, frameworks, JAX's switches), and what must."""

from __future__ import annotations

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.experimental import io_callback
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import small
from attribution_cases import IMAGES, KEY, KINDS, LAYERS, OTHERS, TARGETS, WEIGHTS, close, explain, model_of, usual
from extremal_jax.attribution import METHODS

each_method = pytest.mark.parametrize("name", METHODS)
each_other = pytest.mark.parametrize("name", OTHERS)  # these laws of extremal perturbation are in tests/extremal
each_kind = pytest.mark.parametrize("name", KINDS)
RANDOM = [name for name, method in OTHERS.items() if "key" in method.options]
CHUNKED = [name for name, method in OTHERS.items() if "chunk_size" in method.options]


@each_method
def test_maps_are_maps(name: Any) -> None:
    maps = usual(name)
    assert maps.shape == ((2, 10, 12) if "at" in METHODS[name].needs else (2, 20, 24))
    assert maps.dtype == jnp.float32
    assert np.isfinite(maps).all()
    assert np.ptp(maps, axis=(1, 2)).min() > 0


@each_method
def test_only_signed_maps_are_negative(name: Any) -> None:
    """But for the shares of a sum that is negative, which excitation backprop passes down."""
    negative = bool((explain(name, abs(IMAGES)) < 0).any())
    assert negative == METHODS[name].signed or name == "excitation_backprop"


@each_method
def test_same_input_same_bits_in_any_order(name: Any) -> None:
    np.testing.assert_array_equal(explain(name), usual(name))
    np.testing.assert_array_equal(explain(name, IMAGES[::-1], TARGETS[::-1].copy()), usual(name)[::-1])
    np.testing.assert_array_equal(explain(name, targets=1)[0], usual(name)[0])  # one target for all


@each_method
def test_another_target_gives_another_map(name: Any) -> None:
    maps = explain(name, targets=TARGETS[::-1].copy())
    assert np.abs(maps - usual(name)).max(axis=(1, 2)).min() > 0


@each_kind
def test_a_batch_is_a_loop_inside_jit_and_vmap(name: Any) -> None:
    mapped = jax.jit(jax.vmap(lambda image, target: explain(name, image, target)))(IMAGES, TARGETS)
    close(mapped, usual(name))


@each_kind
def test_a_single_image(name: Any) -> None:
    close(explain(name, IMAGES[1], TARGETS[1]), usual(name)[1])


@each_kind
def test_sharding_changes_nothing(name: Any) -> None:
    """Each of two devices explains one image, inside `shard_map`, or where the images lie."""
    mesh, spec = Mesh(np.array(jax.devices()[:2]), ("images",)), PartitionSpec("images")
    sharded = jax.shard_map(lambda images, targets: explain(name, images, targets), mesh=mesh, in_specs=spec, out_specs=spec)
    close(jax.jit(sharded)(IMAGES, TARGETS), usual(name))
    laid_out = (jax.device_put(array, NamedSharding(mesh, spec)) for array in (IMAGES, TARGETS))
    close(explain(name, *laid_out), usual(name))


@each_kind
def test_bfloat16(name: Any) -> None:
    """The maps of a model of half the precision are float32, and alike but for the rectifiers that rounding switches."""
    half = functools.partial(jax.tree.map, lambda x: x.astype(jnp.bfloat16))
    maps = explain(name, half(IMAGES), model=model_of(half(WEIGHTS)))
    assert maps.dtype == jnp.float32
    for rough, exact in zip(np.asarray(maps), np.asarray(usual(name)), strict=True):
        assert (rough * exact).sum() > 0.85 * np.linalg.norm(rough) * np.linalg.norm(exact)


SLOW = ("igos", "igos_plus_plus", "extremal_contours")  # whose hundreds of steps take a minute, equation by equation


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in KINDS])
def test_eager(name: Any) -> None:
    """Without any compilation, equation by equation."""
    with jax.disable_jit():
        eager = explain(name, IMAGES[:1], TARGETS[:1])
    close(eager, usual(name)[:1])


@each_other
def test_switches_of_jax(name: Any) -> None:
    """Traced anew: mistakes of this kind are found in the trace."""
    options = {"resize": (8, 8), "smooth": 0.1, **({"baseline": 0.5} if name == "integrated_gradients" else {})}
    with small.strict():
        assert jax.eval_shape(lambda images: explain(name, images, **options), IMAGES).shape == (2, 8, 8)


@each_kind
def test_64_bits(name: Any) -> None:
    """Images in 32 bits give the same maps when JAX is allowed 64."""
    expected = usual(name)  # which is kept for other tests, so it is made in 32 bits
    with small.strict():
        maps = explain(name, np.asarray(IMAGES))
        assert maps.dtype == jnp.float32
        close(maps, expected)


@pytest.mark.parametrize("name", RANDOM)
def test_keys(name: Any) -> None:
    np.testing.assert_array_equal(explain(name, key=jax.random.clone(KEY)), usual(name))
    assert np.abs(explain(name, key=jax.random.fold_in(KEY, 1)) - usual(name)).max() > 0
    np.testing.assert_array_equal(explain(name, key=None), explain(name, key=jax.random.key(0)))


@pytest.mark.parametrize("name", CHUNKED)
def test_chunks_are_the_whole_and_bound_the_batches_of_the_model(name: Any) -> None:
    seen = []

    def model(images: Any) -> Any:
        seen.append(len(images))
        return small.classify(WEIGHTS, images)

    close(explain(name, model=model, chunk_size=2), usual(name))
    assert max(seen) == 2


@each_method
def test_second_calls_compile_nothing(name: Any, compilations: list[str]) -> None:
    """With other images, targets and weights."""
    other, images = model_of(small.weights(1)), np.asarray(jax.block_until_ready(IMAGES * 2))
    first = explain(name, np.asarray(IMAGES))
    del compilations[:]
    second = explain(name, images, TARGETS[::-1].copy(), model=other)
    assert not compilations
    assert not np.array_equal(first, second)


@each_kind
def test_models_written_in_the_call_compile_once(name: Any, compilations: list[str]) -> None:
    expected = usual(name)
    for weights in (WEIGHTS, small.weights(1), small.weights(2)):
        maps = explain(name, model=lambda images, weights=weights: small.classify(weights, images))
        executables = len(jax.devices()[0].client.live_executables())
        if weights is WEIGHTS:
            close(maps, expected)
            known = executables
            del compilations[:]
    assert not compilations
    assert executables == known


class Equinox(eqx.Module):
    """The small classifier, (C, H, W) inside, an image at a time."""

    weights: dict[str, jax.Array]

    def __call__(self, images: Any) -> Any:
        return jax.vmap(self.one)(images)

    def one(self, image: Any) -> Any:
        x = jnp.moveaxis(image, -1, 0)
        for name in ("first", "second"):
            kernel = jnp.transpose(self.weights[name], (3, 2, 0, 1))
            x = lax.conv_general_dilated(x[None], kernel, (2, 2), "SAME", dimension_numbers=("NCHW", "OIHW", "NCHW"))[0]
            x = checkpoint_name(jax.nn.relu(x), name)
        return jnp.einsum("chw,ck->khw", x, self.weights["head"]).mean(axis=(1, 2))


class Nnx(nnx.Module):
    """The small classifier."""

    def __init__(self, weights: Any) -> None:
        options = dict[str, Any](use_bias=False, kernel_init=nnx.initializers.zeros, rngs=nnx.Rngs(0))
        self.first = nnx.Conv(3, 6, (3, 3), strides=2, **options)
        self.second = nnx.Conv(6, 8, (3, 3), strides=2, **options)
        self.head = nnx.Linear(8, small.CLASSES, **options)
        for name, weight in weights.items():
            getattr(self, name).kernel[...] = weight

    def __call__(self, x: Any) -> Any:
        x = checkpoint_name(nnx.relu(self.first(x)), "first")
        x = checkpoint_name(nnx.relu(self.second(x)), "second")
        return self.head(x).mean(axis=(1, 2))


class Linen(linen.Module):
    """The small classifier."""

    @linen.compact
    def __call__(self, x: Any) -> Any:
        x = checkpoint_name(linen.relu(linen.Conv(6, (3, 3), 2, use_bias=False, name="first")(x)), "first")
        x = checkpoint_name(linen.relu(linen.Conv(8, (3, 3), 2, use_bias=False, name="second")(x)), "second")
        return linen.Dense(small.CLASSES, use_bias=False, name="head")(x).mean(axis=(1, 2))


@each_kind
def test_layout_and_framework_do_not_matter(name: Any) -> None:
    """Channels first, and mapped over images."""
    options = {"channel_axis": 1} if "at" in METHODS[name].needs else {}
    close(explain(name, model=Equinox(WEIGHTS), **options), usual(name), tolerance=1e-3)


@pytest.mark.parametrize("framework", ["nnx", "linen", "closure"])
def test_frameworks(framework: str) -> None:
    variables = {"params": {name: {"kernel": weight} for name, weight in WEIGHTS.items()}}
    models = {"nnx": Nnx(WEIGHTS), "linen": functools.partial(Linen().apply, variables), "closure": small.model()}
    close(explain("guided_backprop", model=models[framework]), usual("guided_backprop"))


# Gradients that do not reach the images, and models without any.


@each_other
def test_a_constant_model(name: Any) -> None:
    """Finite maps; methods that send something back say that it is zero."""
    constant = model_of(jax.tree.map(jnp.zeros_like, WEIGHTS))
    if not METHODS[name].needs_gradient:
        assert np.isfinite(explain(name, model=constant)).all()
        return
    with pytest.warns(UserWarning, match=rf"{name}: no gradient reached images \[0, 1\], every value sent back is zero") as caught:
        maps = explain(name, model=constant)
    assert len(caught) == 1
    assert not maps.any()


@pytest.mark.parametrize("name", ["grad_cam", "integrated_gradients", "smooth_grad"])
def test_gradients_that_reach_some_images_only(name: str) -> None:
    def model(images: Any) -> Any:
        frozen = (images.mean(axis=(1, 2, 3)) > 100)[:, None]
        scores = small.classify(WEIGHTS, images)
        return jnp.where(frozen, jax.lax.stop_gradient(scores), scores)

    images = IMAGES.at[1].add(1000)
    with pytest.warns(UserWarning, match=rf"{name}: no gradient reached images \[1\]"):
        explain(name, images, model=model)
    if name == "grad_cam":
        with pytest.warns(UserWarning, match=rf"{name}: no gradient reached the image,"):
            explain(name, images[1], 0, model=model)
    jax.eval_shape(lambda images: explain(name, images, model=model), images)  # what is traced has no values


def black_box(images: Any, callback: Any = jax.pure_callback) -> Any:
    """The small classifier, whose last layer JAX cannot see into."""
    x = small.features({**WEIGHTS, "head": jnp.eye(8)}, images).mean(axis=(1, 2))
    head = np.asarray(WEIGHTS["head"])
    return callback(lambda x: np.asarray(x) @ head, jax.ShapeDtypeStruct((len(x), head.shape[1]), np.float32), x)


@each_other
def test_models_that_cannot_be_differentiated(name: Any) -> None:
    callback = io_callback if name in ("gradient", "rise") else jax.pure_callback
    model = functools.partial(black_box, callback=callback)
    if METHODS[name].needs_gradient:
        with pytest.raises(ValueError, match="this model cannot be differentiated; rise and occlusion need no gradient"):
            explain(name, model=model)
    else:
        close(explain(name, model=model), usual(name))


def test_layers_are_those_of_the_methods() -> None:
    without = {"integrated_gradients", "rise", "occlusion", "igos", "igos_plus_plus", "extremal_contours"}
    assert {name for name, method in METHODS.items() if not method.layers} == without
    assert all(set(LAYERS) >= method.needs for method in METHODS.values())
