"""What feature inversion gives back."""

from __future__ import annotations

from jaxtyping import Float, Int

from extremal_jax.ground.pytrees import AnyArray, pytree
from extremal_jax.optimise.results import OfImages
from extremal_jax.optimise.status import Finite
from extremal_jax.optimise.storage import Saved


@pytree()
class InversionStatus(Finite):
    """Whether a run went well.

    Attributes:
      nonfinite_step: (...), the first step at which the objective or its gradient was not finite, or −1. From then on the picture stayed.
    """

    nonfinite_step: Int[AnyArray, "*N"]

    def _line(self, index: tuple[int, ...], step: int) -> str:
        return f"picture {index[0]}: the objective or its gradient was not finite at step {step}; it is that of the step before"


@pytree()
class InversionResult(OfImages, Saved, mark="extremal_jax inversion 1", status=InversionStatus):
    """Pictures found by feature inversion: one, or a batch of N. A pytree.

    Attributes:
      images: (..., H, W, C), RGB in [0, 1].
      values: (...), the objective of each, not moved.
      cosines: (...), of the angle between each picture's activation and the one asked for.
      params: (..., 2, H, W // 2 + 1, C), the pictures' waves.
      history: (..., T), the objective step by step, of moved pictures.
      status: whether everything stayed finite.
    """

    images: Float[AnyArray, "*N H W C"]
    values: Float[AnyArray, "*N"]
    cosines: Float[AnyArray, "*N"]
    params: Float[AnyArray, "*N 2 H F C"]
    history: Float[AnyArray, "*N T"]
    status: InversionStatus

    _single = "images", 3
