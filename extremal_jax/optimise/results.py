"""Results of one image or of a batch."""

from __future__ import annotations

import operator
from typing import TypeVar

import jax

Result = TypeVar("Result", bound="OfImages")  # beartype does not know `Self` here


class OfImages:
    """The result of one image, or of a batch that can be indexed by image."""

    _single = "masks", 3  # a field, and its rank in the result of a single image

    def __getitem__(self: Result, index: int) -> Result:
        """One image of a batch."""
        if self.is_single:
            raise IndexError("this result is of a single image; only the result of a batch can be indexed")
        try:
            index = operator.index(index)
        except TypeError as error:
            raise TypeError(f"the index of an image must be a whole number, got {index!r}") from error
        if not -len(self) <= index < len(self):
            raise IndexError(f"this result is of {len(self)} images, got the index {index}")
        return jax.tree.map(lambda x: x[index, ...], self)  # of NumPy arrays too, `...` makes arrays and not scalars

    def __len__(self) -> int:
        if self.is_single:
            raise TypeError("this result is of a single image; only the result of a batch has a length")
        return getattr(self, self._single[0]).shape[0]

    @property
    def is_single(self) -> bool:
        """Whether it is of a single image, and not of a batch."""
        name, rank = self._single
        return getattr(self, name).ndim == rank
