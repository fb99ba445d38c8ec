"""The table of all classifiers, collected from the modules of `networks`. A new family is a new module there, with its `ENTRIES`."""

from __future__ import annotations

import importlib
import pkgutil

from extremal_jax.models import networks
from extremal_jax.models.entry import Entry

_PACKAGED = ["scenes", "along_time.moving_scenes", "along_time.series"]
_FIRST = [*_PACKAGED, "alexnet", "vgg", "resnet", "googlenet", "densenet", "convnext", "vit"]  # other families follow by name
_FAMILIES = dict.fromkeys([*_FIRST, *sorted(module.name for module in pkgutil.iter_modules(networks.__path__))])
_MODULES = [importlib.import_module(f"{networks.__name__}.{name}") for name in _FAMILIES]
ENTRIES: dict[str, Entry] = {entry.name: entry for module in _MODULES for entry in getattr(module, "ENTRIES", ())}
