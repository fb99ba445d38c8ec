"""The shared path of tests that evaluate a model: every layout of convolutions computes the same, in its fastest form."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from extremal_jax.evaluation.faithfulness.curves import insertion
from extremal_jax.graph.canonical import _gains
from extremal_jax.graph.interpreter import contains, trace

RNG = np.random.default_rng(0)
KERNEL = jnp.asarray(RNG.standard_normal((3, 3, 2, 4)), jnp.float32)


def last(kernel: Any, x: Any, groups: int = 1) -> Any:
    numbers = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=numbers, feature_group_count=groups).mean((1, 2))


def first(kernel: Any, x: Any) -> Any:
    numbers = ("NCHW", "OIHW", "NCHW")
    operands = x.transpose(0, 3, 1, 2), kernel.transpose(3, 2, 0, 1)
    return lax.conv_general_dilated(*operands, (1, 1), "SAME", dimension_numbers=numbers).mean((2, 3))


def grouped(kernel: Any, x: Any) -> Any:
    """The same convolution of images that hold each channel twice, in two groups of half of the outputs."""
    return last(kernel, jnp.concatenate([x, x], axis=-1), groups=2)


@pytest.mark.parametrize(("model", "gains"), [(last, False), (first, True), (grouped, True)])
def test_layouts_compute_the_same(model: Any, gains: bool) -> None:
    images = jnp.asarray(RNG.standard_normal((2, 6, 5, 2)), jnp.float32)
    maps = np.asarray(images.sum(axis=-1))
    call = jax.tree_util.Partial(model, KERNEL)
    assert contains(trace(call, images).closed, _gains) is gains
    curve, expected = (insertion(one, images, 1, maps, score="logit") for one in (call, jax.tree_util.Partial(last, KERNEL)))
    np.testing.assert_allclose(curve.scores, expected.scores, rtol=1e-4, atol=1e-5)
