"""What counts as a ReLU: a max(x, 0) whose value is the activation, and no part of another."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from jax import lax

from extremal_jax import attribution
from extremal_jax.attribution import DECONVNET, GUIDED

X = jnp.asarray(np.random.default_rng(0).standard_normal((2, 6, 6, 4)), jnp.float32)
KERNEL = jnp.asarray(np.random.default_rng(1).standard_normal((3, 3, 4, 4)), jnp.float32)
relu = jax.nn.relu


def conv(x: Any) -> Any:
    return lax.conv_general_dilated(x, KERNEL, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))


def pooled(x: Any) -> Any:
    return x.mean(axis=(1, 2), keepdims=True)


def prelu(x: Any, slope: Any = 0.25) -> Any:
    return jnp.maximum(x, 0) - slope * jnp.maximum(-x, 0)


def group_norm(x: Any) -> Any:
    """As in Flax: the variance is kept from falling below zero."""
    mean = pooled(x)
    return (x - mean) * lax.rsqrt(jnp.maximum(0.0, pooled(x**2) - mean**2) + 1e-5)


def residual(x: Any) -> Any:
    for _ in range(2):
        x = relu(x + 0.5 * conv(relu(conv(x))) + 1)
    return x + conv(relu(0.3 * x))


GROUP_NORM = {"params": {"scale": jnp.ones(4), "bias": jnp.ones(4)}}
RELUS: dict[str, tuple[Any, int]] = {  # and how many there are
    "jax": (relu, 1),
    "maximum": (lambda x: jnp.maximum(x, 0), 1),
    "zero first": (lambda x: jnp.maximum(0.0, x), 1),
    "nnx": (nnx.relu, 1),
    "jitted": (jax.jit(lambda x: relu(2 * x - 1)), 1),
    "rematerialised": (jax.checkpoint(relu), 1),
    "ReLU6": (jax.nn.relu6, 1),
    "clip": (lambda x: jnp.clip(x, 0, 6), 1),
    "clipped first": (lambda x: jnp.maximum(jnp.minimum(x, 6), 0), 1),
    "clipped and normalised": (lambda x: jax.nn.relu6(x + 3) / 6, 1),
    "residual": (residual, 5),
    "skipping twice": (lambda x: relu(x + conv(x)) + x, 1),
    "before a pool and a convolution": (lambda x: conv(linen.max_pool(relu(conv(x)), (2, 2), (2, 2))), 1),
    "before a batch norm": (lambda x: relu(conv(x)) * 0.3 + 0.1, 1),
    "both signs": (lambda x: jnp.concatenate([relu(x), relu(-x)], axis=-1), 2),
    "gated": (lambda x: relu(x) * jax.nn.sigmoid(pooled(conv(relu(x)))), 2),
    "ReLU6, gated": (lambda x: jax.nn.relu6(x) * jax.nn.sigmoid(pooled(conv(x))), 1),
    "before another activation": (lambda x: jax.nn.silu(relu(x)), 1),
    "normalised": (lambda x: relu(group_norm(conv(x))), 1),
    "normalised by Flax": (lambda x: relu(jnp.asarray(linen.GroupNorm(2).apply(GROUP_NORM, x))), 1),
}


@pytest.mark.parametrize("table", [GUIDED, DECONVNET], ids=["guided", "deconvnet"])
@pytest.mark.parametrize(("function", "count"), RELUS.values(), ids=RELUS)
def test_relus(function: Any, count: Any, table: Any) -> None:
    assert len(table.matches(function, X).pairs) == count


OTHERS = {
    "hard swish": (jax.nn.hard_swish, "a part of the activation `hard_silu` or `hard_swish`"),
    "hard sigmoid": (jax.nn.hard_sigmoid, "a part of the activation `hard_sigmoid`"),
    "softplus": (jax.nn.softplus, "a part of the activation `softplus`"),
    "CELU": (jax.nn.celu, "a part of the activation `celu`"),
    "Mish": (jax.nn.mish, "a part of the activation `mish`"),
    "sparse sigmoid": (jax.nn.sparse_sigmoid, "a part of the activation `sparse_sigmoid`"),
    "within a jitted model": (jax.jit(lambda x: relu(jax.nn.hard_swish(conv(x)))), "`hard_swish`"),
    "PReLU": (prelu, "a part of another activation, in which 'sub' combines it with another function of x"),
    "PReLU of a jitted function": (jax.jit(prelu), r"a part of another activation \(`prelu`\), in which 'sub'"),
    "PReLU with a minimum": (lambda x: jnp.maximum(x, 0) + 0.25 * jnp.minimum(x, 0), "in which 'add' combines it"),
    "PReLU in a residual block": (lambda x: x + prelu(conv(x)), "in which 'sub' combines it"),
    "PReLU after a ReLU": (lambda x: prelu(conv(relu(x))), "in which 'sub' combines it"),
    "logaddexp": (lambda x: jnp.logaddexp(x, 0.0), "another function of x"),
    "written out": (lambda x: x * jnp.minimum(jnp.maximum(x + 3, 0), 6) / 6, "'mul' combines it with another function of x"),
    "identity added": (lambda x: x + relu(2 * x), "'add' combines it"),
    "where": (lambda x: jnp.where(x > 0, relu(x), jnp.expm1(x)), "another function of x"),
    "gate": (lambda x: x * (jnp.clip(pooled(conv(x)) + 3, 0, 6) / 6), "a gate that multiplies another value"),
}


@pytest.mark.parametrize(("function", "message"), OTHERS.values(), ids=OTHERS)
def test_others_are_refused(function: Any, message: Any) -> None:
    for method in (attribution.guided_backprop, attribution.deconvnet):
        with pytest.raises(ValueError, match=rf"a max\(x, 0\) of the model is not a ReLU but .*{message}.*`gradient` takes any"):
            method(lambda x: function(x).mean(axis=(1, 2)), X[0], 1)


def test_others_have_a_gradient() -> None:
    for function, _ in OTHERS.values():
        assert np.isfinite(attribution.gradient(lambda x, f=function: f(x).mean(axis=(1, 2)), X[0], 1)).all()


def test_the_clip_of_a_relu6_keeps_its_derivative() -> None:
    x = jnp.array([[[[-1.0], [1.0], [7.0]]]])
    assert attribution.guided_backprop(lambda x: jax.nn.relu6(x).sum(axis=(1, 2)), x, 0).tolist() == [[[0, 1, 0]]]
    assert attribution.deconvnet(lambda x: jax.nn.relu6(x).sum(axis=(1, 2)), x, 0).tolist() == [[[1, 1, 0]]]


@pytest.mark.parametrize("root", [jnp.sqrt, jnp.log, lax.rsqrt, lambda x: 1 / x])
def test_guards_are_no_activations(root: Any) -> None:
    """A model without another maximum has no ReLU."""
    with pytest.raises(ValueError, match=r"no rule of guided backprop applies.*the model has no ReLU"):
        GUIDED.matches(lambda x: root(jnp.maximum(x, 0) + 1e-3), X)
