"""What `from_torch` refuses: each error says what was expected, what came and what to try."""

from __future__ import annotations

import copy
import importlib
import sys
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import extremal_jax as ej
import small

IMAGES = small.IMAGES
INSTALL = r"`pip install 'extremal-jax\[torch\]'` installs versions that work together: torch 2\.12 and torchax 0\.0\.13"

try:
    import torch
    import torchax  # noqa: F401
    from torch import nn

    import torch_networks

    REASON = ""
except Exception as error:  # torchax 0.0.13 beside torch 2.13 raises an AttributeError
    REASON = f"needs torch 2.12 and torchax: {error}"
needs_torch = pytest.mark.skipif(bool(REASON), reason=REASON)


class Missing:
    """A finder that fails for one package."""

    def __init__(self, package: str, error: Exception) -> None:
        self.package, self.error = package, error

    def find_spec(self, name: str, *_: Any) -> None:
        if name == self.package:
            raise self.error


def without(monkeypatch: pytest.MonkeyPatch, package: str, error: Exception) -> None:
    monkeypatch.delitem(sys.modules, package, raising=False)
    monkeypatch.setattr(sys, "meta_path", [Missing(package, error), *sys.meta_path])


def test_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "torch", ModuleNotFoundError("No module named 'torch'", name="torch"))
    with pytest.raises(ImportError, match=f"PyTorch modules need the packages torch and torchax; {INSTALL}"):
        ej.models.from_torch(None, IMAGES)


@needs_torch
def test_without_torchax(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "torchax", ModuleNotFoundError("No module named 'torchax'", name="torchax"))
    with pytest.raises(ImportError, match=rf"PyTorch modules need the package torchax beside torch 2\.12\S*; {INSTALL}"):
        ej.models.from_torch(None, IMAGES)


@needs_torch
def test_versions_that_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    """As torch 2.13 fails."""
    lacking = "The underlying op of 'aten.prod' has no overload name 'dim_Dimname'"
    without(monkeypatch, "torchax", AttributeError(lacking))
    with pytest.raises(ImportError, match=rf"torchax 0\.0\.13 cannot be imported beside torch 2\.12\S* \({lacking}\); {INSTALL}"):
        ej.models.from_torch(None, IMAGES)


def test_the_library_imports_neither() -> None:
    """Nor does its submodule of models."""
    importlib.import_module("extremal_jax.models")
    import subprocess

    code = "import sys, extremal_jax.models, extremal_jax.attribution; print(sorted({'torch', 'torchax'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def refuse(module: Any, match: str, kind: type[Exception] = ValueError, example: Any = IMAGES, **options: Any) -> None:
    with pytest.raises(kind, match=match) as caught:
        ej.models.from_torch(module, example, **options)
    assert "\n" not in str(caught.value)


def plain() -> Any:
    return torch_networks.randomized(torch_networks.Plain())


@needs_torch
def test_not_a_module() -> None:
    refuse(lambda x: x, r"module must be a torch\.nn\.Module, got function", TypeError)
    refuse(torch_networks.Plain, r"module must be a torch\.nn\.Module, got type", TypeError)
    with pytest.warns(DeprecationWarning, match="TorchScript|torch.jit"):
        compiled = torch.jit.script(nn.Linear(3, 2).eval())
    refuse(compiled, "got a TorchScript module; pass the module that it was made from", TypeError)


@needs_torch
def test_training_mode() -> None:
    module = plain()
    refuse(module.train(), r"must be in evaluation mode, but it \(Plain\) is in training mode; call module\.eval\(\)")
    module.eval().classifier[2].train()
    refuse(module, r"but its 'classifier\.2' \(Dropout\) is in training mode; call module\.eval\(\)")


@needs_torch
def test_weights_that_cannot_be_taken() -> None:
    refuse(plain().double(), r"weights in single precision, but 'features\.0\.weight' is float64; module\.float\(\) converts it")
    module = plain()
    module.register_buffer("shift", torch.zeros(3, dtype=torch.float64))
    refuse(module, "'shift' is float64")
    refuse(plain().to("meta"), r"'features\.0\.weight' is on the device 'meta'; load its weights first")
    refuse(nn.Sequential(nn.Flatten(), nn.LazyLinear(5)).eval(), r"'1\.weight' has no shape yet; call the module once in PyTorch before")


@needs_torch
def test_examples_that_do_not_fit() -> None:
    module = plain()
    refuse(module, r"example must have the shape \(H, W, C\) or \(N, H, W, C\), got \(20, 24\)", example=IMAGES[0, ..., 0])
    refuse(module, r"example must have their channels last, got the shape \(3, 20, 24\)", example=IMAGES[0].transpose(2, 0, 1))
    refuse(module, "example must hold floats as the model expects them, got uint8", TypeError, example=np.zeros((20, 24, 3), np.uint8))
    refuse(module, "example must be an array of numbers", TypeError, example="cat.png")
    refuse(
        module, r"failed when called with images \(B, C, H, W\) = \(1, 4, 20, 24\), in its 'features\.0': ", example=np.zeros((20, 24, 4))
    )
    transformer = torch_networks.randomized(torch_networks.Transformer())
    refuse(
        transformer, r"failed when called with images \(B, C, H, W\) = \(1, 3, 40, 40\), in it: ", example=np.zeros((40, 40, 3), np.float32)
    )


class Returning(nn.Module if not REASON else object):  # type: ignore[misc]
    """A module of an output that is made of its scores."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output, self.head = output, nn.Linear(3, 5)
        self.eval()

    def forward(self, x: Any) -> Any:
        return self.output(self.head(x.mean((2, 3))))


WRAP = r"wrap it in a torch\.nn\.Module whose forward returns the scores, such as"


@needs_torch
@pytest.mark.parametrize(
    ("output", "match"),
    [
        (lambda y: (y, y), rf"a tensor of scores, got a tuple of 2; {WRAP} module\(x\)\[0\]"),
        (lambda y: [y], rf"got a list of 1; {WRAP} module\(x\)\[0\]"),
        (lambda y: {"logits": y, "loss": None}, rf"got a dict with 'logits', 'loss'; {WRAP} module\(x\)\['logits'\]"),
        (lambda y: None, "a tensor of scores computed from the images, got NoneType"),
        (lambda y: y[:, 0], r"scores \(B, classes\) or \(B, classes, h, w\), floats; for B = 1 it returned float32\[1\]"),
        (lambda y: y.argmax(1, keepdim=True), r"for B = 1 it returned int\d\d\[1, 1\]"),
        (lambda y: y.T, r"it returned float32\[5, 1\]"),
        (lambda y: y.reshape(1, 1, 5), r"it returned float32\[1, 1, 5\]"),
    ],
)
def test_outputs_that_are_no_scores(output: Any, match: str) -> None:
    refuse(Returning(output), match)


@needs_torch
def test_what_cannot_be_translated() -> None:
    refuse(
        Returning(lambda y: torch.special.airy_ai(y)),
        r"must consist of operations that torchax translates, but it uses aten::special_airy_ai; replace it by other operations",
    )
    inner = nn.Sequential(nn.Flatten(), nn.Linear(20 * 24 * 3, 5), Airy()).eval()
    refuse(inner, r"but its '2' uses aten::special_airy_ai")
    refuse(Returning(lambda y: y if y.sum() > 0 else -y), r"must not branch on the values of a tensor, but it does .*torch\.where")
    constants = [torch.arange(5.0)]
    refuse(Returning(lambda y: y + constants[0]), r"must hold its tensors as attributes, but it uses another; register_buffer")


class Airy(nn.Module if not REASON else object):  # type: ignore[misc]
    def forward(self, x: Any) -> Any:
        return torch.special.airy_ai(x)


@needs_torch
def test_names_of_classes_that_do_not_fit() -> None:
    refuse(plain(), r"classes must be 5 names, one for each score of the module, got 3: 'a', 'b', 'c'", classes=["a", "b", "c"])
    refuse(plain(), "classes must be 5 names", classes=dict(enumerate("abcde", 1)))
    refuse(plain(), "classes must be the names of all classes, got the text 'abcde'", TypeError, classes="abcde")


@needs_torch
@pytest.mark.usefixtures("unchecked")
def test_images_that_the_function_refuses() -> None:
    converted = ej.models.from_torch(plain(), IMAGES)
    with pytest.raises(ValueError, match=r"images must have the shape \(B, H, W, C\), got \(20, 24, 3\); image\[None\]"):
        converted(jnp.asarray(IMAGES[0]))
    with pytest.raises(TypeError, match="images must hold floats, prepared as the module was trained, got uint8"):
        converted(jnp.zeros((1, 20, 24, 3), jnp.uint8))
    with pytest.raises(ValueError, match=r"model failed .* in its 'features\.0'"):
        small.explain(np.zeros((2, 20, 24, 4), np.float32), model=converted)


@needs_torch
def test_a_module_itself_is_no_model() -> None:
    module = plain()
    with pytest.raises(TypeError, match=r"got a module of torch; convert it by ej\.models\.from_torch\(module, image\)"):
        small.explain(model=copy.deepcopy(module))
