"""Weights from files into networks: one engine, driven by tables.

A `Layout` is data: how a publisher names and shapes the arrays of a network. `match` compares what a network wants with what a file has, by
names and shapes alone, and says everything that does not fit. `fill` then converts the arrays one by one.

Every tensor of the file is used once or ignored by the layout, and every array of the network is filled; anything else is a problem.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from extremal_jax.models.formats.safetensors import tensor_names

Shape = tuple[int, ...]


class Form(NamedTuple):
    """How a file lays out one array of a network.

    Attributes:
      shape: the tensor's shape in the file, from the array's shape in the network.
      array: the array, from the tensor and the array's shape.
    """

    shape: Callable[[Shape], Shape]
    array: Callable[[np.ndarray, Shape], np.ndarray]


def _outputs_first(shape: Shape) -> Shape:
    return (*shape[:-3:-1], *shape[:-2])


def _outputs_last(tensor: np.ndarray) -> np.ndarray:
    return tensor.transpose(*range(2, tensor.ndim), 1, 0)


SAME = Form(lambda shape: shape, lambda tensor, _: tensor)
KERNEL = Form(_outputs_first, lambda tensor, _: _outputs_last(tensor))
"""(outputs, inputs, *space) for (*space, inputs, outputs)."""
BGR_KERNEL = Form(_outputs_first, lambda tensor, _: _outputs_last(tensor)[..., ::-1, :])
"""The same for a network that sees blue first, where ours sees red first."""
FLAT_KERNEL = Form(
    lambda shape: (shape[-1], math.prod(shape[:-1])), lambda tensor, shape: _outputs_last(tensor.reshape(_outputs_first(shape)))
)
"""(outputs, inputs of the whole window) for (*space, inputs, outputs)."""
POINTWISE_KERNEL = Form(lambda shape: (*_outputs_first(shape), 1, 1), lambda tensor, _: tensor[..., 0, 0].T)
"""A linear layer as a 1x1 convolution."""
CHANNELS_OF_MAPS = Form(lambda shape: (*shape, 1, 1), lambda tensor, shape: tensor.reshape(shape))
"""(channels, 1, 1) for (channels,)."""


@dataclass(frozen=True)
class Layout:
    """How a publisher's files name and shape the arrays of a family of networks.

    Attributes:
      publisher: whose layout it is, for messages.
      names: (pattern, replacement) pairs, as of `re.sub`; all of them, in order, turn the dotted path of an array into its tensor's name.
      forms: (pattern, form) pairs; the first whose pattern is found in the path holds; without one the tensor is the array.
      ignored: patterns of tensors that the network has no use for.
    """

    publisher: str
    names: tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...] = ()
    forms: tuple[tuple[str, Form], ...] = ()
    ignored: tuple[str, ...] = ()

    def name(self, path: str) -> str:
        """The tensor's name for an array's path."""
        for pattern, replacement in self.names:
            path = re.sub(pattern, replacement, path)
        return path

    def form(self, path: str) -> Form:
        return next((form for pattern, form in self.forms if re.search(pattern, path)), SAME)

    def ignores(self, name: str) -> bool:
        return any(re.search(pattern, name) for pattern in self.ignored)


@dataclass(frozen=True)
class Architecture:
    """A network that can be built, and the files that can fill it.

    Attributes:
      build: the network, from `rngs` and the sizes below as keywords; it has defaults for all sizes.
      layouts: of the files.
      sizes: what is read from the file: for each keyword of `build`, the path of an array and the axis whose length it is.
    """

    build: Callable[..., nnx.Module]
    layouts: tuple[Layout, ...]
    sizes: Mapping[str, tuple[str, int]] = field(default_factory=dict)

    def abstract(self, sizes: Mapping[str, int]) -> nnx.Module:
        """The network with shapes in the place of arrays."""
        key = jax.random.key(0)
        return nnx.eval_shape(lambda: self.build(**sizes, rngs=_OneKey(key)))


class _OneKey(nnx.Rngs):
    """The same key for every array, where values do not matter: counting keys takes time quadratic in their number under a trace."""

    def __init__(self, key: jax.Array):
        self._key = nnx.data(key)

    def params(self) -> jax.Array:
        return self._key


@dataclass(frozen=True)
class Match:
    """What came of comparing a network with a file.

    Attributes:
      network: with shapes in the place of arrays.
      layout: the one that fits best.
      problems: all that does not fit, a line each.
    """

    network: nnx.Module
    layout: Layout
    problems: tuple[str, ...]


def match(tensors: Mapping[str, Any], architecture: Architecture, sizes: Mapping[str, int] | None = None) -> Match:
    """Compare a file with a network, by names, shapes and kinds of number.

    Args:
      tensors: of the file: anything with `shape` and `dtype`.
      architecture: of the network.
      sizes: those that are given instead of read from the file.
    """
    given = dict(sizes or {})
    network = architecture.abstract(given)
    shapes = _shapes(network)
    layout = max(architecture.layouts, key=lambda layout: sum(layout.name(path) in tensors for path in shapes))
    found = {key: (path, axis) for key, (path, axis) in architecture.sizes.items() if key not in given and layout.name(path) in tensors}
    for key, (path, axis) in found.items():
        shape = tensors[layout.name(path)].shape
        if len(shape) > axis and shape[axis] not in (0, shapes[path][axis]):  # there is no network of nothing
            given[key] = shape[axis]
    if given != dict(sizes or {}):
        try:
            network = architecture.abstract(given)
        except ValueError as error:  # there is no such network
            return Match(network, layout, (str(error),))
        shapes = _shapes(network)
    return Match(network, layout, tuple(_problems(tensors, shapes, layout)))


def fill(match: Match, tensors: dict[str, np.ndarray], dtype: Any = jnp.float32) -> nnx.Module:
    """The matched network with the file's arrays. Each tensor is taken out of the dictionary when its turn comes, to save memory."""
    assert not match.problems, "the file fits the network"
    leaves, structure = jax.tree.flatten(match.network)
    arrays = []
    for path, leaf in zip(tensor_names(match.network), leaves, strict=True):
        tensor = tensors.pop(match.layout.name(path))
        array = match.layout.form(path).array(tensor, leaf.shape)
        arrays.append(jnp.asarray(np.ascontiguousarray(array, dtype)))
    return jax.tree.unflatten(structure, arrays)


def fill_randomly(network: nnx.Module, key: jax.Array, dtype: Any = jnp.float32) -> nnx.Module:
    """A network of shapes with random kernels that keep the size of what passes through ReLUs, and norms that do nothing.

    The numbers come from NumPy: `jax.random` would compile a program for each shape.
    """
    leaves, structure = jax.tree.flatten(network)
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())
    arrays = []
    for path, leaf in zip(tensor_names(network), leaves, strict=True):
        kind = path.split(".")[-1]
        if kind in _DEVIATIONS:
            array = rng.standard_normal(leaf.shape, np.float32) * np.float32(_DEVIATIONS[kind](leaf.shape))
        else:
            array = np.full(leaf.shape, kind in _ONES, np.float32)
        arrays.append(jnp.asarray(array, dtype))
    return jax.tree.unflatten(structure, arrays)


_DEVIATIONS: dict[str, Callable[[Shape], float]] = {
    "kernel": lambda shape: math.sqrt(2 / math.prod(shape[:-1])),
    "cls_token": lambda _: 0.02,
    "pos_embed": lambda _: 0.02,
}
_ONES = ("scale", "var", "gamma")


def has_sizes(tensors: Mapping[str, Any], architecture: Architecture) -> bool:
    """Whether a file has the tensors from which an architecture's sizes are read, in any layout. Quick, and rules most files out."""
    return any(all(layout.name(path) in tensors for path, _ in architecture.sizes.values()) for layout in architecture.layouts)


def numbers_used(tensors: Mapping[str, Any], architecture: Architecture) -> int:
    """How many numbers of a file an architecture has a use for, in any layout."""
    layouts = architecture.layouts
    return sum(math.prod(tensor.shape) for name, tensor in tensors.items() if not all(layout.ignores(name) for layout in layouts))


def length(network: nnx.Module, path: str, axis: int) -> int:
    """The length of an axis of one of the network's arrays."""
    return _shapes(network)[path][axis]


def _shapes(network: nnx.Module) -> dict[str, Shape]:
    return {path: leaf.shape for path, leaf in zip(tensor_names(network), jax.tree.leaves(network), strict=True)}


def _problems(tensors: Mapping[str, Any], shapes: Mapping[str, Shape], layout: Layout) -> list[str]:
    wanted = {layout.name(path): layout.form(path).shape(shape) for path, shape in shapes.items()}
    assert len(wanted) == len(shapes), "a layout names every array differently"
    spare = {name: tensor.shape for name, tensor in tensors.items() if name not in wanted and not layout.ignores(name)}
    problems = []
    for name, shape in wanted.items():
        if name not in tensors:
            problems.append(f"missing: {name} {shape}{_fitting(name, shape, spare)}")
        elif tensors[name].shape != shape:
            problems.append(f"{name}: expected the shape {shape}, the file has {tensors[name].shape}")
        elif not jnp.issubdtype(tensors[name].dtype, jnp.floating):
            problems.append(f"{name}: expected floats, the file has {tensors[name].dtype}")
    return problems + [f"unexpected: {name} {shape}" for name, shape in spare.items()]


def _fitting(name: str, shape: Shape, spare: Mapping[str, Shape]) -> str:
    """A hint at the tensor of the same shape whose name is nearest."""
    near = difflib.get_close_matches(name, [other for other in spare if spare[other] == shape], n=1, cutoff=0)
    return f"; {near[0]} would fit" if near else ""
