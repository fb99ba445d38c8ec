"""`from_keras`: the same scores and gradients, the weights as arguments of the program, named layers, and every refusal."""

from __future__ import annotations

import dataclasses
import functools
import os
import subprocess
import sys
import threading
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import extremal_jax as ej
from extremal_jax import graph
from extremal_jax.models import KerasModel, from_keras

os.environ.setdefault("KERAS_BACKEND", "jax")
keras: Any = pytest.importorskip("keras", reason="keras is not installed: pip install 'extremal-jax[keras]'")
if keras.config.backend() != "jax":
    pytest.skip("Keras was imported with another backend; set KERAS_BACKEND=jax", allow_module_level=True)

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras reads its weights so
layers = keras.layers
SHAPE = (32, 32, 3)
CLASSES = ("dog", "wolf", "fox")
IMAGES = np.random.default_rng(0).standard_normal((2, *SHAPE), np.float32)
CONFIG = ej.Config(num_steps=2, pitch=8, sigma=8.0, num_levels=2, max_blur=4.0, exchange=False)


def functional() -> Any:
    """Convolutions, a sum, batch norm, dropout and an augmentation, which inference mode switches off."""
    images = keras.Input(SHAPE, name="images")
    x = layers.RandomFlip(name="flip")(images)
    x = layers.Conv2D(4, 3, 2, padding="same", activation="relu", name="conv")(x)
    x = layers.BatchNormalization(name="norm")(layers.Add(name="sum")([x, layers.Conv2D(4, 1, name="skip")(x)]))
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(images, layers.Dense(3, name="head")(layers.Dropout(0.5, name="drop")(x)), name="functional")


def sequential() -> Any:
    inner = [layers.Conv2D(4, 3, 2, name="conv"), layers.ReLU(name="relu"), layers.GlobalAveragePooling2D(name="pool")]
    return keras.Sequential([keras.Input(SHAPE), *inner, layers.Dense(3, name="head")], name="sequential")


class Block(keras.Layer):  # type: ignore[misc]
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.conv = layers.Conv2D(4, 3, 2, name="conv")
        self.norm = layers.BatchNormalization(name="norm")

    def call(self, x: Any) -> Any:
        x = self.norm(self.conv(x))
        return x, x.mean((1, 2))


class Subclassed(keras.Model):  # type: ignore[misc]
    def __init__(self, random: bool = False) -> None:
        super().__init__(name="subclassed")
        self.blocks = [Block(name="first"), Block(name="second")]
        self.drop = layers.Dropout(0.5, name="drop")
        self.head = layers.Dense(3, name="head")
        self.random = random

    def call(self, x: Any, training: Any = None) -> Any:
        for block in self.blocks:
            x, means = block(x)
        return self.head(self.drop(means, training=self.random or training))


def subclassed() -> Any:
    model = Subclassed()
    model(IMAGES)
    return model


def nested() -> Any:
    inner_images = keras.Input((16, 16, 4))
    inner = keras.Model(inner_images, layers.Conv2D(4, 3, name="conv")(inner_images), name="inner")
    outer = keras.Sequential([keras.Input((16, 16, 4)), inner, layers.ReLU(name="relu")], name="outer")
    images = keras.Input(SHAPE)
    x = outer(layers.Conv2D(4, 3, 2, padding="same", name="stem")(images))
    return keras.Model(images, layers.Dense(3, name="head")(layers.GlobalAveragePooling2D(name="pool")(x)), name="nested")


def mobilenet() -> Any:
    return keras.applications.MobileNetV2(SHAPE, 0.35, weights=None, classes=3)


@functools.cache
def network(build: Any) -> Any:
    """With random weights, the statistics of batch norms among them."""
    model, rng = build(), np.random.default_rng(1)
    for weight in model.weights:
        low, scale = (0.5, 1.0) if weight.path.endswith(("variance", "gamma")) else (-0.25, 0.5)
        weight.assign(low + scale * rng.random(weight.shape))
    return model


NAMES = {
    functional: ["flip", "conv", "skip", "sum", "norm", "pool", "drop", "head"],
    sequential: ["conv", "relu", "pool", "head"],
    subclassed: [*(f"{block}.{name}" for block in ("first", "second") for name in ("conv", "norm", "0", "1")), "drop", "head"],
    nested: ["stem", "outer.inner.conv", "outer.inner", "outer.relu", "outer", "pool", "head"],
}
each = pytest.mark.parametrize("build", [*NAMES, mobilenet], ids=lambda build: build.__name__)


def names(model: Any) -> list[str]:
    return [activation.name for activation in graph.activations(model, jax.ShapeDtypeStruct(IMAGES.shape, jnp.float32))]


@each
def test_the_scores_of_the_model_which_is_left_unchanged(build: Any) -> None:
    model = network(build)
    inner = model._flatten_layers()
    before, weights = [dict(vars(layer)) for layer in inner], model.get_weights()
    converted = from_keras(model)
    np.testing.assert_array_equal(converted(IMAGES), model(IMAGES, training=False))  # the same operations, one by one
    scores = jax.jit(lambda model, images: model(images))(converted, IMAGES)
    np.testing.assert_allclose(scores, model.predict(IMAGES, verbose=0), rtol=1e-4, atol=1e-5)  # fused otherwise
    for layer, attributes in zip(inner, before, strict=True):
        assert [name for name in ("call", "build") if vars(layer).get(name) is not attributes.get(name)] == []
        assert not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(list(vars(layer).values())))
    for weight, variable in zip(weights, model.weights, strict=True):
        np.testing.assert_array_equal(weight, np.asarray(variable.value))


@each
def test_gradients(build: Any) -> None:
    model = network(build)
    converted = from_keras(model)
    trainable, others = ([variable.value for variable in part] for part in (model.trainable_variables, model.non_trainable_variables))
    found = jax.jit(jax.grad(lambda x: converted(x)[:, 1].sum()))(IMAGES)
    wanted = jax.jit(jax.grad(lambda x: model.stateless_call(trainable, others, x, training=False)[0][:, 1].sum()))(IMAGES)
    assert np.abs(wanted).max() > 0
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())  # two programs
    by_weights = jax.jit(jax.grad(lambda model: model(IMAGES).sum()))(converted)
    assert [array.shape for array in jax.tree.leaves(by_weights)] == [tuple(weight.shape) for weight in model.weights]


@each
def test_layers_are_named(build: Any) -> None:
    model = network(build)
    converted = from_keras(model)
    found = names(converted)
    if build is mobilenet:
        assert {"Conv1", "block_1_expand_relu", "block_2_add", "out_relu", "global_average_pooling2d"} <= set(found)
    else:
        assert found == NAMES[build]
    assert len(found) == len(set(found))
    assert ej.models.name_submodules(converted) is converted


def test_a_name_means_what_the_layer_returns() -> None:
    model = network(functional)
    wanted = keras.Model(model.input, model.get_layer("norm").output)(IMAGES, training=False)
    np.testing.assert_array_equal(graph.capture(from_keras(model), "norm")(IMAGES)[1]["norm"], wanted)
    model = network(nested)
    inner = keras.Sequential([keras.Input(SHAPE), model.get_layer("stem"), model.get_layer("outer").get_layer("inner")])
    found = graph.capture(from_keras(model), "outer.inner.conv")(IMAGES)[1]["outer.inner.conv"]
    np.testing.assert_array_equal(found, inner(IMAGES))


def test_operations_without_a_layer_are_named() -> None:
    images = keras.Input(SHAPE)
    x = layers.Conv2D(3, 3, name="conv")(images)
    found = names(from_keras(keras.Model(images, keras.ops.mean(x * x, axis=(1, 2)))))
    assert [name.split("_")[0] for name in found] == ["conv", "multiply", "mean"]


@pytest.mark.parametrize(
    ("build", "at"),
    [
        (functional, "norm"),
        (sequential, "relu"),
        (subclassed, "second.conv"),
        (nested, "outer.inner.conv"),
        (mobilenet, "block_3_expand_relu"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_methods_at_a_layer(build: Any, at: str) -> None:
    converted = from_keras(network(build))
    maps = ej.attribution.grad_cam(converted, IMAGES, 1, at=at, resize=True)
    assert maps.shape == IMAGES.shape[:3]
    assert np.isfinite(maps).all()


@pytest.mark.parametrize("build", [functional, subclassed], ids=lambda build: build.__name__)
def test_extremal_perturbation(build: Any) -> None:
    converted = from_keras(network(build), classes=CLASSES)
    result = ej.extremal_perturbation(converted, IMAGES, "fox", areas=(0.1, 0.3), config=CONFIG)
    assert result.status.ok
    assert result.masks.shape == (2, 2, 32, 32)
    by_index = ej.extremal_perturbation(from_keras(network(build)), IMAGES, 2, areas=(0.1, 0.3), config=CONFIG)
    np.testing.assert_array_equal(result.masks, by_index.masks)


def test_channels_of_a_layer() -> None:
    config = ej.ChannelConfig(num_steps=2, swap_rounds=1, swaps=2)
    result = ej.channel_perturbation(from_keras(network(functional)), IMAGES, 1, areas=(1, 2), at="conv", config=config)
    assert result.masks.shape == (2, 2, 4)


def test_other_weights_compile_nothing(compilations: list[str]) -> None:
    """The weights are arguments of the program: those of a replacement, and those that the Keras model has later."""
    model = sequential()
    converted = from_keras(model)
    run = functools.partial(ej.extremal_perturbation, images=IMAGES, targets=1, areas=(0.1, 0.3), config=CONFIG)
    first = run(converted)
    weights = network(sequential).get_weights()
    replaced = dataclasses.replace(converted, weights=tuple(map(jnp.asarray, weights)))
    model.set_weights(weights)
    later = from_keras(model)
    jax.block_until_ready((replaced, later))
    del compilations[:]
    second, third = run(replaced), run(later)
    assert not compilations
    assert not np.array_equal(first.rewards, second.rewards)
    np.testing.assert_array_equal(second.masks, third.masks)
    np.testing.assert_array_equal(run(converted).masks, first.masks)


def test_further_training_changes_nothing() -> None:
    """`fit` gives a model other arrays and frees the old ones; frozen layers move between the lists of weights."""
    model = sequential()
    converted = from_keras(model)
    before = np.asarray(converted(IMAGES))
    model.get_layer("conv").trainable = False
    model.compile("sgd", "mse")
    model.fit(IMAGES, np.ones((2, 3)), verbose=0)
    np.testing.assert_array_equal(converted(IMAGES), before)
    np.testing.assert_array_equal(from_keras(model)(IMAGES), model(IMAGES))
    assert not np.array_equal(model(IMAGES), before)


def test_mixed_precision() -> None:
    inner = [layers.Conv2D(4, 3, dtype="mixed_bfloat16", name="conv"), layers.GlobalAveragePooling2D(dtype="bfloat16")]
    model = keras.Sequential([keras.Input(SHAPE), *inner])
    converted = from_keras(model)
    assert converted.weights[0].dtype == jnp.float32
    assert converted(IMAGES).dtype == jnp.bfloat16
    np.testing.assert_array_equal(converted(IMAGES), model(IMAGES))


def test_threads() -> None:
    """Two threads that trace one model at once give it back as it was."""
    converted, found = from_keras(network(nested)), []
    threads = [threading.Thread(target=lambda: found.append(names(converted))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [NAMES[nested]] * 4
    assert not [layer for layer in converted.model._flatten_layers() if "call" in vars(layer)]


# Refusals


def refusal(model: Any, images: Any = None) -> str:
    with pytest.raises(ValueError, match="the Keras model") as caught:
        from_keras(model) if images is None else from_keras(model)(images)
    return str(caught.value)


def test_layers_in_training_mode() -> None:
    images = keras.Input(SHAPE)
    pooled = layers.GlobalAveragePooling2D()(images)
    for layer in (layers.Dropout(0.5, name="mine"), layers.BatchNormalization(name="mine"), layers.GaussianNoise(0.1, name="mine")):
        model = keras.Model(images, layer(pooled, training=True), name="net")
        wanted = "the Keras model 'net' calls 'mine' with training=True, so scores depend on more than the image; build it without"
        assert refusal(model).startswith(wanted)
        assert "calls 'mine'" in refusal(keras.Sequential([keras.Input(SHAPE), model]))


@pytest.mark.parametrize("traced", [False, True])
def test_random_layers_of_a_class(traced: bool) -> None:
    model = Subclassed(random=True)
    model(IMAGES)
    converted = from_keras(model)
    wanted = "the layer 'drop' of the Keras model 'subclassed' draws random numbers in inference mode"
    with pytest.raises(ValueError, match=wanted):
        (jax.jit(converted) if traced else converted)(IMAGES)
    with pytest.raises(ValueError, match=rf"model failed when called with .*: {wanted}"):
        ej.extremal_perturbation(converted, IMAGES, 1, config=CONFIG)
    model(IMAGES)  # no tracer is left


def test_random_numbers_without_a_layer() -> None:
    generator = keras.random.SeedGenerator(0)
    noisy = layers.Lambda(lambda x: x + keras.random.normal((1, *SHAPE), seed=generator), output_shape=SHAPE)
    assert "draws random numbers" in refusal(keras.Sequential([keras.Input(SHAPE), noisy]))


def test_state() -> None:
    class Counter(keras.Layer):  # type: ignore[misc]
        def build(self, shape: Any) -> None:
            self.count = self.add_weight(shape=(), initializer="zeros", trainable=False, name="count")

        def call(self, x: Any) -> Any:
            self.count.assign_add(1.0)
            return x + self.count

    model = keras.Sequential([keras.Input(SHAPE), Counter(name="counter")])
    before = float(np.asarray(model.weights[0].value))
    assert "the layer 'counter' of the Keras model" in refusal(model)
    assert "updates its count in inference mode" in refusal(model)
    assert float(np.asarray(model.weights[0].value)) == before


def test_several_inputs_and_outputs() -> None:
    images, other = keras.Input(SHAPE, name="images"), keras.Input(SHAPE, name="other")
    assert "has 2 inputs, 'images', 'other', and a model of images has one; pass a function" in refusal(
        keras.Model([images, other], images + other)
    )
    advice = "convert one of them: from_keras(keras.Model(model.input, model.outputs[0]))"
    pooled = layers.GlobalAveragePooling2D()(images)
    model = keras.Model(images, [pooled, 2 * pooled])
    assert f"has 2 outputs; {advice}" in refusal(model)
    for form in (model.input, model.inputs, {"images": images}):
        np.testing.assert_array_equal(from_keras(keras.Model(form, model.outputs[0]))(IMAGES), model(IMAGES)[0])
    assert f"has 2 outputs, 'a', 'b'; {advice}" in refusal(keras.Model(images, {"a": pooled, "b": pooled}))

    class Two(keras.Model):  # type: ignore[misc]
        def call(self, x: Any) -> Any:
            return x, x

    two = Two()
    two(IMAGES)
    assert "returns 2 outputs; convert a keras.Model whose `call` returns one of them" in refusal(two, IMAGES)


def test_models_and_layers_that_are_not_built() -> None:
    assert "is not built, so it has no weights yet; call it once" in refusal(keras.Sequential([layers.Dense(3)]))
    assert "is not built" in refusal(Subclassed())

    class Half(keras.Model):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(name="half")
            self.inner = layers.Dense(3, name="inner")

        def build(self, shape: Any) -> None:
            self.built = True

        def call(self, x: Any) -> Any:
            return self.inner(x).mean((1, 2))

    model = Half()
    model.build((None, *SHAPE))
    early = from_keras(model)
    assert refusal(model, IMAGES).startswith("the layer 'inner' of the Keras model 'half' is not built; call the model once")
    assert not model.inner.built
    model(IMAGES)
    np.testing.assert_array_equal(from_keras(model)(IMAGES), model(IMAGES))
    with pytest.raises(ValueError, match=r"'half' had 0 weights when it was converted, and has 2 now; call from_keras\(model\) again"):
        early(IMAGES)


def test_channels_first() -> None:
    model = keras.Sequential([keras.Input((3, 32, 32)), layers.Conv2D(3, 3, data_format="channels_first", name="conv")])
    assert "has the channels first in 'conv', and images are (B, H, W, C)" in refusal(model)


def test_no_keras_model(unchecked: None) -> None:
    for other, kind in ((lambda x: x, "function"), (layers.Dense(3), "Dense"), (3, "int")):
        with pytest.raises(TypeError, match=f"must be a keras.Model of Keras 3, got a {kind}"):
            from_keras(other)
    with pytest.raises(TypeError, match=r"convert it by ej.models.from_keras\(model\)"):
        ej.extremal_perturbation(network(sequential), IMAGES, 1)


def test_another_backend_is_refused_and_keras_is_not_imported() -> None:
    code = """
import sys
import extremal_jax as ej
ej.models.from_keras
assert "keras" not in sys.modules
import keras
try:
    ej.models.from_keras(keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Dense(2)]))
except ValueError as error:
    print(error)
"""
    environment = {**os.environ, "KERAS_BACKEND": "numpy"}
    output = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True).stdout
    assert "Keras runs on the backend 'numpy', whose arrays are not JAX's; set the environment variable KERAS_BACKEND=jax before" in output


def test_the_record() -> None:
    converted = from_keras(network(sequential), classes=list(CLASSES))
    assert isinstance(converted, KerasModel)
    assert converted.classes == CLASSES
    assert len(jax.tree.leaves(converted)) == len(converted.weights) == 4
