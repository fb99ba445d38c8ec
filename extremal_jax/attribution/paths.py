"""Means over nearby images: integrated gradients, along a line from a baseline; SmoothGrad, under noise."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Int

from extremal_jax.attribution.backward import pull_back
from extremal_jax.attribution.common import Maps, Model, Resize, Smooth, number, prepare, wide
from extremal_jax.attribution.evaluations import GRADIENT_CHUNK, chunk_length, draw_each, sum_in_chunks
from extremal_jax.attribution.gradients import gradient
from extremal_jax.attribution.method import Method
from extremal_jax.boundary.axes import find_axes
from extremal_jax.boundary.baselines import substitute
from extremal_jax.graph.activations import check_name
from extremal_jax.ground.checks import check_key
from extremal_jax.ground.renamed import renamed
from extremal_jax.operators.axes import IMAGE, Axes, names


@renamed(steps="num_steps")
def integrated_gradients(
    model: Model,
    images: Any,
    targets: Any,
    *,
    axes: Axes | str | None = None,
    baseline: Any = 0.0,
    num_steps: int = 32,
    chunk_size: int | None = None,
    resize: Resize = False,
    smooth: Smooth = None,
) -> Float[Array, "*maps"]:
    """The share of each pixel in the change of the score from a baseline to the image; signed, summed over channels.

        (x − x') ∫₀¹ ∂score / ∂x (x' + t (x − x')) dt

    The sum of a map is the score of the image minus the score of the baseline, up to the error of the sum over steps,
    which are taken at their midpoints.

    Args:
      model, images, targets, axes, resize, smooth: as in `gradient`, except that scores at several positions are always
        summed.
      baseline: x', as `fill` in `occlusion`: a number, an array, or "blur", "mean", "past_mean" or "rise_blur".
      num_steps: of the sum that approximates the integral.
      chunk_size: the most images that the model gets at a time, to bound memory; None for 16.

    Returns:
      (N, H, W), or (H, W) for a single image.

    Raises, Warns: as `gradient`.

    Example:
      >>> import jax.numpy as jnp
      >>> integrated_gradients(lambda x: (x**2).sum(axis=(1, 2)), jnp.array([[[1.0], [-2.0]]]), 0).tolist()
      [[1.0, 4.0]]

    Source: Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", ICML 2017.
    """
    length = chunk_length("num_steps", num_steps, chunk_size, GRADIENT_CHUNK)
    task = prepare("integrated_gradients", model, images, targets, resize, smooth, length, axes=axes)
    return task.differentiate(_integral, substitute("baseline", baseline, task.images, task.layout), num_steps=num_steps, length=length)


def _integral(
    model: Model,
    images: Float[Array, "N ..."],
    targets: Int[Array, " N"],
    baselines: Float[Array, "N ..."],
    *,
    num_steps: int,
    length: int,
) -> Maps:
    """The integral of gradients along the line from the baseline, times the line."""

    def chunk(elements: Array, counts: Array) -> Array:
        own = range(1, images.ndim)
        shares = jnp.expand_dims(((elements.astype(jnp.float32) + 0.5) / num_steps).astype(images.dtype), own)

        def gradients(triple: tuple[Array, Array, Array]) -> Array:
            image, target, baseline = triple
            _, sent = pull_back(model, baseline[None] + shares * (image - baseline)[None], jnp.broadcast_to(target, elements.shape))
            return jnp.where(jnp.expand_dims(counts, own), wide(sent), 0).sum(axis=0)

        return lax.map(gradients, (images, targets, baselines))

    sums = sum_in_chunks(chunk, num_steps, length, images)
    return Maps((wide(images - baselines) * sums / num_steps).sum(axis=-1), sums)


@renamed(samples="num_samples")
def smooth_grad(
    model: Model,
    images: Any,
    targets: Any,
    *,
    at: str | None = None,
    axes: Axes | str | None = None,
    method: Callable[..., Array] = gradient,
    num_samples: int = 32,
    noise: float = 0.15,
    key: Array | None = None,
    chunk_size: int | None = None,
    resize: Resize = False,
    smooth: Smooth = None,
    **options: Any,
) -> Float[Array, "*maps"]:
    """The mean of a method's maps of the image under Gaussian noise.

    Args:
      model, images, targets, at, axes, resize, smooth: as in `gradient`.
      method: any method of one backward pass, such as `gradient`, `guided_backprop` or `grad_cam`.
      num_samples: the number of noisy images.
      noise: standard deviation of the noise, as a share of each image's range, from its least to its largest value.
      key: of the noise, which is the same for all images; None: `jax.random.key(0)`.
      chunk_size: the most images that the model gets at a time, to bound memory; None for 16.
      options: of the method, such as `channel_axis`. An array of the shape of the images, (N, H, W, C), is split among
        them.

    Returns:
      (N, h, w), of the size of the method's maps, or (h, w) for a single image.

    Raises, Warns: as `gradient`.

    Example:
      >>> import jax.numpy as jnp
      >>> from extremal_jax.attribution import linear_approx
      >>> options = dict(num_samples=100, method=linear_approx)
      >>> maps = smooth_grad(lambda x: jnp.abs(x).sum(axis=(1, 2)), jnp.array([[[0.0], [1.0]]]), 0, **options)
      >>> [f"{value:.1f}" for value in maps[0].tolist()]  # the mean of |x + noise|
      ['0.1', '1.0']

    Source: Smilkov, Thorat, Kim, Viégas and Wattenberg, "SmoothGrad: removing noise by adding noise", 2017.
    """
    if not callable(method):
        raise TypeError(f"method must be a function such as `gradient`, got {method!r}")
    if at is not None:
        check_name("at", at)
        options["at"] = at
    if (found := find_axes(axes, None, model) or IMAGE) != IMAGE:
        if "axes" not in inspect.signature(method).parameters:
            title = getattr(method, "__name__", "method")
            raise ValueError(f"{title} takes no axes, so it explains images only, and `axes` are {', '.join(names(found))}")
        options["axes"] = found
    if not 0 <= number(noise) < float("inf"):
        raise ValueError(f"noise must be a share of the image's range, such as 0.15, and not negative, got {noise!r}")
    length = chunk_length("num_samples", num_samples, chunk_size, GRADIENT_CHUNK)
    task = prepare("smooth_grad", model, images, targets, resize, smooth, length, axes=axes, laid_out=False)
    arrays = {name: value for name, value in options.items() if isinstance(value, jax.Array | np.ndarray)}
    static = tuple(sorted((name, _hashable(value)) for name, value in options.items() if name not in arrays))
    settings: dict[str, Any] = {"method": method, "options": static, "num_samples": num_samples, "length": length}
    return task.differentiate(_mean_under_noise, check_key(key), jnp.float32(noise), arrays, **settings)


def _hashable(value: Any) -> Any:
    """The value, with tuples in place of lists."""
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


def _mean_under_noise(
    model: Model,
    images: Float[Array, "N ..."],
    targets: Int[Array, " N"],
    key: Array,
    noise: Float[Array, ""],
    arrays: dict[str, Array],
    *,
    method: Callable[..., Array],
    options: tuple[tuple[str, Any], ...],
    num_samples: int,
    length: int,
) -> Maps:
    """The mean of a method's maps of noisy images; the arrays are the options of the method that are arrays."""
    each = {name: array for name, array in arrays.items() if array.shape == images.shape}
    shared = {**dict(options), **arrays}

    def chunk(elements: Array, counts: Array) -> Array:
        normal = draw_each(key, elements, images.shape[1:])

        def maps(parts: tuple[Array, Array, dict[str, Array]]) -> Array:
            image, target, own = parts
            sigma = noise * wide(image.max() - image.min())
            noisy = image[None] + (sigma * normal).astype(image.dtype)
            found = method(model, noisy, jnp.broadcast_to(target, elements.shape), **{**shared, **own})
            return jnp.where(jnp.expand_dims(counts, range(1, found.ndim)), found, 0).sum(axis=0)

        return lax.map(maps, (images, targets, each))

    means = sum_in_chunks(chunk, num_samples, length, images) / num_samples
    return Maps(means, means)


METHODS = (
    Method("integrated_gradients", "the share of each pixel in the change of the score from a baseline", integrated_gradients, signed=True),
    Method("smooth_grad", "the mean of a method's maps under noise", smooth_grad),
)
