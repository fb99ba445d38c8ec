"""The result of feature inversion."""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Float

from extremal_jax.ground.pytrees import AnyArray, pytree
from extremal_jax.inversion.config import InversionConfig
from extremal_jax.optimise.notebooks import Printed
from extremal_jax.optimise.results import OfImages
from extremal_jax.optimise.status import Status
from extremal_jax.optimise.storage import Saved


@pytree(prints=False)
class InversionStatus(Status):
    """Whether a run went well, for each picture; the attributes are those of `Status`."""

    what = "picture"

    def place(self, index: tuple[int, ...]) -> str:
        return f"picture {index[0]}"


@pytree(static=("config", "at"), prints=False)
class InversionResult(Printed, OfImages, Saved):
    """Pictures found by feature inversion: one, or a batch of N. A pytree.

    Attributes:
      images: (..., H, W, C), RGB in [0, 1].
      values: (...), the objective of each picture, not moved.
      cosines: (...), of the angle between each picture's activation and the one asked for.
      params: (..., 2, H, W // 2 + 1, C), the pictures' waves.
      history: (..., T), the objective of the moved pictures at each step.
      status: whether the run went well.
      config: the settings; None in a file of an older version.
      at: the layer; None in a file of an older version.
    """

    images: Float[AnyArray, "*N H W C"]
    values: Float[AnyArray, "*N"]
    cosines: Float[AnyArray, "*N"]
    params: Float[AnyArray, "*N 2 H F C"]
    history: Float[AnyArray, "*N T"]
    status: InversionStatus
    config: InversionConfig | None = None
    at: str | None = None

    MARK: ClassVar[str] = "extremal_jax inversion 1"

    _single = "images", 3
