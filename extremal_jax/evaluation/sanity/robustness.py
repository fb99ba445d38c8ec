"""Robustness: how far a map moves when the image moves by less than can be seen."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

from extremal_jax.boundary.baselines import check_finite
from extremal_jax.boundary.images import check_images
from extremal_jax.evaluation.calls import check_maps
from extremal_jax.ground.checks import as_array, check_count, check_key, check_positive
from extremal_jax.ground.pytrees import AnyArray


def max_sensitivity(
    method: Callable[[Any, Any, Any], Any],
    model: Any,
    images: Any,
    targets: Any,
    *,
    radius: float = 0.02,
    num_samples: int = 10,
    perturbations: Any = None,
    original: Any = None,
    key: Array | None = None,
) -> Float[Array, "*N"]:
    """The largest relative change of a method's map under small perturbations of the image, by Monte Carlo:

        max over δ with |δ| ≤ r everywhere of ‖Φ(x + δ) - Φ(x)‖ / ‖Φ(x)‖

    A lower score is better, but a map that ignores the image has the best: read it beside a test of faithfulness. The
    more samples, the larger the maximum, so scores compare only at one radius and number of samples.

    Args:
      method: (model, images, targets) -> maps (N, H, W) of the images' size, such as `attribution.gradient`; other
        options by `functools.partial`. A random method must use the same key at each call.
      model, targets: as the method takes them.
      images: (H, W, C), or a batch (N, H, W, C).
      radius: r, in the values of the images as the model takes them.
      num_samples: the number of perturbations, each uniform in [-r, r] at each pixel and channel, and the same for all images.
      perturbations: (S, N, H, W, C), or (S, H, W, C) for a single image, in place of random ones; pass either these or
        `radius`, `num_samples` and `key`.
      original: (N, H, W), or (H, W): the method's maps of the images as they are, where they are known already; None:
        they are computed.
      key: the random key of the perturbations; None: `jax.random.key(0)`.

    Returns:
      (N,), or a number for a single image; float32. Where the image's own map is zero, the change is not divided: a map
      that is zero always scores 0. Any map with NaN scores NaN.

    Raises:
      TypeError, ValueError: for maps of another size, perturbations of another shape or not finite, options out of
        range.

    Example:
      >>> import jax.numpy as jnp
      >>> from extremal_jax.attribution import linear_approx
      >>> model = lambda x: x.sum(axis=(1, 2))
      >>> image = jnp.array([[[3.0], [4.0]]])
      >>> f"{max_sensitivity(linear_approx, model, image, 0, perturbations=0.1 * jnp.ones((1, 1, 2, 1))):.4f}"
      '0.0283'

    Source: Yeh, Hsieh, Suggala, Inouye and Ravikumar, "On the (In)fidelity and Sensitivity of Explanations",
      NeurIPS 2019.

    Differences from Captum: maps have no channels, so that norms are over pixels; the images share their perturbations.
    """
    changes = _changes(method, model, images, targets, radius, num_samples, perturbations, original, key)
    return functools.reduce(jnp.maximum, changes)  # NaN remains


def average_sensitivity(
    method: Callable[[Any, Any, Any], Any],
    model: Any,
    images: Any,
    targets: Any,
    *,
    radius: float = 0.02,
    num_samples: int = 10,
    perturbations: Any = None,
    original: Any = None,
    key: Array | None = None,
) -> Float[Array, "*N"]:
    """The mean relative change of a map, where `max_sensitivity` takes the largest.

    The mean does not grow with the number of samples. The arguments and the errors are those of `max_sensitivity`.

    Returns:
      (N,), or () for a single image.

    Example:
      >>> import jax.numpy as jnp
      >>> from extremal_jax.attribution import linear_approx
      >>> model = lambda x: x.sum(axis=(1, 2))
      >>> image, shifts = jnp.array([[[3.0], [4.0]]]), jnp.array([0.0, 0.1]).reshape(2, 1, 1, 1)
      >>> f"{average_sensitivity(linear_approx, model, image, 0, perturbations=shifts * jnp.ones((2, 1, 2, 1))):.4f}"
      '0.0141'

    Source: Bhatt, Weller and Moura, "Evaluating and Aggregating Feature-based Model Explanations", IJCAI 2020.
    """
    changes = list(_changes(method, model, images, targets, radius, num_samples, perturbations, original, key))
    return functools.reduce(jnp.add, changes) / len(changes)


def _changes(
    method: Callable[[Any, Any, Any], Any],
    model: Any,
    images: Any,
    targets: Any,
    radius: float,
    num_samples: int,
    perturbations: Any,
    original: Any,
    key: Array | None,
) -> Iterator[Float[Array, "*N"]]:
    """The relative change of each map under one perturbation after another."""
    if not callable(method):
        raise TypeError(f"method must be a function (model, images, targets) -> maps, got {method!r}")
    images = check_images("images", images)
    if perturbations is None:
        check_positive("radius", radius, " in the values of the images")
        check_count("num_samples", num_samples, 1)
        key = check_key(key)
        perturbed: Iterator[Any] = (
            _perturbed(jax.random.fold_in(key, np.uint32(sample)), images, float(radius)) for sample in range(num_samples)
        )
    else:
        if key is not None or (radius, num_samples) != (0.02, 10):
            raise ValueError("pass either perturbations or radius, num_samples and key, got both")
        perturbed = _shifted(images, perturbations)
    shape = images.shape[:-1]

    def explain(shown: Any) -> AnyArray:
        return check_maps("the method's maps", method(model, shown, targets), shape)

    known = explain(images) if original is None else check_maps("original", original, shape)
    for shown in perturbed:
        yield _change(known, explain(shown))


def _shifted(images: AnyArray, perturbations: Any) -> Iterator[Any]:
    """The images under each of the perturbations that a caller gives."""
    perturbations = as_array("perturbations", perturbations)
    if perturbations.shape[1:] != images.shape or len(perturbations) == 0:
        shape = ", ".join(map(str, images.shape))
        raise ValueError(f"perturbations must have the shape (S, *images.shape) = (S, {shape}), got {perturbations.shape}")
    check_finite("perturbations", perturbations)
    return (images + shift.astype(images.dtype) for shift in perturbations)


@jax.jit
def _perturbed(key: Array, images: Float[Array, "*N H W C"], radius: float | Float[Array, ""]) -> Float[Array, "*N H W C"]:
    uniform = jax.random.uniform(key, images.shape[-3:], jnp.float32, -1, 1)
    return images + jnp.broadcast_to(jnp.asarray(radius, images.dtype) * uniform.astype(images.dtype), images.shape)


@jax.jit
def _change(original: Float[Array, "*N H W"], maps: Float[Array, "*N H W"]) -> Float[Array, "*N"]:
    largest = jnp.abs(original).max(axis=(-2, -1), keepdims=True)
    unit = jnp.where((largest > 0) & jnp.isfinite(largest), largest, 1)  # squares of small maps would vanish
    size, change = (jnp.sqrt(((values / unit) ** 2).sum(axis=(-2, -1))) for values in (original, maps - original))
    return change / jnp.where(size == 0, 1, size)
