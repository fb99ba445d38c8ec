"""Excitation backpropagation has a rule for all that convolutional classifiers do, and refuses others by name. Traced, not computed."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from extremal_jax.attribution import CONTRAST, EXCITATION, GUIDED
from extremal_jax.models.entries import ENTRIES


def matches(table, name):
    """Which equations of a classifier get which rule; its weights are abstract."""
    network = ENTRIES[name].architecture.abstract({})
    network.eval()
    found = []

    def trace(network, images):
        found.append(table.matches(lambda images: network(images), images))
        return images

    jax.eval_shape(trace, network, jax.ShapeDtypeStruct((1, 64, 64, 3), np.float32))
    return found[0]


@pytest.mark.parametrize("name", ["alexnet", "vgg11_bn", "resnet18", "resnet50_voc_fully_convolutional", "googlenet", "densenet121"])
def test_convolutional_classifiers_have_all_rules(name):
    """With batch norms as they are: scales and shifts by constants."""
    assert len(matches(EXCITATION, name).pairs) > 5
    assert matches(CONTRAST, name).count("negated head") == 1
    assert len(matches(GUIDED, name).pairs) > 5


@pytest.mark.parametrize("name", ["vit_s_16", "convnext_tiny"])
def test_others_are_refused_by_name(name):
    with pytest.raises(ValueError, match=r"has no rule for (square|integer_pow|mul|rsqrt|sub|custom_jvp_call|dot_general|erf|exp)"):
        matches(EXCITATION, name)
