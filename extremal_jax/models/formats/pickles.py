"""A pickle machine that builds containers and what its caller admits by name, and can do nothing else.

A pickle is a program for a stack machine whose instructions can call any function of any module. This machine knows the instructions for
literals and containers. A name stands for what the caller's table says; only a `Function` of that table can be called; anything else ends
in an error that names it. The standard library reads the instructions (`pickletools.genops`); its own machine never runs.

What comes out is no larger than a constant times the program: containers hold references, and what is copied is counted.
"""

from __future__ import annotations

import io
import pickletools
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any


class RefusedError(ValueError):
    """The pickle asks for what is not admitted."""


@dataclass(frozen=True)
class Function:
    """A function that a pickle may call, with the tuple of arguments that the pickle gives. It checks them, and raises ValueError."""

    call: Callable[[tuple[Any, ...]], Any]


def load(file: io.BytesIO, admitted: Mapping[str, Any], persistent: Callable[[object], object]) -> object:
    """Run the program that begins at the file's position; the file is left behind it.

    Args:
      file: in memory, since instructions may ask it for any number of bytes.
      admitted: by "module.name", what such a name stands for: a `Function`, or a plain value.
      persistent: from the identifier of an object that is stored outside the program to that object. It checks it, and raises ValueError.

    Returns:
      What the program builds.

    Raises:
      RefusedError: if the program asks for anything else, in a sentence that names it.
      ValueError: if it is malformed or truncated.

    Example:
      >>> import io, pickle
      >>> load(io.BytesIO(pickle.dumps({"a": [1, (2.0, None)]})), {}, print)
      {'a': [1, (2.0, None)]}
      >>> load(io.BytesIO(pickle.dumps(print)), {}, print)  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      extremal_jax.models.formats.pickles.RefusedError: it asks for 'builtins.print', which is neither a tensor nor a container; ...
    """
    machine = _Machine(admitted, persistent)
    for name, argument in _instructions(file):
        machine.step(name, argument)
    return machine.pop()


def _instructions(file: io.BytesIO) -> Iterator[tuple[str, Any]]:
    """The instructions before STOP and their arguments. A warning, of a bad escape, comes as an error where the user has asked for that."""
    try:
        for opcode, argument, _ in pickletools.genops(file):
            if opcode.name != "STOP":
                yield opcode.name, argument
    except (ValueError, Warning) as error:
        raise ValueError(f"its pickle is malformed or truncated ({error})") from error


class _Machine:
    """The stack, the marks that part it, and the memo."""

    def __init__(self, admitted: Mapping[str, Any], persistent: Callable[[object], object]) -> None:
        self.admitted = {"collections.OrderedDict": Function(self.ordered_dict), **admitted}
        self.persistent = persistent
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stacks under each mark
        self.memo: dict[int, Any] = {}
        self.steps = 0
        self.copied = 0

    def step(self, name: str, argument: Any) -> None:
        self.steps += 1
        if name in _LITERALS:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name])
        elif name in _INSTRUCTIONS:
            _INSTRUCTIONS[name](self, argument)
        elif name not in _IGNORED:
            raise RefusedError(f"it uses the pickle instruction {name}, which tensors and containers do not need; nothing was executed")

    def pop(self) -> Any:
        if not self.stack:
            raise ValueError("its pickle is malformed: a value is missing")
        return self.stack.pop()

    def pop_to_mark(self) -> list[Any]:
        if not self.below:
            raise ValueError("its pickle is malformed: a mark is missing")
        items, self.stack = self.stack, self.below.pop()
        return items

    def peek(self) -> Any:
        item = self.pop()
        self.stack.append(item)
        return item

    def top(self, *kinds: type) -> Any:
        if type(self.peek()) not in kinds:
            raise ValueError(f"its pickle is malformed: a {kinds[0].__name__} is missing")
        return self.stack[-1]

    def mark(self, _: object) -> None:
        self.below.append(self.stack)
        self.stack = []

    def drop(self, _: object) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.pop_to_mark()

    def drop_marked(self, _: object) -> None:
        self.pop_to_mark()

    def duplicate(self, _: object) -> None:
        self.stack.append(self.peek())

    def push_list(self, _: object) -> None:
        self.stack.append([])

    def push_dict(self, _: object) -> None:
        self.stack.append({})

    def list_of_marked(self, _: object) -> None:
        items = self.pop_to_mark()  # before the stack is looked up: this puts another in its place
        self.stack.append(items)

    def tuple_of_marked(self, _: object) -> None:
        items = self.pop_to_mark()
        self.stack.append(tuple(items))

    def dict_of_marked(self, _: object) -> None:
        items = self.pop_to_mark()
        self.stack.append({})
        self.set(items)

    def tuple_of(self, count: int) -> None:
        items = [self.pop() for _ in range(count)]
        self.stack.append(tuple(reversed(items)))

    def append(self, _: object) -> None:
        item = self.pop()
        self.top(list).append(item)

    def append_marked(self, _: object) -> None:
        items = self.pop_to_mark()
        self.top(list).extend(items)

    def set_item(self, _: object) -> None:
        value, key = self.pop(), self.pop()
        self.set([key, value])

    def set_marked(self, _: object) -> None:
        self.set(self.pop_to_mark())

    def set(self, items: list[Any]) -> None:
        target = self.top(dict, OrderedDict)
        if len(items) % 2:
            raise ValueError("its pickle is malformed: a key has no value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_key(key)] = value

    def put(self, index: int) -> None:
        self.memo[index] = self.peek()

    def memoize(self, _: object) -> None:
        self.put(len(self.memo))

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise ValueError("its pickle is malformed: it recalls a value that it never stored")
        self.stack.append(self.memo[index])

    def name(self, argument: str) -> None:
        self.find(*argument.split(" ", 1))

    def name_on_stack(self, _: object) -> None:
        name, module = self.pop(), self.pop()
        if not (isinstance(name, str) and isinstance(module, str)):
            raise ValueError("its pickle is malformed: a name is not text")
        self.find(module, name)

    def find(self, module: str, name: str = "") -> None:
        full = f"{module}.{name}"
        if full not in self.admitted:
            raise RefusedError(f"it asks for {full[:200]!r}, which is neither a tensor nor a container; nothing was executed")
        self.stack.append(self.admitted[full])

    def reduce(self, _: object) -> None:
        arguments, function = self.pop(), self.pop()
        if not isinstance(function, Function) or type(arguments) is not tuple:
            raise RefusedError(f"it calls an object of type {type(function).__name__!r}, which cannot be called here; nothing was executed")
        self.stack.append(function.call(arguments))

    def build(self, _: object) -> None:
        """Drop the attributes of an OrderedDict, the version numbers that state dictionaries carry; there are no others to be set."""
        state, owner = self.pop(), self.peek()
        if type(owner) is not OrderedDict or type(state) is not dict:
            kind = type(owner).__name__
            raise RefusedError(f"it sets attributes of an object of type {kind!r}, which no tensor needs; nothing was executed")

    def stored_outside(self, _: object) -> None:
        self.stack.append(self.persistent(self.pop()))

    def ordered_dict(self, arguments: tuple[Any, ...]) -> OrderedDict[Any, Any]:
        """Empty, or from the list of pairs that Python 2 writes. A list that is recalled again and again would fill the memory: counted."""
        pairs = arguments[0] if len(arguments) == 1 else []
        if len(arguments) > 1 or type(pairs) is not list or not all(type(pair) in (list, tuple) and len(pair) == 2 for pair in pairs):
            raise ValueError("its pickle is malformed: an OrderedDict is not made of pairs")
        self.copied += len(pairs)
        if self.copied > self.steps:
            raise ValueError("its pickle copies the same items again and again")
        return OrderedDict((_key(key), value) for key, value in pairs)


def _key(key: Any) -> Any:
    """A key that is quick to hash: a tuple of tuples of ... can take for ever, and integers beyond 2**60 can be made to collide."""
    if isinstance(key, int) and abs(key) < 2**60:
        return key
    if key is None or isinstance(key, str | bytes | float):
        return key
    raise ValueError(f"it has a dictionary key of type {type(key).__name__!r}; text and 60-bit integers are expected")


_LITERALS = frozenset(
    [
        "INT",
        "BININT",
        "BININT1",
        "BININT2",
        "LONG",
        "LONG1",
        "LONG4",
        "FLOAT",
        "BINFLOAT",
        "STRING",
        "BINSTRING",
        "SHORT_BINSTRING",
        "BINBYTES",
        "SHORT_BINBYTES",
        "BINBYTES8",
        "UNICODE",
        "BINUNICODE",
        "SHORT_BINUNICODE",
        "BINUNICODE8",
    ]
)
_CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_IGNORED = frozenset({"PROTO", "FRAME"})
_INSTRUCTIONS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark,
    "POP": _Machine.drop,
    "POP_MARK": _Machine.drop_marked,
    "DUP": _Machine.duplicate,
    "EMPTY_LIST": _Machine.push_list,
    "EMPTY_DICT": _Machine.push_dict,
    "LIST": _Machine.list_of_marked,
    "DICT": _Machine.dict_of_marked,
    "TUPLE": _Machine.tuple_of_marked,
    "TUPLE1": lambda machine, _: machine.tuple_of(1),
    "TUPLE2": lambda machine, _: machine.tuple_of(2),
    "TUPLE3": lambda machine, _: machine.tuple_of(3),
    "APPEND": _Machine.append,
    "APPENDS": _Machine.append_marked,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_marked,
    "PUT": _Machine.put,
    "BINPUT": _Machine.put,
    "LONG_BINPUT": _Machine.put,
    "MEMOIZE": _Machine.memoize,
    "GET": _Machine.get,
    "BINGET": _Machine.get,
    "LONG_BINGET": _Machine.get,
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.name_on_stack,
    "REDUCE": _Machine.reduce,
    "BUILD": _Machine.build,
    "BINPERSID": _Machine.stored_outside,
}
