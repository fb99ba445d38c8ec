"""Linear filters of images and maps: blur and resize."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float

_MODES = {"edge": "nearest", "zeros": "constant", "mirror": "reflect"}  # as SciPy calls them
PADDINGS = ("edge", "zeros")  # of images


def gaussian_blur(images: Float[Array, "*batch H W C"], sigma: float, padding: str = "edge") -> Float[Array, "*batch H W C"]:
    """Blur images, (..., H, W, C), by a Gaussian of sigma pixels, truncated at four of them; 0 returns the images as
    they are.

    Beyond the border, the padding "edge" repeats the border's pixels, so that a constant image stays constant; "zeros",
    as in TorchRay, darkens the border; "mirror" keeps the mean of any image. The sums are in single precision at least.

    Example:
      >>> bool(jnp.allclose(gaussian_blur(jnp.ones((9, 9, 1)), 2.0), 1))
      True
    """
    if sigma == 0:
        return images
    rows, columns = (_blur_matrix(n, sigma, padding) for n in images.shape[-3:-1])
    dtype = jnp.float64 if images.dtype == jnp.float64 else jnp.float32
    operands = (jnp.asarray(operand, dtype) for operand in (rows, columns, images))
    return jnp.einsum("ih,jw,...hwc->...ijc", *operands, precision=jax.lax.Precision.HIGHEST).astype(images.dtype)


@functools.lru_cache(maxsize=64)
def _blur_matrix(size: int, sigma: float, padding: str) -> np.ndarray:
    """(size, size): a one-dimensional blur as a matrix, whose border is exact and which is a matrix product on every backend."""
    from scipy.ndimage import gaussian_filter1d

    return gaussian_filter1d(np.eye(size), sigma, axis=0, mode=_MODES[padding], radius=math.ceil(4 * sigma)).astype(np.float32)


def resize(images: Float[Array, "*batch H W C"], shape: tuple[int, int]) -> Float[Array, "*batch H2 W2 C"]:
    """Resize images, (..., H, W, C), to (height, width) by bilinear interpolation between pixel centres, without
    antialiasing, as TorchRay resizes its maps.

    Example:
      >>> resize(jnp.array([[[0.0], [1.0]]]), (1, 4))[0, :, 0].tolist()
      [0.0, 0.25, 0.75, 1.0]
    """
    return jax.image.resize(images, (*images.shape[:-3], *shape, images.shape[-1]), "bilinear", antialias=False)
