"""Layouts: inputs of any axes as (N, *places, channels), and back."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

import planted
from extremal_jax.boundary.baselines import substitute
from extremal_jax.boundary.layouts import Layout, check_inputs
from extremal_jax.ground.filters import gaussian_blur
from extremal_jax.operators.axes import IMAGE, SERIES, VIDEO

SHAPES = dict(image=(8, 9, 2), video=(6, 8, 7, 2), series=(24, 3, 1), moments=(24, 3), stations=(3, 16, 2))


@pytest.mark.parametrize("kind", SHAPES)
def test_folding_and_unfolding(kind: str) -> None:
    inputs = planted.data(kind)
    found, layout = check_inputs(inputs, planted.KINDS[kind])
    assert layout.size == planted.sides(kind)
    assert layout.count(found) == 2
    assert layout.count(found[0]) is None
    folded = layout.fold(inputs)
    assert folded.shape == (2, *SHAPES[kind])
    np.testing.assert_array_equal(layout.unfold(folded), inputs)
    np.testing.assert_array_equal(layout.unfold(jnp.asarray(folded)), inputs)
    np.testing.assert_array_equal(layout.program(lambda arrays, x: x)([], folded), folded if kind == "image" else inputs)
    if kind == "stations":
        np.testing.assert_array_equal(folded, inputs.transpose(0, 2, 3, 1))


def test_images_are_as_they_were() -> None:
    images, layout = check_inputs(planted.data("image"), "image")
    assert layout.fold(images) is images
    assert layout.unfold(images) is images
    assert layout.program(len) is len


def test_lengths_are_shares_of_the_shortest_side_of_a_unit() -> None:
    assert Layout(VIDEO, (16, 112, 96, 3)).lengths(0.125) == (2.0, 12.0, 12.0, 0.0)
    assert Layout(SERIES, (50, 3)).lengths(0.1) == (5.0, 0.0, 0.0)
    assert Layout(IMAGE, (224, 112, 3)).lengths(0.125, (8, 32)) == (1.0, 1.0, 0.0)


@pytest.mark.parametrize("kind", ["series", "video", "stations"])
def test_baselines(kind: str) -> None:
    """Along the smooth axes, by NumPy."""
    inputs = planted.data(kind)
    axes = planted.KINDS[kind]
    smooth = tuple(1 + place for place, axis in enumerate(axes) if axis.masked and axis.smooth)
    layout = check_inputs(inputs, axes)[1]

    def found(value: object) -> np.ndarray:
        return np.asarray(layout.unfold(substitute("baseline", value, layout.fold(inputs), layout)))

    np.testing.assert_allclose(found("mean"), np.broadcast_to(inputs.mean(axis=smooth, keepdims=True), inputs.shape), rtol=1e-5)
    first = 1 + min(place for place, axis in enumerate(axes) if axis.masked)
    counts = np.expand_dims(np.arange(1, inputs.shape[first] + 1), tuple(place for place in range(inputs.ndim) if place != first))
    np.testing.assert_allclose(found("past_mean"), np.cumsum(inputs, axis=first) / counts, rtol=1e-5)
    units: dict[str, int] = {}
    for place in smooth:
        unit = axes[place - 1].unit or axes[place - 1].name
        units[unit] = min(units.get(unit, 1000), inputs.shape[place])
    sigmas = tuple(20 / 224 * units[axis.unit or axis.name] if 1 + place in smooth else 0.0 for place, axis in enumerate(axes))
    np.testing.assert_allclose(found("blur"), gaussian_blur(jnp.asarray(inputs), sigmas), rtol=1e-5)
    assert np.abs(found("rise_blur") - found("blur")).max() > 0.01
    own = np.random.default_rng(1).random(inputs.shape).astype(np.float32)
    for value in (own, own[0], own[0, 0] if kind == "series" else own[0]):
        np.testing.assert_array_equal(found(value), np.broadcast_to(value, inputs.shape))
    np.testing.assert_array_equal(found(0.5), np.full(inputs.shape, 0.5, np.float32))
