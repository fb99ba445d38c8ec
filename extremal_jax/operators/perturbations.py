"""Perturbations: how a mask removes pixels. m ⊗ x keeps x where m = 1 and perturbs it most where m = 0.

    blur:       Gaussian blur with standard deviation σ(u) = max_blur (1 − m(u)) at pixel u
    fade:       m x
    reference:  m x + (1 − m) r, for an image r that the caller gives
    moving_average:  m x + (1 − m) x̄, x̄ the mean of the values around each, along the axes that are blurred
    past_mean:  m x + (1 − m) x̄, x̄ the mean of the values up to each, along the first axis: the time of a series or clip

Each perturbation is a pyramid of L levels, from the most perturbed image to the image itself. A mask value reads the
pyramid by linear interpolation between the two nearest levels; the others need only two.

To add a perturbation, write a frozen dataclass with the members of `Perturbation` and put it in `PERTURBATIONS`. Where a
`Config` gives its name, fields that are named like fields of `Config` are filled from the config.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from extremal_jax.ground.filters import gaussian_blur, moving_average
from extremal_jax.operators.axes import Length

_COLOURS = 4  # the most channels of an image


@runtime_checkable
class Perturbation(Protocol):
    """A frozen record of one kind of perturbation.

    Attributes:
      name: the name by which a `Config` asks for it.
      description: one line of help.
      needs_reference: whether the caller must give a reference image.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    needs_reference: ClassVar[bool]

    def levels(self, images: Float[Array, "N ..."], reference: Float[Array, "..."] | None = None) -> Float[Array, "N L ..."]:
        """The levels of a batch of images or activations, (N, ..., C) -> (N, L, ..., C); the last level is the image."""


@dataclass(frozen=True)
class Blur:
    """Gaussian blur; the attributes are those of `blur_pyramid`."""

    num_levels: int = 8
    max_blur: Length = 20.0
    padding: str = "edge"
    name: ClassVar[str] = "blur"
    description: ClassVar[str] = "blur the pixels that the mask removes"
    needs_reference: ClassVar[bool] = False

    def levels(self, images: Float[Array, "N ..."], reference: Float[Array, "..."] | None = None) -> Float[Array, "N L ..."]:
        return blur_pyramid(images, self.num_levels, self.max_blur, self.padding)


@dataclass(frozen=True)
class Fade:
    """Multiplication by the mask."""

    name: ClassVar[str] = "fade"
    description: ClassVar[str] = "fade to zero, the mean colour of most classifiers' inputs"
    needs_reference: ClassVar[bool] = False

    def levels(self, images: Float[Array, "N ..."], reference: Float[Array, "..."] | None = None) -> Float[Array, "N L ..."]:
        return jnp.stack([jnp.zeros_like(images), images], axis=1)


@dataclass(frozen=True)
class Reference:
    """Replacement by a reference image."""

    name: ClassVar[str] = "reference"
    description: ClassVar[str] = "replace by the pixels of a reference image"
    needs_reference: ClassVar[bool] = True

    def levels(self, images: Float[Array, "N ..."], reference: Float[Array, "..."] | None = None) -> Float[Array, "N L ..."]:
        assert reference is not None, "the boundary asks for it"
        return jnp.stack([jnp.broadcast_to(jnp.asarray(reference, images.dtype), images.shape), images], axis=1)


@dataclass(frozen=True)
class MovingAverage:
    """Replacement by the mean of the 2 `max_blur` + 1 values around each."""

    max_blur: Length = 20.0
    padding: str = "edge"
    name: ClassVar[str] = "moving_average"
    description: ClassVar[str] = "replace by the mean of what is around"
    needs_reference: ClassVar[bool] = False

    def levels(self, images: Float[Array, "N ..."], reference: Float[Array, "..."] | None = None) -> Float[Array, "N L ..."]:
        return jnp.stack([moving_average(images, self.max_blur, self.padding), images], axis=1)


@dataclass(frozen=True)
class PastMean:
    """Replacement by the mean of all values up to each, along the first axis, so that nothing of the future is used."""

    name: ClassVar[str] = "past_mean"
    description: ClassVar[str] = "replace by the mean of the past, along the first axis: of series and clips"
    needs_reference: ClassVar[bool] = False

    def levels(self, images: Float[Array, "N ..."], reference: Float[Array, "..."] | None = None) -> Float[Array, "N L ..."]:
        counts = jnp.arange(1, images.shape[1] + 1, dtype=images.dtype)
        mean = jnp.cumsum(images, axis=1) / jnp.expand_dims(counts, range(1, images.ndim - 1))
        return jnp.stack([mean, images], axis=1)


PERTURBATIONS: dict[str, Perturbation] = {record.name: record for record in (Blur(), Fade(), Reference(), MovingAverage(), PastMean())}


def blur_pyramid(images: Float[Array, "..."], num_levels: int = 8, max_blur: Length = 20.0, padding: str = "edge") -> Float[Array, "..."]:
    """Levels of equally spaced blur, from `max_blur` pixels to none.

    Args:
      images: (..., H, W, C), or with other axes, (..., D1, ..., Dn).
      num_levels: L, at least 2.
      max_blur: standard deviation of the first level, in pixels; for other axes than those of images, one for each.
      padding: "edge" or "zeros", as for `gaussian_blur`.

    Returns:
      (..., L, H, W, C), or (..., L, D1, ..., Dn); the last level is the image.

    Example:
      >>> light = jnp.zeros((9, 9, 1)).at[4, 4].set(1.0)
      >>> [f"{level:.2f}" for level in blur_pyramid(light, num_levels=3, max_blur=2.0)[:, 4, 4, 0]]
      ['0.04', '0.16', '1.00']
    """
    shares = [1 - level / (num_levels - 1) for level in range(num_levels)]
    if isinstance(max_blur, tuple):
        levels = [gaussian_blur(images, tuple(sigma * share for sigma in max_blur), padding) for share in shares]
        return jnp.stack(levels, axis=-len(max_blur) - 1)
    return jnp.stack([gaussian_blur(images, max_blur * share, padding) for share in shares], axis=-4)


def reference_pyramid(images: Float[Array, "*batch H W C"], reference: Array | float = 0.0) -> Float[Array, "*batch 2 H W C"]:
    """Two levels: a reference image (or a value; 0 fades to black) and the image.

    Args:
      images: (..., H, W, C).
      reference: anything that broadcasts against them.

    Returns:
      (..., 2, H, W, C).

    Example:
      >>> reference_pyramid(jnp.ones((1, 1, 2)), 0.5).tolist()
      [[[[0.5, 0.5]]], [[[1.0, 1.0]]]]
    """
    reference = jnp.asarray(reference, images.dtype)
    reference = reference.reshape((1,) * (images.ndim - reference.ndim) + reference.shape)
    return jnp.stack([jnp.broadcast_to(reference, images.shape), images], axis=-4)


def perturb(pyramid: Float[Array, "L H W C"], masks: Float[Array, "*masks H W"]) -> Float[Array, "*masks H W C"]:
    """Perturb one image by masks: m ⊗ x.

    Args:
      pyramid: (L, H, W, C), from the most perturbed level to the image.
      masks: (..., H, W) in [0, 1].

    Returns:
      (..., H, W, C). The gradient with respect to a mask value is that of the piece that the value lies in, one-sided
      at 0 and 1, where the optimisation starts: a tie never makes it zero.

    Example:
      >>> image = jnp.full((2, 2, 1), 8.0)
      >>> perturb(reference_pyramid(image), jnp.full((2, 2), 0.25))[..., 0].tolist()
      [[2.0, 2.0], [2.0, 2.0]]
    """
    return interpolate(pyramid, masks[..., None])


def interpolate(levels: Float[Array, "L ..."], weights: Float[Array, "..."]) -> Float[Array, "..."]:
    """Read levels at weights in [0, 1], linear between the two nearest: 0 is the first level, 1 the last.

    Args:
      levels: (L, *shape).
      weights: (..., *shape), where any axis of `shape` may have length 1.

    Returns:
      (..., *shape).

    Example:
      >>> interpolate(jnp.array([0.0, 10.0, 40.0]), jnp.array([0.25, 0.5, 0.75])).tolist()
      [5.0, 10.0, 25.0]
    """
    dtype = jnp.promote_types(levels.dtype, weights.dtype)
    if weights.shape[-1] == 1 < levels.shape[-1] <= _COLOURS:
        # So the gradient adds slices. Its sum over an axis of three would be a reduction, which XLA's CPU backend runs
        # number by number, thirty times slower.
        weights = jnp.concatenate([weights] * levels.shape[-1], axis=-1)
    levels = levels.reshape(len(levels), *(1,) * (weights.ndim - levels.ndim + 1), *levels.shape[1:]).astype(dtype)
    weights = weights.astype(dtype)
    pieces = len(levels) - 1
    position = weights * pieces
    piece = jnp.clip(jnp.floor(position), 0, pieces - 1)
    # A chain of selections instead of a gather: it fuses into one loop and suits every backend.
    base, slope = levels[0], levels[1] - levels[0]
    for level in range(1, pieces):
        here = piece >= level
        base = jnp.where(here, levels[level], base)
        slope = jnp.where(here, levels[level + 1] - levels[level], slope)
    return base + (position - piece) * slope
