"""Perturbations: how a mask removes pixels. m ⊗ x keeps a pixel where m = 1 and perturbs it most where m = 0.

    blur:       Gaussian blur with standard deviation σ(u) = max_blur (1 − m(u)) at pixel u, read from a pyramid of L levels by linear
                interpolation between the two that are nearest
    fade:       m x
    reference:  m x + (1 − m) r, for an image r of the caller's

All three are pyramids, from the most perturbed level to the image itself; the last two need only those two.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from extremal_jax.ground.filters import gaussian_blur

PERTURBATIONS = ("blur", "fade", "reference")


def blur_pyramid(
    images: Float[Array, "*batch H W C"], num_levels: int = 8, max_blur: float = 20.0, padding: str = "edge"
) -> Float[Array, "*batch L H W C"]:
    """Levels of equally spaced blur, from `max_blur` pixels to none.

    Args:
      images: (..., H, W, C).
      num_levels: L, at least 2.
      max_blur: standard deviation of the first level, in pixels.
      padding: "edge" or "zeros", as for `gaussian_blur`.

    Returns:
      (..., L, H, W, C); the last level is the image.
    """
    sigmas = [max_blur * (1 - level / (num_levels - 1)) for level in range(num_levels)]
    return jnp.stack([gaussian_blur(images, sigma, padding) for sigma in sigmas], axis=-4)


def reference_pyramid(images: Float[Array, "*batch H W C"], reference: Array | float = 0.0) -> Float[Array, "*batch 2 H W C"]:
    """Two levels, a reference image (or a value; 0 makes the fade) and the image.

    Args:
      images: (..., H, W, C).
      reference: anything that broadcasts against them.

    Returns:
      (..., 2, H, W, C).
    """
    return jnp.stack([jnp.broadcast_to(reference, images.shape).astype(images.dtype), images], axis=-4)


def perturb(pyramid: Float[Array, "L H W C"], masks: Float[Array, "*masks H W"]) -> Float[Array, "*masks H W C"]:
    """Perturb one image by masks: m ⊗ x, linear between the two nearest levels.

    Args:
      pyramid: (L, H, W, C), from the most perturbed level to the image.
      masks: (..., H, W) in [0, 1].

    Returns:
      (..., H, W, C). The gradient with respect to a mask value is that of the piece that the value lies in, one-sided at 0 and 1, where the
      optimisation starts: never zero by a tie.

    Example:
      >>> import jax.numpy as jnp
      >>> image = jnp.full((2, 2, 1), 8.0)
      >>> perturb(reference_pyramid(image), jnp.full((2, 2), 0.25))[..., 0].tolist()
      [[2.0, 2.0], [2.0, 2.0]]
    """
    pieces = len(pyramid) - 1
    position = masks * pieces
    piece = jnp.clip(jnp.floor(position), 0, pieces - 1)
    # A chain of selections instead of a gather: it fuses into one loop and suits every backend.
    base, slope = pyramid[0], pyramid[1] - pyramid[0]
    for level in range(1, pieces):
        here = (piece >= level)[..., None]
        base = jnp.where(here, pyramid[level], base)
        slope = jnp.where(here, pyramid[level + 1] - pyramid[level], slope)
    return base + (position - piece)[..., None] * slope
