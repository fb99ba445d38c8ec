"""One backward pass: the target's score is sent back to the images or to a layer, and a map is made of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from extremal_jax.attribution.common import Maps, Model, prepare, wide
from extremal_jax.boundary.layouts import Layout
from extremal_jax.graph.activations import Activation, activations, capture, check_name, intervene
from extremal_jax.graph.rules import RuleTable, with_backward_rules
from extremal_jax.ground.checks import check_choice
from extremal_jax.operators.axes import Axes

ToMap = Callable[[Float[Array, "N ... C"], Float[Array, "N ... C"]], Float[Array, "N ..."]]  # of values and gradients
Table = RuleTable | None  # of the backward pass; None: the derivative
_MOST_EXTRA_TOKENS = 16  # class tokens and registers
POSITIONS: dict[str, Callable[[Array], Array]] = {
    "sum": jnp.ones_like,
    "softmax": lambda scores: jax.nn.softmax(scores, axis=tuple(range(1, scores.ndim))),
}
"""Functions from a target's scores, (N, *positions), to the weights of their positions, by name."""


def backpropagate(
    method: str,
    model: Any,
    images: Any,
    targets: Any,
    layer: Layer,
    to_map: ToMap,
    resize: Any,
    smooth: Any,
    table: Table = None,
    *,
    axes: Axes | str | None,
    positions: str,
) -> Float[Array, "*maps"]:
    """Check the arguments of a method, and compute its maps by one backward pass, by a table's rules in place of the derivative."""
    check_choice("positions", positions, POSITIONS)
    task = prepare(method, model, images, targets, resize, smooth, axes=axes)
    layer = layer.of(task.layout)
    return task.differentiate(_backpropagate, layer=layer, to_map=to_map, table=table, positions=positions)


def _backpropagate(
    model: Model, images: Float[Array, "N ... C"], targets: Int[Array, " N"], *, layer: Layer, to_map: ToMap, table: Table, positions: str
) -> Maps:
    function = model if table is None else with_backward_rules(model, table)
    value, sent = pull_back(function, images, targets, layer.at, positions=positions)
    return Maps(to_map(*(layer.spread(part, model, images) for part in (value, sent))), sent)


@dataclass(frozen=True)
class Layer:
    """A layer of a model, or the images.

    Attributes:
      at: the name of an activation; None: the images.
      channel_axis: the axis of the activation that holds the channels; the first axis is the batch.
      tokens: whether an activation (N, T, channels) may be the tokens of patches: not where the inputs are series.
    """

    at: str | None = None
    channel_axis: int = -1
    tokens: bool = True

    def __post_init__(self) -> None:
        if self.at is not None:
            check_name("at", self.at)
        if isinstance(self.channel_axis, bool) or not isinstance(self.channel_axis, int | np.integer):
            raise TypeError(f"channel_axis must be a whole number, such as -1 for the last axis, got {self.channel_axis!r}")
        if self.at is None and self.channel_axis not in (-1, 3):
            raise ValueError(
                f"channel_axis is an axis of the activation `at`, and images are (N, H, W, C), got {self.channel_axis} without `at`"
            )

    def of(self, layout: Layout) -> Layer:
        """The same layer of a model of inputs of a layout."""
        return replace(self, tokens=all(layout.smooth))

    def spread(self, values: Float[Array, "N ..."], model: Model, images: Float[Array, "N ... C"]) -> Float[Array, "N ... channels"]:
        """Arrange values of the layer as maps in float32, with as many axes as those of the images.

        Tokens (N, T, channels) become rows of the images' aspect, without those before the first patch.

        Raises:
          ValueError: if the values are not spatial.
        """
        axis, rank, size = self.channel_axis, values.ndim, images.shape[1:-1]
        if self.at is None and axis not in (-1, images.ndim - 1):
            raise ValueError(f"channel_axis is an axis of the activation `at`, got {axis} without `at`, for inputs of {images.shape}")
        is_map = rank == images.ndim
        grid = None
        if (is_map or (rank == 3 and self.tokens)) and -rank <= axis < rank and axis % rank and len(values) == len(images):
            values = jnp.moveaxis(values, axis, -1)
            grid = values.shape[1:-1] if is_map else token_grid(values.shape[1], size)
        if grid is None:
            known = [activation.name for activation in activations(model, images) if _is_spatial(activation, images, self.tokens)]
            others = "these are spatial: " + ", ".join(map(repr, known)) if known else "no other activation is spatial"
            form = (
                "(N, h, w, channels), or the tokens of one, (N, tokens, channels)"
                if len(size) == 2 and self.tokens
                else f"with {len(size)} axes and channels"
            )
            raise ValueError(
                f"at must name a map, {form}, with the channels on"
                f" channel_axis={axis}; {self.at!r} is {values.shape}, for images of {images.shape}; {others}"
            )
        values = wide(values)
        return values if is_map else values[:, -math.prod(grid) :].reshape(len(values), *grid, values.shape[-1])


def token_grid(count: int, size: tuple[int, ...]) -> tuple[int, int] | None:
    """Find the grid (h, w) of square patches that the last of so many tokens are, in an image (H, W); None if they are
    none, as in inputs of another number of axes.

    Example:
      >>> token_grid(1 + 14 * 20, (224, 320))
      (14, 20)
    """
    if len(size) != 2:
        return None
    height, width = size
    for patch in range(1, min(size) + 1):
        if height % patch == width % patch == 0 and (tokens := height * width // patch**2) <= count:
            return (height // patch, width // patch) if count - tokens <= _MOST_EXTRA_TOKENS and tokens > 1 else None
    return None


def _is_spatial(activation: Activation, images: Array, tokens: bool) -> bool:
    shape = activation.shape
    if shape[:1] != images.shape[:1] or not jnp.issubdtype(activation.dtype, jnp.floating):
        return False
    return len(shape) == images.ndim or (tokens and len(shape) == 3 and token_grid(shape[1], images.shape[1:-1]) is not None)


def pull_back(
    function: Callable[[Array], Array],
    images: Float[Array, "N ... C"],
    targets: Int[Array, " N"],
    at: str | None = None,
    taps: Mapping[str, Callable[[Array], Array]] | None = None,
    positions: str = "sum",
) -> tuple[Array, Array]:
    """Compute the value of a layer, and the cotangent that the targets' scores send back to it.

    Args:
      function: from images to scores.
      images: (N, ..., C).
      targets: (N,).
      at: the name of an activation; None: the images.
      taps: functions by the names of the activations that they are applied to; at the layer itself, after it.
      positions: a key of `POSITIONS`.

    Returns:
      The value, and the cotangent of the same shape: the gradient, unless `function` has another backward pass.

    Raises:
      ValueError: as `graph.intervene` does, and for a layer of something else than real floats.
    """
    taps = taps or {}
    if at is None:
        value, rest = images, intervene(function, taps) if taps else function
    else:
        value = capture(function, at)(images)[1][at]
        if not jnp.issubdtype(value.dtype, jnp.floating):
            raise ValueError(f"at must name an activation of real floats, and {at!r} is of {value.dtype}")

        def rest(value: Array) -> Array:
            return intervene(function, {**taps, at: lambda _: taps[at](value) if at in taps else value})(images)

    scores, back = jax.vjp(rest, value)
    one_hot = jax.nn.one_hot(targets, scores.shape[-1], dtype=scores.dtype)
    one_hot = one_hot.reshape(len(scores), *(1,) * (scores.ndim - 2), -1)
    weights = POSITIONS[positions](jnp.where(one_hot == 1, scores, 0).sum(axis=-1))
    return value, back(weights[..., None] * one_hot)[0]
