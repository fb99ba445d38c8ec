"""The table of methods: collected from the modules, and listed in the documentation."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import extremal_jax
from extremal_jax import attribution
from extremal_jax.attribution import METHODS
from extremal_jax.attribution.method import collect
from extremal_jax.graph.activations import Activation

PACKAGE = Path(extremal_jax.__file__).parent
PAGES = PACKAGE.parent / "docs" / "methods"
each_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)


@each_method
def test_every_method_is_resized_and_smoothed_and_has_a_source(method: Any) -> None:
    """The law of all public calls is in tests/test_law.py."""
    assert {"resize", "smooth"} <= method.options
    assert ("Source:" in (inspect.getdoc(method.function) or "")) != (method.name == "extremal_perturbation")


def test_the_table() -> None:
    assert next(iter(METHODS)) == "extremal_perturbation"
    assert METHODS["grad_cam"].needs == {"at"}
    assert METHODS["contrastive_excitation_backprop"].needs == {"contrast_at"}
    assert METHODS["gradient"].needs == set()
    assert {"key", "chunk_size"} <= METHODS["rise"].options
    assert {name for name, method in METHODS.items() if not method.needs_gradient} == {"rise", "occlusion"}
    assert {name for name, method in METHODS.items() if method.all_classes} == {"rise"}
    assert {name for name, method in METHODS.items() if method.signed} == {"linear_approx", "integrated_gradients", "occlusion"}
    for name, method in METHODS.items():
        assert method.name == name
        assert getattr(attribution, name) is method.function
        assert getattr(attribution, method.function.__name__) is method.function


def test_the_layer_of_a_method_that_needs_one() -> None:
    """The last with more than one place: in fully convolutional networks, the average pool has four axes too."""
    layers = [Activation(name, shape, "float32") for name, shape in (("layer4", (1, 7, 7, 8)), ("avgpool", (1, 1, 1, 8)), ("fc", (1, 8)))]
    assert METHODS["grad_cam"].complete({"at": None}, layers) == {"at": "layer4"}
    assert METHODS["contrastive_excitation_backprop"].complete({}, layers) == {"contrast_at": "fc"}
    with pytest.raises(ValueError, match="grad_cam needs at, a layer of the model with more than one place; its layers: avgpool, fc"):
        METHODS["grad_cam"].complete({}, layers[1:])


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


@pytest.fixture
def new_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that is one of the folder's modules."""
    monkeypatch.setattr(attribution, "__path__", [*attribution.__path__, str(tmp_path)])
    importlib.invalidate_caches()
    yield tmp_path / "brightness.py"
    sys.modules.pop("extremal_jax.attribution.brightness")
    importlib.invalidate_caches()


def test_a_new_file_is_a_new_method(new_file: Path) -> None:
    """That it is a choice on the command line is seen where docs/extending.md is followed."""
    new_file.write_text(BRIGHTNESS)
    methods = collect()
    assert set(methods) == {*METHODS, "brightness"}
    maps = methods["brightness"].function(lambda x: x.mean((1, 2)), np.ones((2, 3, 4), np.float32), 0)
    assert maps.tolist() == [[1, 1, 1], [1, 1, 1]]


def test_two_methods_of_one_name_are_an_error(new_file: Path) -> None:
    new_file.write_text(BRIGHTNESS.replace('Method("brightness"', 'Method("gradient"'))
    with pytest.raises(ValueError, match="two methods of attribution are called 'gradient'"):
        collect()


def page(name: Any) -> Any:
    """The title and the cost that a method's page gives."""
    text = (PAGES / f"{name}.md").read_text()
    [title], [cost] = re.findall(r"\A# (.*)\n", text), re.findall(r"\*\*Cost\.\*\* (.*?)\.\n\n", text, re.DOTALL)
    return title, cost.replace("\n", " ")


def test_the_documentation_tells_of_every_method() -> None:
    """The table of docs/methods/README.md; a failure shows the table as it should be."""
    head = ["| method | map | signed | layers | axes | gradient | cost |", "|---|---|---|---|---|---|---|"]
    for name, method in METHODS.items():
        title, cost = page(name)
        yes = ["yes" if value else "no" for value in (method.signed, method.layers, method.axes, method.needs_gradient)]
        head.append(f"| [{title}]({name}.md) | {' | '.join([method.description, *yes, cost])} |")
    found = [line for line in (PAGES / "README.md").read_text().splitlines() if line.startswith("|")]
    assert found == head
    assert {path.stem for path in PAGES.glob("*.md")} == {*METHODS, "README"}
