"""The backward rules of guided backpropagation, deconvnets and excitation backpropagation, as tables.

>>> import jax, jax.numpy as jnp
>>> print(EXCITATION.matches(lambda x: jax.nn.relu(x @ jnp.ones((3, 2)) + 1), jnp.ones((1, 3))))
excitation backprop
  linear: dot_general: float32[1,3], float32[3,2] -> float32[1,2]
  relu: max: float32[1,2], float32[] -> float32[1,2]
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from extremal_jax.attribution.relus import is_max_with_zero, is_relu
from extremal_jax.graph.rules import Backward, Rule, RuleTable, Site

LINEAR = frozenset({"conv_general_dilated", "dot_general"})
_SMALLEST = 1e-20  # a smaller divisor is taken for zero


def _on_active(send: Any) -> Backward:
    """A backward pass to the one active input, computed from that input, the output and the cotangent."""

    def backward(site: Site, inputs: Sequence[Any], output: Array, g: Array) -> Sequence[Array | None]:
        x = inputs[site.active.index(True)]
        return tuple(send(x, output, g) if active else None for active in site.active)

    return backward


def _relu(name: str, send: Any, description: str, applies: Callable[[Site], bool] = is_relu) -> Rule:
    return Rule(name, frozenset({"max"}), _on_active(send), applies, description)


_NO_RELU = "the model has no ReLU, max(x, 0), as in jax.nn.relu and jnp.maximum(x, 0)"
GUIDED = RuleTable(
    "guided backprop",
    (_relu("guided relu", lambda x, output, g: jnp.where(x >= 0, jnp.maximum(g, 0), 0), "max(g, 0) where x >= 0"),),
    lacking=_NO_RELU,
)
DECONVNET = RuleTable("deconvnet", (_relu("deconvnet relu", lambda x, output, g: jnp.maximum(g, 0), "max(g, 0)"),), lacking=_NO_RELU)


def _one_active(site: Site) -> bool:
    return sum(site.active) == 1


def _active(*wanted: bool) -> Callable[[Site], bool]:
    return lambda site: site.active == wanted


def _is_head(site: Site) -> bool:
    return _one_active(site) and site.downstream.isdisjoint(LINEAR)


def _linear(sign: int) -> Backward:
    """z-plus: x W⁺ᵀ (g / W⁺x), with W⁺ the positive part of W, or of −W."""

    def backward(site: Site, inputs: Sequence[Any], output: Array, g: Array) -> Sequence[Array | None]:
        at = site.active.index(True)
        positive = jnp.maximum(sign * inputs[1 - at], 0)

        def excite(x: Array) -> Array:
            return site.evaluate(x, positive) if at == 0 else site.evaluate(positive, x)

        total, back = jax.vjp(excite, inputs[at])
        sent = inputs[at] * back(_divide(g, total))[0]
        return (sent, None) if at == 0 else (None, sent)

    return backward


def _total(site: Site, inputs: Sequence[Any], output: Array, g: Array) -> Sequence[Array | None]:
    """To each summand its share: x Σᵀ (g / Σx)."""
    _, back = jax.vjp(site.evaluate, inputs[0])
    return (inputs[0] * back(_divide(g, output))[0],)


def _shares(site: Site, inputs: Sequence[Any], output: Array, g: Array) -> Sequence[Array | None]:
    ratio = _divide(g, output)
    return tuple(x * ratio for x in inputs)


def _divide(g: Array, total: Array) -> Array:
    """g / total, and 0 where the total is 0; in a dtype of fewer bits at most its largest number."""
    wide = total.astype(jnp.promote_types(total.dtype, jnp.float32))
    is_zero, largest = jnp.abs(wide) <= _SMALLEST, float(jnp.finfo(total.dtype).max)  # type: ignore[no-untyped-call]
    ratio = jnp.where(is_zero, 0, g / jnp.where(is_zero, 1, wide))
    return jnp.clip(ratio, -largest, largest).astype(total.dtype)


_WHOLE = _on_active(lambda x, output, g: g)
_REST = (
    _relu("relu", lambda x, output, g: jnp.where(output > 0, g, 0), "g where x > 0", is_max_with_zero),
    Rule("total", frozenset({"reduce_sum", "reduce_window_sum"}), _total, description="each summand its share"),
    Rule("shares", frozenset({"add"}), _shares, _active(True, True), "each of both summands its share"),
    Rule("scale", frozenset({"mul"}), _WHOLE, _one_active, "g through the product with a constant"),
    Rule("quotient", frozenset({"div"}), _WHOLE, _active(True, False), "g through the quotient by a constant"),
    Rule("shift", frozenset({"sub"}), _WHOLE, _active(True, False), "g through the difference from a constant"),
)
_PASSES = frozenset[str]().union(
    {"add"},  # a constant is added
    {"clamp", "max", "min", "reduce_max", "reduce_window_max", "select_n"},  # the winner gets it
    {"and", "eq", "ge", "gt", "le", "lt", "ne", "not", "or"},  # conditions: nothing goes back
    {"broadcast_in_dim", "concatenate", "copy", "dynamic_slice", "expand_dims", "gather", "pad", "reshape", "rev", "slice", "split"},
    {"squeeze", "transpose", "convert_element_type", "name", "optimization_barrier", "pvary", "reduce_precision", "sharding_constraint"},
)
_EVERY_LINEAR = Rule("linear", LINEAR, _linear(1), _one_active, "each input its share of the sum over positive weights")
_NEGATED_HEAD = Rule("negated head", LINEAR, _linear(-1), _is_head, "the last linear operation, as linear with negated weights")

EXCITATION = RuleTable("excitation backprop", (_EVERY_LINEAR, *_REST), _PASSES)
CONTRAST = RuleTable("contrastive excitation backprop", (_NEGATED_HEAD, _EVERY_LINEAR, *_REST), _PASSES)
