"""A value as a record of its contents: two values of equal records compute the same.

Functions that are written anew in each call are different objects of one code. The record of a function holds its code,
and the contents of its closure and of the globals that the code reads; the record of an object, its attributes; the
record of an array, its values. A traced function is recorded equation by equation.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
import sys
import sysconfig
import types
from collections.abc import Callable, Hashable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis), range, np.dtype, types.CodeType)
_PACKAGE, _STDLIB = __name__.partition(".")[0], sysconfig.get_paths()["stdlib"]
_SCRATCH = {"Store", "EqualStore", "DynamicJaxprTrace", "DebugInfo", "InitialResultPaths"}  # JAX's own, which no result depends on
_MOST_VALUES = 100_000


@dataclasses.dataclass(frozen=True)
class Contents:
    """The record of a value.

    Attributes:
      record: hashable; equal for values that compute the same.
      fixed: whether the value holds no array, and nothing that is compared by its identity.
      traced: whether it holds a tracer, so that it must not be kept.
    """

    record: Hashable
    fixed: bool
    traced: bool


def contents(value: Any) -> Contents:
    """Record a value.

    Example:
      >>> def scaled_by(factor):
      ...     return lambda x: factor * x
      >>> contents(scaled_by(2)) == contents(scaled_by(2)), contents(scaled_by(2)) == contents(scaled_by(3))
      (True, False)
      >>> contents(scaled_by(2)).fixed, contents(scaled_by(np.ones(3))).fixed
      (True, False)
    """
    return _contents(lambda recorder: recorder.record(value))


@dataclasses.dataclass(frozen=True)
class Alike:
    """A function or record as a static part of a program: equal, and hashable, by its contents when this was made.

    So an optimizer or a reward that is built anew for each call compiles once, and one that reads other values than before
    is another one, though it is the same object.
    """

    record: Hashable
    value: Any = dataclasses.field(compare=False, repr=False)


def alike(value: Any) -> Alike:
    """Wrap a value; one that holds a tracer is equal to itself only.

    Example:
      >>> import optax
      >>> alike(optax.adam(0.1)) == alike(optax.adam(0.1)), alike(optax.adam(0.1)) == alike(optax.adam(0.2))
      (True, False)
    """
    found = contents(value)
    return Alike(_Identity(value) if found.traced else found.record, value)


def trace_contents(jaxpr: Jaxpr, structure: Any) -> Contents:
    """Record a traced function, its equations and the structure of its outputs, without the values of its constants."""
    return _contents(lambda recorder: (recorder.equations(jaxpr), structure))


def _contents(walk: Callable[[_Recorder], Hashable]) -> Contents:
    recorder = _Recorder()
    try:
        return Contents(walk(recorder), recorder.fixed, recorder.traced)
    except RecursionError:
        return Contents(_Identity(walk), False, True)


class _Identity:
    """An object, equal to itself only; kept, so that no other can take its place in memory."""

    def __init__(self, value: Any):
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identity) and self.value is other.value


class _Values:
    """An array, equal to those of the same values. NumPy's may change, so of them a digest is kept."""

    def __init__(self, array: Any):
        self._form = array.shape, str(array.dtype)
        self._array = array if isinstance(array, jax.Array) else None
        self._known = None if isinstance(array, jax.Array) else _digest(array)

    def __hash__(self) -> int:
        return hash(self._form)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Values) or self._form != other._form:
            return False
        return (self._array is not None and self._array is other._array) or self._values() == other._values()

    def _values(self) -> bytes:
        if self._known is None:
            array: Any = self._array
            is_key = jnp.issubdtype(array.dtype, jax.dtypes.prng_key)
            self._known = _digest(np.asarray(jax.random.key_data(array) if is_key else array))
        return self._known


def _digest(array: np.ndarray) -> bytes:
    return hashlib.sha256(array.tobytes()).digest()


class _Recorder:
    """A walk through a value."""

    def __init__(self) -> None:
        self.fixed, self.traced = True, False
        self._path: list[int] = []  # the values that the walk is in
        self._count = 0
        self._jaxprs: dict[int, Hashable] = {}

    def record(self, value: Any) -> Hashable:
        if isinstance(value, _PLAIN) and not getattr(value, "__dict__", None):
            return type(value), repr(value) if isinstance(value, float | complex) else value
        self._count += 1
        if id(value) in self._path:
            return "cycle", len(self._path) - self._path.index(id(value))
        if self._count > _MOST_VALUES:
            return self._identity(value)
        self._path.append(id(value))
        try:
            return self._record(value)
        finally:
            self._path.pop()

    def _record(self, value: Any) -> Hashable:
        if isinstance(value, Tracer):
            self.traced = True
            return self._identity(value)
        if isinstance(value, slice):
            return slice, self._all((value.start, value.stop, value.step))
        if isinstance(value, jax.Array | np.ndarray | np.generic):
            return self._array(value)
        if isinstance(value, ClosedJaxpr):
            return "jaxpr", self.equations(value.jaxpr), self._all(value.consts)
        if isinstance(value, Jaxpr):
            return "jaxpr", self.equations(value)
        if isinstance(value, tuple | list):
            return type(value), self._all(value), self._besides(value)
        if isinstance(value, dict):
            return type(value), self._all(value), self._all(value.values()), self._besides(value)
        if isinstance(value, set | frozenset):
            return type(value), frozenset(map(self.record, value)), self._besides(value)
        if isinstance(value, types.ModuleType):
            return "module", value.__name__
        if isinstance(value, functools.partial):
            return type(value), self._all((value.func, value.args, value.keywords))
        if isinstance(value, types.MethodType):
            return "method", self.record(value.__func__), self.record(value.__self__)
        if _is_of_library(value):
            return "library", value.__module__, value.__qualname__
        if isinstance(value, types.FunctionType):
            return self._function(value)
        return self._class(value) if isinstance(value, type) else self._object(value)

    def _all(self, values: Iterable[Any]) -> tuple[Hashable, ...]:
        return tuple(map(self.record, values))

    def _array(self, value: Any) -> Hashable:
        self.fixed = self.fixed and isinstance(value, np.generic)
        if isinstance(value, np.ma.MaskedArray):
            return type(value), _Values(value.data), _Values(np.ma.getmaskarray(value))
        if value.dtype == object:
            return type(value), value.shape, self._all(np.asarray(value).ravel().tolist())
        return type(value), _Values(value)

    def _besides(self, container: Any) -> Hashable:
        """What a container of a type of one's own holds besides its values."""
        if isinstance(container, collections.defaultdict):
            return self.record(container.default_factory)
        return self._all(sorted(getattr(container, "__dict__", {}).items()))

    def _identity(self, value: Any) -> Hashable:
        self.fixed = False
        return _Identity(value)

    def _function(self, function: types.FunctionType) -> Hashable:
        code = function.__code__
        cells = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
        if function.__qualname__ == "_memoize.<locals>.memoized":  # JAX's, which fills a dictionary as it is called
            cells = {"fn": cells["fn"]} if "fn" in cells else cells
        closure = tuple((name, self._cell(cell)) for name, cell in cells.items())
        attributes = {name: value for name, value in vars(function).items() if name != "__wrapped__"}
        defaults = self._all((function.__defaults__, function.__kwdefaults__, attributes))
        return "function", code.co_filename, code, closure, defaults, self._globals(code, function.__globals__)

    def _cell(self, cell: types.CellType) -> Hashable:
        try:
            return self.record(cell.cell_contents)
        except ValueError:  # empty
            return "empty"

    def _globals(self, code: types.CodeType, scope: dict[str, Any]) -> Hashable:
        """What code reads of the globals, and of the modules among them."""
        if _in_library(scope.get("__name__")):
            return ()
        found = []
        names = sorted(_names(code))
        for name in (name for name in names if name in scope):
            value = scope[name]
            found.append((name, self.record(value)))
            if isinstance(value, types.ModuleType) and not _in_library(value.__name__):
                found += [(f"{name}.{inner}", self.record(vars(value)[inner])) for inner in names if inner in vars(value)]
        return tuple(found)

    def _class(self, value: type) -> Hashable:
        """A class, and what its functions read."""
        functions = (getattr(member, "__wrapped__", member) for member in vars(value).values())
        read = tuple(self._globals(f.__code__, f.__globals__) for f in functions if isinstance(f, types.FunctionType))
        self.fixed = self.fixed and "<locals>" not in value.__qualname__
        return _Identity(value), read, self._all(base for base in value.__bases__ if base is not object)

    def _object(self, value: Any) -> Hashable:
        kind: Any = type(value)
        library = _in_library(kind.__module__)
        if kind is object or (library and kind.__name__ in _SCRATCH):
            return kind
        attributes = _attributes(value)
        if library and kind.__name__ == "WrappedFun":
            attributes = {name: attributes[name] for name in ("f", "transforms", "params", "in_type")}
        elif _is_hashable(value) and not dataclasses.is_dataclass(value) and (library or not attributes):
            return kind, value
        if kind.__name__ == "PjitFunction" or not (attributes or dataclasses.is_dataclass(value)):
            return self._identity(value)
        return self.record(kind), tuple((name, self.record(attributes[name])) for name in sorted(attributes))

    def equations(self, jaxpr: Jaxpr) -> Hashable:
        """The equations, with numbers for the variables in the order in which they appear."""
        if id(jaxpr) not in self._jaxprs:
            numbers: dict[Any, int] = {}

            def atoms(values: Iterable[Any]) -> tuple[Hashable, ...]:
                return tuple(
                    (atom.aval, np.asarray(atom.val).tobytes())
                    if isinstance(atom, Literal)
                    else (atom.aval, numbers.setdefault(atom, len(numbers)))
                    for atom in values
                )

            inputs = atoms(jaxpr.constvars), atoms(jaxpr.invars)
            equations = tuple(
                (
                    equation.primitive,
                    atoms(equation.invars),
                    atoms(equation.outvars),
                    tuple((name, self.record(value)) for name, value in sorted(equation.params.items())),
                    equation.ctx.compute_type,
                )
                for equation in jaxpr.eqns
            )
            self._jaxprs[id(jaxpr)] = inputs, equations, atoms(jaxpr.outvars)
        return self._jaxprs[id(jaxpr)]


def _is_hashable(value: Any) -> bool:
    """Whether a value has a hash of its contents; a weak reference has its object's, if there is one."""
    kind: Any = type(value)
    if kind.__hash__ in (None, object.__hash__):
        return False
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _attributes(value: Any) -> dict[str, Any]:
    """The attributes that an object itself holds; of a Linen module, those that tell it from others."""
    slots = (name for kind in type(value).__mro__ for name in (vars(kind).get("__slots__") or ()))
    found = {name: getattr(value, name) for name in slots if name != "__weakref__" and hasattr(value, name)}
    found |= vars(value) if hasattr(value, "__dict__") else {}
    if any(kind.__module__ == "flax.linen.module" for kind in type(value).__mro__):
        return {name: part for name, part in found.items() if not name.startswith("_")}
    return found


def _names(code: types.CodeType) -> set[str]:
    """The names of globals and attributes in code, and in the functions in it."""
    return set(code.co_names).union(*(_names(constant) for constant in code.co_consts if isinstance(constant, types.CodeType)))


def _is_of_library(value: Any) -> bool:
    """Whether a value is what a library's module calls by its name."""
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(name, str) or not _in_library(module):
        return False
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is value


@functools.lru_cache(maxsize=1024)
def _in_library(module: str | None) -> bool:
    """Whether a module is one of Python's own or an installed one, whose code and globals stay as they are."""
    root = (module or "").partition(".")[0]
    if root == "__main__" or root not in sys.modules:
        return False
    file = getattr(sys.modules[root], "__file__", None) or next(iter(getattr(sys.modules[root], "__path__", ())), None)
    return file is None or root == _PACKAGE or file.startswith(_STDLIB) or "site-packages" in file or "dist-packages" in file
