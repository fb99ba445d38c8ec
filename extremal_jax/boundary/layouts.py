"""Inputs of any axes in one layout: first the axes that masks have, then one for all the others.

Methods and tests of maps are written for (N, *places, channels), which images are already. A `Layout` brings clips,
volumes, spectrograms and series there, with their models, so that no algorithm depends on the kind of input.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float

from extremal_jax.boundary.axes import find_axes
from extremal_jax.boundary.images import batch_size, check_images
from extremal_jax.graph.functional import Arrays, Program
from extremal_jax.ground.pytrees import AnyArray
from extremal_jax.operators.axes import IMAGE, Axes, each, masked, names


@dataclass(frozen=True)
class Layout:
    """The layout of inputs of one shape.

    Attributes:
      axes: of the input.
      shape: of one input.

    Example:
      >>> from extremal_jax.operators.axes import VIDEO
      >>> Layout(VIDEO, (16, 112, 112, 3)).size
      (16, 112, 112)
    """

    axes: Axes
    shape: tuple[int, ...]

    @property
    def size(self) -> tuple[int, ...]:
        """The shape of a mask."""
        return tuple(n for n, axis in zip(self.shape, self.axes, strict=True) if axis.masked)

    @property
    def smooth(self) -> tuple[bool, ...]:
        """For each axis of a mask, whether neighbours along it have anything in common."""
        return tuple(axis.smooth for axis in masked(self.axes))

    @property
    def is_image(self) -> bool:
        """Whether the axes are those of images."""
        return self.axes == IMAGE

    @property
    def sides(self) -> str:
        """The axes of a mask in words: "(height, width)"."""
        return f"({', '.join(names(masked(self.axes)))})"

    @property
    def unit(self) -> str:
        """The unit of lengths along the axes of a mask, in the words of errors."""
        return "pixels" if self.is_image else "places"

    @property
    def owner(self) -> str:
        """Whose sides are meant, in the words of errors."""
        return "the image's" if self.is_image else "the input's"

    def count(self, inputs: AnyArray) -> int | None:
        """N of a batch, or None for a single input."""
        return batch_size(inputs, len(self.axes))

    def along(self, number: Any, alone: Any) -> tuple[Any, ...]:
        """A number along each smooth axis of a mask, and another along the others."""
        return tuple(number if smooth else alone for smooth in self.smooth)

    def lengths(self, share: float, size: tuple[int, ...] | None = None) -> tuple[float, ...]:
        """A share of the shortest side of its unit along each axis of maps of a size, the masks' if None, and 0 for their channels.

        Example:
          >>> Layout(IMAGE, (20, 40, 3)).lengths(0.1)
          (2.0, 2.0, 0.0)
        """
        return *each(self.axes, self.size if size is None else size, None, lambda side: share * side), 0.0

    def fold(self, inputs: Float[AnyArray, "N ..."]) -> Float[AnyArray, "N ... channels"]:
        """Inputs as a batch (N, *size, channels).

        Example:
          >>> import numpy as np
          >>> from extremal_jax.operators.axes import MOMENTS, SERIES
          >>> series = np.ones((2, 50, 4))
          >>> Layout(SERIES, (50, 4)).fold(series).shape, Layout(MOMENTS, (50, 4)).fold(series).shape
          ((2, 50, 4, 1), (2, 50, 4))
        """
        order = self._order
        moved = inputs if order == sorted(order) else inputs.transpose(0, *(1 + place for place in order))
        shape = len(inputs), *self.size, self._channels
        return moved if moved.shape == shape else moved.reshape(shape)

    def unfold(self, folded: Float[AnyArray, "N ... channels"]) -> Float[AnyArray, "N ..."]:
        """A batch of inputs as the caller has them: the inverse of `fold`."""
        order = self._order
        shape = len(folded), *(self.shape[place] for place in order)
        moved = folded if folded.shape == shape else folded.reshape(shape)
        return moved if order == sorted(order) else moved.transpose(0, *(1 + order.index(place) for place in range(len(order))))

    def program(self, program: Program) -> Program:
        """A model's program, as a function of inputs in this layout."""
        return program if self.is_image else Unfolding(program, self)

    @property
    def _order(self) -> list[int]:
        """The places of the axes, those of masks first."""
        return sorted(range(len(self.axes)), key=lambda place: not self.axes[place].masked)

    @property
    def _channels(self) -> int:
        return math.prod(n for n, axis in zip(self.shape, self.axes, strict=True) if not axis.masked)


@dataclass(frozen=True)
class Unfolding:
    """A program that takes inputs in a layout, and calls another with them as the caller has them."""

    of: Callable[..., Any]
    layout: Layout

    def __call__(self, arrays: Arrays, folded: Float[AnyArray, "N ... channels"]) -> Any:
        return self.of(arrays, self.layout.unfold(folded))


def check_inputs(images: Any, axes: Axes | str | None, model: Any = None) -> tuple[AnyArray, Layout]:
    """The images, or inputs of other axes, that a caller gives, as they are, and their layout. The axes that are not named
    are the model's, or those of images.

    Raises:
      TypeError, ValueError: as `find_axes` and `check_images` do.

    Example:
      >>> import numpy as np
      >>> check_inputs(np.ones((50, 4), np.float32), "series")[1].sides
      '(time, feature)'
    """
    axes = find_axes(axes, None, model) or IMAGE
    images = check_images("images", images, axes)
    return images, Layout(axes, images.shape[-len(axes) :])
