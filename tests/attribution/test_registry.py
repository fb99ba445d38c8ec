"""The table of methods: collected from the modules, and described in the documentation."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

import extremal_jax
from extremal_jax import attribution
from extremal_jax.attribution import METHODS
from extremal_jax.attribution.registry import collect

PACKAGE = Path(extremal_jax.__file__).parent
PAGES = PACKAGE.parent / "docs" / "methods"
each_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


@each_method
def test_signatures_and_docstrings_beyond_the_law_of_all_calls(method: Any) -> None:
    """`tests/test_law.py` has that law."""
    parameters = inspect.signature(method.function).parameters
    assert [name for name, parameter in parameters.items() if parameter.kind is parameter.POSITIONAL_OR_KEYWORD] == [
        "model",
        "images",
        "targets",
    ]
    assert {"resize", "smooth"} <= set(parameters)
    assert ("Source:" in (inspect.getdoc(method.function) or "")) != (method.name == "extremal_perturbation")


def test_the_table() -> None:
    assert next(iter(METHODS)) == "extremal_perturbation"
    assert METHODS["grad_cam"].needs == {"at"}
    assert METHODS["contrastive_excitation_backprop"].needs == {"contrast_at"}
    assert METHODS["gradient"].needs == set()
    assert {"key", "chunk_size"} <= METHODS["rise"].options
    assert {name for name, method in METHODS.items() if not method.needs_gradient} == {"rise", "occlusion"}
    assert {name for name, method in METHODS.items() if method.signed} == {"linear_approx", "integrated_gradients", "occlusion"}
    for name, method in METHODS.items():
        assert method.name == name
        assert getattr(attribution, name) is method.function
        assert getattr(attribution, method.function.__name__) is method.function


def test_only_the_adapter_imports_extremal_perturbation() -> None:
    importing = {
        path.stem
        for path in (PACKAGE / "attribution").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("extremal_jax.extremal.")
    }
    assert importing == {"extremal_saliency"}


BRIGHTNESS = '''
"""The brightness of the image, whatever the model."""

from typing import Any

from jaxtyping import Array, Float

from extremal_jax.attribution.common import Maps, Model, prepare
from extremal_jax.attribution.method import Method


def brightness(
    model: Model, images: Any, targets: Any, *, resize: bool | tuple[int, int] = False, smooth: float | None = None
) -> Float[Array, "*N h w"]:
    """The mean over channels."""
    return prepare("brightness", model, images, targets, resize, smooth).compute(_brightness)


def _brightness(model: Model, images: Array, targets: Array) -> Maps:
    return Maps(images.mean(axis=-1))


METHODS = (Method("brightness", "the brightness of the image", brightness, signed=True, needs_gradient=False),)
'''


def test_a_new_file_is_a_new_method(tmp_path: Path) -> None:
    """In the table, as an attribute and on the command line."""
    shutil.copytree(PACKAGE, tmp_path / "extremal_jax", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "extremal_jax" / "attribution" / "brightness.py").write_text(BRIGHTNESS)
    code = """
        import json, sys
        import numpy as np
        from click.testing import CliRunner
        from extremal_jax import attribution, cli
        scene = attribution.__file__.replace("attribution/__init__.py", "data/packaged/wolf-and-fox.png")
        run = CliRunner().invoke(cli.main, ["explain", scene, "--target", "fox", "--method", "brightness", "--out", "out"])
        assert run.exit_code == 0, run.output
        maps = attribution.brightness(lambda x: x.mean((1, 2)), np.ones((2, 3, 4), np.float32), 0)
        print(json.dumps([list(attribution.METHODS), maps.tolist(), np.load("out/wolf-and-fox.npz").files]))
    """
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    names, maps, written = json.loads(run.stdout)
    assert set(names) == {*METHODS, "brightness"}
    assert maps == [[1, 1, 1], [1, 1, 1]]
    assert "brightness" in written


def test_two_methods_of_one_name_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "brightness.py").write_text(BRIGHTNESS.replace('Method("brightness"', 'Method("gradient"'))
    monkeypatch.setattr(attribution, "__path__", [*attribution.__path__, str(tmp_path)])
    with pytest.raises(ValueError, match="two methods of attribution are called 'gradient'"):
        collect()
    sys.modules.pop("extremal_jax.attribution.brightness")
    importlib.invalidate_caches()


def page(name: Any) -> Any:
    """The title and the cost that a method's page gives."""
    text = (PAGES / f"{name}.md").read_text()
    [title], [cost] = re.findall(r"\A# (.*)\n", text), re.findall(r"\*\*Cost\.\*\* (.*?)\.\n\n", text, re.DOTALL)
    return title, cost.replace("\n", " ")


def test_the_documentation_tells_of_every_method() -> None:
    """The table of docs/methods/README.md; a failure shows the table as it should be."""
    head = ["| method | map | signed | layers | gradient | cost |", "|---|---|---|---|---|---|"]
    for name, method in METHODS.items():
        title, cost = page(name)
        yes = ["yes" if value else "no" for value in (method.signed, method.layers, method.needs_gradient)]
        head.append(f"| [{title}]({name}.md) | {' | '.join([method.description, *yes, cost])} |")
    found = [line for line in (PAGES / "README.md").read_text().splitlines() if line.startswith("|")]
    assert found == head
    assert {path.stem for path in PAGES.glob("*.md")} == {*METHODS, "README"}
