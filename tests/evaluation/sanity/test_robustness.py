"""Sensitivity of maps: Captum's numbers, laws, and a result by hand."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import small
from extremal_jax.attribution import gradient, linear_approx
from extremal_jax.evaluation.sanity.robustness import average_sensitivity, max_sensitivity
from golden_data import GOLDEN

TARGETS = np.array([1, 3])
SHIFTS = 0.1 * np.random.default_rng(0).standard_normal((3, *small.IMAGES.shape)).astype(np.float32)
each = pytest.mark.parametrize("function", [max_sensitivity, average_sensitivity])


def sensitivity(function: Any = max_sensitivity, method: Any = linear_approx, images: Any = small.IMAGES, **options: Any) -> Any:
    return function(method, options.pop("model", small.MODEL), images, options.pop("targets", TARGETS), **options)


def test_captum() -> None:
    with np.load(GOLDEN / "evaluation" / "sanity.npz") as file:
        golden = {name: file[name] for name in file.files}

    def model(x: Any) -> Any:
        return jnp.tanh(jnp.tanh(x @ golden["first"]) @ golden["second"]).mean(axis=(1, 2))

    found = max_sensitivity(gradient, model, golden["images"], golden["targets"], perturbations=golden["perturbations"])
    np.testing.assert_allclose(found, golden["max_sensitivity"], rtol=1e-5)  # single precision


def test_by_hand() -> None:
    changes = np.stack([linear_approx(small.MODEL, small.IMAGES + shift, TARGETS) for shift in SHIFTS]) - linear_approx(
        small.MODEL, small.IMAGES, TARGETS
    )
    sizes = np.linalg.norm(linear_approx(small.MODEL, small.IMAGES, TARGETS), axis=(1, 2))
    expected = np.linalg.norm(changes, axis=(2, 3)) / sizes
    np.testing.assert_allclose(sensitivity(perturbations=SHIFTS), expected.max(axis=0), rtol=1e-5)
    np.testing.assert_allclose(sensitivity(average_sensitivity, perturbations=SHIFTS), expected.mean(axis=0), rtol=1e-5)


@each
def test_laws(function: Any) -> None:
    """A batch is a loop, `jit` changes nothing, the same key gives the same bits."""
    found = sensitivity(function, num_samples=2)
    assert found.shape == (2,)
    assert found.dtype == jnp.float32
    np.testing.assert_array_equal(sensitivity(function, num_samples=2, key=jax.random.key(0)), found)
    jitted = jax.jit(lambda images: sensitivity(function, images=images, num_samples=2))
    np.testing.assert_allclose(jitted(small.IMAGES), found, rtol=1e-4)
    one = sensitivity(function, images=small.IMAGES[1], targets=3, num_samples=2)
    assert one.shape == ()
    np.testing.assert_allclose(one, found[1], rtol=1e-4)
    with small.strict():
        assert jax.eval_shape(lambda images: sensitivity(function, images=images), small.IMAGES).shape == (2,)


def test_each_option_counts() -> None:
    usual = sensitivity(num_samples=2)
    assert np.all(sensitivity(num_samples=2, radius=0.2) > usual)
    assert np.all(sensitivity(num_samples=2, key=jax.random.key(1)) != usual)
    more = sensitivity(num_samples=5)
    assert np.all(more >= usual)
    assert np.any(more > usual)
    assert np.all(sensitivity(average_sensitivity, num_samples=5) < more)


@each
def test_known_maps_are_not_computed_again(function: Any) -> None:
    calls = []

    def method(model: Any, images: Any, targets: Any) -> Any:
        calls.append(images)
        return linear_approx(model, images, targets)

    original = linear_approx(small.MODEL, small.IMAGES, TARGETS)
    usual = sensitivity(function, method, perturbations=SHIFTS)
    assert len(calls) == 4
    del calls[:]
    np.testing.assert_array_equal(sensitivity(function, method, perturbations=SHIFTS, original=original), usual)
    assert len(calls) == 3
    one = sensitivity(function, images=small.IMAGES[1], targets=3, perturbations=SHIFTS[:, 1], original=original[1])
    np.testing.assert_allclose(one, usual[1], rtol=1e-4)
    assert np.abs(sensitivity(function, original=2 * original, perturbations=SHIFTS) - usual).min() > 0.1


def test_perturbations_lie_within_the_radius_and_fill_it() -> None:
    seen = []

    def method(model: Any, images: Any, targets: Any) -> Any:
        seen.append(np.asarray(images))
        return images[..., 0]

    sensitivity(method=method, radius=0.5, num_samples=3)
    shifts = np.stack(seen[1:]) - small.IMAGES
    assert 0.49 < np.abs(shifts).max() < 0.50001
    assert abs(shifts.mean()) < 0.02
    np.testing.assert_allclose(shifts[:, 0], shifts[:, 1], atol=1e-6)  # the same for both images
    assert np.abs(shifts[0] - shifts[1]).max() > 0.1


def test_constant_zero_and_damaged_maps() -> None:
    def constant(value: Any) -> Any:
        return lambda model, images, targets: jnp.full(images.shape[:-1], value)

    assert sensitivity(method=constant(0.0)).tolist() == [0, 0]
    assert sensitivity(method=constant(2.0)).tolist() == [0, 0]
    assert np.isnan(sensitivity(method=constant(np.nan))).all()
    first = iter([0.0, 1.0, np.nan, 1.0])
    assert np.isnan(sensitivity(method=lambda *arguments: constant(next(first))(*arguments), num_samples=3)).all()
    first = iter([0.0, 1.0])
    size = np.sqrt(20 * 24)  # of the map; a change from zero is not divided
    np.testing.assert_allclose(sensitivity(method=lambda *arguments: constant(next(first))(*arguments), num_samples=1), size, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"method": "gradient"}, TypeError, r"method must be a function \(model, images, targets\) -> maps"),
        ({"method": lambda *_: np.zeros((2, 5, 6))}, ValueError, r"the method's maps must have the shape of the images, \(2, 20, 24\)"),
        ({"original": np.zeros((2, 5, 6))}, ValueError, r"original must have the shape of the images, \(2, 20, 24\), got \(2, 5, 6\)"),
        ({"radius": 0}, ValueError, "radius must be a positive number in the values of the images, got 0"),
        ({"num_samples": 0}, ValueError, "num_samples must be a whole number, at least 1"),
        ({"perturbations": SHIFTS[:, :1]}, ValueError, r"perturbations must have the shape .* = \(S, 2, 20, 24, 3\), got \(3, 1, 20"),
        ({"perturbations": SHIFTS[:0]}, ValueError, "perturbations must have the shape"),
        ({"perturbations": SHIFTS * np.nan}, ValueError, "perturbations must be finite"),
        ({"perturbations": SHIFTS, "radius": 0.1}, ValueError, "pass either perturbations or radius"),
        ({"perturbations": SHIFTS, "key": jax.random.key(0)}, ValueError, "pass either perturbations or radius"),
    ],
)
def test_what_does_not_fit(unchecked: None, options: Any, error: Any, message: Any) -> None:
    with pytest.raises(error, match=message):
        sensitivity(**options)


@each
def test_the_scale_of_maps_does_not_matter(function: Any) -> None:
    """Squares of small maps would vanish, and leave a perfect score."""

    def small_maps(*call: Any) -> Any:
        return 1e-25 * linear_approx(*call)

    np.testing.assert_allclose(sensitivity(function, small_maps), sensitivity(function), rtol=1e-4)
