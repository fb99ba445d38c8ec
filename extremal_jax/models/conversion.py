"""Weights from files into networks: one engine, driven by tables.

A `Layout` is data: how a publisher names and shapes the arrays of a network. `match` compares a network with a file, by
names and shapes alone, and lists everything that does not fit. `fill` then converts the arrays one by one.

Every array of the network is filled, and every tensor of the file is used once or ignored by the layout; anything else is a
problem. A trainer may have put the network's names under a prefix, such as `model.`; tensors outside it belong to the trainer.
"""

from __future__ import annotations

import difflib
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from extremal_jax.models.formats.pytorch import is_ema
from extremal_jax.models.formats.safetensors import tensor_names

Shape = tuple[int, ...]


class Form(NamedTuple):
    """How a file lays out one array of a network.

    Attributes:
      shape: maps the array's shape in the network to the tensor's shape in the file.
      array: maps the tensor and the array's shape to the array.
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
"""`KERNEL` of a network that takes blue first, for one that takes red first."""
FLAT_KERNEL = Form(
    lambda shape: (shape[-1], math.prod(shape[:-1])), lambda tensor, shape: _outputs_last(tensor.reshape(_outputs_first(shape)))
)
"""(outputs, inputs of the whole window) for (*space, inputs, outputs)."""
POINTWISE_KERNEL = Form(lambda shape: (*_outputs_first(shape), 1, 1), lambda tensor, _: tensor[..., 0, 0].T)
"""A linear layer as a 1x1 convolution."""
CHANNELS_OF_MAPS = Form(lambda shape: (*shape, 1, 1), lambda tensor, shape: tensor.reshape(shape))
"""(channels, 1, 1) for (channels,)."""


def shifted(by: float) -> Form:
    """The tensor plus a number: variances of a network whose batch norms have another epsilon, which is added to the variance."""
    return Form(lambda shape: shape, lambda tensor, _: tensor + np.float32(by))


@dataclass(frozen=True)
class Layout:
    """How a publisher's files name and shape the arrays of a family of networks.

    Attributes:
      publisher: its name, for messages.
      names: (pattern, replacement) pairs for `re.sub`. Applied in order, they turn the dotted path of an array into its
        tensor's name.
      forms: (pattern, form) pairs. The first whose pattern is found in the path applies; without one the tensor is the array.
      ignored: patterns of tensors that the network does not use.
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
        """The form of the array at a path."""
        return next((form for pattern, form in self.forms if re.search(pattern, path)), SAME)

    def ignores(self, name: str) -> bool:
        """Whether the network does not use the tensor of this name."""
        return any(re.search(pattern, name) for pattern in self.ignored)


_NAMES = ((r"\.kernel$", ".weight"), (r"\.scale$", ".weight"), (r"\.mean$", ".running_mean"), (r"\.var$", ".running_var"))


def pytorch(
    publisher: str,
    *names: tuple[str, str | Callable[[re.Match[str]], str]],
    forms: tuple[tuple[str, Form], ...] = (),
    ignored: tuple[str, ...] = (),
) -> Layout:
    """A layout of PyTorch files: the names and forms of a family, followed by those of PyTorch's layers.

    Example:
      >>> layout = pytorch("timm", (r"^fc", "head.fc"))
      >>> layout.name("fc.kernel"), layout.name("norm.mean"), layout.ignores("norm.num_batches_tracked")
      ('head.fc.weight', 'norm.running_mean', True)
    """
    return Layout(publisher, (*names, *_NAMES), (*forms, (r"kernel$", KERNEL)), (*ignored, r"(^|\.)num_batches_tracked$"))


@dataclass(frozen=True)
class Architecture:
    """A network that can be built, and the files that can fill it.

    Attributes:
      build: makes the network, from `rngs` and the sizes below as keywords; it has defaults for all sizes.
      layouts: the layouts of the files.
      sizes: keywords of `build` that are read from the file: each is the length of an axis of the array at a path.
    """

    build: Callable[..., nnx.Module]
    layouts: tuple[Layout, ...]
    sizes: Mapping[str, tuple[str, int]] = field(default_factory=dict)

    def abstract(self, sizes: Mapping[str, int]) -> nnx.Module:
        """The network with shapes in place of arrays."""
        key = jax.random.key(0)
        return nnx.eval_shape(lambda: self.build(**sizes, rngs=_OneKey(key)))


class _OneKey(nnx.Rngs):
    """One key for all arrays, whose values do not matter here: under a trace, counting keys takes quadratic time."""

    def __init__(self, key: jax.Array):
        self._key = nnx.data(key)

    def params(self) -> jax.Array:
        return self._key


@dataclass(frozen=True)
class Match:
    """The comparison of a network with a file, in the layout that fits best."""

    network: nnx.Module  # with shapes in place of arrays
    layout: Layout
    prefix: str  # before the names of the network's tensors in the file
    problems: tuple[str, ...]  # everything that does not fit, a line each


def match(tensors: Mapping[str, Any], architecture: Architecture, sizes: Mapping[str, int] | None = None, *, ema: bool = False) -> Match:
    """Compare a file with a network, by names, shapes and kinds of number. `sizes` replace those in the file.

    With `ema`, match the tensors under a prefix that speaks of an exponential moving average, such as `model_ema.`.
    """
    given = dict(sizes or {})
    network = architecture.abstract(given)
    shapes = array_shapes(network)
    layout, prefixes = _places(tensors, architecture.layouts, list(shapes), ema)
    if len(prefixes) != 1:
        several = f"the file holds several networks that fit, under {' and '.join(map(repr, prefixes))}; remove all but one"
        return Match(network, layout, "", (several if prefixes else "no exponential moving average of the weights, as ema=True asks for",))
    prefix = prefixes[0]
    inside = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    tensors = {name: tensor for name, tensor in inside.items() if not is_ema(name)}
    found = {key: (path, axis) for key, (path, axis) in architecture.sizes.items() if key not in given and layout.name(path) in tensors}
    for key, (path, axis) in found.items():
        shape = tensors[layout.name(path)].shape
        if len(shape) > axis and shape[axis] not in (0, shapes[path][axis]):  # no network has a size of 0
            given[key] = shape[axis]
    if given != dict(sizes or {}):
        try:
            network = architecture.abstract(given)
        except ValueError as error:  # there is no such network
            return Match(network, layout, prefix, (str(error),))
        shapes = array_shapes(network)
    return Match(network, layout, prefix, tuple(_problems(tensors, shapes, layout)))


def _places(tensors: Mapping[str, Any], layouts: Sequence[Layout], paths: Sequence[str], ema: bool) -> tuple[Layout, list[str]]:
    """The layout that finds most of a network's tensors, and the prefixes of those names: one, unless several networks fit."""
    found: Counter[tuple[int, str]] = Counter()
    for index, layout in enumerate(layouts):
        wanted = {layout.name(path) for path in paths}
        for name in tensors:
            starts = (0, *(dot.end() for dot in re.finditer(r"\.", name)))
            found.update((index, name[:start]) for start in starts if name[start:] in wanted)
    pool = [place for place in found if is_ema(place[1]) == ema] or ([] if ema else list(found))
    if not pool:
        return layouts[0], [] if ema else [""]
    best = max(found[place] for place in pool)
    pool = [place for place in pool if found[place] == best]
    mentions = (max if ema else min)(prefix.count("ema") for _, prefix in pool)  # of "ema.online." and "ema.ema." beside each other
    index = min(index for index, prefix in pool if prefix.count("ema") == mentions)
    prefixes = sorted(prefix for other, prefix in pool if other == index and prefix.count("ema") == mentions)
    return layouts[index], prefixes[:1] if best < len(paths) or "" in prefixes else prefixes


def fill(match: Match, tensors: dict[str, np.ndarray], dtype: Any = jnp.float32) -> nnx.Module:
    """The matched network with the file's arrays. To save memory, each tensor leaves the dictionary when it is converted."""
    assert not match.problems, "the file fits the network"

    def array(path: str, shape: Shape) -> np.ndarray:
        tensor = tensors.pop(match.prefix + match.layout.name(path))
        return np.ascontiguousarray(match.layout.form(path).array(tensor, shape), dtype)

    return _filled(match.network, array, dtype)


def fill_randomly(network: nnx.Module, key: jax.Array, dtype: Any = jnp.float32) -> nnx.Module:
    """A network of shapes, filled with random kernels (He initialisation) and with norms that change nothing.

    The numbers come from NumPy, because `jax.random` would compile a program for each shape.
    """
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())

    def array(path: str, shape: Shape) -> np.ndarray:
        kind = path.split(".")[-1]
        if kind in _DEVIATIONS:
            return rng.standard_normal(shape, np.float32) * np.float32(_DEVIATIONS[kind](shape))
        return np.full(shape, kind in _ONES, np.float32)

    return _filled(network, array, dtype)


def _filled(network: nnx.Module, array: Callable[[str, Shape], np.ndarray], dtype: Any) -> nnx.Module:
    """A network of shapes with the arrays for their paths."""
    arrays = [jnp.asarray(array(path, shape), dtype) for path, shape in array_shapes(network).items()]
    return jax.tree.unflatten(jax.tree.structure(network), arrays)


_DEVIATIONS: dict[str, Callable[[Shape], float]] = {
    "kernel": lambda shape: math.sqrt(2 / math.prod(shape[:-1])),
    "cls_token": lambda _: 0.02,
    "pos_embed": lambda _: 0.02,
}
_ONES = ("scale", "var", "gamma")


def may_fit(tensors: Mapping[str, Any], architecture: Architecture, parameters: int) -> bool:
    """Whether a file has about this count of numbers, and a tensor from which a size is read. Quick; rules most files out."""
    layouts = architecture.layouts
    used = sum(math.prod(tensor.shape) for name, tensor in tensors.items() if not all(layout.ignores(name) for layout in layouts))
    names = tuple(layout.name(path) for layout in layouts for path, _ in architecture.sizes.values())
    return 2 / 3 < used / parameters < 3 / 2 and any(name.endswith(names) for name in tensors)


def array_shapes(network: nnx.Module) -> dict[str, Shape]:
    """The shapes of a network's arrays by path."""
    return dict(zip(tensor_names(network), (leaf.shape for leaf in jax.tree.leaves(network)), strict=True))


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
    """A hint at the tensor of the same shape with the nearest name."""
    near = difflib.get_close_matches(name, [other for other in spare if spare[other] == shape], n=1, cutoff=0)
    return f"; {near[0]} would fit" if near else ""
