"""The interpreter and what is built on it: any function, rewritten, stays the function that it was."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

from extremal_jax.graph.canonical import canonical
from extremal_jax.graph.interpreter import rewrite


def nothing(equation: Any, values: Any) -> Any:
    return None


def plain(x: Any) -> Any:
    return jnp.tanh(x) * 2 + x.sum()


@jax.custom_jvp
def own_jvp(x: Any) -> Any:
    return jnp.exp(x)


own_jvp.defjvp(lambda primals, tangents: (jnp.exp(primals[0]), 3 * tangents[0]))  # a derivative that the function does not have


@jax.custom_vjp
def own_vjp(x: Any) -> Any:
    return jnp.exp(x)


own_vjp.defvjp(lambda x: (jnp.exp(x), None), lambda _, g: (5 * g,))


def loops(x: Any) -> Any:
    x, ys = lax.scan(lambda c, _: (jnp.sin(c) + 1, c.sum()), x, None, length=3)
    x = lax.fori_loop(0, 2, lambda _, c: c * 1.5, x)
    return lax.cond(ys.sum() > 0, jnp.cos, jnp.sin, x)


def several(x: Any) -> Any:
    values, order = lax.top_k(x, 2)
    return {"values": values, "order": order, "pair": (x, [2 * x])}


FUNCTIONS = [
    plain,
    jax.jit(plain),
    own_jvp,
    own_vjp,
    jax.checkpoint(plain),
    loops,
    several,
    jax.vmap(jnp.sin),
    lambda x: jnp.linalg.norm(x),
]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_rewriting_nothing_changes_nothing(function: Any) -> None:
    x = jnp.array([0.3, -0.7, 1.2])
    same = rewrite(function, nothing)
    expected = function(x)
    structure: Any = jax.tree.structure(expected)
    assert jax.tree.structure(same(x)) == structure
    for form in (same, jax.jit(same)):
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=1e-6), form(x), expected)


@pytest.mark.parametrize("function", [plain, own_jvp, own_vjp, jax.checkpoint(plain), jax.jit(own_vjp)])
def test_derivatives_stay_those_of_the_function(function: Any) -> None:
    x = jnp.array([0.3, -0.7, 1.2])

    def gradient(function: Any) -> Any:
        return jax.grad(lambda x: function(x).sum())(x)

    np.testing.assert_allclose(gradient(rewrite(function, nothing)), gradient(function), rtol=1e-6)


def double_sines(equation: Any, values: Any) -> Any:
    return [2 * jnp.sin(values[0])] if equation.primitive.name == "sin" else None


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (jnp.sin, lambda x: 2 * jnp.sin(x)),
        (jax.jit(lambda x: jnp.sin(x) + x), lambda x: 2 * jnp.sin(x) + x),
        (jax.checkpoint(lambda x: jnp.sin(jnp.sin(x))), lambda x: 2 * jnp.sin(2 * jnp.sin(x))),
        (lambda x: lax.fori_loop(0, 2, lambda _, c: jnp.sin(c), x), lambda x: 2 * jnp.sin(2 * jnp.sin(x))),
        (lambda x: lax.cond(True, jnp.sin, jnp.cos, x), lambda x: 2 * jnp.sin(x)),
        (jax.vmap(jax.jit(jnp.sin)), lambda x: 2 * jnp.sin(x)),
    ],
)
def test_rules_reach_into_bodies(function: Any, expected: Any) -> None:
    x = jnp.array([0.3, -0.7, 1.2])
    rewritten = rewrite(function, double_sines)
    np.testing.assert_allclose(rewritten(x), expected(x), rtol=1e-6)
    np.testing.assert_allclose(jax.jit(jax.vmap(rewritten))(x[None])[0], expected(x), rtol=1e-6)


@pytest.mark.parametrize("change", [lambda function: rewrite(function, double_sines), canonical])
def test_keyword_arguments(change: Any) -> None:
    function = lambda x, *, scale, shift=0.0: scale * jnp.sin(x) + shift  # noqa: E731
    factor = 1 if change is canonical else 2
    np.testing.assert_allclose(change(function)(jnp.ones(2), shift=1.0, scale=3.0), factor * 3 * jnp.sin(jnp.ones(2)) + 1, rtol=1e-6)


def test_rules_of_a_gradient() -> None:
    """What is differentiated after rewriting is the rewritten function; what is rewritten after differentiating, its gradient."""
    x = jnp.array([0.3, -0.7])
    after = jax.grad(lambda x: rewrite(jnp.sin, double_sines)(x).sum())(x)
    np.testing.assert_allclose(after, 2 * jnp.cos(x), rtol=1e-6)
    before = rewrite(jax.grad(lambda x: jnp.cos(x).sum()), double_sines)(x)  # -sin
    np.testing.assert_allclose(before, -2 * jnp.sin(x), rtol=1e-6)


# layout of images, kernels and outputs; shapes of images and kernels; strides, padding, dilations, groups
CONVOLUTIONS = [
    (("NCHW", "OIHW", "NCHW"), (2, 3, 9, 10), (4, 3, 3, 3), {}),
    (("NHWC", "HWIO", "NHWC"), (2, 9, 10, 3), (3, 3, 3, 4), dict(window_strides=(2, 2), padding=[(1, 0), (0, 2)])),
    (("NCHW", "OIHW", "NHWC"), (2, 3, 9, 10), (4, 3, 1, 1), {}),
    (("NHWC", "HWIO", "NHWC"), (2, 9, 10, 3), (1, 1, 3, 4), dict(window_strides=(2, 3))),
    (("NHWC", "HWIO", "NHWC"), (2, 9, 10, 3), (1, 1, 3, 4), dict(padding=[(1, 1), (0, 0)])),
    (("NHWC", "HWIO", "NHWC"), (2, 9, 10, 4), (3, 3, 1, 8), dict(feature_group_count=4, padding="SAME")),
    (("NHWC", "HWIO", "NHWC"), (2, 9, 10, 4), (1, 1, 2, 8), dict(feature_group_count=2)),
    (("NHWC", "HWIO", "NHWC"), (2, 9, 10, 3), (3, 3, 3, 4), dict(rhs_dilation=(2, 1), padding="SAME")),
    (("NHWC", "HWIO", "NHWC"), (2, 5, 5, 3), (3, 3, 3, 4), dict(lhs_dilation=(2, 2), padding=[(2, 2), (1, 1)])),
    (("NHWC", "HWIO", "NHWC"), (2, 5, 5, 3), (1, 1, 3, 4), dict(lhs_dilation=(2, 3), padding=[(0, 1), (0, 0)])),
    (("NWC", "WIO", "NWC"), (2, 9, 3), (3, 3, 4), {}),
    (("NHWC", "HWIO", "NHWC"), (2, 9, 10, 4), (3, 5, 1, 4), dict(feature_group_count=4, padding="SAME")),
    (("NCHW", "OIHW", "NCHW"), (2, 4, 9, 10), (4, 1, 3, 3), dict(feature_group_count=4, window_strides=(2, 3), padding=[(1, 0), (2, 1)])),
    (("NHWC", "HWIO", "NHWC"), (2, 9, 10, 4), (3, 3, 1, 4), dict(feature_group_count=4, rhs_dilation=(2, 3), padding="SAME")),
    (("NHWC", "HWIO", "NHWC"), (2, 9, 10, 4), (13, 13, 1, 4), dict(feature_group_count=4, padding="SAME")),
    (("NHWC", "HWIO", "NHWC"), (2, 9, 10, 3), (5, 4, 3, 6), dict(window_strides=(4, 3), padding=[(2, 3), (0, 0)])),
    (("NCHW", "OIHW", "NCHW"), (2, 3, 12, 9), (6, 3, 4, 3), dict(window_strides=(4, 3))),  # patches
    (("NWC", "WIO", "NWC"), (2, 9, 3), (3, 3, 5), dict(window_strides=(2,), padding=[(4, 0)])),
]


@pytest.mark.parametrize(("layout", "images", "kernels", "options"), CONVOLUTIONS)
def test_canonical_convolutions(layout: Any, images: Any, kernels: Any, options: Any) -> None:
    rng = np.random.default_rng(0)
    x, w = (jnp.asarray(rng.standard_normal(shape), jnp.float32) for shape in (images, kernels))
    settings = dict(window_strides=(1,) * (len(images) - 2), padding="VALID") | options

    def convolve(x: Any, w: Any) -> Any:
        return lax.conv_general_dilated(x, w, dimension_numbers=layout, **settings)

    def value_and_gradients(x: Any, w: Any) -> Any:
        cotangent = jnp.asarray(np.random.default_rng(1).standard_normal(jax.eval_shape(convolve, x, w).shape), jnp.float32)
        y, vjp = jax.vjp(convolve, x, w)
        return y, vjp(cotangent)

    expected = jax.jit(value_and_gradients)(x, w)
    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        actual = jax.jit(canonical(value_and_gradients))(x, w)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-4), actual, expected)  # sums of up to 180 products


def lowered(function: Any, *arguments: Any) -> str:
    """A function as XLA gets it for a CPU, whatever device is there."""
    return jax.jit(function).trace(*arguments).lower(lowering_platforms=("cpu",)).as_text()


POOLS = [
    ((2, 9, 10, 3), (1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (1, 1), (0, 0))),
    ((2, 9, 10, 3), (1, 2, 3, 1), (1, 2, 1, 1), ((0, 0), (0, 1), (2, 0), (0, 0))),
    ((2, 3, 9, 10), (1, 1, 2, 2), (1, 1, 2, 2), "VALID"),
    ((2, 9, 10), (1, 3, 2), (1, 4, 3), "SAME"),
    ((1, 8, 8, 2), (1, 8, 8, 1), (1, 8, 8, 1), "VALID"),  # more taps than are worth it
]


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(("shape", "window", "strides", "padding"), POOLS)
def test_canonical_max_pools(shape: Any, window: Any, strides: Any, padding: Any, ties: bool) -> None:
    x = jnp.asarray(np.random.default_rng(0).standard_normal(shape), jnp.float32)
    x = jnp.maximum(jnp.round(x), 0) if ties else x

    def gradient(x: Any) -> Any:
        y, vjp = jax.vjp(lambda x: lax.reduce_window(x, -jnp.inf, lax.max, window, strides, padding), x)
        return vjp(jnp.asarray(np.random.default_rng(1).standard_normal(y.shape), jnp.float32))[0]

    with jax.numpy_rank_promotion("raise"), jax.numpy_dtype_promotion("strict"):
        np.testing.assert_allclose(jax.jit(canonical(gradient))(x), jax.jit(gradient)(x), atol=1e-6)
    text = lowered(canonical(jax.vmap(gradient)), x[None])
    assert ("select_and_scatter" in text) == (np.prod(window) > 49)


def test_canonical_form_is_canonical() -> None:
    """All convolutions of a gradient, inside a loop too, are NHWC and HWIO when compiled for a CPU; 1x1 ones are gone."""

    def model(x: Any) -> Any:
        x = lax.conv(x, jnp.ones((4, 3, 3, 3)), (1, 1), "SAME")
        return lax.conv(x, jnp.ones((2, 4, 1, 1)), (1, 1), "SAME")

    def steps(x: Any) -> Any:
        return lax.scan(lambda x, _: (x - jax.grad(lambda x: jnp.square(model(x)).sum())(x), None), x, None, length=2)[0]

    text = lowered(canonical(steps), jnp.ones((1, 3, 6, 6)))
    assert text.count("stablehlo.convolution") == 2  # forward and backward of the 3x3
    assert text.count("[b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f]") == 2


def test_what_has_no_canonical_form_is_not_traced_anew() -> None:
    """Neither a function without convolutions, nor the bodies of others that have none."""
    bent = jax.jit(lambda x: jnp.sin(x) + 1)

    def network(x: Any) -> Any:
        return bent(lax.conv(bent(x), jnp.ones((1, 1, 3, 3)), (1, 1), "SAME"))

    x = jnp.ones((1, 1, 4, 4))
    equations = jax.make_jaxpr(canonical(bent))(x).jaxpr.eqns
    assert [equation.primitive.name for equation in equations] == ["jit"]
    [choice] = [equation for equation in jax.make_jaxpr(canonical(network))(x).jaxpr.eqns if equation.primitive.name == "cond"]
    for branch in choice.params["branches"]:
        first, *_, last = [equation for equation in branch.jaxpr.eqns if equation.primitive.name == "jit"]
        assert first.params["jaxpr"] is last.params["jaxpr"]


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit])
def test_rules_reach_into_shards(kind: Any) -> None:
    """Whose collectives name the axes of their mesh."""
    mesh = jax.make_mesh((2,), ("d",), axis_types=(kind,))
    with jax.set_mesh(mesh):

        def function(x: Any) -> Any:
            return jax.shard_map(lambda v: lax.psum(jnp.sin(v).sum(axis=1), "d"), mesh=mesh, in_specs=P(None, "d"), out_specs=P())(x)

        x = jax.device_put(np.linspace(0, 1, 8, dtype=np.float32).reshape(2, 4), NamedSharding(mesh, P(None, "d")))
        np.testing.assert_allclose(jax.jit(rewrite(function, nothing))(x), function(x), rtol=1e-6)
        doubled = rewrite(function, lambda equation, values: [2 * jnp.sin(values[0])] if equation.primitive.name == "sin" else None)
        np.testing.assert_allclose(doubled(x), 2 * function(x), rtol=1e-6)
        np.testing.assert_allclose(jax.grad(lambda x: doubled(x).sum())(x), 2 * np.cos(x), rtol=1e-5)


@pytest.mark.parametrize("own", [own_jvp, own_vjp])
def test_a_changed_body_is_differentiated_like_itself(own: Any) -> None:
    changed = rewrite(own, lambda equation, values: [jnp.sin(values[0])] if equation.primitive.name == "exp" else None)
    assert float(changed(1.0)) == pytest.approx(np.sin(1.0))
    assert float(jax.grad(changed)(1.0)) == pytest.approx(np.cos(1.0))


def test_rules_with_constants_reach_into_remat() -> None:
    changed = rewrite(
        jax.checkpoint(lambda x: jnp.sin(x) + 1),
        lambda equation, values: [values[0] * jnp.array([1.0, 2.0])] if equation.primitive.name == "sin" else None,
    )
    assert changed(jnp.ones(2)).tolist() == [2, 3]
    assert jax.grad(lambda x: changed(x).sum())(jnp.ones(2)).tolist() == [1, 2]
