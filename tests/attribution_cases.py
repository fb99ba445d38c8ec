"""The small classifier, two images, and quick calls of every method of attribution, shared by the tests of the methods."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import small
from extremal_jax import Config
from extremal_jax.attribution import METHODS

IMAGES, TARGETS = jnp.asarray(small.images()), np.array([1, 3])
WEIGHTS = small.weights()
LAYERS: dict[str, Any] = {"at": "first", "contrast_at": "second"}
KEY = jax.random.key(0, impl="unsafe_rbg")  # which compiles sooner than the usual kind
RNG = np.random.default_rng(0)
QUICK: dict[str, dict[str, Any]] = {  # options with which a method is quick
    "extremal_perturbation": dict(areas=(0.1,), config=Config(num_steps=2, pitch=4, sigma=4.0, num_levels=3, max_blur=4.0)),
    "integrated_gradients": dict(num_steps=3),
    "smooth_grad": dict(num_samples=3, key=KEY),
    "rise": dict(num_masks=5, grid=3, key=KEY),
    "occlusion": dict(window=12),
    "igos": dict(num_steps=2, num_points=3, resolution=6, noise=0.05, score="logit", key=KEY),
    "igos_plus_plus": dict(num_steps=2, num_points=2, resolution=6, noise=0.05, score="logit", key=KEY),
    "extremal_contours": dict(areas=(0.1, 0.3), num_steps=2, starts=2, harmonics=2, score="logit"),
}
OTHERS = {name: method for name, method in METHODS.items() if name != "extremal_perturbation"}  # it has laws of its own
KINDS = {(method.function.__module__, method.options): name for name, method in OTHERS.items()}.values()  # one of each computation


def model_of(weights: Any) -> Any:
    return jax.tree_util.Partial(small.classify, weights)


def explain(name: Any, images: Any = IMAGES, targets: Any = TARGETS, model: Any = None, **options: Any) -> Any:
    """The maps of a method, of the small classifier unless another model is given."""
    method = METHODS[name]
    options = {**{option: LAYERS[option] for option in method.needs}, **QUICK.get(name, {}), **options}
    return method.function(model_of(WEIGHTS) if model is None else model, images, targets, **options)


usual = functools.cache(explain)  # of a name alone


def draw(*shape: Any) -> Any:
    """Normal numbers, others in each call."""
    return RNG.standard_normal(shape).astype(np.float32)


def close(actual: Any, expected: Any, tolerance: Any = 1e-4) -> None:
    """Equal up to the roundings of another program, relative to the largest entry."""
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * np.abs(expected).max())
