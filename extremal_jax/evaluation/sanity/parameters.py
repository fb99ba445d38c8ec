"""The parameters of a model: the layers that they belong to, and copies of the model in which they are drawn anew."""

from __future__ import annotations

import functools
import itertools
import types
import zlib
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.extend.core import Literal
from jaxtyping import Float

from extremal_jax.boundary.images import check_images
from extremal_jax.graph.interpreter import opened
from extremal_jax.ground.checks import check_choice, check_key, nearest
from extremal_jax.ground.pytrees import AnyArray

Model = Any
_Path = tuple[Hashable, ...]  # strings; at the root, a number is the position of an argument in a partial
_WRAPPERS = ("network", "__self__")  # of a `Classifier` and of a bound method of Equinox: not part of a layer's name


def parameter_layers(model: Model, images: Any) -> tuple[str, ...]:
    """The names of a model's layers that have parameters, from the output to the input.

    The order is that in which the parameters meet the images in the computation, reversed. Parameters that no score
    depends on are left out. The arrays of one module, such as a kernel and its bias, are a layer; they are layers
    of their own where they lie at the root of the model, beside other modules, or with another matrix.

    Args:
      model, images: as in `parameter_randomisation`; nothing but the shape and type of the images counts.

    Returns:
      The names, such as ("head", "blocks.3.conv", "stem.conv").

    Example:
      >>> def network(parameters, x):
      ...     hidden = x @ parameters["hidden"]["kernel"] + parameters["hidden"]["bias"]
      ...     return hidden.sum(axis=(1, 2)) @ parameters["end"]["kernel"]
      >>> parameters = {"end": {"kernel": np.ones((4, 2))}, "hidden": {"kernel": np.ones((3, 4)), "bias": np.ones(4)}}
      >>> parameter_layers(jax.tree_util.Partial(network, parameters), np.ones((8, 8, 3)))
      ('end', 'hidden')
    """
    return tuple(parameters_of(model).layers(check_images("images", images)))


def randomise(model: Model, layers: Sequence[str] | None = None, *, draw: str = "normal", key: Array | None = None) -> Model:
    """A copy of a model whose parameters are drawn anew; the model itself stays as it is.

    An array depends on its name and the key alone, not on the other layers that are drawn. Whole numbers and keys stay
    as they are; the statistics of batch norms count as parameters.

    Args:
      model: as in `parameter_randomisation`.
      layers: names of layers, or of modules that hold several; None: all parameters.
      draw: "normal": matrices and kernels are normal with their own mean and standard deviation, which stands in for
        the layer's initializer, unknown in a trained model; arrays with one axis (biases, scales, variances, which must
        stay positive) are permuted. "permutation": all are permuted.
      key: the random key of the draws; None: `jax.random.key(0)`.

    Returns:
      A model of the same class and structure.

    Raises:
      TypeError, ValueError: for unknown layers, a model without parameters, an unknown draw.

    Example:
      >>> import jax.numpy as jnp
      >>> weights = {"first": jnp.arange(3.0), "second": jnp.arange(3.0)}
      >>> model = jax.tree_util.Partial(lambda weights, x: x @ weights["first"], weights)
      >>> randomise(model, ["second"]).args[0]["first"].tolist()
      [0.0, 1.0, 2.0]
    """
    parameters = parameters_of(model)
    return parameters.randomised(None if layers is None else check_layers(layers, parameters), draw, check_key(key))


class Parameters(NamedTuple):
    """A model, taken apart.

    Attributes:
      leaves: the leaves of the model.
      paths: the path of each parameter, by its position among the leaves.
      rebuild: the function from leaves to a model.
    """

    leaves: list[Any]
    paths: dict[int, _Path]
    rebuild: Callable[[Sequence[Any]], Model]

    def layers(self, images: AnyArray) -> list[str]:
        """The names of the layers from the output to the input."""
        groups = _groups(self.paths, self.leaves)
        names = {".".join(map(str, groups[position])): None for position in self._met(images)}
        if not names:
            raise ValueError("the model's scores depend on none of its parameters, so there is no layer to draw anew")
        return list(names)[::-1]

    def _met(self, images: AnyArray) -> list[int]:
        """The positions of the parameters in the order in which they meet the images."""
        batch = images if images.ndim == 4 else images[None]
        positions = list(self.paths)

        def scores(parameters: list[Any], images: Any) -> Any:
            return self.rebuild(self._with(dict(zip(positions, parameters, strict=True))))(images)

        shapes = [_abstract(self.leaves[i]) for i in positions]
        closed = opened(jax.make_jaxpr(scores)(shapes, _abstract(batch)), lambda _: True)
        *variables, shown = closed.jaxpr.invars
        pure: dict[Any, tuple[int, ...]] = {variable: (i,) for variable, i in zip(variables, positions, strict=True)}
        mixed, met = {shown}, dict[int, None]()
        for equation in closed.jaxpr.eqns:
            operands = [atom for atom in equation.invars if not isinstance(atom, Literal)]
            origins = dict.fromkeys(itertools.chain.from_iterable(pure.get(atom, ()) for atom in operands))
            if any(atom in mixed for atom in operands):
                met.update(origins)
                mixed.update(equation.outvars)
            else:
                pure.update({variable: tuple(origins) for variable in equation.outvars})
        return list(met)

    def _with(self, values: dict[int, Any]) -> list[Any]:
        return [values.get(position, leaf) for position, leaf in enumerate(self.leaves)]

    def randomised(self, layers: Collection[str] | None, draw: str, key: Array) -> Model:
        """The model with the parameters of these layers drawn anew; None: all."""
        check_choice("draw", draw, DRAWS)
        names = {position: ".".join(map(str, path)) for position, path in self.paths.items()}
        chosen = {i: name for i, name in names.items() if layers is None or any(f"{name}.".startswith(f"{layer}.") for layer in layers)}
        return self.rebuild(self._with({i: DRAWS[draw](named_key(key, name), self.leaves[i]) for i, name in chosen.items()}))


def parameters_of(model: Model) -> Parameters:
    """Take a model apart; a ValueError if it holds no arrays of floats."""
    parts, rebuild = _taken_apart(model)
    keyed, structure = jax.tree_util.tree_flatten_with_path(parts)
    leaves = [leaf for _, leaf in keyed]
    is_parameter = [isinstance(leaf, Array | np.ndarray) and jnp.issubdtype(leaf.dtype, jnp.floating) and leaf.size > 0 for leaf in leaves]
    paths = {i: tuple(_path(path)) for i, (path, _) in enumerate(keyed) if is_parameter[i]}
    if not paths:
        raise ValueError(
            f"model must hold its parameters, arrays of floats, got {type(model).__name__} without any; give a Flax NNX or Equinox"
            f" module, or jax.tree_util.Partial(function, parameters)"
        )
    while all(len(path) > 1 for path in paths.values()) and len(roots := {path[0] for path in paths.values()}) == 1:
        if not all(isinstance(root, int) or root in _WRAPPERS for root in roots):
            break
        paths = {i: path[1:] for i, path in paths.items()}
    return Parameters(leaves, paths, lambda values: rebuild(jax.tree.unflatten(structure, values)))


def _taken_apart(model: Model) -> tuple[Any, Callable[[Any], Model]]:
    """A pytree that holds the model's arrays, and the function that makes a model of such a pytree."""
    if isinstance(model, functools.partial):
        return (model.func, model.args, model.keywords), lambda parts: type(model)(parts[0], *parts[1], **parts[2])
    if isinstance(model, types.MethodType):
        return model.__self__, lambda owner: types.MethodType(model.__func__, owner)
    return model, lambda whole: whole


def _path(keys: Sequence[Any]) -> Iterator[Hashable]:
    """The components of a path of JAX: strings, but for positions at the root, in a partial."""
    in_partial = isinstance(keys[0], jax.tree_util.SequenceKey)
    if len(keys) > 1 and keys[-1] == jax.tree_util.GetAttrKey("value"):  # of a variable of Flax NNX
        keys = keys[:-1]
    for depth, key in enumerate(keys):
        name = next(getattr(key, field) for field in ("name", "key", "idx") if hasattr(key, field))
        if in_partial and depth < 2 and isinstance(name, int):
            yield name
        else:
            yield from str(name).split(".")  # such as "layer1.0.conv1.weight", a single key


def _groups(paths: dict[int, _Path], leaves: Sequence[Any]) -> dict[int, _Path]:
    """The path of the layer of each parameter."""
    parents = {path[:-1] for path in paths.values()}
    containers = {parent[:depth] for parent in parents for depth in range(len(parent))}
    matrices = [path[:-1] for position, path in paths.items() if _is_matrix(leaves[position])]
    own = {parent for parent in parents if parent in containers or not parent or matrices.count(parent) > 1}
    return {position: path if path[:-1] in own else path[:-1] for position, path in paths.items()}


def check_layers(layers: Any, parameters: Parameters) -> list[str]:
    """The names that a caller gives, each of a layer or of a module that holds layers."""
    if isinstance(layers, str) or not isinstance(layers, Collection) or len(layers) == 0:
        raise ValueError(f"layers must be a list of names, in the order of randomisation, got {layers!r}")
    known = {".".join(map(str, path[:depth])): None for path in parameters.paths.values() for depth in range(1, len(path) + 1)}
    for name in layers:
        if name not in known:
            raise ValueError(f"layers: the model has no parameters in {name!r}; {nearest(name, known)}")
    return list(layers)


def named_key(key: Array, name: str) -> Array:
    """The random key of a name: the same in every process, whatever else is drawn."""
    return jax.random.fold_in(key, np.uint32(zlib.crc32(name.encode())))


def _is_matrix(array: Any) -> bool:
    return sum(length > 1 for length in array.shape) > 1


@jax.jit
def _permuted(key: Array, array: Float[Array, "..."]) -> Float[Array, "..."]:
    return jax.random.permutation(key, array.reshape(-1)).reshape(array.shape)


@jax.jit
def _normal(key: Array, array: Float[Array, "..."]) -> Float[Array, "..."]:
    values = array.astype(jnp.promote_types(array.dtype, jnp.float32))
    return (values.mean() + values.std() * jax.random.normal(key, values.shape, values.dtype)).astype(array.dtype)


DRAWS: dict[str, Callable[[Array, Any], Array]] = {
    "normal": lambda key, array: (_normal if _is_matrix(array) else _permuted)(key, array),
    "permutation": _permuted,
}


def _abstract(array: AnyArray) -> jax.ShapeDtypeStruct:
    """The shape of an array and the type that it has in JAX."""
    return jax.ShapeDtypeStruct(array.shape, jnp.result_type(array))
