"""`name_submodules` of Linen and Equinox modules: same outputs, same arrays, names by path; tests/graph has those of NNX."""

from __future__ import annotations

import copy
import functools
import inspect
import pickle
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import extremal_jax as ej
from extremal_jax import graph
from extremal_jax.boundary.models import part
from extremal_jax.models import name_submodules

IMAGES = np.random.default_rng(0).standard_normal((2, 8, 8, 3), np.float32)


class Block(linen.Module):
    @linen.compact
    def __call__(self, x: Any) -> Any:
        return linen.relu(linen.Conv(4, (3, 3))(x)), x.mean()


class Net(linen.Module):
    def setup(self) -> None:
        self.blocks = [Block(), Block()]
        self.head = linen.Dense(3)

    def __call__(self, x: Any) -> Any:
        for block in self.blocks:
            x, _ = block(x)
        return self.head(self.pooled(x))

    def pooled(self, x: Any) -> Any:
        return x.mean((1, 2))


NET = Net()
VARIABLES = NET.init(jax.random.key(0), IMAGES)


class Equinox(eqx.Module):
    conv: eqx.nn.Conv2d
    layers: list
    heads: dict

    def __init__(self, key: Any) -> None:
        keys = jax.random.split(key, 3)
        self.conv = eqx.nn.Conv2d(3, 4, 3, key=keys[0])
        self.layers = [eqx.nn.Lambda(jax.nn.relu), eqx.nn.Sequential([eqx.nn.Conv2d(4, 4, 1, key=keys[1])])]
        self.heads = {"first": eqx.nn.Linear(4, 3, key=keys[2])}

    def __call__(self, x: Any) -> Any:
        x = self.conv(jnp.moveaxis(x, -1, 0))
        for layer in self.layers:
            x = layer(x)
        return self.heads["first"](x.mean((1, 2)))


def names(function: Any) -> Any:
    return [activation.name for activation in graph.activations(function, IMAGES)]


@pytest.mark.parametrize("model", [NET, NET.bind(VARIABLES)], ids=["unbound", "bound"])
def test_linen(model: Any) -> None:
    """The paths are those of `capture_intermediates`; an output of several arrays has a name for each."""
    named = name_submodules(model)
    function = functools.partial(named.apply, VARIABLES) if model.scope is None else named
    blocks = [f"blocks_{i}.{part}" for i in range(2) for part in ("Conv_0", "0", "1")]
    assert names(function) == [*blocks, "head"]
    np.testing.assert_array_equal(function(IMAGES), NET.apply(VARIABLES, IMAGES))
    intermediates = NET.apply(VARIABLES, IMAGES, capture_intermediates=True)[1]["intermediates"]
    captured = graph.capture(function, "blocks_1.Conv_0")(IMAGES)[1]["blocks_1.Conv_0"]
    np.testing.assert_array_equal(captured, intermediates["blocks_1"]["Conv_0"]["__call__"][0])


def test_the_rest_of_a_linen_module_is_its_own() -> None:
    named = name_submodules(NET)
    jax.tree.map(np.testing.assert_array_equal, named.init(jax.random.key(0), IMAGES), VARIABLES)
    np.testing.assert_array_equal(named.apply(VARIABLES, IMAGES, method="pooled"), NET.apply(VARIABLES, IMAGES, method=Net.pooled))
    assert named == name_submodules(Net())
    for same in (copy.deepcopy(named), pickle.loads(pickle.dumps(named))):
        assert same == named


def test_equinox() -> None:
    model = Equinox(jax.random.key(0))
    named = name_submodules(model)
    assert names(jax.vmap(named)) == ["conv", "layers.0", "layers.1.layers.0", "layers.1", "heads.first"]
    np.testing.assert_array_equal(jax.vmap(named)(IMAGES), jax.vmap(model)(IMAGES))
    assert all(a is b for a, b in zip(jax.tree.leaves(named), jax.tree.leaves(model), strict=True))
    structure: Any = jax.tree.structure(name_submodules(model))
    assert jax.tree.structure(named) == structure
    assert isinstance(named.conv, eqx.nn.Conv2d)
    assert names(jax.vmap(model)) == []


class Inner(nnx.Module):
    def __init__(self) -> None:
        self.conv = nnx.Conv(3, 4, (3, 3), strides=2, rngs=nnx.Rngs(0))

    def __call__(self, x: Any) -> Any:
        return nnx.relu(self.conv(x))


class Outer(nnx.Module):
    def __init__(self) -> None:
        self.blocks = nnx.List([Inner(), nnx.BatchNorm(4, rngs=nnx.Rngs(0))])
        self.head = nnx.Linear(4, 3, rngs=nnx.Rngs(1))

    def __call__(self, x: Any) -> Any:
        for block in self.blocks:
            x = block(x)
        return self.head(x.mean((1, 2)))


def mapped(model: Any, images: Any) -> Any:
    return jax.vmap(model)(images)


LAWFUL: dict[str, tuple[Any, Any]] = {  # a model, and the function of images that it becomes, named or not
    "nnx": (nnx.view(Outer(), use_running_average=True), lambda model: model),
    "linen": (NET, lambda model: functools.partial(model.apply, VARIABLES)),
    "linen, bound": (NET.bind(VARIABLES), lambda model: model),
    "equinox": (Equinox(jax.random.key(0)), lambda model: functools.partial(mapped, model)),
}


@pytest.mark.parametrize("kind", LAWFUL)
def test_the_law_of_names(kind: Any) -> None:
    """The same outputs, the same arrays, and a model that comes apart at each of its names."""
    model, on = LAWFUL[kind]
    named = on(name_submodules(model))
    wanted = on(model)(IMAGES)
    np.testing.assert_array_equal(named(IMAGES), wanted)
    leaves = jax.tree.leaves(VARIABLES if "linen" in kind else model)
    assert {id(leaf) for leaf in leaves if isinstance(leaf, jax.Array)} == {id(array) for array in part(named, IMAGES, 2).arrays}
    found = [name for name in names(named) if kind in ("nnx", "equinox") or not name.endswith(".1")]  # of Block, which nothing uses
    assert len(found) == (4 if kind == "nnx" else 5)
    for name in found:
        parted = part(named, IMAGES, 2, at=name)
        np.testing.assert_allclose(parted.tail(parted.arrays, parted.activation(IMAGES)), wanted, rtol=1e-5, atol=1e-6)  # one part is fused


def test_named_modules_can_be_pickled() -> None:
    block = eqx.nn.Sequential([eqx.nn.Conv2d(3, 4, 1, key=jax.random.key(0))])
    network = nnx.Sequential(nnx.Linear(3, 4, rngs=nnx.Rngs(0)), nnx.Linear(4, 2, rngs=nnx.Rngs(1)))
    for model, on in ((network, lambda model: model), (block, lambda model: lambda images: jax.vmap(model)(jnp.moveaxis(images, -1, 1)))):
        named = name_submodules(model)
        for same in (copy.deepcopy(named), *(pickle.loads(pickle.dumps(named, protocol)) for protocol in (2, 5))):
            assert names(on(same)) == names(on(named)) == ["layers.0", "layers.1"][: len(model.layers)]
            np.testing.assert_array_equal(on(same)(IMAGES), on(named)(IMAGES))


def test_a_method_at_a_named_layer() -> None:
    assert ej.attribution.grad_cam(name_submodules(NET.bind(VARIABLES)), IMAGES, 0, at="blocks_0.Conv_0").shape == (2, 8, 8)


@pytest.mark.parametrize("model", [3, jnp.sin, lambda x: x])
def test_others_are_refused(model: Any) -> None:
    with pytest.raises(TypeError, match=r"must be a Flax NNX, Flax Linen or Equinox module, got .*; .*checkpoint_name\(x, name\)"):
        inspect.unwrap(name_submodules)(model)


@pytest.mark.parametrize("module", ["torch.nn.modules.container", "keras.src.models.functional"])
def test_modules_of_other_frameworks_are_converted_first(module: str) -> None:
    """The message says how, and needs neither framework."""
    framework = module.split(".")[0]
    model = type("Network", (type("Base", (), {"__module__": module}),), {"__module__": "mine"})()
    with pytest.raises(TypeError, match=rf"got a module of {framework}; convert it by ej.models.from_{framework}\(.*names its layers"):
        inspect.unwrap(name_submodules)(model)
