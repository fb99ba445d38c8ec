"""Pickles: nothing that a file names is executed; inert values are ignored; no program exhausts memory or time."""

from __future__ import annotations

import argparse
import collections
import contextlib
import datetime
import decimal
import os
import pathlib
import pickle
import subprocess
import sys
import time
import tracemalloc
import types
import uuid
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from extremal_jax.models.formats import pickles
from extremal_jax.models.formats.pytorch import read_tensors
from pytorch_programs import FORMATS, dictionary, name, nothing_executed, program, tensor, value, zip_file


class Calls:
    """An object whose pickle calls a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


def test_the_watch_sees_what_python_does() -> None:
    with pytest.raises(AssertionError, match=r"pickle\.find_class"), nothing_executed():
        pickle.loads(pickle.dumps(os.getcwd))


PAYLOADS = {
    "posix.system": lambda marker: Calls(os.system, f"touch {marker}"),
    "builtins.eval": lambda marker: Calls(eval, f"open({str(marker)!r}, 'w')"),
    "builtins.exec": lambda marker: Calls(exec, f"open({str(marker)!r}, 'w')"),
    "subprocess.Popen": lambda marker: Calls(subprocess.Popen, ["touch", str(marker)]),
    "builtins.getattr": lambda marker: Calls(getattr, collections.OrderedDict(), "__class__"),
    "pathlib.Path.touch": lambda marker: Calls(pathlib.Path.touch, marker),
    "builtins.print": lambda marker: Calls(print, "executed"),
    "io.open": lambda marker: Calls(open, str(marker), "w"),
}


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("asked", PAYLOADS)
def test_a_call_of_anything_else_is_refused_by_name(asked: Any, protocol: int, fmt: Any, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    payload = pickle.dumps(PAYLOADS[asked](marker), protocol)[2:-1]
    hidden = dictionary(a=tensor() if fmt != "plain" else value(1), state_dict=dictionary(epoch=b"](" + payload + b"e"))
    shown = "getattr" if protocol < 4 and asked == "pathlib.Path.touch" else asked.split(".")[-1]  # which older protocols use for methods
    for body in (payload, hidden):
        with (
            nothing_executed(),
            pytest.raises(ValueError, match=rf"it asks for '[\w.]+\.{shown}', which is neither .* nothing was executed"),
        ):
            read_tensors(FORMATS[fmt](tmp_path / "evil.pth", body))
    assert not marker.exists()


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"S'touch x'\nios\nsystem\n.", "instruction STRING"),
        (b"(ios\nsystem\n", "instruction INST"),
        (b"(cos\nsystem\no", "instruction OBJ"),
        (b"\x82\x01", "instruction EXT1"),
        (b"Pstorage\n", "instruction PERSID"),
        (b"N0", "instruction POP"),
        (value("builtins") + value("eval") + b"\x93", "'builtins.eval'"),
        (value("torch._utils") + value("os.system") + b"\x93", "'torch._utils.os.system'"),
        (value("collections") + value("OrderedDict.__init__") + b"\x93", "'collections.OrderedDict.__init__'"),
        (value("trainer") + value("Config.run") + b"\x93", "'trainer.Config.run'"),
        (name("trainer.run"), "'trainer.run'"),
        (name("torch.load"), "'torch.load'"),
        (name("torch._utils._rebuild_qtensor"), "'torch._utils._rebuild_qtensor'"),
        (name("torch.nn.modules.linear.Linear"), "'torch.nn.modules.linear.Linear'"),
        (name("numpy.load"), "'numpy.load'"),
        (name("multiprocessing.Process"), "'multiprocessing.Process'"),
        (value("eval") + value(("1",)) + b"R", "'str' object is not callable"),
        (name("torch.FloatStorage") + value(("1",)) + b"R", "object is not callable"),
        (name("torch.float32") + value(("1",)) + b"\x81", "must be a type"),
        (name("torch._utils._rebuild_tensor_v2") + value([1]) + b"R", "malformed"),
        (name("torch._utils._rebuild_tensor_v2") + value((None, {"__defaults__": ()})) + b"b", "sets attributes of a function or class"),
        (name("torch.float32") + value((3, "<", None)) + b"b", "sets attributes of a function or class"),
        (name("trainer.Config") + value(1) + b"a" + value((None, {"__new__": None})) + b"b", "sets attributes of a function or class"),
        (name("trainer.Config") + b"q\x00h\x00" + value({"add": 1}) + b"b", "sets attributes of a function or class"),
        (tensor() + value({"shape": 1}) + b"b", "no attribute '__dict__'"),
        (tensor() + value((None, {"shape": 1})) + b"b", "can't set attribute|no setter"),
        (b"}" + value({"x": 1}) + b"b", "no attribute '__dict__'"),
        (b"(" + value("module") + value("torch.nn.Linear") + value("file") + b"tQ", "an object 'module' outside its pickle"),
        (value("0") + b"Q", "an object '0' outside its pickle"),
        (value(7) + b"Q", "an object of type 'int' outside its pickle"),
        (b")Q", "an object of type 'tuple' outside its pickle"),
    ],
)
def test_other_tricks_are_refused(body: Any, sentence: str, tmp_path: Path) -> None:
    with nothing_executed(), pytest.raises(ValueError, match=sentence):
        read_tensors(zip_file(tmp_path / "evil.pth", body))


def test_the_attributes_of_an_ordered_dict_are_dropped(tmp_path: Path) -> None:
    body = name("collections.OrderedDict") + b")R(" + value("a") + tensor() + b"u" + value({"_metadata": 1, "update": 2}) + b"b"
    assert list(read_tensors(zip_file(tmp_path / "a.pth", body))) == ["a"]


# Inert values beside the weights.


class Config(dict):
    """The settings of a trainer: a dictionary with attributes."""


def config() -> Any:
    made: Any = Config(lr=0.1)
    made.optimizer = "sgd"
    return made


INERT = {
    "counter": collections.Counter({30: 1, 60: 1}),
    "chain": collections.ChainMap({"a": 1}),
    "ellipsis": ...,
    "defaultdict": collections.defaultdict(list, a=[1]),
    "deque": collections.deque([1, 2]),
    "float64": np.float64(0.5),
    "int64": np.int64(3),
    "array": np.arange(6.0).reshape(2, 3),
    "strings": np.array(["a", "b"]),
    "dtype": np.dtype("float16"),
    "type": np.float32,
    "random state": np.random.RandomState(0),
    "generator": np.random.default_rng(0),
    "namespace": argparse.Namespace(lr=0.1, path=pathlib.Path("a")),
    "simple namespace": types.SimpleNamespace(a=1),
    "path": pathlib.Path("a/b"),
    "pure path": pathlib.PureWindowsPath("a"),
    "datetime": datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC),
    "timedelta": datetime.timedelta(seconds=3),
    "set": {1, "a"},
    "frozenset": frozenset([1]),
    "bytes": b"\x00\xff",
    "complex": 1j,
    "slice": slice(1, 2),
    "decimal": decimal.Decimal("0.1"),
    "uuid": uuid.UUID(int=3),
    "large integer": 2**200,
    "class": int,
    "settings": config(),
}


@pytest.mark.parametrize("kind", INERT)
def test_inert_values_are_ignored(kind: Any, tmp_path: Path) -> None:
    """At every level, once and repeatedly, in all protocols."""
    x = INERT[kind]
    with nothing_executed():
        for protocol in (2, 4, 5):
            found: Any = pickles.load(pickle.dumps({"a": 1, "list": [x, x], kind: x}, protocol))[0]
            assert list(found) == ["a", "list", kind]
        body = dictionary(state_dict=dictionary(a=tensor(), beside=value(x)), other=value([x]))
        assert list(read_tensors(zip_file(tmp_path / "a.pth", body))) == ["a"]


@pytest.mark.parametrize(
    "body",
    [
        name("torch.device") + value(("cuda", 0)) + b"R",
        name("torch.Size") + value(((1, 2),)) + b"R",
        name("torch.float32"),
        name("omegaconf.dictconfig.DictConfig") + b")\x81" + value({"_content": {"lr": 0.1}}) + b"b",
        name("typing.Any"),
        name("pytorch_lightning.utilities.parsing.AttributeDict") + b")\x81(" + value("lr") + value(0.1) + b"u",
        name("__main__.Precision") + value((16,)) + b"R",
        name("numpy.dtypes.Float64DType") + b")R",
        name("numpy.core.multiarray.scalar") + value((1, b"x")) + b"R",
        name("numpy._core.multiarray._reconstruct")
        + b"("
        + name("numpy.ndarray")
        + value((0,))
        + value("b")
        + b"tR"
        + value((1, 2))
        + b"b",
    ],
)
def test_inert_values_of_other_libraries_are_ignored(body: Any, tmp_path: Path) -> None:
    with nothing_executed():
        assert list(read_tensors(zip_file(tmp_path / "a.pth", dictionary(a=tensor(), other=body)))) == ["a"]


def test_weights_in_a_defaultdict(tmp_path: Path) -> None:
    body = name("collections.defaultdict") + b"(" + name("builtins.dict") + b"tR(" + value("a") + tensor() + b"u"
    assert list(read_tensors(zip_file(tmp_path / "a.pth", body))) == ["a"]


def test_an_inert_value_is_no_dictionary_of_weights(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="a dictionary of tensors was expected, but it holds an object of type 'Inert'"):
        read_tensors(zip_file(tmp_path / "a.pth", name("trainer.Net") + b")\x81" + dictionary(a=tensor()) + b"b"))


# Programs that try to fill the memory or to run for ever.


def memo(count: int) -> bytes:
    return b"r" + count.to_bytes(4, "little")


SLOW = {
    "the same copies": (
        b"](" + value([("k", 1)] * 1000) + b"q\x01" + (name("collections.OrderedDict") + b"(h\x01tR") * 1000 + b"e",
        "copies",
    ),
    "tuples as a key": (b"})" + b"q\x00h\x00\x86" * 200 + b"Ns", "a key of kind 'tuple'"),
    "tuples in a set": (b"\x8f()" + b"q\x00h\x00\x86" * 200 + b"\x90", "a key of kind 'tuple'"),
    "tuples in a frozenset": (b"()" + b"q\x00h\x00\x86" * 200 + b"\x91", "a key of kind 'tuple'"),
    "tuples outside": (b")" + b"q\x00h\x00\x86" * 200 + b"Q", "of type 'tuple' outside its pickle"),
    "colliding numbers": (b"}(" + b"".join(value(n * (2**61 - 1)) + b"N" for n in range(1, 9)) + b"u", "a key of kind 'large int'"),
    "a colliding tensor": (b"}" + tensor() + b"Ns", "unhashable type: 'Tensor'"),
    "a long memo": (dictionary(a=tensor() + memo(2**32 - 1)), "value 4294967295 is stored after"),
    "a memo of a million": (dictionary(a=tensor() + memo(10**6)), "value 1000000 is stored after"),
    "long bytes": (b"\x8e" + (2**40).to_bytes(8, "little"), "malformed, truncated"),
    "long text": (b"\x8d" + (2**62).to_bytes(8, "little"), "malformed, truncated"),
    "a long array of bytes": (b"\x96" + (2**40).to_bytes(8, "little"), "malformed, truncated"),
    "a long integer": (b"\x8b" + (2**31 - 1).to_bytes(4, "little"), "malformed, truncated"),
    "a long frame": (b"\x95" + (2**62).to_bytes(8, "little"), "malformed, truncated"),
    "a large array": (name("builtins.bytearray") + value((2**40,)) + b"R", ""),
    "a large range": (name("builtins.list") + b"(" + name("builtins.range") + value((2**40,)) + b"RtR", ""),
    "a deep list": (b"]" * 10**4 + b"a" * (10**4 - 1), ""),
    "many marks": (b"(" + b"N" * 10**4 + b"(t" * 10**4 + b"t", ""),
}


@pytest.mark.parametrize("trick", SLOW)
def test_memory_and_time_are_bounded(trick: Any) -> None:
    """At most a constant plus 400 bytes and 50 microseconds for each byte of the pickle, traced and on a busy machine."""
    body, sentence = SLOW[trick]
    data = program(body)
    tracemalloc.start()
    start = time.process_time()
    with nothing_executed(), pytest.raises(ValueError, match=sentence) if sentence else contextlib.nullcontext():
        pickles.load(data)
    seconds, peak = time.process_time() - start, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20 + 400 * len(data)
    assert seconds < 1 + 50e-6 * len(data)


def test_repeated_keys_take_linear_time() -> None:
    """The worst keys that are admitted: distinct numbers with equal low bits."""
    numbers = b"".join(value((n << 24) % 2**60) + b"N" for n in range(20_000))
    start = time.process_time()
    found: Any = pickles.load(program(b"}(" + numbers + b"u"))[0]
    assert len(found) == 20_000
    assert time.process_time() - start < 5


@pytest.mark.parametrize("x", [np.iinfo(np.int64).max, -(2**60), 2**4000], ids=["int64", "negative", "long"])
def test_large_integers_are_values_but_no_keys(x: Any) -> None:
    assert pickles.load(pickle.dumps({"a": x}, 4))[0] == {"a": x}
    with pytest.raises(ValueError, match="a key of kind 'large int'"):
        pickles.load(pickle.dumps({x: "a"}, 4))


def test_the_unpickler_is_the_standard_librarys() -> None:
    assert issubclass(pickles.Unpickler, pickle.Unpickler)
    assert sys.modules["_pickle"].Unpickler is pickle.Unpickler
