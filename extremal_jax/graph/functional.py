"""Any callable as a static program and its arrays.

A compiled program should take a model's arrays as arguments: constants would be copied into it, and other weights would
compile it again. So a model is split in two: a `Program`, hashable and without arrays, and the arrays.

- A pytree (a Flax NNX or Equinox module, a `jax.tree_util.Partial`), a bound method and a `functools.partial` are
  taken apart into a function and the leaves of its arguments, where nothing but those leaves holds arrays.
- Any other callable (a closure, a lambda) is traced, and the arrays that it closes over are lifted out of the trace. It
  is traced at each call, since those arrays may have changed. A trace that computes the same as an earlier one, but for
  the values of the arrays, gives the earlier `Program`, and nothing is compiled.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import types
import warnings
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, JaxprEqn

from extremal_jax.graph.contents import contents, trace_contents
from extremal_jax.graph.interpreter import bodies, opened

Arrays = Sequence[Any]
Program = Callable[..., Any]  # (arrays, *arguments) -> outputs; hashable
_MOST_PROGRAMS = 256  # that are remembered
_MANY = 16  # programs of one code that differ in constants alone: so many are warned of


def partition(function: Callable[..., Any], *example: Any) -> tuple[Program, Arrays]:
    """Split a callable into a program and its arrays.

    Args:
      function: of arrays.
      example: arrays or `jax.ShapeDtypeStruct`s; the program may be called with arrays of these shapes only.

    Returns:
      (program, arrays), with `program(arrays, *example)` equal to `function(*example)`.

    Warns:
      UserWarning: once for a function whose code gives a new program again and again, as each is compiled.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> weight = jnp.array([2.0, 3.0])
      >>> program, arrays = partition(lambda x: x @ weight, jnp.zeros(2))
      >>> [a.tolist() for a in arrays], float(program([10 * weight], jnp.ones(2)))
      ([[2.0, 3.0]], 50.0)
    """
    return _from_tree(function) or _from_trace(function, *example)


def refit(program: Program, arrays: Arrays, function: Callable[..., Any], *example: Any) -> tuple[Program, Arrays]:
    """The partition of a function for arguments of other shapes: the one at hand, unless it came of a trace."""
    return (program, arrays) if isinstance(program, _Tree) else _from_trace(function, *example)


@dataclass(frozen=True)
class _Tree:
    """A pytree of a function, its first arguments and its keywords, without the arrays.

    Attributes:
      structure: of the pytree.
      record: the contents of the leaves that are no arrays.
      others: those leaves and their positions.
    """

    structure: Any
    record: Hashable
    others: tuple[tuple[int, Any], ...] = field(compare=False)

    def __call__(self, arrays: Arrays, *arguments: Any) -> Any:
        leaves = list(arrays)
        for position, leaf in self.others:
            leaves.insert(position, leaf)
        function, first, keywords = jax.tree.unflatten(self.structure, leaves)
        return function(*first, *arguments, **keywords)


def _from_tree(function: Callable[..., Any]) -> tuple[_Tree, Arrays] | None:
    """A program without a trace; None where there are no arrays, or where some may be elsewhere than in the leaves."""
    leaves, structure = jax.tree.flatten(applied(function))
    is_array = [isinstance(leaf, jax.Array | np.ndarray) for leaf in leaves]
    others = tuple((i, leaf) for i, leaf in enumerate(leaves) if not is_array[i])
    if not any(is_array):
        return None
    found = contents(others)
    program = _Tree(structure, found.record, others)
    try:
        hash(program)
    except TypeError:
        return None
    if not found.fixed:
        return None
    _count_once(program, _code(function))
    return program, [leaf for leaf, array in zip(leaves, is_array, strict=True) if array]


@functools.lru_cache(maxsize=_MOST_PROGRAMS)
def _count_once(program: _Tree, code: Any) -> None:
    _count_program(code, (program.structure,))


def applied(function: Any) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """A function, its first arguments and its keywords: those of a partial, and the object of a bound method."""
    first: tuple[Any, ...] = ()
    keywords: dict[str, Any] = {}
    while True:
        if isinstance(function, functools.partial):
            function, first, keywords = function.func, function.args + first, {**function.keywords, **keywords}
        elif isinstance(function, types.MethodType):
            function, first = function.__func__, (function.__self__, *first)
        else:
            return function, first, keywords


class _Trace:
    """A traced function of the arrays that it closed over and of its arguments. Two are equal only if they are one."""

    def __init__(self, closed: ClosedJaxpr, structure: Any):
        def lifted(*values: Any) -> Any:
            constants, arguments = values[: len(closed.consts)], values[len(closed.consts) :]
            return jax.core.eval_jaxpr(closed.jaxpr, constants, *arguments)

        self.jaxpr = jax.make_jaxpr(lifted)(*map(jax.typeof, closed.consts), *closed.in_avals).jaxpr
        self.structure = structure

    def __call__(self, arrays: Arrays, *arguments: Any) -> Any:
        outputs = jax.core.eval_jaxpr(self.jaxpr, (), *arrays, *jax.tree.leaves(arguments))
        return jax.tree.unflatten(self.structure, outputs)


def _from_trace(function: Callable[..., Any], *example: Any) -> tuple[_Trace, Arrays]:
    def call(*arguments: Any) -> Any:  # a new function each time, of which JAX remembers no earlier trace
        return function(*arguments)

    closed, shape = jax.make_jaxpr(call, return_shape=True)(*example)
    if any(_has_constants(equation) for equation in closed.jaxpr.eqns):
        closed = opened(closed)
    structure = jax.tree.structure(shape)
    found = trace_contents(closed.jaxpr, structure)
    known: list[_Trace] = [] if found.traced else _known(found.record)
    if not known:
        known.append(_Trace(closed, structure))
        _count_program(_code(function), (*closed.in_avals, *(equation.primitive.name for equation in closed.jaxpr.eqns)))
    return known[0], closed.consts


@functools.lru_cache(maxsize=_MOST_PROGRAMS)
def _known(record: Hashable) -> list[_Trace]:
    """The program of a record, once there is one."""
    return []


def _count_program(code: Any, form: tuple[Any, ...]) -> None:
    """Warn if this is a new program of a code that had many of the same form, which differ in constants alone."""
    if next(_counter(code, form)) == _MANY:
        name = getattr(code, "co_qualname", None) or getattr(code, "__qualname__", code)
        warnings.warn(
            f"the model {name!r} was another program at each of {_MANY} calls, and each was compiled. Give whatever changes"
            f" from call to call as an array that the model closes over, or in functools.partial(function, arrays)",
            stacklevel=2,
        )


@functools.lru_cache(maxsize=_MOST_PROGRAMS)
def _counter(code: Hashable, form: tuple[Any, ...]) -> Iterator[int]:
    return itertools.count(1)


def _code(function: Any) -> Any:
    """The code of a callable: a function's own, that of the function in a partial or a wrapper, or an object's class."""
    function = inspect.unwrap(applied(function)[0])
    return getattr(function, "__code__", None) or type(function)


def _has_constants(equation: JaxprEqn) -> bool:
    return any(len(body.consts) > 0 or any(_has_constants(e) for e in body.jaxpr.eqns) for body in bodies(equation))
