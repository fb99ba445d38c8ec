"""Parameter randomisation: the layers of models of all kinds, the draws, and the similarities of maps."""

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

import extremal_jax as ej
import small
from extremal_jax.attribution import gradient, linear_approx
from extremal_jax.evaluation.calls import unit_range
from extremal_jax.evaluation.sanity.parameters import parameter_layers, randomise
from extremal_jax.evaluation.sanity.randomisation import parameter_randomisation
from extremal_jax.evaluation.sanity.similarity import rank_correlation, ssim
from extremal_jax.models.preprocessing import Preprocessing

TARGETS = np.array([1, 3])
LAYERS = ("head", "second", "first")
NNX_LAYERS = ("offset", "a_head", "z_second", "norm", "b_first")
KEY = jax.random.key(7)


def randomisation(model: Any = small.MODEL, method: Any = linear_approx, images: Any = small.IMAGES, **options: Any) -> Any:
    return parameter_randomisation(method, model, images, options.pop("targets", TARGETS), **options)


class Network(nnx.Module):
    """Attributes in another order than that of the computation."""

    def __init__(self) -> None:
        rngs = nnx.Rngs(0)
        self.b_first = nnx.Conv(3, 4, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(4, use_running_average=True, rngs=rngs)
        self.z_second = nnx.Conv(4, 4, (3, 3), rngs=rngs)
        self.a_head = nnx.Linear(4, 5, rngs=rngs)
        self.offset = nnx.Param(jnp.arange(5.0))
        self.unused = nnx.Linear(2, 2, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, deterministic=True, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        x = jax.checkpoint(lambda x: nnx.relu(self.norm(self.b_first(x))))(x)
        return self.a_head(jax.jit(lambda x: nnx.relu(self.z_second(x)).mean(axis=(1, 2)))(x)) + self.offset[...]


class Linen(linen.Module):
    @linen.compact
    def __call__(self, x: Any) -> Any:
        x = linen.relu(linen.Conv(4, (3, 3), name="second")(linen.relu(linen.Conv(4, (3, 3), name="third")(x))))
        return linen.Dense(5, name="first")(x.mean(axis=(1, 2)))


class Equinox(eqx.Module):
    layers: list[eqx.nn.Linear]

    def __call__(self, images: Any) -> Any:
        x = images.mean(axis=(1, 2))
        for layer in self.layers:
            x = jax.nn.tanh(jax.vmap(layer)(x))
        return x

    def twice(self, images: Any) -> Any:
        return 2 * self(images)


def equinox() -> Equinox:
    keys = jax.random.split(KEY, 2)
    return Equinox([eqx.nn.Linear(3, 4, key=keys[0]), eqx.nn.Linear(4, 5, key=keys[1])])


# Layers and their names.


def test_layers_come_in_the_order_of_the_computation() -> None:
    assert parameter_layers(small.MODEL, small.IMAGES) == LAYERS
    assert parameter_layers(functools.partial(small.classify, small.weights()), small.IMAGES[0]) == LAYERS
    assert parameter_layers(Network(), small.IMAGES) == NNX_LAYERS
    assert parameter_layers(Network().__call__, small.IMAGES) == NNX_LAYERS
    assert parameter_layers(equinox(), small.IMAGES) == ("layers.1", "layers.0")
    assert parameter_layers(equinox().twice, small.IMAGES) == ("layers.1", "layers.0")
    module = Linen()
    variables = module.init(KEY, small.IMAGES)
    assert parameter_layers(functools.partial(module.apply, variables), small.IMAGES) == ("params.first", "params.second", "params.third")


def test_layers_of_a_classifier() -> None:
    """As its activations, without `network`."""
    preprocessing = Preprocessing((20, 24), (0.5,) * 3, (0.25,) * 3)
    assert parameter_layers(ej.models.Classifier(Network(), "small", tuple("abcde"), preprocessing), small.IMAGES) == NNX_LAYERS


def test_parameters_that_are_cast_together_keep_their_order() -> None:
    def model(weights: Any, images: Any) -> Any:
        return small.classify(jax.tree.map(lambda weight: weight.astype(jnp.float32), weights), images)

    halves = jax.tree.map(lambda weight: weight.astype(jnp.bfloat16), small.weights())
    assert parameter_layers(jax.tree_util.Partial(model, halves), small.IMAGES) == LAYERS


def test_matrices_side_by_side_are_layers_of_their_own() -> None:
    def model(parameters: Any, images: Any) -> Any:
        def body(x: Any, weight: Any) -> tuple[Any, None]:
            return jnp.tanh(x @ weight + parameters["cell"]["bias"]), None

        x, _ = lax.scan(body, images.mean(axis=(1, 2)), parameters["cell"]["weights"])
        return x @ parameters["cell"]["end"]

    cell = {"bias": jnp.ones(3), "end": jnp.ones((3, 5)), "weights": jnp.ones((2, 3, 3))}
    found = parameter_layers(jax.tree_util.Partial(model, {"cell": cell, "empty": jnp.ones((0, 2)), "count": jnp.arange(3)}), small.IMAGES)
    assert found[0] == "cell.end"
    assert set(found[1:]) == {"cell.bias", "cell.weights"}


# Draws.


def weights_of(model: Any) -> Any:
    return model.args[0]


def test_randomise_draws_the_layers_that_are_named() -> None:
    before = {name: np.asarray(weight) for name, weight in small.weights().items()}
    drawn = weights_of(randomise(small.MODEL, ["second"], key=KEY))
    for name, weight in weights_of(small.MODEL).items():
        np.testing.assert_array_equal(weight, before[name])  # the caller's model
        assert np.array_equal(drawn[name], before[name]) == (name != "second")
    everything = weights_of(randomise(small.MODEL, key=KEY))
    np.testing.assert_array_equal(everything["second"], drawn["second"])  # by its own name and the key alone
    assert not np.array_equal(weights_of(randomise(small.MODEL, key=jax.random.key(8)))["second"], drawn["second"])
    np.testing.assert_array_equal(
        weights_of(randomise(small.MODEL))["head"], weights_of(randomise(small.MODEL, key=jax.random.key(0)))["head"]
    )


def test_draws_have_the_statistics_of_the_arrays() -> None:
    parameters = {"kernel": 3 + jnp.linspace(-1, 1, 10_000).reshape(100, 100), "variance": jnp.arange(1.0, 51).reshape(1, 50)}
    model = jax.tree_util.Partial(lambda parameters, x: x, jax.tree.map(lambda array: array.astype(jnp.bfloat16), parameters))
    normal, permuted = (weights_of(randomise(model, draw=draw)) for draw in ("normal", "permutation"))
    for drawn in (normal, permuted):
        assert drawn["kernel"].dtype == jnp.bfloat16
        np.testing.assert_array_equal(np.sort(drawn["variance"][0]), weights_of(model)["variance"][0])
        assert not np.array_equal(drawn["variance"], weights_of(model)["variance"])
    kernel = np.asarray(normal["kernel"], np.float32)
    assert abs(kernel.mean() - 3) < 0.03  # five standard errors
    assert abs(kernel.std() - 1 / np.sqrt(3)) < 0.02
    assert kernel.max() > 4.5  # beyond the range of the array itself
    np.testing.assert_array_equal(np.sort(permuted["kernel"].ravel()), np.sort(weights_of(model)["kernel"].ravel()))


def test_randomised_modules_are_of_their_class() -> None:
    """With batch statistics that stay positive, and with counters and keys as they are."""
    model = Network()
    model.norm.var[...] = jnp.array([0.1, 1.0, 2.0, 3.0])
    drawn = randomise(model, key=KEY)
    assert type(drawn) is Network
    assert drawn(small.IMAGES).shape == (2, 5)
    assert not np.array_equal(drawn(small.IMAGES), model(small.IMAGES))
    np.testing.assert_array_equal(np.sort(drawn.norm.var[...]), model.norm.var[...])
    assert drawn.dropout.rngs is not None
    whole = randomise(equinox(), ["layers"])
    assert not any(map(np.array_equal, jax.tree.leaves(whole), jax.tree.leaves(equinox())))
    assert isinstance(randomise(equinox().twice).__self__, Equinox)


# The test.


def test_similarities_are_those_of_randomised_models() -> None:
    original = linear_approx(small.MODEL, small.IMAGES, TARGETS)
    for order, chosen in (("cascading", [LAYERS[:1], LAYERS[:2], LAYERS]), ("independent", [["head"], ["second"], ["first"]])):
        found = randomisation(order=order, key=KEY, keep_maps=True)
        assert found.layers == LAYERS
        np.testing.assert_array_equal(found.maps[0], original)
        for depth, layers in enumerate(chosen):
            maps = linear_approx(randomise(small.MODEL, layers, key=KEY), small.IMAGES, TARGETS)
            np.testing.assert_array_equal(found.maps[1 + depth], maps)
            np.testing.assert_array_equal(found.rank_correlation[depth], rank_correlation(original, maps))
            np.testing.assert_array_equal(found.ssim[depth], ssim(unit_range(original), unit_range(maps)))
    assert randomisation().maps is None


def test_a_method_that_ignores_the_model_fails() -> None:
    def edges(model: Any, images: Any, targets: Any) -> Any:
        return jnp.abs(jnp.diff(images[..., 0], axis=-1, append=0))

    found = randomisation(method=edges)
    np.testing.assert_allclose(found.rank_correlation, 1, atol=1e-6)
    np.testing.assert_allclose(found.ssim, 1, atol=1e-6)
    for value, score in ((0.0, 1.0), (np.nan, np.nan)):  # constant maps are alike, damaged ones score NaN
        constant = randomisation(method=lambda model, images, targets, value=value: jnp.full(images.shape[:-1], value))
        np.testing.assert_allclose(constant.rank_correlation, score)
        np.testing.assert_allclose(constant.ssim, score, atol=1e-6)


def test_layers_and_depths() -> None:
    found = randomisation(layers=["first", "head"], key=KEY)
    assert found.layers == ("first", "head")
    reverse = randomisation(layers=LAYERS[::-1], key=KEY)
    np.testing.assert_array_equal(reverse.rank_correlation[0], found.rank_correlation[0])
    np.testing.assert_array_equal(reverse.rank_correlation[-1], randomisation(key=KEY).rank_correlation[-1])  # all layers
    some = randomisation(num_depths=2, key=KEY)
    assert some.layers == ("second", "first")
    np.testing.assert_array_equal(some.ssim, randomisation(key=KEY).ssim[1:])
    assert randomisation(num_depths=1).layers == ("first",)
    assert randomisation(num_depths=9).layers == LAYERS


def test_options_count() -> None:
    usual = randomisation()
    for options in ({"draw": "permutation"}, {"absolute": True}, {"key": KEY}, {"num_samples": 2}):
        other = randomisation(**options)
        assert np.abs(other.rank_correlation - usual.rank_correlation).min() > 0
        assert np.abs(other.ssim - usual.ssim).min() > 0
    np.testing.assert_array_equal(randomisation(key=jax.random.key(0)).ssim, usual.ssim)


@pytest.mark.parametrize("order", ["cascading", "independent"])
def test_known_maps_are_not_computed_again(order: str) -> None:
    calls = []

    def method(model: Any, images: Any, targets: Any) -> Any:
        calls.append(model)
        return linear_approx(model, images, targets)

    original = linear_approx(small.MODEL, small.IMAGES, TARGETS)
    usual = randomisation(method=method, order=order, keep_maps=True)
    assert len(calls) == 4
    del calls[:]
    found = randomisation(method=method, order=order, keep_maps=True, original=original)
    assert len(calls) == 3
    assert small.MODEL not in calls
    for one, other in zip(found[1:], usual[1:], strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(
        randomisation(order=order, original=-original, num_depths=1).rank_correlation, -usual.rank_correlation[-1:], atol=1e-6
    )
    one = randomisation(images=small.IMAGES[1], targets=3, order=order, original=original[1], num_depths=1)
    np.testing.assert_allclose(one.ssim, usual.ssim[-1:, 1], atol=1e-3)  # roundings


def test_smooth_randomisation_averages_the_maps_of_noisy_images() -> None:
    np.testing.assert_allclose(randomisation(num_samples=3, noise=0).ssim, randomisation().ssim, atol=1e-4)
    seen = []

    def method(model: Any, images: Any, targets: Any) -> Any:
        seen.append(np.asarray(images))
        return images[..., 0]

    found = randomisation(method=method, num_samples=2, noise=0.5, num_depths=1, keep_maps=True)
    assert len(seen) == 4
    np.testing.assert_array_equal(seen[2:], seen[:2])  # the same noise for the other model
    np.testing.assert_allclose(found.maps[0], (seen[0] + seen[1])[..., 0] / 2, rtol=1e-5, atol=1e-6)
    shares = (seen[0] - small.IMAGES) / np.ptp(small.IMAGES, axis=(1, 2, 3), keepdims=True)
    assert abs(shares.std() - 0.5) < 0.04  # three standard errors
    np.testing.assert_allclose(shares[0], shares[1], atol=1e-5)
    assert np.abs(seen[0] - seen[1]).max() > 0.1


def test_a_batch_is_a_loop_inside_jit() -> None:
    found = randomisation(num_depths=2)
    one = randomisation(images=small.IMAGES[1], targets=3, num_depths=2)
    assert one.ssim.shape == (2,)
    jitted = jax.jit(lambda images: randomisation(images=images, num_depths=2)[1:3])(small.IMAGES)
    for whole, single, traced in zip(found[1:3], one[1:3], jitted, strict=True):
        np.testing.assert_allclose(single, whole[:, 1], atol=1e-3)  # roundings change ranks
        np.testing.assert_allclose(traced, whole, atol=1e-3)


def test_another_model_key_and_depth_compile_nothing(compilations: list[str]) -> None:
    other, images = small.model(1), np.asarray(2 * small.IMAGES)
    call = functools.partial(randomisation, method=gradient, num_samples=2)
    for order in ("cascading", "independent"):
        call(order=order)
        del compilations[:]
        call(other, images=images, targets=TARGETS[::-1].copy(), order=order, key=jax.random.key(3))
        assert not compilations


def test_a_module_whose_parameters_are_replaced_is_the_same_program(compilations: list[str]) -> None:
    model = Network()
    randomisation(model, gradient, num_depths=1)
    del compilations[:]
    randomisation(model, gradient, layers=["z_second"], draw="normal")
    assert not compilations


def test_switches_of_jax() -> None:
    def call(images: Any) -> Any:
        return randomisation(images=images, num_samples=1, draw="normal")[1:3]

    with small.strict():
        correlations, _ = jax.eval_shape(call, small.IMAGES)
    assert correlations.shape == (3, 2)
    assert correlations.dtype == jnp.float32


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"method": "gradient"}, TypeError, r"method must be a function \(model, images, targets\) -> maps"),
        (
            {"method": lambda *_: np.zeros((2, 5, 6))},
            ValueError,
            r"the method's maps must have the shape .* \(2, 20, 24\), got \(2, 5, 6\)",
        ),
        ({"model": lambda x: x.mean(axis=(1, 2))}, ValueError, r"model must hold its parameters, .* got function without any; give a Flax"),
        ({"model": jax.tree_util.Partial(lambda w, x: x.mean(axis=(1, 2)), np.ones(3))}, ValueError, "depend on none of its parameters"),
        ({"order": "cascade"}, ValueError, "order must be one of .* did you mean 'cascading'"),
        ({"layers": ["secnd"]}, ValueError, "layers: the model has no parameters in 'secnd'; did you mean 'second'"),
        ({"layers": []}, ValueError, "layers must be a list of names"),
        ({"layers": "head"}, ValueError, "layers must be a list of names"),
        ({"num_depths": 0}, ValueError, "num_depths must be a whole number, at least 1"),
        ({"num_samples": 0}, ValueError, "num_samples must be a whole number, at least 1"),
        ({"noise": -1}, ValueError, "noise must be zero or a positive number, a share of the image's range"),
        ({"draw": "norm"}, ValueError, "draw must be one of .* did you mean 'normal'"),
        ({"absolute": 1}, TypeError, "absolute must be True or False"),
        ({"original": np.zeros((2, 5, 6))}, ValueError, r"original must have the shape of the images, \(2, 20, 24\), got \(2, 5, 6\)"),
        ({"original": np.zeros((2, 20, 24)), "num_samples": 2}, ValueError, "pass either original, maps of the images, or num_samples"),
        ({"keep_maps": 1}, TypeError, "keep_maps must be True or False"),
        ({"key": 0}, TypeError, "key must be one of JAX's keys"),
    ],
)
def test_what_does_not_fit(unchecked: None, options: Any, error: Any, message: Any) -> None:
    with pytest.raises(error, match=message):
        randomisation(**options)


def test_what_does_not_fit_elsewhere(unchecked: None) -> None:
    with pytest.raises(ValueError, match="the model has no parameters in 'blocks'"):
        randomise(small.MODEL, ["blocks"])
    with pytest.raises(ValueError, match="without any"):
        parameter_layers(ej.attribution.gradient, small.IMAGES)
