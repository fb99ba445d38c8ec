"""Noisy linear imputation: each removed pixel becomes the weighted mean of its neighbours, and some noise.

The means of removed pixels depend on one another: a sparse, symmetric and positive definite linear system for each
image, the same for its colours. Conjugate gradients solve it. Alone, they need more iterations than the largest hole is
wide, since each carries values by one pixel. A preconditioner over blocks of pixels carries them further.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Bool, Float

from extremal_jax.boundary.images import batch_size, check_images
from extremal_jax.evaluation.faithfulness.altered import pixels
from extremal_jax.ground.checks import as_array, check_count, check_key, check_not_negative, check_positive

Operator = Callable[[Array], Array]

WEIGHTS = np.array([[1, 2, 1], [2, 0, 2], [1, 2, 1]], np.float32) / 12  # of the neighbours of a pixel
TOLERANCE, MAX_ITERATIONS = 1e-5, 500
_NO_HOLE = 1e-6  # the entry of a block whose pixels have no neighbour that is left
_SIDES = 8, 32, 128  # of the blocks, in pixels, each a multiple of the last; with more of them, an iteration takes longer than it saves


def impute(
    images: Any,
    removed: Any,
    *,
    noise: float = 0.01,
    key: Array | None = None,
    tolerance: float = TOLERANCE,
    max_iterations: int = MAX_ITERATIONS,
) -> Float[Array, "*N H W C"]:
    """Replace removed pixels by the weighted means of their neighbours, and add noise.

        Σ_j w_ij (x_i − x_j) = 0 for each removed pixel i

    The weight w is 1/6 for the four direct neighbours and 1/12 for the four diagonal ones; neighbours beyond the border
    do not count. What remains of the image does not show the outline of what was removed, which a constant would.

    Args:
      images: (H, W, C), or a batch (N, H, W, C).
      removed: (H, W), or (N, H, W), bool. An image without any pixel left becomes zero.
      noise: the standard deviation of the Gaussian noise on removed pixels, in units of the images; 0 for none.
      key: the random key of the noise, which is the same for all images; None: `jax.random.key(0)`.
      tolerance: the norm of the residual, relative to the right side of the equations, at which to stop.
      max_iterations: the most iterations of conjugate gradients.

    Returns:
      (N, H, W, C), or (H, W, C) for a single image. Pixels that were not removed are the same to the last bit.

    Raises:
      TypeError, ValueError: for arguments that do not fit, among them pixels that are not one bool for each pixel.

    Example:
      >>> import jax.numpy as jnp
      >>> row = jnp.array([[[1.0], [0.0], [0.0], [4.0]]])
      >>> filled = impute(row, jnp.array([[False, True, True, False]]), noise=0.0)
      >>> [f"{value:.3f}" for value in filled.ravel()]
      ['1.000', '2.000', '3.000', '4.000']

    Source: Rong, Leemann, Borisov, Kasneci and Kasneci, "A Consistent and Efficient Evaluation Strategy for Attribution
      Methods", ICML 2022.

    Differences from pytorch-grad-cam: the solver is iterative, and fills a batch at once.
    """
    images = check_images("images", images)
    removed = as_array("removed", removed)
    if removed.dtype != bool:
        raise TypeError(f"removed must hold True where a pixel is removed and False elsewhere, got {removed.dtype}")
    if removed.shape != images.shape[:-1]:
        raise ValueError(f"removed must have the shape of the images without their channels, {images.shape[:-1]}, got {removed.shape}")
    check_not_negative("noise", noise, " in units of the images")
    check_positive("tolerance", tolerance)
    check_count("max_iterations", max_iterations, 1)
    key = check_key(key)
    single = batch_size(images) is None
    batch = jnp.asarray(images[None] if single else images)
    holes = jnp.asarray(removed[None] if single else removed)
    filled = _impute(batch, holes, np.float32(noise), key, np.float32(tolerance), np.int32(max_iterations))
    return filled[0] if single else filled


@jax.jit
def _impute(images: Array, removed: Array, noise: Array, key: Array, tolerance: Array, max_iterations: Array) -> Array:
    drawn = jax.random.normal(key, images.shape[1:], jnp.float32)
    return add_noise(fill(images, removed, tolerance, max_iterations), removed, noise * drawn[None])


def add_noise(images: Float[Array, "N H W C"], removed: Bool[Array, "N H W"], noise: Float[Array, "_ H W C"]) -> Float[Array, "N H W C"]:
    """Add noise to the removed pixels of images."""
    return jnp.where(removed[..., None], images + noise.astype(images.dtype), images)


def fill(
    images: Float[Array, "N H W C"],
    removed: Bool[Array, "N H W"],
    tolerance: float | Array = TOLERANCE,
    max_iterations: int | Array = MAX_ITERATIONS,
) -> Float[Array, "N H W C"]:
    """Replace removed pixels by the weighted means of their neighbours, without noise."""
    holes = removed[:, None].astype(jnp.float32)
    values = jnp.moveaxis(images, -1, 1).astype(jnp.float32)  # sums over neighbours run along rows
    degree = neighbours(jnp.ones(images.shape[1:3], jnp.float32))

    def system(x: Array) -> Array:
        return holes * (degree * x - neighbours(holes * x))

    right = holes * neighbours((1 - holes) * values)
    solved = _conjugate_gradients(system, right, _preconditioner(system, degree, holes), tolerance, max_iterations)
    return jnp.where(removed[..., None], jnp.moveaxis(solved, 1, -1).astype(images.dtype), images)


def neighbours(values: Float[Array, "*N H W"]) -> Float[Array, "*N H W"]:
    """The weighted sum over the neighbours of each pixel; beyond the border is nothing.

    Example:
      >>> (12 * neighbours(jnp.ones((3, 3)))).round().tolist()
      [[5.0, 8.0, 5.0], [8.0, 12.0, 8.0], [5.0, 8.0, 5.0]]
    """
    height, width = values.shape[-2:]
    padded = jnp.pad(values, [(0, 0)] * (values.ndim - 2) + [(1, 1), (1, 1)])
    taps = [(row, column) for row in range(3) for column in range(3) if (row, column) != (1, 1)]
    return sum(
        (float(WEIGHTS[row, column]) * padded[..., row : row + height, column : column + width] for row, column in taps),
        start=jnp.zeros((), values.dtype),
    )


def _preconditioner(system: Operator, degree: Float[Array, "H W"], holes: Float[Array, "N 1 H W"]) -> Operator:
    """Σ_l P_l D_l⁻¹ P_lᵀ: the residual, summed over the removed pixels of each block, is divided by the block's entry of the
    system and handed back to these pixels. The smallest blocks are the pixels; those of a level make up those of the next."""
    height, width = holes.shape[-2:]
    sides = [side for side in _SIDES if side < max(height, width)]
    factors = [side // finer for side, finer in zip(sides, [1, *sides], strict=False)]
    row, column = np.mgrid[:height, :width]

    def entries(side: int) -> Array:
        """1_Bᵀ A 1_B of each block B, from four colours of blocks: those of one colour do not touch."""
        colours = (row // side) % 2 + 2 * ((column // side) % 2) == np.arange(4)[:, None, None]
        return _sums(lax.map(lambda colour: colour * system(holes * colour), jnp.asarray(colours, jnp.float32)).sum(axis=0), side)

    inverses = [1 / degree, *(jnp.where(entry > _NO_HOLE, 1 / jnp.maximum(entry, _NO_HOLE), 0) for entry in map(entries, sides))]

    def correction(residual: Array, level: int) -> Array:
        """The correction by the blocks of a level and by all larger ones."""
        own = residual * inverses[level]
        if level == len(sides):
            return own
        larger = correction(_sums(residual, factors[level]), level + 1)
        return own + pixels(larger, (factors[level],) * 2, own.shape[-2:])

    return lambda residual: holes * correction(residual, 0)


def _sums(values: Float[Array, "*N H W"], side: int) -> Float[Array, "*N h w"]:
    """The sums over blocks of pixels: of rows, then along them by a matrix, which is quicker than sums of few neighbours."""
    height, width = values.shape[-2:]
    padded = jnp.pad(values, [(0, 0)] * (values.ndim - 2) + [(0, -height % side), (0, 0)])
    rows = padded.reshape(*values.shape[:-2], -(-height // side), side, width).sum(axis=-2)
    members = np.arange(width) // side == np.arange(-(-width // side))[:, None]
    return jnp.einsum("...w,kw->...k", rows, members.astype(np.float32), precision=lax.Precision.HIGHEST)


class _State(NamedTuple):
    """The state of conjugate gradients; `product` is the residual times the preconditioned residual."""

    iteration: Array
    x: Array
    residual: Array
    direction: Array
    product: Array


def _conjugate_gradients(
    system: Operator, right: Array, precondition: Operator, tolerance: float | Array, max_iterations: int | Array
) -> Array:
    """Solve systems (N, C, H, W), one for each N and C, until all are within the tolerance."""

    def dot(a: Array, b: Array) -> Array:
        return (a * b).sum(axis=(-2, -1), keepdims=True)

    limit = tolerance**2 * dot(right, right)

    def going(state: _State) -> Array:
        return (state.iteration < max_iterations) & (dot(state.residual, state.residual) > limit).any()

    def step(state: _State) -> _State:
        image = system(state.direction)
        scale = state.product / _positive(dot(state.direction, image))
        x, residual = state.x + scale * state.direction, state.residual - scale * image
        better = precondition(residual)
        product = dot(residual, better)
        return _State(state.iteration + 1, x, residual, better + product / _positive(state.product) * state.direction, product)

    first = precondition(right)
    start = _State(jnp.zeros((), jnp.int32), jnp.zeros_like(right), right, first, dot(right, first))
    return lax.while_loop(going, step, start).x


def _positive(values: Array) -> Array:
    """Values of at least the least normal number: a system that is solved has products of zero."""
    return jnp.maximum(values, np.finfo(np.float32).tiny)
