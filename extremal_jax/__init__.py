"""Extremal perturbations in JAX.

For a classifier, an image, a target and a list of areas: the smooth mask of each area whose preserved (or deleted)
pixels excite the target most.

>>> import extremal_jax as ej
>>> model = ej.models.load("scenes")
>>> scene = ej.data.scenes.generate(0, 1, objects=2)
>>> image = model.preprocess(scene.images[0])
>>> result = ej.extremal_perturbation(model, image, int(scene.labels[0].argmax()), areas=[0.1])
>>> result.masks.shape, result.status.message
((1, 128, 128), 'finished')

Importing this loads nothing else: what is public is loaded when it is first used, JAX with it. No setting of JAX is touched.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from extremal_jax import attribution, data, evaluation, graph, models, perturbation, plots, report, sweeps
    from extremal_jax.extremal.channels import channel_perturbation
    from extremal_jax.extremal.class_channels import ClassChannels, class_channels
    from extremal_jax.extremal.config import Config
    from extremal_jax.extremal.images import extremal_perturbation
    from extremal_jax.extremal.mask_settings import ChannelConfig
    from extremal_jax.extremal.result import ChannelResult, ExtremalResult, History, SmallestArea
    from extremal_jax.extremal.smallest_area import smallest_area
    from extremal_jax.ground.progress import Progress
    from extremal_jax.inversion.config import InversionConfig, NaturalImages
    from extremal_jax.inversion.features import invert_features, maximize_channel
    from extremal_jax.inversion.result import InversionResult
    from extremal_jax.operators.axes import Axis
    from extremal_jax.optimise.status import Status
    from extremal_jax.sweeps import open_sweep, sweep

__version__ = "0.1.0"

__all__ = [
    "Axis",
    "ChannelConfig",
    "ChannelResult",
    "ClassChannels",
    "Config",
    "ExtremalResult",
    "History",
    "InversionConfig",
    "InversionResult",
    "NaturalImages",
    "Progress",
    "SmallestArea",
    "Status",
    "attribution",
    "channel_perturbation",
    "class_channels",
    "data",
    "evaluation",
    "extremal_perturbation",
    "graph",
    "invert_features",
    "maximize_channel",
    "models",
    "open_sweep",
    "perturbation",
    "plots",
    "report",
    "smallest_area",
    "sweep",
    "sweeps",
]

_SUBMODULES = ("attribution", "data", "evaluation", "graph", "models", "perturbation", "plots", "report", "sweeps")
_PLACES = {  # of the functions and classes, which are loaded when they are first used
    "Axis": "operators.axes",
    "ChannelConfig": "extremal.mask_settings",
    "ChannelResult": "extremal.result",
    "ClassChannels": "extremal.class_channels",
    "Config": "extremal.config",
    "ExtremalResult": "extremal.result",
    "History": "extremal.result",
    "InversionConfig": "inversion.config",
    "InversionResult": "inversion.result",
    "NaturalImages": "inversion.config",
    "Progress": "ground.progress",
    "SmallestArea": "extremal.result",
    "Status": "optimise.status",
    "channel_perturbation": "extremal.channels",
    "class_channels": "extremal.class_channels",
    "extremal_perturbation": "extremal.images",
    "invert_features": "inversion.features",
    "maximize_channel": "inversion.features",
    "open_sweep": "sweeps",
    "smallest_area": "extremal.smallest_area",
    "sweep": "sweeps",
}


def __getattr__(name: str) -> Any:
    if name in _SUBMODULES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _PLACES:
        globals()[name] = found = getattr(importlib.import_module(f"{__name__}.{_PLACES[name]}"), name)
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_SUBMODULES, *_PLACES})
