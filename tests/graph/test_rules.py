"""Backward rules: the function stays what it was, and the rules are what is sent back, wherever the equations stand."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from extremal_jax.graph import Rule, RuleTable, with_backward_rules

X = jnp.array([[0.3, -0.7, 1.2], [1.0, 2.0, -0.5]])
WEIGHT = jnp.asarray(np.random.default_rng(0).standard_normal((3, 3)), jnp.float32)


def zero_literal(site: Any) -> Any:
    return 0 in site.literals


# The gradient passes a rectifier sevenfold, whatever its input.
SEVENFOLD = Rule(
    "sevenfold", frozenset({"max"}), lambda site, inputs, output, g: tuple(7 * g if a else None for a in site.active), zero_literal, "7 g"
)
TABLE = RuleTable("sevenfold gradients", (SEVENFOLD,))


def rectified(x: Any) -> Any:
    return jax.nn.relu(x @ WEIGHT.astype(x.dtype)) * 2


@jax.custom_vjp
def own_vjp(x: Any) -> Any:
    return rectified(x)


own_vjp.defvjp(lambda x: (rectified(x), x), lambda x, g: (jnp.zeros_like(x),))

FUNCTIONS = {
    "plain": rectified,
    "jit": jax.jit(rectified),
    "remat": jax.checkpoint(rectified),
    "custom_vjp": own_vjp,
    "nested": jax.jit(jax.checkpoint(jax.jit(rectified))),
    "maximum": lambda x: jnp.maximum(x @ WEIGHT, 0) * 2,
    "zero first": lambda x: jnp.maximum(0.0, x @ WEIGHT) * 2,
    "array of zeros": lambda x: lax.max(x @ WEIGHT, jnp.zeros((2, 3))) * 2,
}


def gradient(function: Any, x: Any) -> Any:
    return jax.grad(lambda x: function(x).sum())(x)


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_rules_are_what_is_sent_back(function: Any) -> None:
    ruled = with_backward_rules(function, TABLE)
    expected = jnp.full((2, 3), 14.0) @ WEIGHT.T
    np.testing.assert_array_equal(ruled(X), function(X))
    np.testing.assert_allclose(gradient(ruled, X), expected, rtol=1e-5)
    np.testing.assert_allclose(jax.jit(lambda x: gradient(ruled, x))(X), expected, rtol=1e-5)
    assert TABLE.matches(function, X).count("sevenfold") == 1


def test_under_vmap() -> None:
    mapped = jax.vmap(lambda x: gradient(with_backward_rules(rectified, TABLE), x))(X[:, None])
    np.testing.assert_allclose(mapped[:, 0], jnp.full((2, 3), 14.0) @ WEIGHT.T, rtol=1e-5)


def test_under_shard_map() -> None:
    mesh = Mesh(np.array(jax.devices()[:2]), ("rows",))
    spec = PartitionSpec("rows")
    sharded = jax.shard_map(lambda x: gradient(with_backward_rules(rectified, TABLE), x), mesh=mesh, in_specs=spec, out_specs=spec)
    np.testing.assert_allclose(jax.jit(sharded)(X), jnp.full((2, 3), 14.0) @ WEIGHT.T, rtol=1e-5)


def test_bfloat16() -> None:
    ruled = gradient(with_backward_rules(rectified, TABLE), X.astype(jnp.bfloat16))
    assert ruled.dtype == jnp.bfloat16
    np.testing.assert_allclose(ruled.astype(jnp.float32), jnp.full((2, 3), 14.0) @ WEIGHT.T, rtol=0.05)  # 8 bits, sums of three


def test_weights_may_be_traced() -> None:
    """A model's weights are arguments of the program: constants of the pass, and yet tracers."""

    def loss(weight: Any, x: Any) -> Any:
        return with_backward_rules(lambda x: jax.nn.relu(x @ weight), TABLE)(x).sum()

    np.testing.assert_allclose(jax.jit(jax.grad(loss, argnums=1))(WEIGHT, X), jnp.full((2, 3), 7.0) @ WEIGHT.T, rtol=1e-5)


def test_constants_get_no_rule() -> None:
    """A rectifier of weights alone is not on the way of the gradient."""
    function = lambda x: jax.nn.relu(x @ jax.nn.relu(WEIGHT))  # noqa: E731
    assert TABLE.matches(function, X).count("sevenfold") == 1


def test_other_maxima_are_left_alone() -> None:
    assert TABLE.matches(lambda x: jax.nn.relu(jnp.maximum(x, 1.0)), X).count("sevenfold") == 1


def test_own_derivatives_are_kept_where_no_rule_reaches() -> None:
    """A custom derivative without a rectifier in it."""

    @jax.custom_vjp
    def hundredfold(x: Any) -> Any:
        return jnp.sin(x)

    hundredfold.defvjp(lambda x: (jnp.sin(x), None), lambda _, g: (100 * g,))
    ruled = with_backward_rules(lambda x: jax.nn.relu(hundredfold(x)), TABLE)
    np.testing.assert_allclose(gradient(ruled, X), jnp.full((2, 3), 700.0))


def test_the_first_rule_counts() -> None:
    def threefold(site: Any, inputs: Any, output: Any, g: Any) -> Any:
        return tuple(3 * g if a else None for a in site.active)

    any_maximum = Rule("threefold", frozenset({"max"}), threefold)
    table = RuleTable("both", (SEVENFOLD, any_maximum))
    function = lambda x: jnp.maximum(jax.nn.relu(x), -1.0)  # noqa: E731
    matches = table.matches(function, X)
    assert (matches.count("sevenfold"), matches.count("threefold")) == (1, 1)
    np.testing.assert_allclose(gradient(with_backward_rules(function, table), X), jnp.full((2, 3), 21.0))
    reordered = RuleTable("both", (any_maximum, SEVENFOLD))
    np.testing.assert_allclose(gradient(with_backward_rules(function, reordered), X), jnp.full((2, 3), 9.0))


def test_rules_see_inputs_and_output() -> None:
    def backward(site: Any, inputs: Any, output: Any, g: Any) -> Any:
        return g * inputs[0] * output, None

    table = RuleTable("input times output", (Rule("max", frozenset({"max"}), backward),))
    np.testing.assert_allclose(gradient(with_backward_rules(jax.nn.relu, table), X), jnp.maximum(X, 0) ** 2, rtol=1e-6)


def test_sites_evaluate_themselves() -> None:
    def backward(site: Any, inputs: Any, output: Any, g: Any) -> Any:
        return g * site.evaluate(inputs[0] + 1, inputs[1]), None

    table = RuleTable("shifted", (Rule("max", frozenset({"max"}), backward),))
    np.testing.assert_allclose(gradient(with_backward_rules(jax.nn.relu, table), X), jnp.maximum(X + 1, 0), rtol=1e-6)


def test_tables_print_themselves() -> None:
    table = RuleTable("sevenfold gradients", (SEVENFOLD,), frozenset({"add", "mul"}))
    assert str(table).splitlines() == [
        "sevenfold gradients",
        "  sevenfold (max): 7 g",
        "  all else: the derivative of add, mul; any other is refused",
    ]
    assert str(TABLE.matches(rectified, X)).splitlines()[1] == "  sevenfold: max: float32[2,3], float32[] -> float32[2,3]"


def test_keyword_arguments() -> None:
    function = lambda x, *, scale: jax.nn.relu(x) * scale  # noqa: E731
    assert TABLE.matches(function, X, scale=2.0).count("sevenfold") == 1
    np.testing.assert_allclose(gradient(lambda x: with_backward_rules(function, TABLE)(x, scale=2.0), X), jnp.full((2, 3), 14.0))


def in_a_loop(x: Any) -> Any:
    return lax.fori_loop(0, 2, lambda _, c: jax.nn.relu(c), x)


REFUSALS = {
    "nothing matches": (TABLE, jnp.sin, r"no rule of sevenfold gradients applies to any equation .* sevenfold \(max\): 7 g"),
    "in a loop": (TABLE, in_a_loop, "'sevenfold' of sevenfold gradients would apply to 'max' within a scan, which it cannot reach"),
    "not passed": (
        RuleTable("strict", (SEVENFOLD,), frozenset({"dot_general"})),
        lambda x: jnp.exp(jax.nn.relu(x @ WEIGHT)),
        r"strict has no rule for exp, which gives float32\[2,3\]; it has rules for max",
    ),
    "several outputs": (
        RuleTable("parts", (Rule("part", frozenset({"split"}), lambda site, inputs, output, g: (g,)),)),
        lambda x: jnp.split(x, 3, axis=1)[0],
        "the rule 'part' of parts applies to 'split', which has a list of outputs \\(3\\); .*: leave 'split' out of its primitives",
    ),
    "what lacks": (
        RuleTable("sevenfold gradients", (SEVENFOLD,), lacking="it has no rectifier"),
        jnp.sin,
        "no rule .* of the function: it has no rectifier; its rules are",
    ),
}


@pytest.mark.parametrize(("table", "function", "message"), REFUSALS.values(), ids=REFUSALS)
def test_refusals(table: Any, function: Any, message: Any) -> None:
    with pytest.raises(ValueError, match=message):
        with_backward_rules(function, table)(X)
    with pytest.raises(ValueError, match=message):
        table.matches(function, X)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (Rule, ("r", "max", SEVENFOLD.backward), r"primitives must be a set of names, such as frozenset\({'max'}\), got 'max'"),
        (Rule, ("r", None, SEVENFOLD.backward), "primitives must be a set of names, .*, got None"),
        (with_backward_rules, (jnp.sin, None), "table must be a RuleTable, got NoneType"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_refusals_of_types(function: Any, arguments: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        function(*arguments)


def test_loops_without_a_rule_are_left_alone() -> None:
    """Also where they hold what a rule would apply to, if no argument reaches it."""

    def function(x: Any) -> Any:
        weight = in_a_loop(WEIGHT)
        return lax.fori_loop(0, 2, lambda _, c: c * 2, jax.nn.relu(x @ weight))

    expected = jnp.full((2, 3), 28.0) @ jax.nn.relu(WEIGHT).T
    np.testing.assert_allclose(gradient(with_backward_rules(function, TABLE), X), expected, rtol=1e-5)
