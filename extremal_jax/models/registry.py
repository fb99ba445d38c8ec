"""The classifiers by name."""

from __future__ import annotations

import importlib.resources
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from extremal_jax.data import scenes
from extremal_jax.errors import check_choice, nearest
from extremal_jax.models.classes import class_names
from extremal_jax.models.classifier import Classifier
from extremal_jax.models.conversion import Match, fill, fill_randomly, has_sizes, length, match
from extremal_jax.models.entries import ENTRIES, Entry
from extremal_jax.models.folding import fold_in_place
from extremal_jax.models.hub import parse
from extremal_jax.models.pytorch_files import read_tensors
from extremal_jax.models.weights import read

_PRETRAINED = importlib.resources.files(__package__) / "pretrained"
_PYTORCH = (".pth", ".pt", ".bin", ".tar")
_PARALLEL = "module."  # before all names where a network was saved from within torch.nn.DataParallel
_DTYPES = ("float32", "bfloat16")


def available() -> tuple[Entry, ...]:
    """All classifiers. Loads nothing."""
    return tuple(ENTRIES.values())


def load(
    name: str,
    weights: str | os.PathLike[str] | None = "default",
    *,
    key: Array | None = None,
    dtype: Any = jnp.float32,
    num_classes: int | None = None,
    fold: bool = True,
) -> Classifier:
    """Load a classifier, ready for inference.

    Args:
      name: one of `available()`.
      weights: "default" for those that come with the package; a file, of safetensors or of PyTorch; "hub" for those published under this
        name on the Hugging Face hub, at the commit and with the digest that `available()` lists; "hub:REPOSITORY" or
        "hub:REPOSITORY@REVISION" for others; or None, for random ones.
      key: for random weights; None: `jax.random.key(0)`.
      dtype: float32 or bfloat16: of the weights, and what the network computes in.
      num_classes: the number of scores; None: as in the file, or that of the published weights for random ones.
      fold: whether batch norms become part of the convolutions before them, as `fold_batch_norm` does it: the same scores, sooner. The name
        of a convolution in a VGG network with batch norm then stands for the normalised value.

    Returns:
      A `Classifier`: a function (B, H, W, C) -> (B, classes), with `name`, `classes`, `activations`, `input_size` and `preprocess`.

    Raises:
      ValueError: for an unknown name, a file that is broken, or weights that do not fit; all that does not fit is listed, and the
        classifier whose file it looks like is named.
      FileNotFoundError: if there is no such file.

    Example:
      >>> model = load("scenes")
      >>> model.input_size, model.classes[:3]
      ((128, 128), ('dog', 'wolf', 'fox'))
      >>> import jax
      >>> load("resnet18", weights=None, key=jax.random.key(1), num_classes=5).classes
      ('0', '1', '2', '3', '4')
    """
    if name not in ENTRIES:
        raise ValueError(f"unknown model {name!r}; {nearest(name, ENTRIES)}")
    entry = ENTRIES[name]
    check_choice("dtype", jnp.dtype(dtype).name, _DTYPES)
    if num_classes is not None and num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}")
    sizes = {} if num_classes is None else {"classes": num_classes}
    preprocessing = entry.preprocessing
    if weights is None:
        network = fill_randomly(entry.architecture.abstract(sizes), jax.random.key(0) if key is None else key, dtype)
    else:
        tensors, source = _read(entry, weights)
        found = match(tensors, entry.architecture, sizes)
        if found.problems:
            raise ValueError(_report(entry, found, tensors, source))
        preprocessing = entry.preprocessing_by_publisher.get(found.layout.publisher, preprocessing)
        network = fill(found, tensors, dtype)
    network.eval()
    if fold:
        fold_in_place(network)
    return Classifier(
        network, name, _class_names(entry, length(network, *entry.architecture.sizes["classes"])), preprocessing, entry.activations
    )


def _read(entry: Entry, weights: str | os.PathLike[str]) -> tuple[dict[str, np.ndarray], str]:
    """The tensors that `weights` stand for, and where they came from."""
    if weights == "default":
        packaged = _PRETRAINED / f"{entry.name}.safetensors"
        if not packaged.is_file():
            hub = 'the name of a file, "hub"' if entry.hub else "the name of a file"
            raise ValueError(f"the package carries no weights for {entry.name}; give weights={hub}, or None for random ones")
        with importlib.resources.as_file(packaged) as path:
            return read(path), str(path)
    if isinstance(weights, str) and (weights == "hub" or weights.startswith("hub:")):
        published = entry.hub if weights == "hub" else parse(weights)
        if published is None:
            raise ValueError(f"no weights for {entry.name} are published on the Hugging Face hub; give the name of a file")
        return _read_file(published.fetch()), weights
    return _read_file(Path(weights)), str(weights)


def _read_file(path: Path) -> dict[str, np.ndarray]:
    if path.suffix == ".safetensors":
        tensors = read(path)
    elif path.suffix in _PYTORCH:
        tensors = read_tensors(path)
    else:
        raise ValueError(f'weights must be a file that ends in .safetensors, {", ".join(_PYTORCH)}, "hub", or None, got {str(path)!r}')
    if all(name.startswith(_PARALLEL) for name in tensors):
        return {name.removeprefix(_PARALLEL): tensors.pop(name) for name in list(tensors)}
    return tensors


def _report(entry: Entry, found: Match, tensors: Mapping[str, np.ndarray], source: str) -> str:
    """Everything that does not fit, and what the file looks like instead."""
    numbers = sum(tensor.size for tensor in tensors.values())
    near = [other for other in ENTRIES.values() if other is not entry and 2 / 3 < numbers / other.parameters < 3 / 2]
    others = [other for other in near if has_sizes(tensors, other.architecture)]
    alike = [other.name for other in others if not match(tensors, other.architecture).problems]
    lines = [f"the weights in {source} do not fit {entry.name} (in the layout of {found.layout.publisher})"]
    if alike:
        lines[0] += f"; this file looks like {' or '.join(alike)}"
    return "\n  ".join(lines + sorted(found.problems))


def _class_names(entry: Entry, count: int) -> tuple[str, ...]:
    """The names of the classes; their numbers where there are more or fewer than in the data that the published weights know."""
    names = scenes.CLASSES if entry.classes == "scenes" else class_names(entry.classes)
    return names if len(names) == count else tuple(map(str, range(count)))
