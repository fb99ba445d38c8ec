"""What feature inversion gives back."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int

from extremal_jax.perturbation.inputs import AnyArray
from extremal_jax.perturbation.solver import NEVER
from extremal_jax.perturbation.storage import Saved
from extremal_jax.pytrees import pytree


@pytree()
class InversionStatus:
    """Whether a run went well.

    Attributes:
      nonfinite_step: (...), the first step at which the objective or its gradient was not finite, or −1. From then on the picture stayed.
    """

    nonfinite_step: Int[AnyArray, "*N"]

    @property
    def ok(self) -> bool:
        """Whether everything stayed finite."""
        return not np.any(np.asarray(self.nonfinite_step) != NEVER)

    @property
    def message(self) -> str:
        """What went wrong, where and when, a line for each picture; "finished" if nothing did."""
        steps = np.atleast_1d(np.asarray(self.nonfinite_step))
        lines = [
            f"picture {index}: the objective or its gradient was not finite at step {steps[index]}; it is that of the step before"
            for index in np.flatnonzero(steps != NEVER)
        ]
        return "\n".join(lines) or "finished"

    def __str__(self) -> str:
        return self.message


@pytree()
class InversionResult(Saved, mark="extremal_jax inversion 1", status=InversionStatus):
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
