"""Linear filters of images and maps: blur and resize."""

from __future__ import annotations

import functools
import math
import string

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

_MODES = {"edge": "nearest", "zeros": "constant", "mirror": "reflect"}  # as SciPy calls them
PADDINGS = ("edge", "zeros")  # of images


def gaussian_blur(images: Float[Array, "..."], sigma: float | tuple[float, ...], padding: str = "edge") -> Float[Array, "..."]:
    """Blur images, (..., H, W, C), by a Gaussian of sigma pixels, truncated at four of them; 0 returns the images as
    they are. A tuple gives each of the last axes, as many as it has, its own sigma: (20, 20, 0) is 20 for images.

    Beyond the border, the padding "edge" repeats the border's pixels, so that a constant image stays constant; "zeros",
    as in TorchRay, darkens the border; "mirror" keeps the mean of any image. The sums are in single precision at least.

    Example:
      >>> bool(jnp.allclose(gaussian_blur(jnp.ones((9, 9, 1)), 2.0), 1))
      True
      >>> gaussian_blur(jnp.zeros((9, 3)).at[4, 1].set(1.0), (1.0, 0.0)).astype(bool).sum(axis=1).tolist()
      [1, 1, 1, 1, 1, 1, 1, 1, 1]
    """
    sigmas = sigma if isinstance(sigma, tuple) else (sigma, sigma, 0.0)
    blurred = [(axis, sigma) for axis, sigma in enumerate(sigmas, images.ndim - len(sigmas)) if sigma != 0]
    return along_axes(images, [(axis, _blur_matrix(images.shape[axis], sigma, padding)) for axis, sigma in blurred])


def moving_average(images: Float[Array, "..."], radius: float | tuple[float, ...], padding: str = "edge") -> Float[Array, "..."]:
    """The mean of the 2 radius + 1 values around each, along the axes that `gaussian_blur` would blur; likewise otherwise.

    Example:
      >>> moving_average(jnp.array([0.0, 3.0, 0.0, 6.0]), (1,)).tolist()
      [1.0, 1.0, 3.0, 4.0]
    """
    radii = radius if isinstance(radius, tuple) else (radius, radius, 0)
    averaged = [(axis, round(radius)) for axis, radius in enumerate(radii, images.ndim - len(radii)) if round(radius)]
    return along_axes(images, [(axis, _average_matrix(images.shape[axis], radius, padding)) for axis, radius in averaged])


def along_axes(images: Array, filters: list[tuple[int, np.ndarray]]) -> Array:
    """Filter images along each of some axes by a matrix, whose border is exact and which is a matrix product on every backend.

    Example:
      >>> along_axes(jnp.array([[1.0, 2.0]]), [(1, np.array([[0.0, 1.0], [1.0, 0.0]]))]).tolist()
      [[2.0, 1.0]]
    """
    if not filters:
        return images
    before = string.ascii_lowercase[: images.ndim]
    after = list(before)
    for axis, _ in filters:
        after[axis] = before[axis].upper()
    subscripts = [*(after[axis] + before[axis] for axis, _ in filters), before]
    dtype = jnp.float64 if images.dtype == jnp.float64 else jnp.float32
    operands = (jnp.asarray(operand, dtype) for operand in (*(matrix for _, matrix in filters), images))
    product = f"{','.join(subscripts)}->{''.join(after)}"
    return jnp.einsum(product, *operands, precision=jax.lax.Precision.HIGHEST).astype(images.dtype)


@functools.lru_cache(maxsize=64)
def _blur_matrix(size: int, sigma: float, padding: str) -> np.ndarray:
    """(size, size): a one-dimensional Gaussian blur."""
    from scipy.ndimage import gaussian_filter1d

    return gaussian_filter1d(np.eye(size), sigma, axis=0, mode=_MODES[padding], radius=math.ceil(4 * sigma)).astype(np.float32)


@functools.lru_cache(maxsize=64)
def _average_matrix(size: int, radius: int, padding: str) -> np.ndarray:
    """(size, size): a one-dimensional moving average."""
    from scipy.ndimage import uniform_filter1d

    return uniform_filter1d(np.eye(size), 2 * radius + 1, axis=0, mode=_MODES[padding]).astype(np.float32)


def resize(images: Float[Array, "..."], shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Resize images, (..., H, W, C), to (height, width) by bilinear interpolation between pixel centres, without
    antialiasing, as TorchRay resizes its maps. A shape of n sides resizes the n axes before the last.

    Example:
      >>> resize(jnp.array([[[0.0], [1.0]]]), (1, 4))[0, :, 0].tolist()
      [0.0, 0.25, 0.75, 1.0]
    """
    return jax.image.resize(images, (*images.shape[: -1 - len(shape)], *shape, images.shape[-1]), "bilinear", antialias=False)
