"""What the methods share: what a caller gives, checked; the start signal and the way back to a layer; layers and maps.

Every method is a function of a model, images and targets that gives maps. It prepares a `Task`, and describes what is to be computed by a
hashable record, which `compute` compiles once for each record, model and shape.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from extremal_jax.boundary.images import check_images
from extremal_jax.boundary.models import Model, check_model, part
from extremal_jax.boundary.targets import check_targets
from extremal_jax.graph.activations import Activation, activations, capture, check_name, intervene
from extremal_jax.graph.canonical import canonical
from extremal_jax.graph.functional import Arrays, Program
from extremal_jax.graph.varying import varying_alike
from extremal_jax.ground.filters import gaussian_blur, resize
from extremal_jax.ground.pytrees import AnyArray

Computation = Callable[..., Array]  # (model, images, targets, ...) -> maps; hashable
_MOST_EXTRA_TOKENS = 16  # class tokens and registers


class Task(NamedTuple):
    """A model, images and targets, ready for a computation.

    Attributes:
      program: the model without its arrays.
      arrays: the model's.
      images: (N, H, W, C).
      targets: (N,), or None where all classes are asked for.
      single: whether the caller gave an image rather than a batch.
    """

    program: Program
    arrays: Arrays
    images: AnyArray
    targets: AnyArray | None
    single: bool

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.images.shape[1], self.images.shape[2]

    def compute(self, computation: Computation, *others: Any) -> Array:
        """The maps of a computation, which may take other arrays besides: (N, h, w), or (h, w) for a single image."""
        maps = compute(computation, self.program, self.arrays, self.images, self.targets, *others)
        return maps[0] if self.single else maps


def prepare(model: Any, images: Any, targets: Any, shown: int | None = None, all_classes: bool = False) -> Task:
    """Check what a caller gave, and take the model apart.

    Args:
      model: a function from images (B, H, W, C) to scores (B, classes) or (B, h, w, classes).
      images: (H, W, C) or (N, H, W, C).
      targets: one class for all images or one per image: indices, or names where the model has `classes`. None: all classes.
      shown: how many images the computation shows to the model at a time; None: all of them.
      all_classes: whether the method makes maps of all classes, so that targets may be None.

    Raises:
      TypeError, ValueError: as `extremal_perturbation` does.
    """
    check_model(model)
    if targets is None and not all_classes:
        raise TypeError("targets must be a class for each image, or one for all, got None; of the methods, only rise explains all classes")
    images = check_images("images", images)
    single = images.ndim == 3
    images, targets = varying_alike(images, targets)
    batch = images[None] if single else images
    parted = part(model, batch, len(batch) if shown is None else shown)
    if targets is not None:
        targets = check_targets(targets, None if single else len(batch), parted.num_scores, "logit", parted.classes)
    return Task(parted.tail, parted.arrays, batch, targets, single)


@functools.partial(jax.jit, static_argnums=(0, 1))
def compute(computation: Computation, program: Program, arrays: Arrays, *arguments: Any) -> Array:
    """A computation, compiled. The model that it is given is a pytree, so that it can be taken apart again."""

    def whole(arrays: Arrays, *arguments: Any) -> Array:
        return computation(jax.tree_util.Partial(program, arrays), *arguments)

    return canonical(whole)(arrays, *jax.tree.map(jnp.asarray, arguments))


@dataclass(frozen=True)
class Finish:
    """What is done to maps at last.

    Attributes:
      size: (height, width) to resize them to by bilinear interpolation, or None.
      smooth: the standard deviation of a Gaussian blur after that, as a share of the longer side.
    """

    size: tuple[int, int] | None
    smooth: float

    def __call__(self, maps: Float[Array, "*N h w"]) -> Float[Array, "*N h2 w2"]:
        maps = maps[..., None]
        if self.size is not None:
            maps = resize(maps, self.size)
        return gaussian_blur(maps, self.smooth * max(maps.shape[-3:-1]))[..., 0]


@functools.partial(jax.jit, static_argnums=0)
def finished(finish: Finish, maps: Float[Array, "*N h w"]) -> Float[Array, "*N h2 w2"]:
    """Maps with what is to be done to them done, compiled."""
    return finish(maps)


def finishing(resize: Any, smooth: Any, size: tuple[int, int]) -> Finish:
    """What a caller asks to be done to maps.

    Args:
      resize: True for the size of the images, (height, width) for another, False for none.
      smooth: as in `Finish`.
      size: of the images.

    Raises:
      ValueError: if either is something else.

    Example:
      >>> finishing(True, 0.0, (224, 320)).size
      (224, 320)
    """
    if not isinstance(resize, bool):
        try:
            height, width = map(operator.index, resize)
        except (TypeError, ValueError) as error:
            raise ValueError(f"resize must be True, False or (height, width), in whole pixels, got {resize!r}") from error
        if min(height, width) < 1:
            raise ValueError(f"resize must be a height and a width of at least 1, got {resize!r}")
        size = height, width
    if not 0 <= number(smooth) < np.inf:
        raise ValueError(f"smooth must be a share of the longer side, such as 0.02, and not negative, got {smooth!r}")
    return Finish(None if resize is False else size, number(smooth))


def number(value: Any) -> float:
    """A real number as a float, and anything else as NaN, which lies between no bounds.

    Example:
      >>> number(2), number("2"), number(None)
      (2.0, nan, nan)
    """
    try:
        return float("nan" if isinstance(value, str) else value)
    except (TypeError, ValueError):
        return float("nan")


def check_no_layer(method: str, at: Any) -> None:
    """Raise a ValueError if a layer is named to a method that makes maps of images alone."""
    if at is not None:
        raise ValueError(f"{method} makes maps of the image alone: at must be None, got {at!r}; gradient and grad_cam make maps of layers")


@dataclass(frozen=True)
class Layer:
    """Where in a model a map is made.

    Attributes:
      at: the name of an activation; None: the images.
      channel_axis: which of the activation's axes holds the channels; the first is that of the batch.
    """

    at: str | None = None
    channel_axis: int = -1

    def __post_init__(self) -> None:
        if self.at is not None:
            check_name("at", self.at)
        if isinstance(self.channel_axis, bool) or not isinstance(self.channel_axis, int | np.integer):
            raise TypeError(f"channel_axis must be a whole number, such as -1 for the last axis, got {self.channel_axis!r}")
        if self.at is None and self.channel_axis not in (-1, 3):
            raise ValueError(
                f"channel_axis is that of the activation `at`, and images are (N, H, W, C), got {self.channel_axis} without `at`"
            )

    def spread(self, values: Float[Array, "N ..."], model: Model, images: Float[Array, "N H W C"]) -> Float[Array, "N h w channels"]:
        """Values of the layer as maps in float32: tokens (N, T, channels) in rows, of the images' aspect, without those before the first
        patch.

        Raises:
          ValueError: if they are not spatial.
        """
        axis, rank = self.channel_axis, values.ndim
        grid = None
        if rank in (3, 4) and -rank <= axis < rank and axis % rank and len(values) == len(images):
            values = jnp.moveaxis(values, axis, -1)
            grid = values.shape[1:3] if rank == 4 else token_grid(values.shape[1], images.shape[1:3])
        if grid is None:
            known = [activation.name for activation in activations(model, images) if _is_spatial(activation, images)]
            raise ValueError(
                f"at must name a map, (N, h, w, channels), or the tokens of one, (N, tokens, channels), with the channels on"
                f" channel_axis={axis}; {self.at!r} is {values.shape}, for images of {images.shape};"
                f" {'these are: ' + ', '.join(map(repr, known)) if known else 'nor is any other activation'}"
            )
        values = values.astype(jnp.promote_types(values.dtype, jnp.float32))
        return values if rank == 4 else values[:, -grid[0] * grid[1] :].reshape(len(values), *grid, values.shape[-1])


def token_grid(count: int, size: tuple[int, ...]) -> tuple[int, int] | None:
    """(h, w): how the last of so many tokens cover an image in rows of square patches; None if they do not, but for a few extra ones.

    Example:
      >>> token_grid(1 + 14 * 20, (224, 320))
      (14, 20)
    """
    height, width = size
    for patch in range(1, min(size) + 1):
        if height % patch == width % patch == 0 and (tokens := height * width // patch**2) <= count:
            return (height // patch, width // patch) if count - tokens <= _MOST_EXTRA_TOKENS and tokens > 1 else None
    return None


def _is_spatial(activation: Activation, images: Array) -> bool:
    shape = activation.shape
    return shape[:1] == images.shape[:1] and (len(shape) == 4 or (len(shape) == 3 and token_grid(shape[1], images.shape[1:3]) is not None))


def pull_back(
    function: Callable[[Array], Array],
    images: Float[Array, "N H W C"],
    targets: Int[Array, " N"],
    at: str | None = None,
    taps: Mapping[str, Callable[[Array], Array]] | None = None,
) -> tuple[Array, Array]:
    """The value of a layer, and what the targets' scores send back to it.

    Args:
      function: from images to scores.
      images: (N, H, W, C).
      targets: (N,).
      at: the name of an activation; None: the images.
      taps: for names of activations, functions that their values go through; at the layer itself, after it.

    Returns:
      The value, and the cotangent of the same shape: the gradient, unless `function` has another backward pass.

    Raises:
      ValueError: as `graph.intervene` does.
    """
    taps = taps or {}
    if at is None:
        value, rest = images, intervene(function, taps) if taps else function
    else:
        value = capture(function, at)(images)[1][at]

        def rest(value: Array) -> Array:
            return intervene(function, {**taps, at: lambda _: taps[at](value) if at in taps else value})(images)

    scores, back = jax.vjp(rest, value)
    return value, back(start_signal(scores, targets))[0]


def start_signal(scores: Float[Array, "N *places classes"], targets: Int[Array, " N"]) -> Float[Array, "N *places classes"]:
    """One at the target's score, at all places of a dense output; zero elsewhere.

    Example:
      >>> import jax.numpy as jnp
      >>> start_signal(jnp.ones((1, 3)), jnp.array([1])).tolist()
      [[0.0, 1.0, 0.0]]
    """
    one_hot = jax.nn.one_hot(targets, scores.shape[-1], dtype=scores.dtype)
    return jnp.broadcast_to(one_hot.reshape(len(scores), *(1,) * (scores.ndim - 2), -1), scores.shape)
