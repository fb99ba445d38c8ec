"""What a picture should look like, apart from what excites the layer."""

from __future__ import annotations

import dataclasses
import math
import numbers
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class NaturalImages:
    """What a picture should look like, apart from what excites the layer: the prior of feature inversion.

    Attributes:
      decay: how fast the waves' amplitudes fall with their frequency, where the ascent moves all alike; 0 is white noise, 1 as in nature.
      correlation: of each pair of colour channels, at least 0 and below 1.
      contrast: of the noise to start from, in units of the sigmoid's argument.
      jitter: the most that the picture is shifted before a step, as a share of its shorter side.
      rotation: the most that it is turned, in degrees.
      scale: the most that it is enlarged or shrunk, as a share.
      total_variation: λ, the cost of the mean difference between neighbouring pixels, in units of the objective.
    """

    decay: float = 1.0
    correlation: float = 0.8
    contrast: float = 0.3
    jitter: float = 0.03
    rotation: float = 5.0
    scale: float = 0.05
    total_variation: float = 0.0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, numbers.Real) or not 0 <= float(value) < math.inf:
                raise ValueError(f"{field.name} must be a number, not negative, got {value!r}")
        if self.correlation >= 1 or self.scale >= 1:
            raise ValueError(f"correlation and scale must be below 1, got {self.correlation} and {self.scale}")
