"""Extremal perturbations and their pieces. All pieces are pure functions that compose with `jit`, `vmap` and `grad`.

>>> import jax, jax.numpy as jnp
>>> from extremal_jax.perturbation import SmoothMasks, area_loss, blur_pyramid, perturb
>>> image, smooth = jnp.ones((32, 32, 3)), SmoothMasks((32, 32), pitch=2, sigma=6)
>>> masks = smooth(jnp.full((2, *smooth.lattice), 0.5))
>>> perturb(blur_pyramid(image, max_blur=4.0), masks).shape
(2, 32, 32, 3)
>>> jax.grad(lambda masks: area_loss(masks.reshape(2, -1), jnp.array([0.1, 0.2])).sum())(masks).shape
(2, 32, 32)
"""

from extremal_jax.extremal.channels import channel_perturbation
from extremal_jax.extremal.class_channels import ClassChannels, class_channels
from extremal_jax.extremal.config import Config
from extremal_jax.extremal.images import extremal_perturbation
from extremal_jax.extremal.mask_settings import ChannelConfig
from extremal_jax.extremal.result import ChannelResult, Curve, ExtremalResult, History, SmallestArea, monotone_fraction
from extremal_jax.extremal.smallest_area import smallest_area
from extremal_jax.operators.area import AreaRule, area_loss, area_threshold, binarize, ramp, select_top
from extremal_jax.operators.games import GAMES, Game
from extremal_jax.operators.masks import ChannelMasks, SmoothMasks
from extremal_jax.operators.nesting import rank_pixels
from extremal_jax.operators.penalties import Core, Penalty, Variation
from extremal_jax.operators.perturbations import (
    PERTURBATIONS,
    Blur,
    Fade,
    Perturbation,
    Reference,
    blur_pyramid,
    interpolate,
    perturb,
    reference_pyramid,
)
from extremal_jax.operators.rewards import REWARDS, Reward, closeness, reward
from extremal_jax.optimise.schedules import Cosine, Doubling, Exponential, Geometric, Linear
from extremal_jax.optimise.solver import Record, State, init, listen, scan, step
from extremal_jax.optimise.status import Status

__all__ = [
    "GAMES",
    "PERTURBATIONS",
    "REWARDS",
    "AreaRule",
    "Blur",
    "ChannelConfig",
    "ChannelMasks",
    "ChannelResult",
    "ClassChannels",
    "Config",
    "Core",
    "Cosine",
    "Curve",
    "Doubling",
    "Exponential",
    "ExtremalResult",
    "Fade",
    "Game",
    "Geometric",
    "History",
    "Linear",
    "Penalty",
    "Perturbation",
    "Record",
    "Reference",
    "Reward",
    "SmallestArea",
    "SmoothMasks",
    "State",
    "Status",
    "Variation",
    "area_loss",
    "area_threshold",
    "binarize",
    "blur_pyramid",
    "channel_perturbation",
    "class_channels",
    "closeness",
    "extremal_perturbation",
    "init",
    "interpolate",
    "listen",
    "monotone_fraction",
    "perturb",
    "ramp",
    "rank_pixels",
    "reference_pyramid",
    "reward",
    "scan",
    "select_top",
    "smallest_area",
    "step",
]
