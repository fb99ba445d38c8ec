"""Keras 3 models on the JAX backend, as functions of JAX arrays.

Keras is not imported here: whoever has a Keras model has imported it.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Num

from extremal_jax.ground.pytrees import pytree
from extremal_jax.models.naming import SelfNamed, named_outputs

_ALONE = threading.RLock()  # layers give names during a call, and a second thread must not undo that halfway
_SHOWN = 3  # layers in a message
_UNTRAINED = "so scores depend on more than the image; build it without training=True"


@pytree(static=("model", "classes"))
class KerasModel(SelfNamed):
    """A Keras model and its weights: a function (B, H, W, C) -> scores. Made by `from_keras`.

    It is a pytree whose leaves are the weights, so that other weights compile nothing:
    `dataclasses.replace(converted, weights=tuple(model.get_weights()))`.

    Attributes:
      weights: in the order of `model.weights`.
      model: the Keras model, whose own weights are not read.
      classes: the names of the classes, in the order of the scores, or None.
    """

    weights: tuple[Any, ...]
    model: Any
    classes: tuple[str, ...] | None = None

    __eq__, __hash__ = object.__eq__, object.__hash__  # `jax.jit` takes it as it takes any function

    def __call__(self, images: Num[Any, "B H W C"]) -> Array:
        """The scores, in inference mode; inner values are named by their layers.

        Raises:
          ValueError: if the model draws random numbers or updates its state, returns several arrays, or has changed since it was
            converted.
        """
        model, keras = self.model, sys.modules["keras"]
        if len(model.weights) != len(self.weights):
            raise ValueError(
                f"the Keras model {model.name!r} had {len(self.weights)} weights when it was converted, and has {len(model.weights)} now;"
                " call from_keras(model) again"
            )
        with _ALONE, _named_layers(model), keras.StatelessScope(list(zip(model.weights, self.weights, strict=True))) as scope:
            before = dict(scope.state_mapping)
            outputs = model(_arranged(model, images), training=False)
            updated = {key for key, value in scope.state_mapping.items() if before.get(key) is not value}
        _check_updates(model, updated)
        if not isinstance(outputs, jax.Array):
            raise ValueError(_several_outputs(model, outputs))
        return outputs


def from_keras(model: Any, *, classes: Sequence[str] | None = None) -> KerasModel:
    """A Keras 3 model on the JAX backend as a function of images, in inference mode.

    The Keras model is left as it is. The output of each inner layer is named by the names of the layers that contain it and its
    own, such as `block.conv`, for `at=` and `extremal_jax.graph`; so are operations in a functional model, such as `add`.

    Args:
      model: a `keras.Model` that is built, with one input, images (B, H, W, C), and one output.
      classes: the names of the classes, in the order of the scores; None: targets are indices.

    Returns:
      A `KerasModel`: a function equal to `model(images, training=False)`, which is what `model.predict` computes, and a pytree
      whose leaves are copies of the weights, so that further training of the Keras model does not change it.

    Raises:
      TypeError: if this is no Keras 3 model.
      ValueError: if Keras runs on another backend; if the model is not built, has several inputs or outputs, or takes channels
        first; or if a layer is called with `training=True`, draws random numbers or updates its state. The last two, and the count
        of outputs, are checked at the first call if the model does not know the shape of its images.

    Example:
      >>> from_keras(lambda images: images)
      Traceback (most recent call last):
      TypeError: model must be a keras.Model of Keras 3, got a function

    `docs/bring_your_model.md` converts a network.

    Source: `keras.Model.stateless_call`, whose scope is used here, so that layers can be named and all updates are seen.
    """
    keras = sys.modules.get("keras")
    if keras is None or not isinstance(model, keras.Model) or keras.__version__.startswith("2."):
        raise TypeError(f"model must be a keras.Model of Keras 3, got a {type(model).__name__}")
    if (backend := keras.config.backend()) != "jax":
        raise ValueError(
            f"Keras runs on the backend {backend!r}, whose arrays are not JAX's; set the environment variable KERAS_BACKEND=jax before"
            " the first import of keras, and load the model anew"
        )
    _check_form(model)
    weights = tuple(jnp.copy(weight.value) for weight in model.weights)  # `fit` frees the arrays that a model had before
    converted = KerasModel(weights, model, None if classes is None else tuple(classes))
    shapes = [tuple(symbol.shape[1:]) for symbol in getattr(model, "inputs", None) or ()]
    if shapes and None not in shapes[0]:
        jax.eval_shape(converted, jax.ShapeDtypeStruct((1, *shapes[0]), model.inputs[0].dtype))
    return converted


def _check_form(model: Any) -> None:
    """Raise a ValueError unless a Keras model is built, and takes images with the channels last, and nothing else."""
    if not model.built:
        raise ValueError(f"the Keras model {model.name!r} is not built, so it has no weights yet; call it once with a batch of images")
    inputs = getattr(model, "inputs", None) or ()
    if len(inputs) > 1:
        raise ValueError(
            f"the Keras model {model.name!r} has {len(inputs)} inputs, {_quoted([x.name for x in inputs])}, and a model of images has one;"
            " pass a function that fixes the others:"
            " lambda x: model.stateless_call(model.trainable_variables, model.non_trainable_variables, [x, other])[0]"
        )
    first = [path for path, layer in _inner(model) if getattr(layer, "data_format", None) == "channels_first"]
    if first:
        raise ValueError(
            f"the Keras model {model.name!r} has the channels first in {_quoted(first)}, and images are (B, H, W, C);"
            ' build the model after keras.config.set_image_data_format("channels_last"), and give it the same weights by set_weights,'
            " as kernels have one layout in both"
        )
    training = sorted({path for outer in (model, *(inner for _, inner in _inner(model))) for path in _called_in_training(outer)})
    if training:
        raise ValueError(f"the Keras model {model.name!r} calls {_quoted(training)} with training=True, {_UNTRAINED}")


def _called_in_training(model: Any) -> Iterator[str]:
    """The layers that a functional model was built to call with `training=True`, but those that do so unless told otherwise, as
    augmentations do: in inference mode they are told."""
    for nodes in getattr(model, "_nodes_by_depth", {}).values():
        for node in nodes:
            if node.arguments.kwargs.get("training") is True:
                default = inspect.signature(node.operation.call).parameters.get("training")
                if default is None or default.default is not True:
                    yield node.operation.name


def _arranged(model: Any, images: Any) -> Any:
    """Images in the structure that a functional model takes: alone, or in a dictionary, list or tuple of one input."""
    form = getattr(model, "_inputs_struct", None)
    if isinstance(form, dict):
        return dict.fromkeys(form, images)
    return type(form)([images]) if isinstance(form, list | tuple) else images


def _quoted(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(repr, names[:_SHOWN])) + more


def _inner(model: Any) -> Iterator[tuple[str, Any]]:
    """The layers and operations within a Keras model, each once, by path, the outer before the inner."""
    seen = {id(model)}

    def walk(outer: Any, prefix: str) -> Iterator[tuple[str, Any]]:
        for inner in (*getattr(outer, "_operations", ()), *getattr(outer, "_layers", ())):
            if id(inner) not in seen:
                seen.add(id(inner))
                yield prefix + inner.name, inner
                yield from walk(inner, f"{prefix}{inner.name}.")

    return walk(model, "")


@contextlib.contextmanager
def _named_layers(model: Any) -> Iterator[None]:
    """While this lasts, the inner layers name their outputs, and those that are not built refuse to be."""
    unbuilt: list[str] = []

    def naming(call: Any, path: str) -> Any:
        @functools.wraps(call)
        def named(*arguments: Any, **options: Any) -> Any:
            return named_outputs(call(*arguments, **options), path)

        return named

    def refusing(path: str) -> Any:
        def refuse(*_: Any, **__: Any) -> None:
            unbuilt.append(path)
            raise ValueError("not built")

        return refuse

    with contextlib.ExitStack() as replaced:
        for path, layer in _inner(model):
            for method in ("call", "quantized_call"):
                if hasattr(layer, method):
                    replaced.enter_context(_replaced(layer, method, naming(getattr(layer, method), path)))
            if not getattr(layer, "built", True):
                replaced.enter_context(_replaced(layer, "build", refusing(path)))
        try:
            yield
        except Exception as error:
            if not unbuilt:
                raise
            raise ValueError(
                f"the layer {unbuilt[0]!r} of the Keras model {model.name!r} is not built; call the model once with a batch of images"
            ) from error


@contextlib.contextmanager
def _replaced(layer: Any, method: str, function: Any) -> Iterator[None]:
    """While this lasts, a layer has another method. Its attributes are set past Keras, which would track them."""
    attributes, missing = vars(layer), object()
    before = attributes.get(method, missing)
    attributes[method] = function
    try:
        yield
    finally:
        if before is missing:
            del attributes[method]
        else:
            attributes[method] = before


def _check_updates(model: Any, updated: set[int]) -> None:
    """Raise a ValueError if a call has updated variables, given by their ids."""
    if not updated:
        return
    owners = [("", model), *_inner(model)]
    found = [(path, variable) for path, layer in owners for variable in getattr(layer, "variables", ()) if id(variable) in updated]
    path, variable = found[-1] if found else ("", None)  # of the innermost layer that has it
    does = "draws random numbers" if variable is None or "seed_generator" in variable.path else f"updates its {variable.name}"
    where = f"the layer {path!r} of the Keras model {model.name!r}" if path else f"the Keras model {model.name!r}"
    raise ValueError(f"{where} {does} in inference mode, {_UNTRAINED}")


def _several_outputs(model: Any, outputs: Any) -> str:
    names = list(outputs) if isinstance(outputs, dict) else []
    count = f"{len(jax.tree.leaves(outputs))} outputs" + (f", {_quoted(names)}" if names else "")
    if getattr(model, "inputs", None):
        return f"the Keras model {model.name!r} has {count}; convert one of them: from_keras(keras.Model(model.input, model.outputs[0]))"
    return f"the Keras model {model.name!r} returns {count}; convert a keras.Model whose `call` returns one of them"
