"""The settings of feature inversion, and the prior."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, ClassVar

from extremal_jax.ground.checks import check_choice, check_positive, is_number
from extremal_jax.optimise.settings import Settings

OBJECTIVES = {
    "dot": "the inner product with the activation, weighted by the cosine",
    "l2": "minus the squared distance from the activation",
}


@dataclass(frozen=True, kw_only=True)
class NaturalImages:
    """The prior of feature inversion: properties of natural images, apart from exciting the layer.

    Attributes:
      decay: how fast the waves' amplitudes fall with their frequency when the ascent moves all alike; 0 is white noise,
        1 as in nature.
      correlation: of each pair of colour channels, at least 0 and below 1.
      contrast: of the initial noise, in units of the sigmoid's argument.
      jitter: the largest shift before a step, as a share of the picture's shorter side.
      rotation: the largest rotation, in degrees.
      scale: the largest change of size, as a share.
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
            if not is_number(value) or not 0 <= float(value) < math.inf:
                raise ValueError(f"{field.name} must be a number of at least 0, got {value!r}")
        if self.correlation >= 1 or self.scale >= 1:
            raise ValueError(f"correlation and scale must be below 1, got {self.correlation} and {self.scale}")


@dataclass(frozen=True, kw_only=True, repr=False)
class InversionConfig(Settings):
    """The settings of `invert_features` and `maximize_channel`; no arrays. Checked when it is built.

    Attributes:
      num_steps: optimisation steps, each one forward and backward pass of the layers up to the one inverted.
      optimizer: any optax transformation of one picture's waves.
      learning_rate: a schedule, as in `Config`; None: half a cosine from 0.1 to 0 with the default optimizer.
      objective: the similarity of activations: "dot", the inner product weighted by the cosine, or "l2", the distance.
        `maximize_channel` has an objective of its own.
      cosine_power: p, the power of the cosine in the objective "dot".
      prior: the properties of natural images that pictures should have.

    Example:
      >>> InversionConfig(num_steps=100, prior=NaturalImages(total_variation=1.0)).objective
      'dot'
    """

    num_steps: int = 200
    objective: str = "dot"
    cosine_power: float = 2.0
    prior: NaturalImages = NaturalImages()
    RECORDS: ClassVar[tuple[Any, ...]] = (NaturalImages,)

    def __post_init__(self) -> None:
        check_choice("objective", self.objective, OBJECTIVES)
        check_positive("cosine_power", self.cosine_power)
        if not isinstance(self.prior, NaturalImages):
            raise TypeError(f"prior must be a NaturalImages, such as NaturalImages(total_variation=1.0), got {type(self.prior).__name__}")
        super().__post_init__()
