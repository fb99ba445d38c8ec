"""Models: parted at a layer, and refused in a sentence where they cannot be explained."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

import small
from extremal_jax.boundary.models import check_differentiable, check_model, part, part_before

IMAGES = jnp.asarray(small.images())
EXAMPLE = jax.ShapeDtypeStruct(IMAGES.shape, IMAGES.dtype)
SCORES = small.MODEL


def two_layers(weights: Any, images: Any) -> Any:
    """The small classifier with names: `hidden` and `pooled` cut it, `branch` does not, `twice` is computed twice, `across` mixes the
    axes."""
    hidden = checkpoint_name(small.features({**weights, "head": jnp.eye(8)}, images), "hidden")
    hidden = hidden + checkpoint_name(jnp.sin(hidden), "branch")
    hidden = checkpoint_name(hidden, "twice").mean(axis=(1, 2))
    hidden = checkpoint_name(checkpoint_name(hidden, "twice"), "pooled")
    return checkpoint_name(hidden.T, "across").T @ weights["head"]


MODEL = functools.partial(two_layers, small.weights())


@pytest.mark.parametrize("model", [jax.tree_util.Partial(two_layers, small.weights()), MODEL, lambda images: MODEL(images)])
@pytest.mark.parametrize("at", ["hidden", "pooled"])
def test_the_parts_make_the_whole(model: Any, at: str) -> None:
    parted = part(model, IMAGES, 2, at)
    head, arrays, _ = part_before(model, at, EXAMPLE)
    activation = jax.jit(head)(arrays, IMAGES)
    assert parted.num_scores == small.CLASSES
    assert parted.masked == jax.ShapeDtypeStruct(activation.shape, activation.dtype)
    np.testing.assert_array_equal(parted.activation(IMAGES), activation)
    np.testing.assert_allclose(jax.jit(parted.tail)(parted.arrays, activation), MODEL(IMAGES), rtol=1e-4, atol=1e-5)


def test_a_model_without_a_layer_is_its_own_tail() -> None:
    parted = part(MODEL, IMAGES, 2)
    assert parted.head is None
    assert parted.activation(IMAGES) is IMAGES
    np.testing.assert_allclose(jax.jit(parted.tail)(parted.arrays, IMAGES), MODEL(IMAGES), rtol=1e-4, atol=1e-5)


def test_equal_parts_share_a_compilation(compilations: list[str]) -> None:
    """Other images and other weights compile nothing."""
    run = jax.jit(lambda program, arrays, activation: program(arrays, activation), static_argnums=0)

    def tail(seed: Any, images: Any) -> Any:
        parted = part(jax.tree_util.Partial(two_layers, small.weights(seed)), images, 2, "hidden")
        return run(parted.tail, parted.arrays, parted.activation(images))

    first = tail(0, IMAGES)
    others = small.weights(1), IMAGES + 1
    del compilations[:]
    second = tail(1, others[1])
    assert not compilations
    np.testing.assert_allclose(second, two_layers(*others), rtol=1e-4, atol=1e-5)
    assert not np.allclose(first, second)
    assert part_before(MODEL, "hidden", EXAMPLE)[0] == part_before(MODEL, "hidden", EXAMPLE)[0]


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ("hiden", r"at: unknown activation 'hiden'; did you mean 'hidden'\?"),
        ("y", "at: unknown activation 'y'; choose from 'first', 'second'"),
        ("twice", "at: the activation 'twice' is computed 2 times"),
        ("branch", "at: the activation 'branch' does not cut the function: the activation 'hidden', .* passes around it"),
        ("across", r"at: .* must have a leading axis of [24] images, got the shape \(8, [24]\)"),
    ],
)
@pytest.mark.parametrize("call", [small.explain, small.channels, small.smallest])
def test_bad_layers(call: Any, at: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(model=MODEL, at=at)
    with pytest.raises(ValueError, match=message):
        part_before(MODEL, at, EXAMPLE)


def test_layers_without_the_axes_that_are_masked() -> None:
    def model(images: Any) -> Any:
        brightness = checkpoint_name(images.mean(axis=(1, 2, 3)), "brightness")
        return jnp.stack([brightness, -brightness], axis=1)

    with pytest.raises(ValueError, match=r"at: the activation 'brightness' has no channels: .* \(B, ..., C\), got float32\[2\]"):
        small.channels(model=model, targets=0, at="brightness")
    with pytest.raises(
        ValueError, match=r"at: masks in space need an activation of shape \(B, h, w, C\), floats; 'pooled' is float32\[2, 8\]"
    ):
        small.explain(model=MODEL, at="pooled")


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        ("resnet", TypeError, "model must be a function of images .* got str"),
        (None, TypeError, "model must be a function of images"),
        (lambda x: x.mean(axis=(1, 2, 3)), ValueError, r"model must return scores .* it returned float32\[4\]"),
        (lambda x: SCORES(x)[:1], ValueError, r"it returned float32\[1, 5\]"),
        (lambda x: (SCORES(x), x), ValueError, "it returned tuple"),
        (lambda x: SCORES(x).argmax(axis=1, keepdims=True), ValueError, r"it returned int32\[4, 1\]"),
        (lambda x: x @ jnp.ones((7, 5)), ValueError, "model failed when called with images of shape .4, 20, 24, 3. and dtype float32"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_models(model: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        small.explain(model=model)


def test_the_models_own_error_is_the_cause() -> None:
    def broken(images: Any) -> None:
        raise RuntimeError("out of cheese")

    for call in small.CALLS.values():
        with pytest.raises(ValueError, match=r"model failed when called with images of shape .*: out of cheese") as raised:
            call(model=broken)
        assert isinstance(raised.value.__cause__, RuntimeError)


# Dense scores with the classes first


class Named:
    """A model with names of five classes."""

    classes = ("a", "b", "c", "d", "e")

    def __init__(self, function: Any) -> None:
        self.function = function

    def __call__(self, images: Any) -> Any:
        return self.function(images)


def dense(size: Any, axes: Any) -> Any:
    return lambda x: jnp.zeros((len(x), *size, 5)).transpose(axes) * x.sum()


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (dense((20, 24), (0, 3, 1, 2)), r"\[2, 5, 20, 24\]"),  # of the image's size
        (dense((10, 12), (0, 3, 1, 2)), r"\[2, 5, 10, 12\]"),  # of half of it
        (Named(dense((5, 6), (0, 3, 1, 2))), r"\[2, 5, 5, 6\]"),  # of as many classes as there are names
        (Named(dense((20, 24), (0, 3, 1, 2))), r"\[2, 5, 20, 24\]"),
    ],
)
def test_dense_scores_with_the_classes_first(model: Any, shape: str) -> None:
    with pytest.raises(ValueError, match=rf"classes last, \(B, h, w, classes\), got {shape} .*; return scores.transpose\(0, 2, 3, 1\)"):
        part(model, IMAGES, 2)


@pytest.mark.parametrize("model", [dense((20, 24), (0, 1, 2, 3)), dense((5, 6), (0, 1, 2, 3)), Named(dense((5, 6), (0, 1, 2, 3)))])
def test_dense_scores_with_the_classes_last(model: Any) -> None:
    assert part(model, IMAGES, 2).num_scores == 5


# Models of other frameworks, and models without gradients


@pytest.mark.parametrize(
    ("module", "advice"),
    [
        ("keras.src.models.functional", r"got a module of keras; convert it by ej.models.from_keras\(model\)"),
        ("keras.engine.training", "with Keras on its JAX backend"),
        ("torch.nn.modules.module", "got a module of torch; convert it by ej.models.from_torch"),
    ],
)
def test_modules_of_other_frameworks(module: str, advice: str) -> None:
    base = type("Base", (), {"__module__": module, "__call__": lambda self, x: SCORES(x)})
    model = type("Mine", (base,), {"__module__": "mine"})()
    with pytest.raises(TypeError, match=advice):
        check_model(model)
    with pytest.raises(TypeError, match=advice):
        check_model(model.__call__)
    for call in small.CALLS.values():
        with pytest.raises(TypeError, match="model must be a function of JAX arrays"):
            call(model=model)


def on_the_host(images: Any) -> Any:
    """The small classifier behind a callback."""
    shape = jax.ShapeDtypeStruct((len(images), small.CLASSES), jnp.float32)
    return jax.pure_callback(lambda x: np.asarray(SCORES(jnp.asarray(x))), shape, images)


@jax.custom_vjp
def with_a_gradient(images: Any) -> Any:
    return on_the_host(images)


with_a_gradient.defvjp(lambda images: (on_the_host(images), images), lambda images, g: (jax.vjp(SCORES, images)[1](g)[0],))


@jax.custom_jvp
def with_a_tangent(images: Any) -> Any:
    return on_the_host(images)


@with_a_tangent.defjvp
def _tangent(primals: Any, tangents: Any) -> Any:
    return with_a_tangent(*primals), jax.jvp(SCORES, primals, tangents)[1]


NESTED = {"plain": on_the_host, "jit": jax.jit(on_the_host), "scan": lambda x: jax.lax.map(lambda y: on_the_host(y[None])[0], x)}


@pytest.mark.parametrize("model", NESTED.values(), ids=NESTED)
@pytest.mark.parametrize("call", [small.explain, small.smallest])
def test_models_without_gradients(call: Any, model: Any) -> None:
    with pytest.raises(ValueError, match=r"this model cannot be differentiated; rise and occlusion need no gradient\. "):
        call(model=model)


def test_channels_of_models_without_gradients() -> None:
    def model(images: Any) -> Any:
        return on_the_host(checkpoint_name(images, "pixels"))

    for call in (small.channels, small.class_channels):
        with pytest.raises(ValueError, match=r"this model cannot be differentiated; rise and occlusion need no gradient\. "):
            call(model=model, at="pixels")


@pytest.mark.parametrize("model", [with_a_gradient, with_a_tangent])
def test_a_callback_with_its_own_derivative(model: Any) -> None:
    check_differentiable(part(model, IMAGES, 2))


def test_a_run_through_a_callback_with_its_own_derivative() -> None:
    np.testing.assert_allclose(small.explain(model=with_a_gradient).masks, small.explain().masks, atol=1e-4)
