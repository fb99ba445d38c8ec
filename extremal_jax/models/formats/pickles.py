"""The pickles of PyTorch files, read by the standard library's unpickler with an allow-list.

A name in a pickle means a stand-in from the tables below, or is refused: no module is imported, and no function runs that
the file chooses. A pass over the instructions comes first. It refuses those that could exhaust memory or time, and those
that could change a stand-in.
"""

from __future__ import annotations

import _compat_pickle  # the names of Python 2's modules
import io
import pickle
import pickletools
import re
import sys
from collections.abc import Callable
from typing import Any

from extremal_jax.models.formats.tensors import DTYPES, RefusedError, rebuild_parameter, rebuild_tensor, storage


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
        """The stand-in for a name.

        Raises:
          RefusedError: if it has none.
        """
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
    """Read the pickle at the beginning of `data`.

    Args:
      data: the pickle and whatever follows it.
      persistent: maps the identifier of an object outside the pickle to that object, or raises ValueError.

    Returns:
      The object, and the length of the pickle.

    Raises:
      RefusedError: if the pickle asks for anything but tensors, containers and inert values, in a sentence that names it.
      ValueError: if it is malformed or truncated, or could exhaust memory or time.

    Example:
      >>> load(pickle.dumps({"a": [1, (2.0, None)]}, 2) + b"rest")
      ({'a': [1, (2.0, None)]}, 35)
      >>> load(pickle.dumps(print))  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      extremal_jax.models.formats.tensors.RefusedError: it asks for 'builtins.print', which is neither a tensor nor an inert value; ...
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
    """Follow the kinds of the values on the stack, as `pickletools.dis` does, and return the length of the pickle.

    Raises:
      RefusedError: for an instruction that no state dictionary needs.
      ValueError: for one that could exhaust memory or time, or that fails.
    """
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
