"""Named values inside functions: listed, read, replaced, and the places where a function comes apart."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax
from jax.ad_checkpoint import checkpoint_name
from jax.sharding import Mesh, PartitionSpec

import extremal_jax as ej
from extremal_jax.graph import activations, capture, cuts, intervene, split

X = jnp.array([[0.3, -0.7, 1.2], [1.0, 2.0, -0.5]])
WEIGHT = jnp.asarray(np.random.default_rng(0).standard_normal((3, 4)), jnp.float32)


def hidden(x: Any) -> Any:
    return checkpoint_name(jnp.tanh(x @ WEIGHT.astype(x.dtype)), "hidden")


def plain(x: Any) -> Any:
    return hidden(x).sum(axis=-1) * 3


@jax.custom_jvp
def own_jvp(x: Any) -> Any:
    return plain(x)


own_jvp.defjvp(lambda primals, tangents: (plain(primals[0]), tangents[0].sum(axis=-1)))


@jax.custom_vjp
def own_vjp(x: Any) -> Any:
    return plain(x)


own_vjp.defvjp(lambda x: (plain(x), x), lambda x, g: (jnp.ones_like(x),))


class LinenModel(linen.Module):
    @linen.compact
    def __call__(self, x: Any) -> Any:
        return checkpoint_name(jnp.tanh(linen.Dense(4, use_bias=False)(x)), "hidden").sum(axis=-1) * 3


class EquinoxModel(eqx.Module):
    weight: jax.Array

    def __call__(self, x: Any) -> Any:
        return jax.vmap(lambda row: checkpoint_name(jnp.tanh(row @ self.weight), "hidden").sum() * 3)(x)


class NnxModel(nnx.Module):
    def __init__(self) -> None:
        self.linear = nnx.Linear(3, 4, use_bias=False, rngs=nnx.Rngs(0))
        self.linear.kernel[...] = WEIGHT

    def __call__(self, x: Any) -> Any:
        return checkpoint_name(jnp.tanh(self.linear(x)), "hidden").sum(axis=-1) * 3


def linen_model(x: Any) -> Any:
    return LinenModel().apply({"params": {"Dense_0": {"kernel": WEIGHT}}}, x)


FUNCTIONS = {
    "plain": plain,
    "jit": jax.jit(plain),
    "remat": jax.checkpoint(plain),
    "custom_jvp": own_jvp,
    "custom_vjp": own_vjp,
    "nested": jax.jit(jax.checkpoint(jax.jit(own_jvp))),
    "linen": linen_model,
    "equinox": EquinoxModel(WEIGHT),
    "nnx": NnxModel(),
}
each = pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)


@each
def test_listed(function: Any) -> None:
    [activation] = activations(function, X)
    assert activation == ("hidden", (2, 4), jnp.float32, "")


@each
def test_captured(function: Any) -> None:
    outputs, values = capture(function, ["hidden"])(X)
    np.testing.assert_allclose(outputs, plain(X), rtol=1e-6)
    np.testing.assert_allclose(values["hidden"], jnp.tanh(X @ WEIGHT), rtol=1e-6)
    jitted = jax.jit(capture(function, "hidden"))(X)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), jitted, (outputs, values))


@each
def test_replaced(function: Any) -> None:
    replaced = intervene(function, {"hidden": lambda value: value.at[..., 0].set(7.0)})
    expected = jnp.tanh(X @ WEIGHT).at[:, 0].set(7.0).sum(axis=-1) * 3
    np.testing.assert_allclose(replaced(X), expected, rtol=1e-6)
    np.testing.assert_allclose(jax.jit(replaced)(X), expected, rtol=1e-6)
    np.testing.assert_allclose(jax.vmap(replaced)(X[:, None])[:, 0], expected, rtol=1e-6)


@each
def test_derivative_of_what_was_replaced(function: Any) -> None:
    doubled = jax.grad(lambda x: intervene(function, {"hidden": lambda value: 2 * value})(x).sum())(X)
    np.testing.assert_allclose(doubled, 2 * jax.grad(lambda x: plain(x).sum())(X), rtol=1e-5)


@each
def test_split(function: Any) -> None:
    parts = split(function, "hidden", X)
    np.testing.assert_allclose(parts.before(2 * X), jnp.tanh(2 * X @ WEIGHT), rtol=1e-6)
    np.testing.assert_allclose(parts.after(parts.before(2 * X)), plain(2 * X), rtol=1e-6)
    assert parts.activation == cuts(function, X)[0]
    gradient = jax.jit(jax.grad(lambda value: parts.after(value).sum()))(parts.before(X))
    np.testing.assert_allclose(gradient, jnp.full((2, 4), 3.0))


def test_interventions_compose() -> None:
    """The new value bears the name, so that a second intervention, or a capture, sees it."""
    twice = intervene(intervene(plain, {"hidden": lambda value: value + 1}), {"hidden": lambda value: 10 * value})
    _, values = capture(twice, "hidden")(X)
    np.testing.assert_allclose(values["hidden"], 10 * (jnp.tanh(X @ WEIGHT) + 1), rtol=1e-5)


def test_bfloat16() -> None:
    x = X.astype(jnp.bfloat16)
    assert activations(plain, x)[0].dtype == jnp.bfloat16
    assert capture(plain, "hidden")(x)[1]["hidden"].dtype == jnp.bfloat16
    assert split(plain, "hidden", x).after(jnp.zeros((2, 4), jnp.bfloat16)).tolist() == [0, 0]


def test_several_arguments_and_outputs() -> None:
    def function(pair: Any, scale: Any) -> Any:
        return {"sum": checkpoint_name(pair[0] * scale, "scaled") + 1, "scale": pair[1]}

    outputs, values = capture(function, "scaled")((X, 5.0), 2.0)
    np.testing.assert_allclose(outputs["sum"], 2 * X + 1)
    np.testing.assert_allclose(values["scaled"], 2 * X)
    assert float(outputs["scale"]) == 5


def test_inside_shard_map() -> None:
    mesh = Mesh(np.array(jax.devices()[:2]), ("rows",))
    spec = PartitionSpec("rows")

    def function(x: Any) -> Any:
        outputs, values = capture(intervene(plain, {"hidden": lambda value: value + 1}), "hidden")(x)
        return outputs + split(plain, "hidden", x).after(values["hidden"])

    sharded = jax.jit(jax.shard_map(function, mesh=mesh, in_specs=spec, out_specs=spec))
    np.testing.assert_allclose(sharded(X), 2 * (plain(X) + 12), rtol=1e-6)


def test_each_part_computes_only_what_it_needs() -> None:
    parts = split(lambda x: jnp.cos(hidden(jnp.sin(x))), "hidden", X)
    before, after = (str(jax.make_jaxpr(part)(x)) for part, x in zip(parts[:2], (X, jnp.ones((2, 4))), strict=True))
    assert ("sin" in before, "cos" in before, "sin" in after, "cos" in after) == (True, False, False, True)


def in_a_scan(x: Any) -> Any:
    return lax.scan(lambda carry, _: (checkpoint_name(jnp.sin(carry), "inner"), None), checkpoint_name(x, "outer"), None, length=2)[0]


def test_control_flow() -> None:
    """What is beside a loop can be read; what is in it cannot, and says so."""
    assert [(a.name, a.within) for a in activations(in_a_scan, X)] == [("outer", ""), ("inner", "scan")]
    np.testing.assert_allclose(capture(in_a_scan, "outer")(X)[0], jnp.sin(jnp.sin(X)), rtol=1e-6)
    with pytest.raises(ValueError, match="'inner' is computed within a scan, where it can be neither read nor replaced"):
        capture(in_a_scan, "inner")(X)
    with pytest.raises(ValueError, match="within a cond"):
        split(lambda x: lax.cond(x.sum() > 0, hidden, lambda x: x @ WEIGHT, x), "hidden", X)


def twice(x: Any) -> Any:
    return hidden(x) + hidden(2 * x)


def beside(x: Any) -> Any:
    return checkpoint_name(hidden(x) + checkpoint_name(x @ WEIGHT, "beside"), "sum") * 2


@jax.custom_vjp
def own_rectifier(x: Any) -> Any:
    return checkpoint_name(jax.nn.relu(x), "cv")


own_rectifier.defvjp(lambda x: (own_rectifier(x), None), lambda _, g: (7 * g,))


def own_within(x: Any) -> Any:
    return checkpoint_name(own_rectifier(x) * 2, "zz")


def test_splitting_keeps_the_derivatives_of_others() -> None:
    """A call is opened for the name at which the function is split, and for no other that is in it."""
    ones = jnp.ones_like(X)
    np.testing.assert_array_equal(jax.grad(lambda x: split(own_within, "zz", X).before(x).sum())(X), 14 * ones)
    np.testing.assert_array_equal(jax.grad(lambda x: split(own_within, "cv", X).before(x).sum())(X), (X > 0) * ones)


def test_keyword_arguments() -> None:
    def scaled(x: Any, *, scale: Any, shift: Any) -> Any:
        return checkpoint_name(x * scale, "scaled") + shift

    options = dict(shift=1.0, scale=2.0)
    assert [activation.name for activation in activations(scaled, X, **options)] == ["scaled"]
    outputs, values = capture(scaled, "scaled")(X, **options)
    np.testing.assert_allclose(outputs, 2 * X + 1)
    np.testing.assert_allclose(values["scaled"], 2 * X)
    np.testing.assert_allclose(intervene(scaled, {"scaled": jnp.zeros_like})(X, **options), jnp.ones_like(X))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: capture(plain, "hiden")(X), "unknown activation 'hiden'; did you mean 'hidden'?"),
        (
            lambda: intervene(jnp.sin, {"hidden": jnp.cos})(X),
            "'hidden'; the function names no values: .*checkpoint_name",
        ),
        (lambda: capture(twice, "hidden")(X), "the activation 'hidden' is computed 2 times"),
        (lambda: intervene(plain, {"hidden": lambda value: value[:1]})(X), r"must be replaced by float32\[2, 4\], got float32\[1, 4\]"),
        (lambda: intervene(plain, {"hidden": lambda value: None})(X), "got NoneType"),
        (lambda: split(plain, "hidden", X).after(jnp.ones((3, 4))), r"must be replaced by float32\[2, 4\], got float32\[3, 4\]"),
        (
            lambda: split(beside, "hidden", X),
            "'hidden' does not cut the function: an argument, .* passes around it .*; these do: 'sum'",
        ),
        (lambda: split(lambda x: own_within(x) + x.sum(), "zz", X), "'zz' does not cut the function: an argument, .*; nor does any other"),
        (
            lambda: split(lambda x: own_within(checkpoint_name(x, "in") + x), "in", X),
            "passes around it to the outputs; these do: 'cv', 'zz'",
        ),
        (
            lambda: split(plain, "hidden", X).before(X, X),
            r"before\(\) takes arrays of the example.s shapes, 1 of \(2, 3\), got 2 of \(2, 3\), \(2, 3\); split the function for these",
        ),
        (lambda: split(plain, "hidden", X).before(), r"1 of \(2, 3\), got none"),
        (lambda: split(plain, "hidden", X).before(X[:1]), r"1 of \(2, 3\), got 1 of \(1, 3\)"),
        (lambda: split(lambda x: hidden(x) + jnp.sin(x).sum(), "hidden", X), "passes around it to the outputs; nor does any other"),
    ],
)
def test_errors(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_cuts() -> None:
    assert [activation.name for activation in cuts(beside, X)] == ["sum"]
    assert cuts(twice, X) == ()


def test_a_classifier(classifier: ej.models.Classifier, images: np.ndarray) -> None:
    """The names are the ones that it promises, and all of them cut it."""
    assert tuple(a.name for a in activations(classifier, images)) == classifier.activations
    assert tuple(a.name for a in cuts(classifier, images)) == classifier.activations
    parts = split(classifier, "blocks.2", images)
    np.testing.assert_allclose(parts.after(parts.before(images)), classifier(images), rtol=1e-4, atol=1e-4)


class Inner(nnx.Module):
    def __init__(self, rngs: Any) -> None:
        self.linear = nnx.Linear(3, 3, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return nnx.relu(self.linear(x))


class Nameless(nnx.Module):
    """A model of somebody else's, that names nothing."""

    def __init__(self) -> None:
        rngs = nnx.Rngs(0)
        self.layers = nnx.List([Inner(rngs), Inner(rngs)])
        self.head = nnx.Linear(3, 2, rngs=rngs)

    def __call__(self, x: Any, scale: Any = 1.0) -> Any:
        for layer in self.layers:
            x = layer(x)
        return scale * self.head(x)


def test_submodules_are_named_by_their_path() -> None:
    model = Nameless()
    before = nnx.graphdef(model)
    named = ej.models.name_submodules(model)
    assert [a.name for a in activations(named, X)] == ["layers.0.linear", "layers.0", "layers.1.linear", "layers.1", "head"]
    np.testing.assert_array_equal(named(X, scale=2.0), model(X, scale=2.0))
    _, values = capture(named, "layers.0")(X)
    np.testing.assert_array_equal(values["layers.0"], model.layers[0](X))
    assert nnx.graphdef(model) == before
    assert activations(model, X) == ()
    assert isinstance(named, Nameless)


def test_named_submodules_share_a_program(compilations: list[str]) -> None:
    """Naming anew compiles nothing anew."""
    model = Nameless()
    call = jax.jit(lambda model, x: model(x))
    call(ej.models.name_submodules(model), X)
    del compilations[:]
    call(ej.models.name_submodules(model), X)
    assert not compilations


graph: Any = ej.graph  # called wrongly below, as type checkers would say


def test_truth_values_and_texts_stay_what_they_are() -> None:
    """A function may decide by them, as Flax does by `train=False`."""

    def function(x: Any, *, train: bool = True, mode: str = "sum") -> Any:
        return checkpoint_name(2 * x if train else x, "value").sum() if mode == "sum" else x.max()

    assert [a.name for a in activations(function, X, train=False, mode="sum")] == ["value"]
    assert activations(function, X, mode="max") == ()
    outputs, values = capture(function, "value")(X, train=False)
    np.testing.assert_array_equal(values["value"], X)
    assert outputs == function(X, train=False)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: graph.capture(jnp.sum, 3), r"names must be the names of activations, such as \('stem', 'blocks\.1'\), got 3"),
        (lambda: graph.intervene(jnp.sum, "stem"), "replacements must be a mapping from names to functions, .* got 'stem'"),
        (lambda: graph.intervene(jnp.sum, {"stem": np.ones(2)}), "the replacement of 'stem' must be a function of its value, got ndarray"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_names_and_replacements_are_refused_at_once(call: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        call()
