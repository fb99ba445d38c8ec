"""The tables of rules cover everything that convolutional classifiers do, and refuse others by name. Traced, not run."""

from __future__ import annotations

import functools
from typing import Any

import jax
import numpy as np
import pytest

from extremal_jax.attribution import CONTRAST, EXCITATION, GUIDED
from extremal_jax.models.entries import ENTRIES


@functools.cache
def traced(name: Any) -> Any:
    """A classifier, traced once; its weights are abstract."""
    network = ENTRIES[name].architecture.abstract({})
    network.eval()
    images = jax.ShapeDtypeStruct((1, 64, 64, 3), np.float32)
    return jax.make_jaxpr(lambda network, images: network(images))(network, images), jax.tree.leaves(network), images


def matches(table: Any, name: Any) -> Any:
    """The equations of a classifier that a table has rules for."""
    closed, weights, images = traced(name)
    found = []

    def trace(weights: Any, images: Any) -> Any:
        found.append(table.matches(lambda images: jax.core.eval_jaxpr(closed.jaxpr, closed.consts, *weights, images), images))
        return images

    jax.eval_shape(trace, weights, images)
    return found[0]


RELUS = {
    "alexnet": 7,
    "vgg11_bn": 10,
    "resnet50_voc_fully_convolutional": 49,
    "googlenet": 57,
    "densenet121": 121,
    "efficientnet_lite0": 33,
}


@pytest.mark.parametrize(("name", "relus"), RELUS.items())
def test_convolutional_classifiers_have_all_rules(name: Any, relus: Any) -> None:
    """With batch norms as they are: scales and shifts by constants."""
    assert matches(EXCITATION, name).count("relu") == relus
    assert matches(CONTRAST, name).count("negated head") == 1
    assert matches(GUIDED, name).count("guided relu") == relus


def test_other_activations_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="a part of the activation `hard_silu` or `hard_swish`"):
        matches(GUIDED, "mobilenet_v3_small")


@pytest.mark.parametrize("name", ["vit_s_16", "convnext_tiny"])
def test_others_are_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=r"has no rule for (square|integer_pow|mul|rsqrt|sub|custom_jvp_call|dot_general|erf|exp)"):
        matches(EXCITATION, name)
    with pytest.raises(ValueError, match="the model has no ReLU"):
        matches(GUIDED, name)
