"""A caller's model, checked and parted once: into a program and its arrays, and at a layer into a head and a tail.

The head runs once for an image, the tail at every step. All programs are hashable and take the model's arrays as
arguments: equal programs share a compilation, and other weights compile nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import sys
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jaxtyping import Float

from extremal_jax.boundary.targets import Classes
from extremal_jax.graph.activations import Activation, check_name
from extremal_jax.graph.cut import Parts, split
from extremal_jax.graph.functional import Arrays, Program, applied, partition, refit
from extremal_jax.graph.interpreter import bodies
from extremal_jax.graph.varying import like
from extremal_jax.ground.pytrees import AnyArray

Model = Callable[..., Any]
Example = jax.ShapeDtypeStruct | Array  # of images; an array under `shard_map`, where its type says over which devices it varies

_DOUBTFUL = frozenset({"pure_callback", "io_callback", "while"})  # equations that have no derivative, unless nothing active reaches them
CONVERSIONS = {  # modules of other frameworks, and what to do with them
    "keras": "convert it by ej.models.from_keras(model), with Keras on its JAX backend",
    "torch": "convert it by ej.models.from_torch(module, image)",
}


class PartedModel(NamedTuple):
    """A model, parted once."""

    head: Program | None  # (arrays, images) -> the activation that is masked; None where the images themselves are
    head_arrays: Arrays
    tail: Program  # (arrays, images or activations) -> scores
    arrays: Arrays
    masked: jax.ShapeDtypeStruct  # shape and dtype of the images or activations that are masked, (N, ...)
    num_scores: int
    classes: Classes | None  # the names of the classes, where the model has `classes`
    no_gradient: str  # why the model has no gradient, in JAX's words; "" if it has one
    shown: int  # how many images, or activations, the tail is called with at a time

    def activation(self, images: Float[AnyArray, "N ..."]) -> Float[AnyArray, "N ..."]:
        """The activation of images at the layer: one run of the head, compiled. The images themselves where there is no
        head."""
        return images if self.head is None else _run(self.head, self.head_arrays, jnp.asarray(images))


def part(model: Model, images: Any, shown: int, at: str | None = None) -> PartedModel:
    """Part a model for images (N, H, W, C), so that the tail can be called with `shown` images or activations at a
    time.

    `at` is the name of the layer's activation; None: the images are masked.
    """
    check_model(model)
    example = like(jax.ShapeDtypeStruct((shown, *images.shape[1:]), images.dtype), images)
    with _failures(example):
        program, arrays = partition(model, example)
        outputs, no_gradient = _traced(program, arrays, example)
    classes = getattr(model, "classes", None)
    _check_outputs(outputs, example, classes)
    _check_inference(model, program, arrays, images, shown)
    masked = jax.ShapeDtypeStruct(images.shape, images.dtype)
    head, head_arrays, tail = None, arrays[:0], program
    if at is not None:
        _check_layer(program, arrays, at, example)
        tail = Tail(program, at, example.shape[1:], example.dtype)
        whole = like(masked, images)
        with _failures(whole):
            program, head_arrays = refit(program, arrays, model, whole)
        head, activation = Head(program, at), _check_layer(program, head_arrays, at, whole)
        masked = jax.ShapeDtypeStruct(activation.shape, activation.dtype)
    return PartedModel(head, head_arrays, tail, arrays, masked, outputs.shape[-1], classes, no_gradient, shown)


def for_rows(parted: PartedModel, model: Model, images: Any, shown: int) -> PartedModel:
    """A parted model whose tail is called with another number of rows at a time. Only a closure is traced again for it."""
    if shown == parted.shown:
        return parted
    example = like(jax.ShapeDtypeStruct((shown, *images.shape[1:]), images.dtype), images)
    tail: Any = parted.tail
    with _failures(example):
        program, arrays = refit(tail.model if isinstance(tail, Tail) else tail, parted.arrays, model, example)
    tail = dataclasses.replace(tail, model=program) if isinstance(tail, Tail) else program
    return parted._replace(tail=tail, arrays=arrays, shown=shown)


def part_before(model: Model, at: str, example: Example) -> tuple[Head, Arrays, Activation]:
    """The head of a model, its arrays, and the activation that it gives for images like the example."""
    check_model(model)
    with _failures(example):
        program, arrays = partition(model, example)
    return Head(program, at), arrays, _check_layer(program, arrays, at, example)


def check_differentiable_before(head: Head, arrays: Arrays, example: jax.ShapeDtypeStruct) -> None:
    """Raise a ValueError if the part of a model before a layer has no gradient."""
    if reason := _traced(head, arrays, example)[1]:
        raise ValueError(f"this model cannot be differentiated before {head.layer!r}, so nothing can be inverted. {reason}")


def check_model(model: object) -> None:
    """Raise a TypeError unless a model is a function."""
    if not callable(model):
        raise TypeError(f"model must be a function of images (B, H, W, C), got {type(model).__name__}")
    if framework := other_framework(getattr(model, "__self__", model)):  # of a bound method
        raise TypeError(f"model must be a function of JAX arrays, got a module of {framework}; {CONVERSIONS[framework]}")


def other_framework(model: object) -> str:
    """The framework that a module comes from, one of `CONVERSIONS`; "" for any other object. It imports none of them."""
    frameworks = (kind.__module__.partition(".")[0] for kind in type(model).__mro__)
    return next((framework for framework in frameworks if framework in CONVERSIONS), "")


def check_differentiable(parted: PartedModel) -> None:
    """Raise a ValueError if a model has no gradient."""
    if parted.no_gradient:
        raise ValueError(f"this model cannot be differentiated; rise and occlusion need no gradient. {parted.no_gradient}")


@dataclass(frozen=True)
class Head:
    """The part of a model before a layer: (arrays, images) -> its activation."""

    model: Program
    layer: str

    def __call__(self, arrays: Arrays, images: Float[Array, "B ..."]) -> Float[Array, "B ..."]:
        return _parts(self.model, arrays, self.layer, images).before(images)


@dataclass(frozen=True)
class Tail:
    """The part of a model after a layer: (arrays, activation) -> scores."""

    model: Program
    layer: str
    shape: tuple[int, ...]  # (H, W, C) of the images that the activations belong to
    dtype: Any  # of the images

    def __call__(self, arrays: Arrays, activation: Float[Array, "B ..."]) -> Any:
        images = like(jax.ShapeDtypeStruct((len(activation), *self.shape), self.dtype), activation)
        return _parts(self.model, arrays, self.layer, images).after(activation)


def _parts(program: Program, arrays: Arrays, at: str, images: Any) -> Parts:
    return split(lambda images: program(arrays, images), at, images)


_run = jax.jit(lambda program, arrays, images: program(arrays, images), static_argnums=0)


@contextlib.contextmanager
def _failures(example: Example) -> Iterator[None]:
    """Turn any error of the model into a ValueError that says how it was called."""
    try:
        yield
    except Exception as error:
        hint = "; a layer is in training mode: call model.eval() before" if "Cannot mutate" in str(error) else ""  # of Flax NNX
        raise ValueError(
            f"model failed when called with images of shape {example.shape} and dtype {example.dtype}: {error}{hint}"
        ) from error


def _traced(program: Program, arrays: Arrays, example: Example) -> tuple[Any, str]:
    """What the trace of a program says: its outputs, and why it has no gradient."""
    if isinstance(example, Tracer):
        return _trace(program, list(arrays), example)
    return _remembered_trace(program, tuple(jax.typeof(array) for array in arrays), example)


@functools.lru_cache(maxsize=128)
def _remembered_trace(program: Program, arrays: tuple[Any, ...], images: jax.ShapeDtypeStruct) -> tuple[Any, str]:
    """Remembered, since tracing a model takes longer than a step of it on a GPU."""
    return _trace(program, list(arrays), images)


def _trace(program: Program, arrays: Arrays, images: Any) -> tuple[Any, str]:
    closed, outputs = jax.make_jaxpr(program, return_shape=True)(arrays, images)
    doubtful = any(map(_is_doubtful, closed.jaxpr.eqns))
    return outputs, failure_of_gradient(program, arrays, images) if doubtful else ""


def _is_doubtful(equation: Any) -> bool:
    """Whether an equation may have no derivative, where no custom derivative covers it."""
    name = equation.primitive.name
    if name in _DOUBTFUL or name.startswith("custom_"):
        return name in _DOUBTFUL
    return any(_is_doubtful(inner) for body in bodies(equation) for inner in body.jaxpr.eqns)


def failure_of_gradient(program: Program, arrays: Arrays, images: Any) -> str:
    """The first line of the error with which JAX differentiates a program; "" if there is none."""
    try:
        jax.make_jaxpr(lambda arrays, images: jax.grad(lambda images: program(arrays, images).sum())(images))(arrays, images)
    except Exception as error:  # JAX has no class of its own for this
        return str(error).partition("\n")[0]
    return ""


def _check_outputs(outputs: Any, example: Example, classes: Classes | None) -> None:
    """Raise a ValueError unless outputs are scores."""
    shape = getattr(outputs, "shape", None)
    if shape is None or len(shape) not in (2, 4) or shape[0] != example.shape[0] or not jnp.issubdtype(outputs.dtype, jnp.floating):
        form = type(outputs).__name__ if shape is None else f"{outputs.dtype}{list(shape)}"
        raise ValueError(
            f"model must return scores (B, classes) or (B, h, w, classes), floats; for images of shape {example.shape} it returned {form}"
        )
    if len(shape) == 4:
        known = None if classes is None else len(classes)
        by_size = _has_aspect(shape[2:], example) and not _has_aspect(shape[1:3], example)
        if by_size or (known is not None and shape[1] == known != shape[3]):
            raise ValueError(
                f"model must return dense scores with the classes last, (B, h, w, classes), got {list(shape)} for images of shape"
                f" {tuple(example.shape)}; return scores.transpose(0, 2, 3, 1)"
            )


def _has_aspect(shape: tuple[int, ...], images: Example) -> bool:
    """Whether a height and a width are those of the images, or of the images scaled down."""
    (height, width), (full_height, full_width) = shape, images.shape[1:3]
    return abs(height * full_width - width * full_height) < max(full_height, full_width)


def _check_layer(program: Program, arrays: Arrays, at: str, example: Example) -> Activation:
    """The activation at a layer. Raises an error unless the model comes apart there."""
    check_name("at", at)
    try:
        if isinstance(example, Tracer):
            activation = _parts(program, arrays, at, example).activation
        else:
            activation = _remembered_activation(program, tuple(jax.typeof(array) for array in arrays), at, example)
    except ValueError as error:
        raise ValueError(f"at: {error}") from error
    if activation.shape[:1] != example.shape[:1]:
        raise ValueError(
            f"at: the activation {at!r} must have a leading axis of {example.shape[0]} images, got the shape {activation.shape}"
        )
    return activation


@functools.lru_cache(maxsize=128)
def _remembered_activation(program: Program, arrays: tuple[Any, ...], at: str, images: jax.ShapeDtypeStruct) -> Activation:
    activation: list[Activation] = []
    jax.eval_shape(lambda arrays: activation.append(_parts(program, arrays, at, images).activation), list(arrays))
    return activation[0]


def _check_inference(model: Model, program: Program, arrays: Arrays, images: Any, shown: int) -> None:
    """Refuse a Flax NNX module whose batch norms mix the images of a batch; warn of dropout that is not switched off."""
    norms, dropouts = _in_training(model)
    if dropouts:
        warnings.warn(f"{dropouts[0]} is in training mode, so scores are random; call model.eval() before", stacklevel=4)
    if norms and shown > 1 and not isinstance(images, Tracer):
        batch = jnp.asarray(images[:1]).repeat(shown, 0)
        alone, beside = (np.asarray(_run(program, arrays, x), np.float32)[0] for x in (batch, batch.at[1:].set(0)))
        if not np.allclose(alone, beside, rtol=1e-3, atol=1e-3 * np.abs(alone).max()):
            raise ValueError(f"the model mixes the images of a batch: {norms[0]} is in training mode; call model.eval() before")


def _in_training(model: Model) -> tuple[list[str], list[str]]:
    """The batch norms and the dropout layers that are in training mode, by class name, of a Flax NNX module, or of those
    in a `functools.partial` or behind a bound method."""
    nnx: Any = sys.modules.get("flax.nnx")
    if nnx is None:
        return [], []
    function, first, keywords = applied(model)
    found = [part for part in (function, *first, *keywords.values()) if isinstance(part, nnx.Module)]
    modules = [module for part in found for _, module in nnx.iter_modules(part)]
    norms = [module for module in modules if getattr(module, "use_running_average", True) is False]
    dropouts = [module for module in modules if getattr(module, "deterministic", True) is False and getattr(module, "rate", 1) > 0]
    return [type(module).__name__ for module in norms], [type(module).__name__ for module in dropouts]
