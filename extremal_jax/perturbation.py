"""Extremal perturbations and the pieces that they are made of. All pieces are pure functions that compose with `jit`, `vmap` and `grad`.

>>> import jax, jax.numpy as jnp
>>> from extremal_jax.perturbation import SmoothMasks, area_loss, blur_pyramid, perturb
>>> image, smooth = jnp.ones((32, 32, 3)), SmoothMasks((32, 32), step=2, sigma=6)
>>> masks = smooth(jnp.full((2, *smooth.lattice), 0.5))
>>> perturb(blur_pyramid(image, max_blur=4.0), masks).shape
(2, 32, 32, 3)
>>> jax.grad(lambda masks: area_loss(masks.reshape(2, -1), jnp.array([0.1, 0.2])).sum())(masks).shape
(2, 32, 32)
"""

from extremal_jax.extremal.channel_config import ChannelConfig
from extremal_jax.extremal.channel_result import ChannelResult
from extremal_jax.extremal.channels import channel_perturbation
from extremal_jax.extremal.class_channels import ClassChannels, class_channels
from extremal_jax.extremal.config import Config
from extremal_jax.extremal.images import extremal_perturbation
from extremal_jax.extremal.result import ExtremalResult, History
from extremal_jax.extremal.smallest_area import smallest_area
from extremal_jax.extremal.smallest_result import Curve, SmallestArea, monotone_fraction
from extremal_jax.operators.area import area_loss, area_threshold, binarize, ramp, select_top
from extremal_jax.operators.games import GAMES, Game
from extremal_jax.operators.masks import SmoothMasks
from extremal_jax.operators.nesting import rank_pixels
from extremal_jax.operators.perturbations import blur_pyramid, perturb, reference_pyramid
from extremal_jax.operators.rewards import REWARDS, reward
from extremal_jax.optimise.schedules import Cosine, Doubling, Exponential, Geometric, Linear
from extremal_jax.optimise.solver import Record, State, init, scan, step
from extremal_jax.optimise.status import Status

__all__ = [
    "GAMES",
    "REWARDS",
    "ChannelConfig",
    "ChannelResult",
    "ClassChannels",
    "Config",
    "Cosine",
    "Curve",
    "Doubling",
    "Exponential",
    "ExtremalResult",
    "Game",
    "Geometric",
    "History",
    "Linear",
    "Record",
    "SmallestArea",
    "SmoothMasks",
    "State",
    "Status",
    "area_loss",
    "area_threshold",
    "binarize",
    "blur_pyramid",
    "channel_perturbation",
    "class_channels",
    "extremal_perturbation",
    "init",
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
