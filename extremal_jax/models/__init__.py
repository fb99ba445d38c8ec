"""Classifiers: Flax NNX networks, their weights, and the preparation of their input."""

from extremal_jax.models.classifier import Classifier
from extremal_jax.models.entry import Entry
from extremal_jax.models.folding import fold_batch_norm
from extremal_jax.models.keras_models import KerasModel, from_keras
from extremal_jax.models.naming import name_submodules
from extremal_jax.models.registry import available, load
from extremal_jax.models.torch_modules import TorchModel, from_torch

__all__ = [
    "Classifier",
    "Entry",
    "KerasModel",
    "TorchModel",
    "available",
    "fold_batch_norm",
    "from_keras",
    "from_torch",
    "load",
    "name_submodules",
]
