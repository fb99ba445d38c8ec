"""What the presets of `Config` set; `Config` describes each, with its source."""

from __future__ import annotations

from typing import Any

from extremal_jax.operators.penalties import Core
from extremal_jax.optimise.optimizers import dampened_momentum, momentum
from extremal_jax.optimise.schedules import Doubling, Exponential

Settings = dict[str, Any]

THOROUGH: Settings = dict(num_steps=64, candidates=4)

_PUBLISHED: Settings = dict(  # what the paper and TorchRay share
    num_steps=800,
    learning_rate=0.01,
    pitch=7,
    sigma=21.0,
    max_blur=20.0,
    exact_area=False,
    relative_area_loss=False,
    shift=0,
    num_levels=8,
    exchange=False,
)
TORCHRAY_DETAILS: Settings = dict(  # in which TorchRay differs from any description
    ties="position",
    flips="alternate",
    final_update=False,
    final_evaluation=False,
)
TORCHRAY = (
    _PUBLISHED
    | TORCHRAY_DETAILS
    | dict(optimizer=dampened_momentum, area_weight=Exponential(300, 1.0035), area_over="canvas", padding="zeros")
)
PAPER = _PUBLISHED | dict(optimizer=momentum, area_weight=Doubling(300, 3), jitter=False)

_OTHER_AXES: Settings = dict(  # what published methods for series and clips share
    game="preserve",
    exact_area=False,
    relative_area_loss=False,
    exchange=False,
    jitter=False,
    shift=0,
    smoothing=0.0,
    feather=0.0,
    ties="position",
)
_EACH_VALUE: Settings = dict(axes="series", pitch=(1, 1), sigma=(0.0, 0.0))  # a parameter for each time and feature


def dynamask(num_steps: int = 1000) -> Settings:
    """Dynamask's settings; λ grows a hundredfold over the run."""
    descent = dict(num_steps=num_steps, optimizer=momentum, learning_rate=0.1, area_weight=Exponential(0.1, 100 ** (1 / num_steps)))
    blur = dict(perturbation="blur", num_levels=21, max_blur=(2.0, 0.0))
    return _OTHER_AXES | _EACH_VALUE | dict(start=0.5) | descent | blur


STEP_PERTURBATION = (
    _OTHER_AXES
    | dict(axes="video", pitch=(1, 7, 7), sigma=(0.0, 11.0, 11.0), area_over="canvas")
    | dict(num_steps=2000, optimizer=dampened_momentum, learning_rate=0.05, area_weight=Exponential(300, 1.0008668))
    | dict(perturbation="blur", num_levels=8, max_blur=(0.0, 20.0, 20.0), padding="zeros", reward="log_probability")
    | dict(penalties=(Core(300.0, start=101 / 2000),))
)
POINTS = _EACH_VALUE | dict(smoothing=(0.0, 0.0), feather=(0.0, 0.0), perturbation="fade", game="dual")
