"""Areas: the selection against a sort, the loss against its definition, and the exactness of the projected area."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as st_numpy

from extremal_jax.operators.area import area_loss, area_threshold, binarize, num_kept, ramp, select_top

ROW = 24
rows = st_numpy.arrays(np.float32, ROW, elements=st.floats(0, 1, width=32))
tied_rows = st_numpy.arrays(np.float32, ROW, elements=st.sampled_from([0.0, 0.25, 0.5, 1.0]))
areas = st.floats(0.01, 1.0)


loss = jax.jit(area_loss, static_argnums=2)
select = jax.jit(select_top, static_argnums=2)


@jax.jit
def project(masks: Any, areas: Any, width: Any) -> Any:
    return ramp(masks, area_threshold(masks, areas, width), width)


def row(values: Any) -> jax.Array:
    return jnp.asarray(values, jnp.float32)[None]


@settings(max_examples=60, deadline=None)
@given(tied_rows | rows, st.integers(0, ROW))
def test_selection_by_position_is_the_end_of_a_stable_sort(values: Any, count: Any) -> None:
    expected = np.zeros(ROW)
    expected[np.argsort(values, kind="stable")[ROW - count :]] = 1
    np.testing.assert_array_equal(select(row(values), jnp.array([count]), "position")[0], expected)


@settings(max_examples=60, deadline=None)
@given(tied_rows | rows, st.integers(0, ROW))
def test_shared_selection(values: Any, count: Any) -> None:
    marks = np.asarray(select(row(values), jnp.array([count]), "share")[0])
    assert marks.sum() == pytest.approx(count, abs=1e-5)  # shares are rounded to single precision
    for value in np.unique(values):
        assert len(np.unique(marks[values == value])) == 1  # equal values are marked alike
    order = np.argsort(values, kind="stable")
    assert np.all(np.diff(marks[order]) >= 0)  # a larger value is never marked less


def test_rounding_does_not_choose() -> None:
    """Values that differ only by rounding share their mark."""
    rng = np.random.default_rng(0)
    values = np.repeat(np.array([0.2, 0.9, 1.0], np.float32), 8)
    marks = select(row(values + rng.uniform(-3e-7, 3e-7, ROW).astype(np.float32)), jnp.array([12]), "share")
    np.testing.assert_array_equal(marks, select(row(values), jnp.array([12]), "share"))
    np.testing.assert_array_equal(marks[0], np.repeat([0, 0.5, 1], 8))


@settings(max_examples=60, deadline=None)
@given(rows | tied_rows, areas)
def test_loss_is_the_distance_to_the_ranked_template(values: Any, area: Any) -> None:
    kept = int(num_kept(jnp.array([area], jnp.float32), ROW)[0])
    template = np.r_[np.zeros(ROW - kept), np.ones(kept)]
    expected = np.mean((np.sort(values) - template) ** 2)
    for ties in ("share", "position"):
        # Values closer than 1e-5 count as equal.
        assert float(loss(row(values), jnp.array([area]), ties)[0]) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("area", [0.05, 0.1, 0.15, 0.2, 0.3, 0.7, 1.0])
def test_kept_counts_are_those_of_exact_arithmetic(area: float) -> None:
    """Single precision must not turn a whole number of pixels into one less: 0.1 of 100 pixels is 10."""
    for n in (20, 100, 1000, 128 * 128, 224 * 224, 500 * 400):
        exact = n - (100 - round(100 * area)) * n // 100
        assert int(num_kept(jnp.array([area], jnp.float32), n)[0]) == exact


def test_loss_is_zero_only_for_binary_masks_of_the_area() -> None:
    mask = np.r_[np.ones(5), np.zeros(15)].astype(np.float32)
    losses = [float(loss(row(m), jnp.array([0.25]))[0]) for m in (mask, 0.9 * mask, np.r_[mask[:-1], 0.1], np.roll(mask, 3))]
    assert losses[0] == losses[3] == 0
    assert min(losses[1:3]) > 0


def test_tied_gradients_are_shared() -> None:
    """The gradient of a constant mask is constant, and a flip of a mask flips its gradient."""
    gradient = jax.jit(jax.grad(lambda m: area_loss(m, jnp.array([0.25])).sum()))
    assert np.ptp(gradient(jnp.full((1, 8), 0.5))) == 0
    values = row([0.5, 0.1, 0.5, 0.9, 0.5, 0.5])
    np.testing.assert_array_equal(gradient(values[:, ::-1]), gradient(values)[:, ::-1])


@settings(max_examples=60, deadline=None)
@given(rows | tied_rows, areas)
def test_binary_masks_have_the_area(values: Any, area: Any) -> None:
    binary = np.asarray(jax.jit(binarize)(row(values), jnp.array([area], jnp.float32))[0])
    assert set(np.unique(binary)) <= {0, 1}
    assert abs(binary.sum() - area * ROW) <= 0.5 + 1e-5
    assert binary.sum() == 0 or values[binary == 1].min() >= values[binary == 0].max(initial=0)


@settings(max_examples=60, deadline=None)
@given(rows, areas, st.floats(0.05, 1.0))
def test_ramp_meets_the_area(values: Any, area: Any, width: Any) -> None:
    masks, wanted = row(values), jnp.array([area], jnp.float32)
    projected = project(masks, wanted, width)
    assert float(projected.mean()) == pytest.approx(area, abs=1e-5)  # 26 halvings of a range below 3, over the slope 1 / 0.05
    assert np.all(np.diff(np.asarray(projected)[0][np.argsort(values)]) >= 0)


def test_gradient_through_the_ramp() -> None:
    """The area does not change in any direction of the mask; the gradient agrees with finite differences."""
    with jax.enable_x64(True):
        masks = jnp.asarray(np.random.default_rng(0).random((2, 40)))
        wanted = jnp.array([0.2, 0.6])

        np.testing.assert_allclose(jax.grad(lambda m: project(m, wanted, 0.4).mean())(masks), 0, atol=1e-12)
        direction = jnp.asarray(np.random.default_rng(1).standard_normal((2, 40)))
        weights = jnp.asarray(np.random.default_rng(2).standard_normal((2, 40)))
        slope = jnp.vdot(jax.grad(lambda m: jnp.vdot(weights, project(m, wanted, 0.4)))(masks), direction)
        near = [jnp.vdot(weights, project(masks + h * direction, wanted, 0.4)) for h in (1e-4, -1e-4)]
        # The bisection is exact to 1e-8; over a distance of 2e-4 that is 1e-4.
        np.testing.assert_allclose(slope, (near[0] - near[1]) / 2e-4, rtol=1e-3)


def test_batched_under_vmap() -> None:
    values = jnp.asarray(np.random.default_rng(0).random((3, 2, ROW), np.float32))
    wanted = jnp.array([0.1, 0.5])
    mapped = jax.jit(jax.vmap(area_loss, in_axes=(0, None)))(values, wanted)
    np.testing.assert_allclose(mapped, np.stack([loss(m, wanted) for m in values]), rtol=2e-6)
