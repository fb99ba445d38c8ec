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

from extremal_jax.perturbation.area import area_loss, area_threshold, binarize, ramp, select_top
from extremal_jax.perturbation.channels.classes import ClassChannels, class_channels
from extremal_jax.perturbation.channels.config import ChannelConfig
from extremal_jax.perturbation.channels.perturbation import channel_perturbation
from extremal_jax.perturbation.channels.result import ChannelResult
from extremal_jax.perturbation.config import Config
from extremal_jax.perturbation.games import GAMES, Game
from extremal_jax.perturbation.masks import SmoothMasks
from extremal_jax.perturbation.pyramid import blur_pyramid, perturb, reference_pyramid
from extremal_jax.perturbation.ranking import rank_pixels
from extremal_jax.perturbation.result import ExtremalResult, History
from extremal_jax.perturbation.rewards import REWARDS, reward
from extremal_jax.perturbation.schedules import Cosine, Doubling, Exponential, Geometric, Linear
from extremal_jax.perturbation.smallest.area import smallest_area
from extremal_jax.perturbation.smallest.result import Curve, SmallestArea, monotone_fraction
from extremal_jax.perturbation.solver import Record, State, init, scan, step
from extremal_jax.perturbation.spatial import extremal_perturbation
from extremal_jax.perturbation.status import Status

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
