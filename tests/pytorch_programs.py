"""Pickle programs and PyTorch files made by hand, and a watch on what reading them does."""

from __future__ import annotations

import contextlib
import pickle
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from golden_data import GOLDEN

FILES = ["zip.pth", "legacy.pth", "new_types.pth", "checkpoint.pth.tar", "protocol4.pth", "big_endian.pth"]
FOLDER = GOLDEN / "pytorch_files"
LEGACY_HEAD = b"".join(pickle.dumps(value, 2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))


def name(full: str) -> bytes:
    module, _, attribute = full.rpartition(".")
    return f"c{module}\n{attribute}\n".encode()


def value(x: object, protocol: int = 2) -> bytes:
    return pickle.dumps(x, protocol)[2:-1]


def tensor(
    key: Any = "0",
    size: Any = 4,
    shape: Any = (4,),
    strides: Any = (1,),
    offset: Any = 0,
    storage: Any = "torch.FloatStorage",
    view: Any = (),
) -> bytes:
    identifier = b"(" + value("storage") + name(storage) + value(key) + value("cpu") + value(size) + b"".join(map(value, view)) + b"tQ"
    arguments = identifier + value(offset) + value(shape) + value(strides) + value(False) + name("collections.OrderedDict") + b")R"
    return name("torch._utils._rebuild_tensor_v2") + b"(" + arguments + b"tR"


def dictionary(**entries: bytes) -> bytes:
    return b"}(" + b"".join(value(key) + entry for key, entry in entries.items()) + b"u"


def program(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


def zip_file(path: Path, body: bytes, records: dict[str, bytes] | None = None, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", program(body))
        for record, data in (records or {"data/0": np.arange(4, dtype=np.float32).tobytes()}).items():
            archive.writestr(f"archive/{record}", data)
    return path


def legacy_file(path: Path, body: bytes, keys: Any = ("0",), tail: bytes = (4).to_bytes(8, "little") + bytes(16)) -> Path:
    path.write_bytes(LEGACY_HEAD + program(body) + pickle.dumps(list(keys), 2) + tail)
    return path


def arrays(tensors: dict[str, np.ndarray], first: int = 0) -> tuple[bytes, dict[str, bytes]]:
    """A dictionary of float32 arrays and their records, numbered from `first`."""
    body, records = {}, {}
    for index, (key, array) in enumerate(tensors.items(), first):
        strides = tuple(stride // 4 for stride in np.empty(array.shape, np.float32).strides)
        body[key] = tensor(key=str(index), size=array.size, shape=array.shape, strides=strides)
        records[f"data/{index}"] = array.astype(np.float32).tobytes()
    return dictionary(**body), records


def plain_file(path: Path, body: bytes) -> Path:
    path.write_bytes(program(body))
    return path


FORMATS: dict[str, Callable[[Path, bytes], Path]] = {"zip": zip_file, "legacy": legacy_file, "plain": plain_file}

WATCHED = {"pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect"}
_watching: list[list[str]] = []


def _audit(event: str, _: tuple) -> None:
    if _watching and event in WATCHED:
        _watching[-1].append(event)


sys.addaudithook(_audit)


@contextlib.contextmanager
def nothing_executed() -> Iterator[None]:
    """Fails if the block runs a program, connects, or lets Python's own unpickler look up a name."""
    events: list[str] = []
    _watching.append(events)
    try:
        yield
    finally:
        _watching.pop()
    assert events == [], events
