"""A callable becomes one program, however often it is made anew; no array is frozen in it, and nothing else is taken for it."""

from __future__ import annotations

import collections
import copy
import functools
import gc
import weakref
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from extremal_jax.graph.contents import alike, contents
from extremal_jax.graph.functional import _MANY, _known, partition

X = jnp.array([[1.0, -3.0]])
SCALE = 2.0
WEIGHT = jnp.full(2, 5.0)


class Doubled(nnx.Module):
    def __init__(self, value: Any) -> None:
        self.weight = nnx.Param(jnp.full(2, value))

    def __call__(self, x: Any) -> Any:
        return 2 * self.weight[...] * x

    def scaled(self, scale: Any, x: Any) -> Any:
        return scale * self(x)


class Linen(linen.Module):
    factor: float = 2.0

    @linen.compact
    def __call__(self, x: Any) -> Any:
        weight = self.param("weight", linen.initializers.ones, 2)
        return jax.nn.relu(self.factor * weight * x) - jax.nn.relu(-self.factor * weight * x)


class Holder:
    """An object with an array, and with a method that is not a pytree's."""

    def __init__(self, value: Any) -> None:
        self.weight = jnp.full(2, value)

    def __call__(self, x: Any) -> Any:
        return 2 * self.weight * x

    def method(self, factor: Any, x: Any) -> Any:
        return factor * self.weight * x


def doubled(weight: Any, x: Any) -> Any:
    return 2 * weight * x


def closure(value: Any) -> Any:
    weight = jnp.full(2, value)
    return lambda x: 2 * weight * x


def jitted(value: Any) -> Any:
    weight = jnp.full(2, value)
    return jax.jit(lambda x: jnp.asarray(2.0) * weight * x)


def local(value: Any) -> Any:
    def multiply(weight: Any, x: Any) -> Any:
        return 2 * weight * x

    return multiply, jnp.full(2, value)


def identity_with_gradient(scale: Any) -> Any:
    """The identity, whose custom backward pass multiplies by a captured value."""

    @jax.custom_vjp
    def identity(x: Any) -> Any:
        return 1 * x

    identity.defvjp(lambda x: (identity(x), None), lambda _, g: (g * scale,))
    return identity


def with_gradient(scale: Any, weight: Any) -> Any:
    return lambda x: identity_with_gradient(scale)(2 * weight * x)


MODULE, VARIABLES = Doubled(5.0), {"params": {"weight": jnp.full(2, 5.0)}}
MADE_ANEW = {  # from a value of the weights: a model that doubles what it multiplies by them
    "module": Doubled,
    "bound method of a module": lambda value: functools.partial(Doubled(value).scaled, 1.0),
    "Linen": lambda value: functools.partial(Linen().apply, {"params": {"weight": jnp.full(2, value)}}),
    "lambda of Linen": lambda value: (lambda weight: lambda x: Linen().apply({"params": {"weight": weight}}, x))(jnp.full(2, value)),
    "closure": closure,
    "jitted closure": jitted,
    "partial of a function": lambda value: functools.partial(doubled, jnp.full(2, value)),
    "partial of a local function": lambda value: functools.partial(*local(value)),
    "Partial of a local function": lambda value: jax.tree_util.Partial(*local(value)),
    "partial of a ufunc": lambda value: functools.partial(jnp.multiply, jnp.full(2, 2 * value)),
    "object": Holder,
    "bound method of an object": lambda value: functools.partial(Holder(value).method, 2.0),
    "own gradient": lambda value: with_gradient(3.0, jnp.full(2, value)),
    "own gradient with an array": lambda value: with_gradient(jnp.ones(2), jnp.full(2, value)),
}
PARAMETERS = pytest.mark.parametrize("make", MADE_ANEW.values(), ids=MADE_ANEW)


@pytest.fixture
def quick_collection() -> Iterator[None]:
    """Keep the objects of other tests out of garbage collections."""
    gc.freeze()
    yield
    gc.unfreeze()


run = jax.jit(lambda program, arrays, x: program(arrays, x), static_argnums=0)


@PARAMETERS
def test_partition(make: Any) -> None:
    program, arrays = partition(make(5.0), X)
    np.testing.assert_array_equal(program(arrays, X), 10 * X)
    np.testing.assert_array_equal(program([2 * a if a.shape == (2,) else a for a in arrays], X), 20 * X)


@PARAMETERS
def test_what_is_made_anew_is_compiled_once(make: Any, compilations: list[str], quick_collection: Any) -> None:
    """And nothing of it is kept: neither programs nor arrays."""
    client = jax.devices()[0].client
    counts = []
    for value in np.arange(1.0, 5.0):
        program, arrays = partition(make(value), X)
        output = run(program, arrays, X)
        np.testing.assert_array_equal(output, 2 * value * X)
        del program, arrays, output
        gc.collect()
        counts.append((len(compilations), len(client.live_executables()), len(jax.live_arrays()), _known.cache_info().currsize))
    assert counts[1:] == counts[1:2] * 3
    assert counts[1][-1] == counts[0][-1]


def test_a_program_sees_new_arrays_of_a_function() -> None:
    box = [jnp.full(2, 5.0)]
    function = lambda x: box[0] * x  # noqa: E731
    first, _ = partition(function, X)
    box[0] = jnp.full(2, 7.0)
    second, arrays = partition(function, X)
    assert second is first
    np.testing.assert_array_equal(second(arrays, X), 7 * X)
    box[0] = jnp.full((2, 1), 7.0)  # another shape: another program
    third, arrays = partition(function, X)
    assert third is not first
    np.testing.assert_array_equal(third(arrays, X), jnp.full((2, 2), 7.0) * X)


def shifted(weight: Any, x: Any) -> Any:
    """Of a partial, the argument; of the module, an array."""
    return weight * x + WEIGHT


def scaled(weight: Any, x: Any) -> Any:
    return SCALE * weight * x


@pytest.mark.parametrize(("function", "name", "values"), [(shifted, "WEIGHT", (WEIGHT, 2 * WEIGHT)), (scaled, "SCALE", (2.0, 3.0))])
def test_partials_see_changes_of_globals(monkeypatch: pytest.MonkeyPatch, function: Any, name: str, values: Any) -> None:
    for value in values:
        monkeypatch.setitem(globals(), name, value)
        program, arrays = partition(functools.partial(function, WEIGHT), X)
        np.testing.assert_array_equal(run(program, arrays, X), function(WEIGHT, X))


def test_arrays_are_never_frozen() -> None:
    """In a bound object, in a closure, in an attribute, in a bound Linen module."""
    holder, cell = Holder(5.0), jnp.full(2, 5.0)

    def closed(weight: Any, x: Any) -> Any:
        return weight * cell * x

    for value in (5.0, 7.0):
        holder.weight = cell = jnp.full(2, value)
        bound = Linen().bind({"params": {"weight": cell}})
        models: Any = (functools.partial(holder.method, jnp.ones(2)), functools.partial(closed, jnp.ones(2)), holder, bound.__call__)
        for model, factor in zip(models, (1, 1, 2, 2), strict=True):
            program, arrays = partition(model, X)
            np.testing.assert_array_equal(run(program, arrays, X), factor * value * X)


def changed_settings() -> Iterator[Any]:
    settings: dict[str, Any] = {"factor": 2.0, "function": jnp.sin}

    def model(x: Any) -> Any:
        return settings["function"](settings["factor"] * x)

    for change in ({}, {"factor": 3.0}, {"function": jnp.cos}):
        settings.update(change)
        yield model


def changed_gradient() -> Iterator[Any]:
    """The rule is the same function, and reads a list that changes."""
    box = [1.0]

    @jax.custom_vjp
    def identity(x: Any) -> Any:
        return 1 * x

    identity.defvjp(lambda x: (identity(x), None), lambda _, g: (g * box[0],))
    for box[0] in (1.0, 2.0, 3.0):
        yield identity


DIFFERENT = {
    "constants": lambda: ((lambda x, c=c: c * x) for c in (1.0, 2.0, 3.0)),
    "settings": changed_settings,
    "constants of a gradient": lambda: map(identity_with_gradient, (1.0, 2.0, 3.0)),
    "arrays of a gradient": lambda: map(identity_with_gradient, (jnp.ones(2), jnp.zeros(2), np.full(2, 2.0, np.float32))),
    "a gradient that changes": changed_gradient,
    "factors of Linen": lambda: (functools.partial(Linen(factor).apply, VARIABLES) for factor in (1.0, 2.0, 3.0)),
    "functions in a partial": lambda: (functools.partial(lambda f, w, x: f(w * x), f, WEIGHT) for f in (jnp.sin, jnp.cos, jnp.tanh)),
    "arguments of a module": lambda: (functools.partial(MODULE.scaled, factor) for factor in (1.0, 2.0, 3.0)),
}


@pytest.mark.parametrize("models", DIFFERENT.values(), ids=DIFFERENT)
def test_programs_are_not_confused(models: Any) -> None:
    """Values and gradients are those of each model, though their codes are equal."""
    programs = set()
    for model in models():
        program, arrays = partition(model, X)
        (value, back), (expected, expected_back) = (jax.vjp(f, X) for f in (functools.partial(run, program, arrays), model))
        np.testing.assert_allclose(value, expected, rtol=1e-6)
        np.testing.assert_allclose(back(X)[0], expected_back(X)[0], rtol=1e-6)
        programs.add(program)
    assert len(programs) == 3


def test_another_program_at_each_call_is_warned_of_once() -> None:
    def model_of(factor: Any) -> Any:
        return lambda x: factor * x * 7

    message = r"model_of.<locals>.<lambda>' was another program at each of 16 calls.*functools.partial"
    with pytest.warns(UserWarning, match=message) as caught:
        programs = {partition(model_of(float(factor)), X)[0] for factor in range(2 * _MANY)}
    assert (len(caught), len(programs)) == (1, 2 * _MANY)


def test_no_tracer_is_kept() -> None:
    """Of a model that closes over tracers: its arrays are those, and a gradient of its own that reads one is not remembered."""

    def loss(make: Any, value: Any, x: Any) -> Any:
        program, arrays = partition(make(value * jnp.ones(2)), x)
        return program(arrays, x).sum()

    lift = jax.jit(jax.grad(loss, argnums=2), static_argnums=0)
    with jax.checking_leaks():
        np.testing.assert_array_equal(lift(lambda weight: lambda x: weight * x, jnp.float32(3.0), X), jnp.full((1, 2), 3.0))
    before = _known.cache_info().currsize
    np.testing.assert_array_equal(lift(identity_with_gradient, jnp.float32(3.0), X), jnp.full((1, 2), 3.0))
    assert _known.cache_info().currsize == before


def test_equal_modules_share_a_program() -> None:
    assert partition(Doubled(1.0), X)[0] == partition(Doubled(2.0), X)[0]


class Node:
    """A value that holds itself."""

    def __init__(self, value: Any) -> None:
        self.value, self.itself = value, self


@pytest.mark.parametrize(
    ("make", "others"),
    [
        (lambda: 1.0, [1, True, 2.0, -0.0]),
        (lambda: 0.0, [-0.0]),
        (lambda: float("nan"), [0.0]),
        (lambda: {"a": [1, (2, None)]}, [{"a": [1, [2, None]]}, {"b": [1, (2, None)]}]),
        (lambda: {1, 2}, [frozenset({1, 2}), {1, 3}]),
        (lambda: np.ones(2), [np.ones(2, np.float32), np.zeros(2), np.ones((2, 1))]),
        (lambda: jax.random.key(0), [jax.random.key(1), jax.random.key_data(jax.random.key(0))]),
        (lambda: Node(1), [Node(2)]),
        (lambda: functools.partial(doubled, 1), [functools.partial(doubled, 2), functools.partial(shifted, 1)]),
        (lambda: Linen(), [Linen(3.0)]),
        (lambda: np, [jnp]),
        (lambda: Linen, [Doubled]),
        (lambda: jax.make_jaxpr(jnp.sin)(1.0), [jax.make_jaxpr(jnp.cos)(1.0), jax.make_jaxpr(jnp.sin)(jnp.ones(2))]),
    ],
)
def test_records(make: Any, others: Any) -> None:
    """Equal for equal contents, and for no others."""
    record = contents(make()).record
    assert record == contents(make()).record
    assert hash(record) == hash(contents(make()).record)
    assert record not in [contents(other).record for other in others]


def test_what_is_compared_by_identity_is_not_fixed() -> None:
    opaque: Any = type("Opaque", (), {"__slots__": ()})
    lock = opaque()
    assert contents(lock) == contents(lock)
    assert not contents(lock).fixed
    assert not contents([np.ones(2)]).fixed
    assert contents((jax.nn.relu, Linen(), doubled, 3)).fixed


def test_weak_references() -> None:
    """Also to what has no hash: PyTorch's code refers to such objects."""
    unhashable = weakref.WeakSet[Any]()
    reference = weakref.ref(unhashable)
    assert hash(contents(reference)) == hash(contents(reference))
    assert contents(reference) == contents(reference) != contents(weakref.ref(doubled))


def test_a_partial_that_is_another_program_each_time_is_warned_of() -> None:
    def scaled(weight: Any, x: Any, scale: float) -> Any:
        return scale * (x @ weight)

    def take(scale: float) -> None:
        partition(functools.partial(scaled, jnp.eye(3), scale=scale), jnp.ones((2, 3)))

    for number in range(_MANY - 1):
        take(float(number))
    with pytest.warns(UserWarning, match=f"was another program at each of {_MANY} calls"):
        take(float(_MANY))


class Weighted(list):  # type: ignore[type-arg]
    """A list with an attribute."""

    weight = 0.0


def weighted(weight: float) -> Weighted:
    found = Weighted([1.0])
    found.weight = weight
    return found


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (weighted(1.0), weighted(-1.0)),
        (np.ma.array([1.0, 2.0], mask=[False, False]), np.ma.array([1.0, 2.0], mask=[False, True])),
        (collections.defaultdict(int), collections.defaultdict(float)),
        (np.array([[1], None], object), np.array([[2], None], object)),
        (slice(0, 3), slice(0, 4)),
        (np.zeros(3), np.ones(3)),
    ],
    ids=["list with an attribute", "mask", "default factory", "objects", "slice", "values"],
)
def test_contents_that_differ_are_told_apart(one: Any, other: Any) -> None:
    assert alike(one) == alike(copy.deepcopy(one))
    assert hash(alike(one)) == hash(alike(copy.deepcopy(one)))
    assert alike(one) != alike(other)


def test_a_record_does_not_follow_its_array() -> None:
    array = np.zeros(3)
    before = alike(array)
    array[0] = 1.0
    assert alike(array) != before
