"""Models of grids whose scores depend on one cell, as a benchmark explains them: with the layers that methods may take."""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

from extremal_jax.boundary.models import Model
from extremal_jax.evaluation.localisation.disconnected import DiFull, DiPart
from extremal_jax.evaluation.suite.cases import CELLS, cell_size
from extremal_jax.graph import Activation, activations, cuts
from extremal_jax.models.classifier import Classifier

Layers = tuple[Activation, ...]


class CellModels(NamedTuple):
    """A model with the layers at which its cells can be connected.

    Attributes:
      model: the model.
      difull: the layers among which methods choose in `DiFull`: the last one with more than one place, and later ones
        without places; () if there is none.
      dipart: the same for `DiPart`, of the last one whose activation of a grid has twice the sides of a cell's.
    """

    model: Classifier
    difull: Layers
    dipart: Layers

    def connected(self, kind: str, cell: tuple[int, int], needs: frozenset[str]) -> tuple[Model, Layers]:
        """The model that sees one cell, and the layers of which a method takes those that it needs.

        Args:
          kind: "difull" or "dipart".
          cell: the row and column of the cell.
          needs: the names of the layers that the method needs. One for its map must be a layer of the whole grid.
        """
        if kind == "dipart":
            return DiPart(self.model, cell, self.dipart[0].name, CELLS), self.dipart
        at = self.difull[0].name if "at" in needs else None
        return DiFull(self.model, cell, CELLS, at), self.difull


def cell_models(model: Classifier) -> CellModels:
    """Find the layers at which the cells of a model can be connected; the model is traced and not run."""
    height, width = cell_size(model)
    cell, grid = (jax.ShapeDtypeStruct((1, n * height, n * width, 3), jnp.float32) for n in (1, CELLS))
    everywhere = activations(model, cell)
    own, whole = ([one for one in cuts(model, size) if len(one.shape) == 4] for size in (cell, grid))
    sizes = {one.name: one.shape[1:3] for one in whole}
    full = [one for one in own if one.shape[1] * one.shape[2] > 1]
    part = [one for one in own if sizes.get(one.name) == (CELLS * one.shape[1], CELLS * one.shape[2])]

    def from_last(found: list[Activation]) -> Layers:
        if not found:
            return ()
        later = everywhere[[one.name for one in everywhere].index(found[-1].name) + 1 :]
        return found[-1], *(one for one in later if len(one.shape) < 4 or one.shape[1] * one.shape[2] == 1)

    return CellModels(model, from_last(full), from_last(part))
