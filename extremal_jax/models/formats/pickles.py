"""The pickles of PyTorch files, read by the standard library's unpickler with an allow-list.

A name in a pickle means a stand-in from the tables below, or is refused: no module is imported, and no function runs that
the file chooses. A pass over the instructions comes first. It refuses those that could exhaust memory or time, and those
that could change a stand-in. A tensor is the place, type and shape of its numbers, which are not read here.
"""

from __future__ import annotations

import _compat_pickle  # the names of Python 2's modules
import io
import math
import pickle
import pickletools
import re
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import ml_dtypes  # makes its types known to NumPy by name  # noqa: F401
import numpy as np

_DTYPES = (
    "float64 float32 float16 bfloat16 complex128 complex64 int64 int32 int16 int8 uint64 uint32 uint16 uint8 bool "
    "float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu"
)
_CLASSES = (  # of storages
    "Double=float64 Float=float32 Half=float16 BFloat16=bfloat16 ComplexDouble=complex128 ComplexFloat=complex64 "
    "Long=int64 Int=int32 Short=int16 Char=int8 Byte=uint8 Bool=bool Untyped=uint8"
)
DTYPES: dict[str, np.dtype] = {f"torch.{name}": np.dtype(name) for name in _DTYPES.split()} | {
    f"{module}.{name}Storage": np.dtype(dtype)
    for module in ("torch", "torch.cuda", "torch.storage")
    for name, dtype in (pair.split("=") for pair in _CLASSES.split())
}
"""The type of number that a name in a pickle means."""


class RefusedError(ValueError):
    """A pickle asks for something that is neither a tensor nor an inert value."""


class Storage(NamedTuple):  # the attributes of tuples are fixed
    """A run of numbers in the file, `nbytes` long, or the part of it from byte `start` to `stop`."""

    key: str
    dtype: np.dtype
    nbytes: int
    start: int
    stop: int


class Tensor(NamedTuple):
    """A strided window on a storage, within its bounds; offset and strides count elements."""

    storage: Storage
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """The size of a contiguous copy."""
        return math.prod(self.shape) * self.dtype.itemsize


Storage.__hash__ = Tensor.__hash__ = None  # type: ignore[assignment]  # a file could make those of tuples collide


def storage(identifier: object) -> Storage:
    """The storage that a persistent identifier names."""
    if type(identifier) is not tuple or not identifier or identifier[0] != "storage":
        kind = identifier[0] if type(identifier) is tuple and identifier else identifier
        shown = repr(kind[:200]) if isinstance(kind, str) else f"of type {type(kind).__name__!r}"
        raise RefusedError(f"it refers to an object {shown} outside its pickle, where only storages are expected")
    match identifier[1:]:
        case (np.dtype() as dtype, str(key), _, int(size)) | (np.dtype() as dtype, str(key), _, int(size), None):
            offset, length = 0, size
        case (np.dtype() as dtype, str(key), _, int(size), (_, int(offset), int(length))):  # a part, in the oldest files
            pass
        case _:
            raise ValueError("one of its storages is malformed")
    if not 0 <= offset <= offset + length <= size < 2**62:
        raise ValueError(f"storage {key[:100]!r} declares {size} elements, of which {length} from {offset} on are used")
    return Storage(key, dtype, size * dtype.itemsize, offset * dtype.itemsize, (offset + length) * dtype.itemsize)


def rebuild_tensor(numbers: Any, offset: Any, shape: Any, strides: Any, _grad: Any = False, _hooks: Any = None, *others: Any) -> Tensor:
    """PyTorch's `_rebuild_tensor`, with its bounds checked. `others` are a type of number, if the storage has none, and metadata."""
    dtype, *metadata = others if others and isinstance(others[0], np.dtype) else (None, *others)
    if type(numbers) is not Storage or not (_are_sizes((offset,)) and _are_sizes(shape) and _are_sizes(strides)):
        raise ValueError("one of its tensors is malformed")
    if len(shape) != len(strides):
        raise ValueError(f"one of its tensors has {len(shape)} sizes and {len(strides)} strides")
    if any(metadata):
        raise ValueError("one of its tensors is negated or conjugated lazily; save it with resolve_neg() or resolve_conj()")
    made = Tensor(numbers, dtype or numbers.dtype, offset, shape, strides)
    needed = (offset + 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))) * made.dtype.itemsize
    held = numbers.stop - numbers.start
    if 0 not in shape and needed > held:
        raise ValueError(f"a tensor of shape {shape} needs {needed} bytes, but storage {numbers.key[:100]!r} holds {held}")
    return made


def rebuild_parameter(data: Any, *_: Any) -> Tensor:
    """PyTorch's `_rebuild_parameter`: its tensor."""
    if type(data) is not Tensor:
        raise ValueError("one of its parameters is malformed")
    return data


def _are_sizes(values: object) -> bool:
    """Whether these can be the sizes, strides or offset of a NumPy array."""
    return type(values) is tuple and len(values) <= 64 and all(type(value) is int and 0 <= value < 2**62 for value in values)


class Dict(dict):
    """A dictionary that drops attributes: PyTorch pickles version numbers as attributes of a state dictionary."""

    __slots__ = ()

    def __setstate__(self, _: object) -> None: ...


class Inert:
    """The stand-in for values that are read and ignored: it takes any arguments, attributes and items, and keeps none."""

    __slots__ = ()

    def __new__(cls, *_: Any, **__: Any) -> Inert:
        """An instance, whatever the arguments."""
        return object.__new__(cls)

    def _drop(self, *_: Any) -> None: ...

    __setstate__ = __setitem__ = append = extend = add = _drop


_STAND_INS: dict[str, Any] = DTYPES | {
    "torch._utils._rebuild_tensor": rebuild_tensor,
    "torch._utils._rebuild_tensor_v2": rebuild_tensor,
    "torch._utils._rebuild_tensor_v3": rebuild_tensor,
    "torch._utils._rebuild_parameter": rebuild_parameter,
    "torch._utils._rebuild_parameter_with_state": rebuild_parameter,
    "collections.defaultdict": lambda *_: Dict(),
}
_INERT = re.compile(
    r"(builtins|__builtin__)\.(Ellipsis|NotImplemented|bool|bytearray|bytes|complex|dict|float|frozenset|int|list|object|long|range|set|slice|str|tuple|unicode|xrange)"
    r"|_codecs\.encode"  # how protocol 2 writes bytes
    r"|argparse\.Namespace|types\.SimpleNamespace|typing\.Any|collections\.(ChainMap|Counter|UserDict|UserList|deque)"
    r"|datetime\.(date|datetime|time|timedelta|timezone)|decimal\.Decimal|fractions\.Fraction|uuid\.UUID"
    r"|pathlib(\._local)?\.(Pure)?(Posix|Windows)?Path"
    r"|numpy\.(dtype|ndarray|bool_?|u?int\d+|float\d+|complex\d+|str_|bytes_|dtypes\.\w+DType)"
    r"|numpy\._?core\.(multiarray\.(scalar|_reconstruct)|numeric\._frombuffer)"
    r"|numpy\.random\.\w+\.(__(randomstate|generator|bit_generator)_ctor|__pyx_unpickle_\w+|[A-Z]\w*)"
    r"|torch\.(device|Size)|torch\.serialization\._get_layout"
)
_CLASS = re.compile(r"_?[A-Z][A-Za-z0-9]*")  # the name of a class, by convention
_WITHOUT_STAND_INS = {*sys.stdlib_module_names, *_compat_pickle.IMPORT_MAPPING, "torch", "torchvision", "numpy"}  # but for those above


class Unpickler(pickle.Unpickler):
    """The standard library's unpickler, to which a name means its stand-in.

    A class of a trainer, such as `omegaconf.DictConfig`, becomes `Inert`. Other functions, and other classes of the
    standard library and of PyTorch, are refused: a file that names them may want them to be called.
    """

    def __init__(self, data: bytes, persistent: Callable[[object], object]):
        super().__init__(io.BytesIO(data), encoding="latin1")
        self._persistent = persistent
        self._copies_left = len(data)

    def find_class(self, module: str, name: str, /) -> Any:
        """The stand-in for a name, or a refusal."""
        full = f"{module}.{name}"
        if full == "collections.OrderedDict":
            return self._ordered_dict
        if full in _STAND_INS:
            return _STAND_INS[full]
        if _INERT.fullmatch(full) or (_CLASS.fullmatch(name) and module.split(".")[0] not in _WITHOUT_STAND_INS):
            return Inert
        raise RefusedError(f"it asks for {full[:200]!r}, which is neither a tensor nor an inert value; nothing was executed")

    def persistent_load(self, pid: object) -> object:
        """The storage that an identifier names."""
        return self._persistent(pid)

    def _ordered_dict(self, pairs: Any = ()) -> Dict:
        """Empty, or from the list of pairs that Python 2 writes, which are counted: recalling them could fill the memory."""
        self._copies_left -= len(pairs)
        if self._copies_left < 0:
            raise ValueError("its pickle copies the same items again and again")
        if not all(type(pair) in (list, tuple) and len(pair) == 2 and type(pair[0]) is str for pair in pairs):
            raise ValueError("one of its dictionaries is malformed")
        return Dict(pairs)


def load(data: bytes, persistent: Callable[[object], object] = storage) -> tuple[object, int]:
    """The object of the pickle at the beginning of `data`, and the pickle's length.

    `persistent` maps the identifier of an object outside the pickle to that object, or raises ValueError.

    Raises:
      RefusedError: if the pickle asks for anything but tensors, containers and inert values, in a sentence that names it.
      ValueError: if it is malformed or truncated, or could exhaust memory or time.

    Example:
      >>> load(pickle.dumps({"a": [1, (2.0, None)]}, 2) + b"rest")
      ({'a': [1, (2.0, None)]}, 35)
      >>> load(pickle.dumps(print))  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      extremal_jax.models.formats.pickles.RefusedError: it asks for 'builtins.print', which is neither a tensor nor an inert value; ...
    """
    try:
        length = _check(data)
        return Unpickler(data[:length], persistent).load(), length
    except RefusedError:
        raise
    except (pickle.UnpicklingError, AttributeError, EOFError, LookupError, OverflowError, TypeError, ValueError) as error:
        raise ValueError(f"its pickle is malformed, truncated or unsafe ({error})") from error


_ADMITTED = (
    "PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 LONG4 BINFLOAT BINSTRING SHORT_BINSTRING BINUNICODE "
    "SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8 EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST APPEND "
    "APPENDS EMPTY_DICT SETITEM SETITEMS EMPTY_SET ADDITEMS FROZENSET BINPUT LONG_BINPUT MEMOIZE BINGET LONG_BINGET GLOBAL STACK_GLOBAL "
    "REDUCE BUILD NEWOBJ NEWOBJ_EX BINPERSID"
)
_STORING = {"BINPUT", "LONG_BINPUT", "MEMOIZE"}
_KEEPING = {"APPEND", "APPENDS", "SETITEM", "SETITEMS", "ADDITEMS", "BUILD"} | _STORING  # the result is the first operand
_KEYS = {"None", "bool", "int", "float", "str", "bytes", "bytes_or_str", "name", "any"}  # nested tuples take exponential time to hash


def _check(data: bytes) -> int:
    """Follow the kinds of the values on the stack, as `pickletools.dis` does, and return the length of the pickle."""
    stack: list[str] = []
    marks = [0]  # the length of the stack at each mark
    memo: dict[Any, str] = {}
    admitted, end = frozenset(_ADMITTED.split()), 0
    for steps, (code, argument, position) in enumerate(pickletools.genops(io.BytesIO(data))):
        name, end = code.name, (position or 0) + 1
        if name not in admitted:
            raise RefusedError(f"it uses the pickle instruction {name}, which no state dictionary needs; nothing was executed")
        takes, marked = 1 if name in _STORING else len(code.stack_before), []
        if takes and pickletools.markobject in code.stack_before:
            takes, start = takes - 2, marks.pop()
            marked, stack[start:] = stack[start:], []
        bottom = len(stack) - takes
        if not marks or bottom < marks[-1]:
            raise ValueError(f"{name} finds too few values")
        operands, stack[bottom:] = stack[bottom:], []
        if name in ("SETITEM", "SETITEMS", "ADDITEMS", "FROZENSET"):
            keys = operands[1:2] if name == "SETITEM" else marked[:: 2 if name == "SETITEMS" else 1]
            if bad := set(keys) - _KEYS:
                raise ValueError(f"it has a key of kind {bad.pop()!r}, where text or a number below 2**60 is expected")
        elif name in _STORING:
            index = len(memo) if argument is None else argument
            if index > steps:  # the unpickler makes room for all lower indices
                raise ValueError(f"value {index} is stored after {steps} instructions")
            memo[index] = operands[0]
        elif name == "BUILD" and operands[0] == "name":
            raise RefusedError("it sets attributes of a function or class; nothing was executed")
        if name == "MARK":
            marks.append(len(stack))
        elif name in _KEEPING:
            stack.append(operands[0])
        elif name in ("BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            stack.append("name")
        elif name in ("LONG1", "LONG4") and argument and abs(argument) >= 2**60:
            stack.append("large int")  # whose hashes can be made to collide
        else:
            stack += [kind.name for kind in code.stack_after]
    return end
