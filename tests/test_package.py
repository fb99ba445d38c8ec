"""The package as a whole: documented, layered, quick to import, complete."""

from __future__ import annotations

import ast
import graphlib
import importlib
import importlib.metadata
import importlib.resources
import inspect
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import extremal_jax as ej

ROOT, TESTS = Path(ej.__file__).parent, Path(__file__).parent
MODULES = ["extremal_jax", *(module.name for module in pkgutil.walk_packages([str(ROOT)], "extremal_jax."))]

# What lies above may import what lies below, and a folder's modules one another.
LAYERS = [
    {"ground"},
    {"data", "graph"},
    {"operators"},
    {"optimise"},
    {"boundary"},
    {"models", "extremal"},
    {"inversion"},
    {"attribution"},
    {"evaluation", "sweeps"},
    {"plots", "perturbation"},
    {"report"},
    {""},  # extremal_jax itself
    {"cli"},
    {"__main__"},
]


def own(module: Any) -> Any:
    """The public functions and classes that a module defines."""
    members = inspect.getmembers(module, lambda member: inspect.isfunction(member) or inspect.isclass(member))
    return {name: member for name, member in members if not name.startswith("_") and member.__module__ == module.__name__}


def imports(name: Any) -> Iterator[Any]:
    """The modules of this package that a module imports anywhere, also for types alone."""
    module = importlib.util.find_spec(name)
    assert module is not None
    assert module.origin is not None
    for node in ast.walk(ast.parse(Path(module.origin).read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "extremal_jax":
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in MODULES else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in MODULES)


def layer(name: Any) -> Any:
    part = name.removeprefix("extremal_jax").removeprefix(".").split(".")[0]
    found = [level for level, parts in enumerate(LAYERS) if part in parts]
    assert found, f"{name} has no layer yet; give it one in LAYERS"
    return found[0], part


@pytest.mark.parametrize("name", MODULES)
def test_everything_public_is_documented(name: Any) -> None:
    module = importlib.import_module(name)
    assert module.__doc__ or not Path(inspect.getfile(module)).read_text().strip()
    assert [member for member, value in own(module).items() if not inspect.getdoc(value)] == []


def test_public_names_exist_once() -> None:
    for name in MODULES:
        module = importlib.import_module(name)
        names = getattr(module, "__all__", [])
        assert len(names) == len(set(names)), name
        assert [member for member in names if not hasattr(module, member)] == [], name


def test_everything_in_the_public_contract_is_exported() -> None:
    contract = {"Config", "ExtremalResult", "data", "extremal_perturbation", "models", "plots"}
    assert contract <= set(ej.__all__) <= set(dir(ej))
    for name in ("models.load", "models.available", "plots.overview", "data.load_image", "data.scenes.generate"):
        value = ej
        for part in name.split("."):
            value = getattr(value, part)
        assert callable(value)


def test_unknown_names_are_errors() -> None:
    with pytest.raises(AttributeError, match="module 'extremal_jax' has no attribute 'model'"):
        ej.model  # noqa: B018


def test_the_house_is_in_order() -> None:
    """Folders of about a dozen files, none with a third of the package; each file knows one thing; tests mirror the package."""
    files = [path for path in ROOT.rglob("*.py") if path.name != "__init__.py"]
    lines = {path: len(path.read_text().splitlines()) for path in ROOT.rglob("*.py")}
    for folder in {path.parent for path in files}:
        assert len([path for path in files if path.parent == folder]) <= 14, folder
    for part in {path.relative_to(ROOT).parts[0] for path in files}:
        assert sum(count for path, count in lines.items() if path.relative_to(ROOT).parts[0] == part) < sum(lines.values()) / 3, part
    tests = [path for path in TESTS.rglob("*.py") if "golden" not in path.parts]
    assert [path for path in [*files, *tests] if len(path.read_text().splitlines()) > 400] == []
    folders = {path.parent.relative_to(TESTS) for path in tests} - {Path()}
    assert [folder for folder in folders if not (ROOT / folder).is_dir()] == []


@pytest.mark.parametrize("level", range(len(LAYERS)))
def test_names_of_files_are_unique_in_a_layer(level: Any) -> None:
    names = [name.split(".") for name in MODULES if layer(name)[0] == level]
    stems = [parts[-1] for parts in names if len(parts) > 2]
    assert sorted(set(stems)) == sorted(stems)


def test_only_the_adapter_of_extremal_perturbation_imports_it_among_the_methods() -> None:
    importers = {
        name
        for name in MODULES
        if name.startswith("extremal_jax.attribution.")
        for other in imports(name)
        if "extremal_jax.extremal" in other
    }
    assert importers == {"extremal_jax.attribution.extremal_saliency"}


@pytest.mark.parametrize("name", MODULES)
def test_imports_run_downward(name: Any) -> None:
    level, part = layer(name)
    if name == "extremal_jax":  # loads its parts on demand
        assert max(layer(other)[0] for other in imports(name)) < level
        return
    for other in imports(name):
        below, its_part = layer(other)
        assert below < level or its_part == part, f"{name} imports {other}"


def test_imports_have_no_circles() -> None:
    graph = {name: set(imports(name)) - {"extremal_jax"} for name in MODULES}
    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.essential
def test_import_is_light_and_quick() -> None:
    """In seconds of a fresh process's own time, which other processes hardly disturb."""
    code = """
import sys, time
import jax
before = time.process_time()
import extremal_jax
alone = time.process_time() - before
extremal_jax.extremal_perturbation
after, loaded = time.process_time(), list(sys.modules)
import flax
others = time.process_time() - (after - before)
print(after / others, alone / others, *loaded)
"""
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    ratio, alone, *loaded = output.split()
    heavy = {"matplotlib", "PIL", "click", "rich", "safetensors", "keras", "extremal_jax.models", "extremal_jax.data", "extremal_jax.plots"}
    assert heavy & set(loaded) == set()
    assert float(ratio) < 1.5  # to the time that JAX and Flax take without it
    assert float(alone) < 0.1  # what is public is loaded when it is first used


def test_import_loads_no_jax() -> None:
    """Help and completion of the command line need none."""
    code = "import sys, extremal_jax, extremal_jax.cli; print({'jax', 'numpy', 'flax'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"


def test_names_are_loaded_once_and_listed() -> None:
    assert ej.Config is importlib.import_module("extremal_jax.extremal.config").Config
    assert "Config" in vars(ej)  # no look-up the next time
    assert {name for name in ej.__all__ if not hasattr(ej, name)} == set()
    assert {*ej._PLACES, *ej._SUBMODULES} == set(ej.__all__)


def test_version() -> None:
    assert importlib.metadata.version("extremal-jax") == ej.__version__
    assert f"\nversion: {ej.__version__}\n" in (TESTS.parent / "CITATION.cff").read_text()


@pytest.mark.parametrize(
    ("package", "file"),
    [
        ("extremal_jax.data", "sprites.png"),
        ("extremal_jax.data", "packaged/scenes.json"),
        ("extremal_jax.data", "packaged/dog-and-car.png"),
        ("extremal_jax.models", "pretrained/scenes.json"),
        ("extremal_jax.report", "page.html"),
        ("extremal_jax.report", "index.html"),
        ("extremal_jax.report", "index.js"),
        ("extremal_jax.report", "report.css"),
        ("extremal_jax.report", "charts.js"),
        ("extremal_jax.report", "forms.js"),
        ("extremal_jax.report", "pictures.js"),
        ("extremal_jax.report", "report.js"),
        ("extremal_jax.models", "pretrained/scenes.safetensors"),
    ],
)
def test_data_files_come_with_the_package(package: str, file: str) -> None:
    assert (importlib.resources.files(package) / file).is_file()


def test_commits_are_formatted_by_the_tried_version() -> None:
    """Two versions of ruff would format each other's files."""
    [tried] = re.findall(r"^ruff==(\S+)", (ROOT.parent / "constraints" / "tried.txt").read_text(), re.MULTILINE)
    assert f"rev: v{tried}" in (ROOT.parent / ".pre-commit-config.yaml").read_text()
