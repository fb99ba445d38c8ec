"""The reference: a page for each public namespace, with every public name on exactly one of them.

The names are read from the package, so that a new one is on its page without further ado.
"""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

NAMESPACES = (  # a name of several stands on the page of the first
    "extremal_jax",
    "extremal_jax.perturbation",
    "extremal_jax.attribution",
    "extremal_jax.evaluation",
    "extremal_jax.models",
    "extremal_jax.data",
    "extremal_jax.data.scenes",
    "extremal_jax.data.builders",
    "extremal_jax.sweeps",
    "extremal_jax.graph",
    "extremal_jax.plots",
    "extremal_jax.report",
)
FUNCTIONS, CLASSES, VALUES = "Functions", "Classes", "Tables"


def kind(value: Any) -> str:
    """The heading under which a public name stands."""
    if inspect.isclass(value):
        return CLASSES
    return FUNCTIONS if inspect.isfunction(inspect.unwrap(value)) else VALUES


def public(module: ModuleType) -> list[str]:
    """The public names of a namespace that are not modules: those of `__all__`, or else its own functions and classes."""
    names = getattr(module, "__all__", None)
    if names is None:
        own = {name: value for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__}
        names = [name for name, value in own.items() if name[0] != "_" and kind(value) != VALUES]
    return [name for name in names if not inspect.ismodule(getattr(module, name))]


def places() -> dict[str, str]:
    """The one place where each public name is described, by its dotted name: "extremal_jax.perturbation.Config" is described as
    "extremal_jax.Config"."""
    found: dict[str, str] = {}
    first: dict[int, str] = {}
    for module in map(importlib.import_module, NAMESPACES):
        for name in public(module):
            dotted, value = f"{module.__name__}.{name}", getattr(module, name)
            found[dotted] = dotted if kind(value) == VALUES else first.setdefault(id(value), dotted)
    return found


def page(namespace: str, described: dict[str, str]) -> str:
    """The page of a namespace: what it is for, which names stand on other pages, and the others by kind."""
    module = importlib.import_module(namespace)
    names = {f"{namespace}.{name}": name for name in public(module)}
    lines = [f"# `{namespace}`", "", f"::: {namespace}", "    options:", "      members: false", "      show_root_heading: false", ""]
    elsewhere = [f"[`{name}`][{described[dotted]}]" for dotted, name in names.items() if described[dotted] != dotted]
    if elsewhere:
        lines += [f"Described on another page: {', '.join(elsewhere)}.", ""]
    for heading in (FUNCTIONS, CLASSES, VALUES):
        own = [dotted for dotted, name in names.items() if described[dotted] == dotted and kind(getattr(module, name)) == heading]
        if own:
            lines += [f"## {heading}", "", *(f"::: {dotted}\n" for dotted in own)]
    return "\n".join(lines)


def pages() -> dict[str, str]:
    """The text of each page, by the name of its file: "data.scenes.md"."""
    described = places()
    return {f"{name.removeprefix('extremal_jax.')}.md": page(name, described) for name in NAMESPACES}


def stage(folder: Path) -> None:
    """Write the pages of the reference to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, "utf-8")
