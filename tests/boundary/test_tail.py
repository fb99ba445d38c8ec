"""A model in two parts at a layer."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.ad_checkpoint import checkpoint_name

import small
from extremal_jax.boundary.layers import activation_at, part_after, part_before

IMAGES = jnp.asarray(small.images())


def two_layers(weights, images):
    """The small classifier with names: `hidden` and `pooled` cut it, `branch` does not, `twice` is given twice, `across` is not image by
    image."""
    hidden = checkpoint_name(small.features({**weights, "head": jnp.eye(8)}, images), "hidden")
    hidden = hidden + checkpoint_name(jnp.sin(hidden), "branch")
    hidden = checkpoint_name(hidden, "twice").mean(axis=(1, 2))
    hidden = checkpoint_name(checkpoint_name(hidden, "twice"), "pooled")
    return checkpoint_name(hidden.T, "across").T @ weights["head"]


MODEL = functools.partial(two_layers, small.weights())


def example(images=IMAGES):
    return jax.ShapeDtypeStruct(images.shape, images.dtype)


@pytest.mark.parametrize("model", [jax.tree_util.Partial(two_layers, small.weights()), MODEL, lambda images: MODEL(images)])
@pytest.mark.parametrize("at", ["hidden", "pooled"])
def test_the_parts_make_the_whole(model, at):
    activation = activation_at(model, at, IMAGES)
    tail = part_after(model, at, example())
    assert tail.num_classes == small.CLASSES
    np.testing.assert_allclose(jax.jit(tail.program)(tail.arrays, activation), MODEL(IMAGES), rtol=1e-4, atol=1e-5)


def test_equal_parts_share_a_compilation(compilations):
    """Other images and other weights compile nothing."""
    tail = jax.jit(lambda program, arrays, activation: program(arrays, activation), static_argnums=0)

    def run(seed, images):
        model = jax.tree_util.Partial(two_layers, small.weights(seed))
        scorer = part_after(model, "hidden", example())
        return tail(scorer.program, scorer.arrays, activation_at(model, "hidden", images))

    first = run(0, IMAGES)
    others = small.weights(1), IMAGES + 1
    before = len(compilations)
    second = run(1, others[1])
    assert len(compilations) == before
    np.testing.assert_allclose(second, two_layers(*others), rtol=1e-4, atol=1e-5)
    assert not np.allclose(first, second)
    assert part_before(MODEL, "hidden", example())[0] == part_before(MODEL, "hidden", example())[0]


@pytest.mark.parametrize(
    ("at", "message"),
    [
        ("hiden", r"at: unknown activation 'hiden'; did you mean 'hidden'\?"),
        ("twice", "at: the activation 'twice' is computed 2 times"),
        ("branch", "at: the activation 'branch' does not cut the function: the activation 'hidden', .* passes around it"),
        ("across", r"at: .* must have a leading axis of 2 images, got the shape \(8, 2\)"),
    ],
)
def test_bad_layers(at, message):
    for part in (part_before, part_after):
        with pytest.raises(ValueError, match=message):
            part(MODEL, at, example())
    with pytest.raises(ValueError, match=message):
        activation_at(MODEL, at, IMAGES)
