"""Weights drawn by name, and named activations, for the tests of the classifiers; golden/README.md has the recipe."""

from __future__ import annotations

import functools
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from safetensors.numpy import save_file

from extremal_jax.graph.interpreter import rewrite
from extremal_jax.models.conversion import Architecture, Layout
from extremal_jax.models.entries import ENTRIES
from extremal_jax.models.formats.safetensors import tensor_names
from golden_data import GOLDEN

GOLDENS: dict[str, Any] = json.loads((GOLDEN / "models" / "architectures.json").read_text())


def tensors(golden: str) -> dict[str, tuple[int, ...]]:
    """Names and shapes in the file of a golden classifier."""
    entry = GOLDENS[golden]
    return {name: tuple(shape) for name, shape in entry.get("checkpoint", entry["tensors"]).items()}


def logits(golden: str) -> np.ndarray:
    with np.load(GOLDEN / "models" / "logits.npz") as file:
        return file[golden.replace("/", "|")]


def draw(name: str, shape: tuple[int, ...], scale: float = 0.5) -> np.ndarray:
    n = np.random.default_rng([0, zlib.crc32(name.encode())]).standard_normal(shape, dtype=np.float32)
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, np.int64)
    if name.endswith("running_var"):
        return 1 + 0.25 * np.tanh(n)
    if name.endswith(("running_mean", "bias")):
        return np.float32(0.1) * n
    if len(shape) >= 2:
        return n * np.float32(np.sqrt(2 / np.prod(shape[1:])))
    return scale * (1 + 0.25 * np.tanh(n))


def write(path: Path, shapes: Mapping[str, tuple[int, ...]], scale: float = 0.5) -> Path:
    """A safetensors file with weights for these names and shapes. Norms scale by about `scale`."""
    save_file({name: np.ascontiguousarray(draw(name, shape, scale)) for name, shape in shapes.items()}, path)
    return path


def images(batch: int, height: int, width: int) -> np.ndarray:
    """(batch, height, width, 3): the images of the goldens."""
    return np.random.default_rng([0, 7]).standard_normal((batch, 3, height, width), dtype=np.float32).transpose(0, 2, 3, 1)


@functools.cache
def abstract(name: str) -> Any:
    """The network of a classifier in inference mode, with shapes in place of arrays. Made once, because that takes seconds."""
    network = ENTRIES[name].architecture.abstract({})
    network.eval()
    return network


def wanted(architecture: Architecture, layout: Layout, sizes: Mapping[str, int] | None = None) -> dict[str, tuple[int, ...]]:
    """Names and shapes in a file of this layout, and of a network of these sizes, if they are given."""
    known = next(name for name, entry in ENTRIES.items() if entry.architecture is architecture)
    network = architecture.abstract(sizes) if sizes else abstract(known)
    leaves = zip(tensor_names(network), jax.tree.leaves(network), strict=True)
    return {layout.name(path): layout.form(path).shape(leaf.shape) for path, leaf in leaves}


def tap(classifier: Any, x: Any) -> tuple[Any, dict[str, Any]]:
    """The scores, and the named activations in the order of their computation, unless this is compiled."""
    activations = {}

    def record(equation: Any, values: Any) -> None:
        if equation.primitive.name == "name":
            activations[equation.params["name"]] = values[0]

    return rewrite(lambda x: classifier(x), record)(x), activations


def names(classifier: Any, shape: tuple[int, ...]) -> tuple[str, ...]:
    """The names of the activations, in their order. The classifier may be abstract."""
    order: list[str] = []

    def call(classifier: Any, x: Any) -> Any:
        scores, activations = tap(classifier, x)
        order.extend(activations)
        return scores

    jax.eval_shape(call, classifier, jax.ShapeDtypeStruct(shape, np.float32))
    return tuple(order)
