"""Methods that average over images near the one in question: integrated gradients, along a line; SmoothGrad, under noise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Int

from extremal_jax.attribution.chunks import chunk_length, sum_in_chunks
from extremal_jax.attribution.common import Finish, check_no_layer, finishing, number, prepare, pull_back
from extremal_jax.attribution.gradients import gradient
from extremal_jax.attribution.masked import substitute
from extremal_jax.boundary.models import Model
from extremal_jax.graph.activations import check_name
from extremal_jax.ground.checks import check_key


def integrated_gradients(
    model: Model,
    images: Any,
    targets: Any,
    *,
    at: None = None,
    baseline: Any = 0.0,
    steps: int = 32,
    chunk_size: int | None = 16,
    resize: bool | tuple[int, int] = False,
    smooth: float = 0.0,
) -> Float[Array, "*N h w"]:
    """What each pixel adds to the score on the straight way from a baseline to the image; signed, summed over channels.

        (x − x') ∫₀¹ ∂score / ∂x (x' + t (x − x')) dt

    The sum of a map is the score of the image less that of the baseline, up to the error of the sum over steps, at their midpoints.

    Args:
      model: any function from images (B, H, W, C) to scores (B, classes) or (B, h, w, classes), whose sum over places counts.
      images: (H, W, C), or a batch (N, H, W, C), floats as the model takes them.
      targets: one class for all images or one per image: indices, or names where the model has `classes`.
      at: None: there is no layer to choose.
      baseline: x': a number; an array (C,), (H, W, C) or (N, H, W, C); or "blur", the image blurred by 9 % of its shorter side.
      steps: of the sum that stands for the integral.
      chunk_size: the most images that are shown to the model at a time, to bound memory; None: all steps.
      resize: True for maps of the images' size, which they have, (height, width) for another.
      smooth: standard deviation of a Gaussian blur, as a share of the longer side.

    Returns:
      (N, H, W), or (H, W) for a single image.

    Raises:
      TypeError, ValueError: for arguments that do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> integrated_gradients(lambda x: (x**2).sum(axis=(1, 2)), jnp.array([[[1.0], [-2.0]]]), 0).tolist()
      [[1.0, 4.0]]

    Source: Sundararajan, Taly and Yan, "Axiomatic Attribution for Deep Networks", ICML 2017.
    """
    check_no_layer("integrated_gradients", at)
    length = chunk_length("steps", steps, chunk_size)
    task = prepare(model, images, targets, length)
    record = IntegratedGradients(steps, length, finishing(resize, smooth, task.size))
    return task.compute(record, substitute("baseline", baseline, task.images))


@dataclass(frozen=True)
class IntegratedGradients:
    """A sum of gradients along a line.

    Attributes:
      steps: how many.
      length: how many at a time.
      finish: what is done to the maps.
    """

    steps: int
    length: int
    finish: Finish

    def __call__(
        self, model: Model, images: Float[Array, "N H W C"], targets: Int[Array, " N"], baselines: Float[Array, "N H W C"]
    ) -> Float[Array, "N h w"]:
        def chunk(elements: Array, counts: Array) -> Array:
            shares = ((elements + 0.5) / self.steps).astype(images.dtype)[:, None, None, None]

            def gradients(triple: tuple[Array, Array, Array]) -> Array:
                image, target, baseline = triple
                _, sent = pull_back(model, baseline + shares * (image - baseline), jnp.broadcast_to(target, elements.shape))
                return jnp.where(counts[:, None, None, None], _wide(sent), 0).sum(axis=0)

            return lax.map(gradients, (images, targets, baselines))

        sums = sum_in_chunks(chunk, self.steps, self.length, images)
        return self.finish((_wide(images - baselines) * sums / self.steps).sum(axis=-1))


def smooth_grad(
    model: Model,
    images: Any,
    targets: Any,
    *,
    at: str | None = None,
    method: Callable[..., Array] = gradient,
    samples: int = 32,
    noise: float = 0.15,
    key: Array | None = None,
    chunk_size: int | None = 16,
    resize: bool | tuple[int, int] = False,
    smooth: float = 0.0,
    **options: Any,
) -> Float[Array, "*N h w"]:
    """The mean of a method's maps of the image under Gaussian noise.

    Args:
      model: any function from images (B, H, W, C) to scores (B, classes) or (B, h, w, classes).
      images: (H, W, C), or a batch (N, H, W, C), floats as the model takes them.
      targets: one class for all images or one per image: indices, or names where the model has `classes`.
      at: the name of the activation whose map the method makes; None: the image.
      method: any of the methods that go back through the model, such as `gradient`, `guided_backprop` or `grad_cam`.
      samples: of the noise.
      noise: its standard deviation, as a share of each image's range, from its least to its largest value.
      key: of the noise, which is the same for all images; None: `jax.random.key(0)`.
      chunk_size: the most images that are shown to the model at a time, to bound memory; None: all samples.
      resize: True for maps of the images' size, (height, width) for another.
      smooth: standard deviation of a Gaussian blur after that, as a share of the longer side.
      options: of the method: `channel_axis` and so on. Of an array of the shape (N, H, W, C), each image gets its own part.

    Returns:
      (N, h, w), of the size of the method's maps, or (h, w) for a single image.

    Raises:
      TypeError, ValueError: for arguments that do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> from extremal_jax.attribution import linear_approx
      >>> maps = smooth_grad(lambda x: jnp.abs(x).sum(axis=(1, 2)), jnp.array([[[0.0], [1.0]]]), 0, samples=100, method=linear_approx)
      >>> [f"{value:.1f}" for value in maps[0].tolist()]  # the mean of |x + noise|
      ['0.1', '1.0']

    Source: Smilkov, Thorat, Kim, Viégas and Wattenberg, "SmoothGrad: removing noise by adding noise", 2017.
    """
    if not callable(method):
        raise TypeError(f"method must be a function such as `gradient`, got {method!r}")
    if at is not None:
        check_name("at", at)
        options["at"] = at
    if not 0 <= number(noise) < float("inf"):
        raise ValueError(f"noise must be a share of the image's range, such as 0.15, and not negative, got {noise!r}")
    length = chunk_length("samples", samples, chunk_size)
    task = prepare(model, images, targets, length)
    arrays = {name: value for name, value in options.items() if isinstance(value, jax.Array | np.ndarray)}
    static = tuple(sorted((name, _hashable(value)) for name, value in options.items() if name not in arrays))
    record = SmoothGrad(method, static, samples, length, finishing(resize, smooth, task.size))
    return task.compute(record, check_key(key), jnp.float32(noise), arrays)


def _hashable(value: Any) -> Any:
    """The value, with tuples in the place of lists."""
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


@dataclass(frozen=True)
class SmoothGrad:
    """A sum of maps under noise.

    Attributes:
      method: that makes the maps.
      options: of the method, but for arrays.
      samples: how many.
      length: how many at a time.
      finish: what is done to the maps.
    """

    method: Callable[..., Array]
    options: tuple[tuple[str, Any], ...]
    samples: int
    length: int
    finish: Finish

    def __call__(
        self,
        model: Model,
        images: Float[Array, "N H W C"],
        targets: Int[Array, " N"],
        key: Array,
        noise: Float[Array, ""],
        arrays: dict[str, Array],
    ) -> Float[Array, "N h w"]:
        each = {name: array for name, array in arrays.items() if array.shape == images.shape}
        options = {**dict(self.options), **arrays}

        def chunk(elements: Array, counts: Array) -> Array:
            # One by one: some kinds of keys give other numbers when they are mapped over.
            normal = lax.map(lambda element: jax.random.normal(jax.random.fold_in(key, element), images.shape[1:]), elements)

            def maps(parts: tuple[Array, Array, dict[str, Array]]) -> Array:
                image, target, own = parts
                sigma = noise * (image.max() - image.min())
                noisy = image + (sigma * normal).astype(image.dtype)
                found = self.method(model, noisy, jnp.broadcast_to(target, elements.shape), **{**options, **own})
                return jnp.where(counts[:, None, None], found, 0).sum(axis=0)

            return lax.map(maps, (images, targets, each))

        return self.finish(sum_in_chunks(chunk, self.samples, self.length, images) / self.samples)


def _wide(values: Array) -> Array:
    return values.astype(jnp.promote_types(values.dtype, jnp.float32))
