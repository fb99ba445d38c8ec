"""Infidelity: how far the map's account of a perturbation is from the change of the score."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from extremal_jax.attribution.evaluations import draw_each
from extremal_jax.boundary.baselines import check_finite
from extremal_jax.boundary.images import check_images
from extremal_jax.boundary.models import Model
from extremal_jax.evaluation.calls import as_floats
from extremal_jax.evaluation.faithfulness.altered import for_each, prepare_altered, scores_of
from extremal_jax.ground.checks import as_array, check_count, check_flag, check_key, check_positive
from extremal_jax.ground.pytrees import AnyArray

_SAMPLES, _NOISE = 100, 0.1


def infidelity(
    model: Model,
    images: Any,
    targets: Any,
    maps: Any,
    *,
    perturbations: Any = None,
    num_samples: int = _SAMPLES,
    noise: float = _NOISE,
    normalize: bool = False,
    score: str = "logit",
    key: Array | None = None,
    chunk_size: int | None = None,
) -> Float[Array, "*N"]:
    """The mean squared difference between the map's account of a perturbation and the fall of the score; low is good.

        E_I [(β Σ I · φ − (f(x) − f(x − I)))²]

    Args:
      model, images, targets, chunk_size: as in `insertion`.
      maps: (N, H, W, C), the attributions φ of each channel, or (N, H, W), the attribution of each pixel, by which the
        perturbations of all its channels are multiplied; without the first axis for a single image.
      perturbations: (M, H, W, C), the same for all images, or (M, N, H, W, C), in place of random ones; pass either
        these or `num_samples`, `noise` and `key`.
      num_samples: M, the number of random perturbations.
      noise: the standard deviation of random perturbations, which are Gaussian and independent at each pixel and
        channel, in units of the images.
      normalize: whether β is the factor that makes the infidelity of an image least, so that the scale of the map does
        not count; else β is 1, and a map that is right but for its unit is far off.
      score: the function of the model's scores: "logit", "softmax" or "sigmoid".
      key: the random key of the perturbations, which are the same for all images; None: `jax.random.key(0)`.

    Returns:
      (N,), not negative, or a number for a single image. A map of zeros has the mean square of the falls, a constant map
      is treated like any other, and a map with NaN has NaN.

    Raises:
      TypeError, ValueError: for arguments that do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> image = jnp.ones((3, 4, 1))
      >>> linear = lambda x: 2 * x.sum(axis=(1, 2))
      >>> exact = infidelity(linear, image, 0, 2 * jnp.ones((3, 4)))
      >>> scaled = infidelity(linear, image, 0, 7 * jnp.ones((3, 4)), normalize=True)
      >>> float(exact) < 1e-9, float(scaled) < 1e-9
      (True, True)

    Source: Yeh, Hsieh, Suggala, Inouye and Ravikumar, "On the (In)fidelity and Sensitivity of Explanations", NeurIPS
      2019.

    Differences from Captum: perturbations are given as arrays, and the same for all images unless given for each.
    """
    images = check_images("images", images)
    check_flag("normalize", normalize)
    if perturbations is not None and (key is not None or (num_samples, noise) != (_SAMPLES, _NOISE)):
        raise ValueError("pass either perturbations or num_samples, noise and key, got both")
    check_count("num_samples", num_samples, 1)
    check_positive("noise", noise, " in units of the images")
    given = None if perturbations is None else _check_perturbations(perturbations, images)
    count = num_samples if given is None else len(given)
    attributions = check_attributions(maps, images.shape)
    call, length = prepare_altered(model, images, targets, None, count + 1, score, chunk_size)
    batch = attributions.reshape(len(call.images), *attributions.shape[images.ndim - 3 :])
    settings = dict(length=length, count=count, score=score, normalize=normalize)
    return call.compute(_infidelities, batch, given, np.float32(noise), check_key(key), **settings)


def check_attributions(maps: Any, shape: tuple[int, ...]) -> Float[AnyArray, "*N H W C"]:
    """Maps of images of a shape as float32, with an axis of channels, which has the length 1 for maps of pixels."""
    found = as_floats("maps", maps)
    if found.shape not in (shape, shape[:-1]):
        raise ValueError(f"maps must have the shape of the images, {shape}, or that without channels, {shape[:-1]}, got {found.shape}")
    return found if found.shape == shape else found[..., None]


def _check_perturbations(perturbations: Any, images: AnyArray) -> Float[AnyArray, "M _ H W C"]:
    """Perturbations with an axis of images, which has the length 1 where they are the same for all."""
    found = as_array("perturbations", perturbations)
    if found.ndim < 4 or len(found) == 0 or found.shape[1:] not in (images.shape[-3:], images.shape):
        shapes = " or ".join(f"(M, {', '.join(map(str, shape))})" for shape in dict.fromkeys((images.shape[-3:], images.shape)))
        raise ValueError(f"perturbations must have the shape {shapes}, got {found.shape}")
    check_finite("perturbations", found)
    return found.astype(np.float32).reshape(len(found), -1, *images.shape[-3:])


def _infidelities(
    model: Model,
    images: Float[Array, "N H W C"],
    targets: Int[Array, " N"],
    _: Any,
    attributions: Float[Array, "N H W _"],
    given: Float[Array, "M _ H W C"] | None,
    noise: Float[Array, ""],
    key: Array,
    *,
    length: int,
    count: int,
    score: str,
    normalize: bool,
) -> Float[Array, " N"]:
    """The infidelity of each image."""

    def chunk(of: Array, which: Array) -> tuple[Array, Array]:
        """The scores of perturbed images, and the sums of I · φ; the last perturbation of each image is zero."""
        some = (
            noise * draw_each(key, which, images.shape[1:]) if given is None else given[jnp.minimum(which, count - 1), of % given.shape[1]]
        )
        some = jnp.where((which < count)[:, None, None, None], some, 0)
        return scores_of(model, score, images[of] - some.astype(images.dtype), targets[of]), (some * attributions[of]).sum(axis=(1, 2, 3))

    scores, predicted = for_each(chunk, len(images), count + 1, length)
    falls, predicted = scores[:, -1:] - scores[:, :-1], predicted[:, :-1]
    if normalize:
        largest = jnp.abs(predicted).max(axis=1, keepdims=True)
        predicted = predicted / jnp.where(largest == 0, 1, largest)  # so that squares neither vanish nor overflow
        square = jnp.square(predicted).mean(axis=1, keepdims=True)
        predicted = predicted * jnp.where(
            square == 0, 0, (predicted * falls).mean(axis=1, keepdims=True) / jnp.where(square == 0, 1, square)
        )
    return jnp.square(predicted - falls).mean(axis=1)
