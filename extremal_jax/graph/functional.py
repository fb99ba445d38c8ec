"""Any callable as a static program and its arrays.

A compiled program should take a model's arrays as arguments: constants would be copied into it, and other weights would compile it again.
So a model is split in two: a `Program`, hashable and without arrays, and the arrays.

- A pytree (a Flax NNX or Equinox module, a `jax.tree_util.Partial`) is taken apart into its leaves.
- Any other callable (a closure, `functools.partial`, a bound method) is traced, and the arrays that it closes over are lifted out of the
  trace. It is traced anew each time, since those arrays may have changed; if the trace is the one of last time but for their
  values, the result is the same `Program`, and nothing compiles again.
"""

from __future__ import annotations

import types
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal

from extremal_jax.graph.interpreter import bodies, opened

Arrays = Sequence[Any]
Program = Callable[..., Any]  # (arrays, *arguments) -> outputs; hashable


def partition(function: Callable[..., Any], *example: Any) -> tuple[Program, Arrays]:
    """Part a callable into a program and its arrays.

    Args:
      function: of arrays.
      example: arrays or `jax.ShapeDtypeStruct`s; the program may be called with arrays of these shapes only.

    Returns:
      (program, arrays), with `program(arrays, *example)` equal to `function(*example)`.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> weight = jnp.array([2.0, 3.0])
      >>> program, arrays = partition(lambda x: x @ weight, jnp.zeros(2))
      >>> [a.tolist() for a in arrays], float(program([10 * weight], jnp.ones(2)))
      ([[2.0, 3.0]], 50.0)
    """
    return _from_tree(function) or _from_trace(function, *example)


@dataclass(frozen=True)
class _Tree:
    """A pytree that is a function, without its arrays."""

    structure: Any
    others: tuple[tuple[int, Any], ...]

    def __call__(self, arrays: Arrays, *arguments: Any) -> Any:
        leaves = list(arrays)
        for position, leaf in self.others:
            leaves.insert(position, leaf)
        return jax.tree.unflatten(self.structure, leaves)(*arguments)


def _from_tree(function: Callable[..., Any]) -> tuple[_Tree, Arrays] | None:
    leaves, structure = jax.tree.flatten(function)
    if jax.tree_util.treedef_is_leaf(structure):
        return None
    is_array = [isinstance(leaf, jax.Array | np.ndarray) for leaf in leaves]
    others = tuple((i, leaf) for i, leaf in enumerate(leaves) if not is_array[i])
    program = _Tree(structure, others)
    try:
        hash(program)
    except TypeError:
        return None
    return program, [leaf for leaf, array in zip(leaves, is_array, strict=True) if array]


class _Trace:
    """A traced function, without the arrays that it closed over. Two are equal only if they are one."""

    def __init__(self, jaxpr: Jaxpr, structure: Any):
        self.jaxpr, self.structure = jaxpr, structure

    def __call__(self, arrays: Arrays, *arguments: Any) -> Any:
        outputs = jax.core.eval_jaxpr(self.jaxpr, arrays, *jax.tree.leaves(arguments))
        return jax.tree.unflatten(self.structure, outputs)


_traces: dict[tuple[int, Any], tuple[weakref.ref, list[_Trace]]] = {}
_TRACES_PER_FUNCTION = 8


def _from_trace(function: Callable[..., Any], *example: Any) -> tuple[_Trace, Arrays]:
    def call(*arguments: Any) -> Any:  # a new function each time, of which JAX remembers no earlier trace
        return function(*arguments)

    closed, shape = jax.make_jaxpr(call, return_shape=True)(*example)
    if any(_has_constants(equation) for equation in closed.jaxpr.eqns):
        closed = opened(closed)
    new = _Trace(closed.jaxpr, jax.tree.structure(shape))
    known = _known_traces(function)
    for trace in known:
        if trace.structure == new.structure and _same(trace.jaxpr, new.jaxpr):
            return trace, closed.consts
    known.insert(0, new)
    del known[_TRACES_PER_FUNCTION:]
    return new, closed.consts


def _known_traces(function: Callable[..., Any]) -> list[_Trace]:
    """The traces remembered of a function, for as long as it lives. A bound method lives as long as its object."""
    owner, name = (function.__self__, function.__func__) if isinstance(function, types.MethodType) else (function, None)
    key = (id(owner), name)
    if key not in _traces:
        try:
            reference = weakref.ref(owner, lambda _: _traces.pop(key, None))
        except TypeError:
            return []
        _traces[key] = (reference, [])
    return _traces[key][1]


def _constants(body: ClosedJaxpr | Jaxpr) -> Sequence[Any]:
    return body.consts if isinstance(body, ClosedJaxpr) else ()


def _has_constants(equation: JaxprEqn) -> bool:
    return any(len(body.consts) > 0 or any(_has_constants(e) for e in body.jaxpr.eqns) for body in bodies(equation))


def _same(a: Jaxpr, b: Jaxpr) -> bool:
    """Whether two traces of one function are equal but for the values of the arrays that it closes over."""
    if len(a.eqns) != len(b.eqns):
        return False
    numbers: tuple[dict[Any, int], dict[Any, int]] = ({}, {})

    def atoms(index: int, values: Sequence[Any]) -> list[Any]:
        table = numbers[index]
        return [
            (str(v.aval), np.asarray(v.val).tobytes()) if isinstance(v, Literal) else (str(v.aval), table.setdefault(v, len(table)))
            for v in values
        ]

    if atoms(0, [*a.constvars, *a.invars]) != atoms(1, [*b.constvars, *b.invars]):
        return False
    for x, y in zip(a.eqns, b.eqns, strict=True):
        if x.primitive is not y.primitive or atoms(0, x.invars) != atoms(1, y.invars):
            return False
        if x.params.keys() != y.params.keys() or not all(_same_parameter(x.params[k], y.params[k]) for k in x.params):
            return False
        if atoms(0, x.outvars) != atoms(1, y.outvars):
            return False
    return atoms(0, a.outvars) == atoms(1, b.outvars)


def _same_parameter(x: Any, y: Any) -> bool:
    if type(x) is not type(y):
        return False
    if isinstance(x, ClosedJaxpr | Jaxpr):
        constants = zip(_constants(x), _constants(y), strict=False)
        x, y = (body.jaxpr if isinstance(body, ClosedJaxpr) else body for body in (x, y))
        return all(c is d for c, d in constants) and _same(x, y)
    if type(x) is tuple:
        return len(x) == len(y) and all(map(_same_parameter, x, y))
    if callable(x) or hasattr(x, "call_wrapped"):  # rules of a custom derivative, made anew by each trace of their owner
        return True
    return x is y or bool(np.all(x == y))
