"""All methods by name, collected from the modules of this folder, for the command line, the tests and the benchmark.

To add a method, write its module, which declares a `Method` in a tuple `METHODS`, and its page in docs/methods.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys

from extremal_jax.attribution.method import Method

_FIRST = "extremal_saliency"


def collect() -> dict[str, Method]:
    """Find the methods of all modules: extremal perturbation first, then the others by module, in the order of each.

    Raises:
      ValueError: if two methods have one name.
    """
    folder = sys.modules[__package__ or ""].__path__
    names = sorted((module.name for module in pkgutil.iter_modules(folder)), key=lambda name: (name != _FIRST, name))
    modules = (importlib.import_module(f"{__package__}.{name}") for name in names if name != "registry")
    found: dict[str, Method] = {}
    for method in (method for module in modules for method in getattr(module, "METHODS", ())):
        if method.name in found:
            raise ValueError(f"two methods of attribution are called {method.name!r}")
        found[method.name] = method
    return found


METHODS = collect()
