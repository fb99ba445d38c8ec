"""The table of all classifiers, collected from the modules of `networks`. A new family is a new module there, with its `ENTRIES`."""

from __future__ import annotations

import importlib
import pkgutil

from extremal_jax.models import networks
from extremal_jax.models.entry import Entry

_FIRST = ["scenes", "alexnet", "vgg", "resnet", "googlenet", "densenet", "convnext", "vit"]  # other families follow by name


def _collected() -> dict[str, Entry]:
    families = sorted(module.name for module in pkgutil.iter_modules(networks.__path__))
    families.sort(key=lambda name: _FIRST.index(name) if name in _FIRST else len(_FIRST))
    modules = [importlib.import_module(f"{networks.__name__}.{name}") for name in families]
    return {entry.name: entry for module in modules for entry in getattr(module, "ENTRIES", ())}


ENTRIES: dict[str, Entry] = _collected()
