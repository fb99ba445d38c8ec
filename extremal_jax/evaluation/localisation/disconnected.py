"""Models of grids whose score depends on one cell only: attribution outside of that cell is wrong beyond doubt.

Source: Rao, Böhle and Schiele, "Towards Better Understanding Attribution Methods", CVPR 2022.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Num

from extremal_jax.boundary.models import Model
from extremal_jax.graph.activations import name_of
from extremal_jax.graph.cut import Parts, split
from extremal_jax.graph.interpreter import rewrite
from extremal_jax.ground.checks import check_count
from extremal_jax.ground.pytrees import AnyArray


@functools.partial(jax.tree_util.register_dataclass, data_fields=["model"], meta_fields=["cell", "cells", "at"])
@dataclass(frozen=True)
class DiFull:
    """A model of grids that sees one cell only: its image goes through the whole network by itself.

    It is a pytree, so methods take its arrays as arguments; each cell compiles anew.

    Attributes:
      model: any function from images (B, h, w, C) to scores.
      cell: the row and column of the cell that is connected.
      cells: n, the number of cells along each side.
      at: a layer for which methods should find the activation of the whole grid: every cell runs to this layer by
        itself, the activations are put together, named, and only the cell's part goes on to the scores. None: only the
        cell runs, and an activation of a layer is that of the cell, not of the grid.

    Example:
      >>> model = DiFull(lambda images: images.mean((1, 2)), (0, 1))
      >>> jax.grad(lambda images: model(images).sum())(jnp.ones((1, 2, 2, 1)))[0, ..., 0].tolist()
      [[0.0, 1.0], [0.0, 0.0]]

    Source: Rao et al. (2022), where n² classification heads see a cell each; this is the head of one.
    """

    model: Model
    cell: tuple[int, int]
    cells: int = 2
    at: str | None = None

    def __call__(self, images: Num[AnyArray, "B H W C"]) -> Any:
        """The scores of the cell of grids (B, n h, n w, C)."""
        n = self.cells
        _check_cell(self.cell, n)
        size = _cell_size("images", images.shape[1:3], n)
        if self.at is None:
            return self.model(_cut(images, self.cell, size))
        parts = _parts(self.model, self.at, images, size, len(images))
        each = [[parts.before(_cut(images, (row, column), size)) for column in range(n)] for row in range(n)]
        whole = jnp.concatenate([jnp.concatenate(row, axis=2) for row in each], axis=1)
        return parts.after(jnp.asarray(_cut(checkpoint_name(whole, self.at), self.cell, parts.activation.shape[1:3])))


@functools.partial(jax.tree_util.register_dataclass, data_fields=["model"], meta_fields=["cell", "at", "cells"])
@dataclass(frozen=True)
class DiPart:
    """A model of grids whose head sees one cell only: the whole grid goes through the layers up to `at` together.

    Up to that layer, an activation near the cell's border has seen pixels of the neighbours, as in the grid pointing
    game. Outside of the cell, the gradient at the layer is zero, and at the image it is not.

    Attributes:
      model: any function from images (B, h, w, C) to scores; its layers up to `at` take images of any size.
      cell: the row and column of the cell that is connected.
      at: the layer, with activations (B, y, x, channels) whose sides for a grid are n times those for a cell: as a rule
        the last before the global average or the classifier.
      cells: n, the number of cells along each side.

    Example:
      >>> def network(images):
      ...     return checkpoint_name(2 * images, "features").mean((1, 2))
      >>> model = DiPart(network, (0, 1), "features")
      >>> model(jnp.arange(4.0).reshape(1, 2, 2, 1)).tolist()
      [[2.0]]

    Source: Rao et al. (2022), where n² classification heads see a cell each; this is the head of one.
    """

    model: Model
    cell: tuple[int, int]
    at: str
    cells: int = 2

    def __call__(self, images: Num[AnyArray, "B H W C"]) -> Any:
        """The scores of the cell of grids (B, n h, n w, C)."""
        _check_cell(self.cell, self.cells)
        parts = _parts(self.model, self.at, images, _cell_size("images", images.shape[1:3], self.cells), len(images))
        grid = split(self.model, self.at, jax.ShapeDtypeStruct(images.shape, images.dtype))
        own, whole = parts.activation.shape[1:3], grid.activation.shape[1:3]
        if (self.cells * own[0], self.cells * own[1]) != whole:
            raise ValueError(
                f"at: the activation {self.at!r} of a grid must be {self.cells} times the size of a cell's, {own}, got {whole};"
                f" choose a layer before the image's positions are pooled or cropped"
            )
        return parts.after(jnp.asarray(_cut(grid.before(images), self.cell, own)))


def _parts(model: Model, at: str, images: Any, size: tuple[int, int], count: int) -> Parts:
    """A model of cells, split at a layer whose name is free in the first part."""
    parts = split(model, at, jax.ShapeDtypeStruct((count, *size, images.shape[-1]), images.dtype))
    if len(parts.activation.shape) != 4:
        raise ValueError(f"at: the activation {at!r} must have the shape (B, y, x, channels), got {parts.activation.shape}")
    return parts._replace(before=rewrite(parts.before, lambda equation, values: list(values) if name_of(equation) == at else None))


def _cut(images: Num[AnyArray, "B H W C"], cell: tuple[int, int], size: tuple[int, ...]) -> Num[AnyArray, "B h w C"]:
    top, left = cell[0] * size[0], cell[1] * size[1]
    return images[:, top : top + size[0], left : left + size[1]]


def _cell_size(name: str, size: tuple[int, ...], n: int) -> tuple[int, int]:
    if size[0] % n or size[1] % n:
        raise ValueError(f"{name} must be grids of {n}x{n} cells, whose sides are multiples of {n}, got {size}")
    return size[0] // n, size[1] // n


def _check_cell(cell: Any, n: Any) -> None:
    check_count("cells", n, 2)
    if len(cell) != 2 or not all(0 <= place < n for place in cell):
        raise ValueError(f"cell must be a row and a column, from 0 to {n - 1}, got {cell!r}")
