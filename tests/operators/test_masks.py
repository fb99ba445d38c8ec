"""Smooth masks: against the equation, written out point by point, and the laws that follow from it."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from jax.test_util import check_grads

from extremal_jax.operators.masks import ChannelMasks, SmoothMasks

GEOMETRIES = [((20, 26), 4, 12.0), ((16, 16), 3, 8.0), ((9, 31), 7, 9.0), ((12, 12), 1, 2.0), ((24, 20), 5, 7.4)]


def params_of(smooth: SmoothMasks, count: int = 2, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, *smooth.lattice), np.float32)


def literal(smooth: SmoothMasks, params: np.ndarray) -> np.ndarray:
    """(H, W): a mask from the distances between all pixels and the lattice points around them, in double precision.

    Distances are measured from the kernel's centre, σ pixels into the canvas. Along an axis with σ = 0, only the pixel's
    own lattice point counts.
    """
    pitches, sigmas, temperature = smooth.pitches, smooth.sigmas, smooth.temperature
    radii = [1 + math.ceil(sigma / pitch) if sigma else 0 for sigma, pitch in zip(sigmas, pitches, strict=True)]
    padding = [1 + math.ceil(2 * sigma / pitch) if sigma else 0 for sigma, pitch in zip(sigmas, pitches, strict=True)]
    out = np.zeros(smooth.shape)
    lattice = np.pad(params.astype(np.float64), [(n, n) for n in padding])
    for pixel in np.ndindex(smooth.shape):
        on_canvas = [place + margin for place, margin in zip(pixel, smooth.margin, strict=True)]
        block = [place // pitch for place, pitch in zip(on_canvas, pitches, strict=True)]
        exponents = []
        for tap in np.ndindex(*(2 * radius + 1 for radius in radii)):
            value = lattice[*(b + t for b, t in zip(block, tap, strict=True))]
            axes = zip(on_canvas, pitches, sigmas, tap, padding, strict=True)
            offsets = [(place % pitch - sigma - pitch * (t - pad)) / sigma for place, pitch, sigma, t, pad in axes if sigma]
            exponents.append(value * math.exp(-2 * max(math.hypot(*offsets) - 0.5, 0) ** 2))
        f: Any = np.array(exponents)
        weights = np.exp(f / temperature)
        out[pixel] = min(1, (f * weights).sum() / weights.sum())
    return out


OTHER_AXES: Any = [
    ((15,), 3, 4.0),
    ((5, 6, 4), (2, 3, 2), (2.0, 4.0, 3.0)),
    ((9, 3), (2, 1), (3.0, 0.0)),
    ((2, 3, 8), (1, 1, 3), (0.0, 2.0, 5.0)),
]


@pytest.mark.parametrize(("shape", "pitch", "sigma"), [*GEOMETRIES[:3], *OTHER_AXES])
def test_masks_are_the_equation(shape: Any, pitch: Any, sigma: Any) -> None:
    smooth = SmoothMasks(shape, pitch, sigma)
    params = params_of(smooth, 1)
    masks = smooth(jnp.asarray(params))
    np.testing.assert_allclose(masks[0], literal(smooth, params[0]), atol=1e-5)  # exponentials up to e^20, in single precision


@pytest.mark.parametrize(("shape", "pitch", "sigma"), [*GEOMETRIES, *OTHER_AXES])
def test_shapes_and_crop(shape: Any, pitch: Any, sigma: Any) -> None:
    smooth = SmoothMasks(shape, pitch, sigma)
    params = jnp.asarray(params_of(smooth))
    masks, canvas = smooth(params), smooth.with_margin(params)
    assert masks.shape == (2, *shape)
    assert canvas.shape == (2, *smooth.canvas)
    np.testing.assert_allclose(smooth.crop(canvas), masks, atol=1e-6)  # two regions are summed in two orders
    assert 0 <= float(masks.min()) <= float(masks.max()) <= 1


@pytest.mark.parametrize(("shape", "pitch", "sigma"), [*GEOMETRIES[:2], *OTHER_AXES[1:3]])
def test_the_gradient_agrees_with_finite_differences(shape: Any, pitch: Any, sigma: Any) -> None:
    smooth = SmoothMasks(shape, pitch, sigma, temperature=0.3)  # at a high temperature, finite differences can follow
    with jax.enable_x64(True):
        params = jnp.asarray(0.2 + 0.6 * params_of(smooth, 1), jnp.float64)
        check_grads(lambda p: smooth(jnp.asarray(p)), (params,), order=1, modes=["rev"], atol=1e-6, rtol=1e-6)
        check_grads(lambda p: smooth.with_margin(jnp.asarray(p)), (params,), order=1, modes=["rev"], atol=1e-6, rtol=1e-6)


def test_kernel_smaller_than_the_pitch() -> None:
    with pytest.raises(ValueError, match="sigma must be at least the pitch of 4 pixels"):
        SmoothMasks((16, 16), 4, 3.0)


def test_temperature() -> None:
    """The lower the temperature, the closer a mask is to the maximum."""
    params = jnp.zeros((1, 4, 4)).at[0, 1:3, 1:3].set(0.5)
    cold, warm = (SmoothMasks((16, 16), 4, 8.0, temperature)(params) for temperature in (0.02, 0.5))
    assert float(cold.max()) == pytest.approx(0.5, abs=0.02)
    assert float(warm.max()) < 0.4


def test_a_temperature_below_which_sums_overflow() -> None:
    with pytest.raises(ValueError, match=r"temperature must be at least 0\.01.*, or sums of exponentials overflow, got 0\.01$"):
        SmoothMasks((16, 16), 4, 8.0, 0.01)
    lowest = SmoothMasks((16, 16), 4, 8.0, 0.0135)(jnp.ones((1, 4, 4)))
    assert float(lowest.min()) == pytest.approx(1, abs=0.05)


def test_sigma_and_pitch() -> None:
    """One lattice point makes a disc as large as the kernel."""
    params = jnp.zeros((1, 8, 8)).at[0, 4, 4].set(1)
    areas = [float((SmoothMasks((64, 64), 8, sigma)(params) > 0.5).mean()) * 64**2 for sigma in (8.0, 16.0)]
    radius = 0.5 + math.sqrt(math.log(2) / 2)  # where the kernel is ½, in units of sigma; the smooth maximum makes it a little smaller
    for area, sigma in zip(areas, (8.0, 16.0), strict=True):
        assert 0.8 * math.pi * (radius * sigma) ** 2 < area <= 1.1 * math.pi * (radius * sigma) ** 2
    assert SmoothMasks((64, 64), 4, 8.0).lattice == (16, 16)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_more_parameters_never_mask_more(seed: Any) -> None:
    """At a low temperature, a smooth maximum grows with each of its parameters."""
    smooth = SmoothMasks((12, 12), 4, 6.0)
    low = jnp.asarray(params_of(smooth, 1, seed))
    high = jnp.maximum(low, jnp.asarray(params_of(smooth, 1, seed + 1)))
    # A value more than T below the smooth maximum lowers it as it grows, by less than T.
    masks = jax.jit(smooth)
    assert float((masks(low) - masks(high)).max()) < smooth.temperature


@pytest.mark.parametrize("axis", [-1, -2])
def test_flips(axis: int) -> None:
    """Where the lattice is symmetric on the image, flipped parameters make a flipped mask."""
    smooth = SmoothMasks((16, 16), 1, 3.0)
    params = jnp.asarray(params_of(smooth))
    np.testing.assert_allclose(smooth(jnp.flip(params, axis)), jnp.flip(smooth(params), axis), atol=1e-5)  # sums in the other order


def test_transformations_compose() -> None:
    smooth = SmoothMasks((12, 10), 4, 6.0)
    params = jnp.asarray(params_of(smooth, 6)).reshape(2, 3, *smooth.lattice)
    whole = smooth(params)
    assert whole.shape == (2, 3, 12, 10)
    np.testing.assert_allclose(jax.jit(jax.vmap(smooth))(params), whole, atol=1e-6)
    np.testing.assert_array_equal(jax.jit(lambda p: jax.lax.map(smooth, p))(params), whole)
    gradient = jax.grad(lambda p: smooth(p).sum())
    mapped = jax.jit(jax.vmap(gradient))(params)
    gradient = jax.jit(gradient)(params)
    np.testing.assert_allclose(mapped, gradient, atol=1e-5)


def test_half_precision_is_kept_outside() -> None:
    smooth = SmoothMasks((12, 10), 4, 6.0)
    params = jnp.asarray(params_of(smooth))
    half = smooth(params.astype(jnp.bfloat16))
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), smooth(params), atol=0.01)  # bfloat16 has eight bits


def test_channel_masks_are_their_parameters() -> None:
    masks = ChannelMasks(6)
    params = jnp.asarray(np.random.default_rng(0).random((2, *masks.lattice), np.float32))
    np.testing.assert_array_equal(masks(params), params)
    assert masks.over(masks(params), rank=3).shape == (2, 1, 1, 6)
    assert masks.over(masks(params), rank=1).shape == (2, 6)
    assert SmoothMasks((8, 8), 4, 4.0).over(jnp.ones((2, 8, 8)), rank=3).shape == (2, 8, 8, 1)


def test_the_old_name_of_the_pitch_warns() -> None:
    masks: Any = SmoothMasks
    with pytest.warns(DeprecationWarning, match="SmoothMasks: `step` is now called `pitch`") as caught:
        old = masks((16, 16), step=4, sigma=6.0)
    assert len(caught) == 1
    assert old == SmoothMasks((16, 16), pitch=4, sigma=6.0)
    with pytest.warns(DeprecationWarning, match="SmoothMasks: `step` is now called `pitch`"):
        assert old.step == 4


@pytest.mark.parametrize(("pitch", "sigma"), [((4, 2), 3.0), (4, (8.0, 3.0)), ((2, 4), (0.0, 8.0))])
def test_kernel_smaller_than_the_pitch_along_an_axis(pitch: Any, sigma: Any) -> None:
    with pytest.raises(ValueError, match=r"along axis[01], or masks have gaps"):
        SmoothMasks((16, 16), pitch, sigma)


def test_one_length_for_each_axis() -> None:
    with pytest.raises(ValueError, match="sigma must be a number, or one for each of 2 axes"):
        SmoothMasks((16, 16), 4, (4.0, 4.0, 4.0))


def test_equal_lengths_are_one_length() -> None:
    """Bit for bit."""
    one, each = SmoothMasks((12, 9), 3, 4.0), SmoothMasks((12, 9), (3, 3), (4.0, 4.0))
    params = jnp.asarray(params_of(one))
    np.testing.assert_array_equal(one(params), each(params))


@pytest.mark.parametrize(
    ("places", "rank", "expected"),
    [(None, 3, (2, 4, 5, 1)), ((-3, -1), 3, (2, 4, 1, 5)), ((-2, -1), 2, (2, 4, 5)), (None, 4, (2, 4, 5, 1, 1))],
)
def test_masks_as_weights_of_other_values(places: Any, rank: int, expected: Any) -> None:
    masks = SmoothMasks((4, 5), 1, 1.0, places=places)
    assert masks.over(jnp.ones((2, 4, 5)), rank).shape == expected
