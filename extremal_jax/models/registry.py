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
from extremal_jax.ground.checks import check_choice, check_key, nearest
from extremal_jax.models.classes import class_names
from extremal_jax.models.classifier import Classifier
from extremal_jax.models.conversion import Match, fill, fill_randomly, has_sizes, length, match, numbers_used
from extremal_jax.models.entries import ENTRIES, Entry
from extremal_jax.models.folding import fold_in_place
from extremal_jax.models.formats.pytorch import read_tensors
from extremal_jax.models.formats.safetensors import read
from extremal_jax.models.hub import HubFile, parse
from extremal_jax.models.preprocessing import described

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
        name on the Hugging Face hub, at the commit that `available()` lists, and refused where it lists none; "hub:REPOSITORY" or
        "hub:REPOSITORY@REVISION" for others, whose pictures are prepared as their config.json says, in timm's words; or None, for random
        ones. Where weights want pictures prepared in another way, set `preprocessing` of the classifier.
      key: for random weights; None: `jax.random.key(0)`.
      dtype: float32 or bfloat16: of the weights, and what the network computes in.
      num_classes: the number of scores; None: as in the file, or that of the published weights for random ones.
      fold: whether batch norms become part of the convolutions before them, as `fold_batch_norm` does it: the same scores, sooner. The name
        of a convolution in a VGG network with batch norm then stands for the normalised value.

    Returns:
      A `Classifier`: a function (B, H, W, C) -> (B, classes), with `name`, `classes`, `activations`, `input_size` and `preprocess`.

    Raises:
      TypeError: for an argument of another type.
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
    _check_arguments(name, weights, key, dtype, num_classes)
    entry = ENTRIES[name]
    sizes = {} if num_classes is None else {"classes": int(num_classes)}
    preprocessing = entry.preprocessing
    if weights is None:
        network = fill_randomly(entry.architecture.abstract(sizes), jax.random.key(0) if key is None else key, dtype)
    else:
        tensors, source = _read(entry, weights)
        found = match(tensors, entry.architecture, sizes)
        if found.problems:
            raise ValueError(_report(entry, found, tensors, source))
        preprocessing = entry.preprocessing_by_publisher.get(found.layout.publisher, preprocessing)
        if other := _other_repository(entry, weights):
            preprocessing = described(other.config(), preprocessing)
        network = fill(found, tensors, dtype)
    network.eval()
    if fold:
        fold_in_place(network)
    return Classifier(
        network, name, _class_names(entry, length(network, *entry.architecture.sizes["classes"])), preprocessing, entry.activations
    )


def _check_arguments(name: Any, weights: Any, key: Any, dtype: Any, num_classes: Any) -> None:
    if not isinstance(name, str):
        raise TypeError(f"name must be that of a classifier, such as 'resnet50', got {name!r}")
    if name not in ENTRIES:
        raise ValueError(f"unknown model {name!r}; {nearest(name, ENTRIES)}")
    if not (weights is None or isinstance(weights, str | os.PathLike)):
        raise TypeError(f'weights must be the name of a file, "default", "hub", "hub:OWNER/NAME", or None, got {weights!r}')
    check_key(key)
    check_choice("dtype", _type_name(dtype), _DTYPES)
    if isinstance(num_classes, bool | np.bool) or not (num_classes is None or isinstance(num_classes, int | np.integer)):
        raise TypeError(f"num_classes must be a whole number, or None for that of the weights, got {num_classes!r}")
    if num_classes is not None and num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}")


def _type_name(dtype: Any) -> Any:
    """The name of a type of numbers; the argument itself where it is none."""
    try:
        return jnp.dtype(dtype).name
    except TypeError:
        return dtype


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
        if weights == "hub" and published.revision is None:
            raise ValueError(
                f"the weights of {entry.name} on the Hugging Face hub are not pinned to a commit, and what is there can change; give"
                f' weights="hub:{published.repo}@COMMIT", or "hub:{published.repo}" for whatever is there now'
            )
        return _read_file(published.fetch()), weights
    return _read_file(Path(weights)), str(weights)


def _other_repository(entry: Entry, weights: str | os.PathLike[str]) -> HubFile | None:
    """The file on the hub that `weights` name, where it is not in the entry's own repository."""
    if not isinstance(weights, str) or not weights.startswith("hub:"):
        return None
    file = parse(weights)
    return file if entry.hub is None or entry.hub.repo != file.repo else None


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
    near = [other for other in ENTRIES.values() if other is not entry and has_sizes(tensors, other.architecture)]
    others = [other for other in near if 2 / 3 < numbers_used(tensors, other.architecture) / other.parameters < 3 / 2]
    alike = [other.name for other in others if not match(tensors, other.architecture).problems]
    lines = [f"the weights in {source} do not fit {entry.name} (in the layout of {found.layout.publisher})"]
    if alike:
        lines[0] += f"; this file looks like {' or '.join(alike)}"
    return "\n  ".join(lines + sorted(found.problems))


def _class_names(entry: Entry, count: int) -> tuple[str, ...]:
    """The names of the classes; their numbers where there are more or fewer than in the data that the published weights know."""
    names = scenes.CLASSES if entry.classes == "scenes" else class_names(entry.classes)
    return names if len(names) == count else tuple(map(str, range(count)))
