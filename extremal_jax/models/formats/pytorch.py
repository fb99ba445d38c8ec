"""PyTorch files, read without PyTorch and without running what they contain.

They are zip archives since PyTorch 1.6, and sequences of pickles and numbers before it. A pickle says which tensors there
are and where their numbers lie. Only the numbers of the tensors that are returned are read.
"""

from __future__ import annotations

import io
import os
import re
import struct
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from extremal_jax.ground.files import whole_file
from extremal_jax.models.formats import pickles
from extremal_jax.models.formats.pickles import RefusedError, Storage, Tensor, storage

MAX_BYTES = 4 * 2**30
_MAX_PICKLE = 16 * 2**20  # ResNet-152's is 150 kB
_HEADER = (0x1950A86A20F9469CFC6C, 1001)  # the magic number and version of files before PyTorch 1.6
_WRAPPERS = ("state_dict", "model_state_dict", "model", "module", "net", "network", "params", "weights")
_MAX_DEPTH = 4
_OTHER_KINDS = {  # by their first bytes
    b"\x89HDF": "an HDF5 file",
    b"\x1f\x8b": "a gzip archive; unpack it first",
    b"<": "a web page, so its download went wrong",
    b"version https://git-lfs": "a pointer of Git LFS; fetch the file that it stands for",
}
_BROKEN = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, NotImplementedError, OverflowError)  # raised on broken files
_Contents = tuple[object, Callable[[Storage], bytes], bool]  # what the pickle builds, a reader of storages, whether they are big-endian


def read_tensors(path: str | os.PathLike[str], *, ema: bool = False, max_bytes: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """The tensors of a PyTorch file (.pth, .pt, .bin, .ckpt, ...) by name, in the order of the file.

    Args:
      path: a file written by `torch.save` that holds a dictionary of tensors and parameters, or one with such a dictionary
        under a key such as "state_dict" or "model". Everything else in it is ignored.
      ema: read the exponential moving average of the weights instead, if it lies beside them under a key such as
        "model_ema". The names of its tensors then begin with that key.
      max_bytes: the most memory that the tensors may take.

    Returns:
      Read-only arrays. bfloat16 and the 8-bit floats are the types of `ml_dtypes`. Tensors that share numbers in the file share memory.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it asks for anything but tensors, containers and inert values, which the message names and which is not
        executed; if it is truncated, corrupted, too large or of another format.

    Example:
      >>> read_tensors("tests/golden/pytorch_files/zip.pth")["float32"]
      array([0., 1., 2., 3.], dtype=float32)
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights file {path}; expected a file written by torch.save")
    try:
        with _Bounded(io.FileIO(path)) as file:
            content, read, big_endian = _open(file)
            return _arrays(_named_tensors(content, ema), read, big_endian, file.size, max_bytes)
    except RefusedError as error:
        raise ValueError(f"cannot read {path}: {error}; save the state_dict() alone, or get a .safetensors file") from error
    except _BROKEN as error:
        reason = str(error) or type(error).__name__
        raise ValueError(f"cannot read {path}: it is truncated or corrupted ({reason}); fetch it again") from error
    except ValueError as error:
        raise ValueError(f"cannot read {path}: {error}") from error


def convert(source: str | os.PathLike[str], target: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> tuple[str, ...]:
    """Write the tensors of a PyTorch file to a safetensors file, whole or not at all, and return their names.

    Tensors that share numbers are written in full. It raises the errors of `read_tensors`, and a ValueError if the target
    does not end in .safetensors or cannot hold these types.
    """
    if Path(target).suffix != ".safetensors":
        raise ValueError(f"the target of a conversion must end in .safetensors, got {str(target)!r}")
    tensors = read_tensors(source, max_bytes=max_bytes)
    tensors = {name: array.copy() for name, array in tensors.items()}  # the format's writer takes contiguous arrays only
    try:
        with whole_file(target) as temporary:
            save_file(tensors, temporary)
    except (SafetensorError, KeyError, TypeError) as error:
        types = sorted({str(array.dtype) for array in tensors.values()})
        raise ValueError(f"cannot write {target}: a safetensors file cannot hold all of the types {', '.join(types)} ({error})") from error
    return tuple(tensors)


class _Bounded(io.BufferedReader):
    """A file whose reads take no more memory than it has bytes left, whatever sizes and places it declares."""

    def __init__(self, raw: io.FileIO):
        super().__init__(raw)
        self.size = super().seek(0, os.SEEK_END)
        self.seek(0)

    def read(self, size: int | None = -1, /) -> bytes:
        left = self.size - self.tell()
        return super().read(left if size is None or size < 0 else min(size, left))

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        target = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self.tell(), os.SEEK_END: self.size}[whence]
        if not 0 <= target <= self.size:
            raise EOFError("it ends too early")
        return super().seek(target)


def _open(file: _Bounded) -> _Contents:
    head = file.read(512)
    file.seek(0)
    if head.startswith(b"PK\x03\x04"):
        return _open_zip(zipfile.ZipFile(file))
    if head.startswith(b"\x80"):
        return _open_pickles(file)
    if not head:
        raise ValueError("it is empty; fetch it again")
    if is_safetensors(head):
        raise ValueError("it is a safetensors file, so there is nothing to convert")
    if head[257:262] == b"ustar":
        raise ValueError("it is a tar archive, as PyTorch wrote until 2017; load it in PyTorch and save it again")
    kind = next((kind for magic, kind in _OTHER_KINDS.items() if head.startswith(magic)), None)
    raise ValueError(f"it looks like {kind}" if kind else f"it begins with {head[:8]!r}, and torch.save did not write it")


def is_safetensors(head: bytes) -> bool:
    """Whether a file that begins with these bytes is a safetensors file: the length of its header, then the header's brace."""
    return head[8:9] == b"{"


def is_ema(name: object) -> bool:
    """Whether a name speaks of an exponential moving average.

    Example:
      >>> is_ema("state_dict_ema"), is_ema("EMA.module."), is_ema("schema")
      (True, True, False)
    """
    return isinstance(name, str) and re.search(r"(?i)(^|[._-])(ema|moving_average)([._-]|$)|^ema(?=[A-Z])", name) is not None


def _open_zip(archive: zipfile.ZipFile) -> _Contents:
    """One folder with the pickle `data.pkl`, a file `data/KEY` for each storage, and the `byteorder`."""
    names = set(archive.namelist())
    folders = [name.removesuffix("data.pkl") for name in names if name.endswith("/data.pkl") and name.count("/") == 1]
    if len(folders) != 1:
        raise ValueError("it is a zip archive, but torch.save did not write it: it does not have one pickle, 'NAME/data.pkl'")
    folder = folders[0]
    if f"{folder}constants.pkl" in names:
        raise ValueError("it is a TorchScript archive; save the state_dict() of the model instead")

    def record(name: str, limit: int) -> bytes:
        if folder + name not in names:
            raise ValueError(f"the record {name[:100]!r} is missing in the archive")
        info = archive.getinfo(folder + name)
        if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 1 or info.file_size != info.compress_size:
            raise ValueError(f"the record {name[:100]!r} is compressed or encrypted, which torch.save never does")
        if info.file_size > limit:
            raise ValueError(f"the record {name[:100]!r} has {info.file_size} bytes, and {limit} are expected")
        return archive.read(info)

    order = record("byteorder", 20) if f"{folder}byteorder" in names else b"little"
    if order not in (b"little", b"big"):
        raise ValueError(f"its byte order is little or big, got {order!r}")
    content, _ = pickles.load(record("data.pkl", _MAX_PICKLE))
    return content, lambda wanted: record(f"data/{wanted.key}", wanted.nbytes), order == b"big"


def _open_pickles(file: _Bounded) -> _Contents:
    """Pickles of a magic number, a version, the system, the content and the storages' keys; then for each key a count and the numbers.

    The numbers are little-endian, whatever the system was.
    """
    storages: dict[str, Storage] = {}

    def declared(identifier: object) -> Storage:
        found = storage(identifier)
        return storages.setdefault(found.key, found) and found

    def unpickle() -> object:
        start = file.tell()
        content, length = pickles.load(file.read(_MAX_PICKLE), declared)
        file.seek(start + length)
        return content

    if (unpickle(), unpickle()) != _HEADER:
        raise ValueError(f"it is a pickle, but not one that torch.save wrote in its format {_HEADER[1]}")
    _system, content, keys = unpickle(), unpickle(), unpickle()
    if not isinstance(keys, list) or not all(isinstance(key, str) and key in storages for key in keys):
        raise ValueError("its list of storages does not fit its tensors")
    positions: dict[str, int] = {}
    for key in keys:
        (count,) = struct.unpack("<q", file.read(8))
        numbers = storages[key]
        if count * numbers.dtype.itemsize != numbers.nbytes:
            raise ValueError(f"storage {key[:100]!r} has {count} elements, where its tensors need {numbers.nbytes} bytes")
        positions[key] = file.tell()
        file.seek(numbers.nbytes, os.SEEK_CUR)

    def read(wanted: Storage) -> bytes:
        if wanted.key not in positions:
            raise ValueError(f"the numbers of storage {wanted.key[:100]!r} are missing")
        file.seek(positions[wanted.key])
        return file.read(wanted.nbytes)

    return content, read, False


def _named_tensors(content: object, ema: bool) -> dict[str, Tensor]:
    """The tensors of a dictionary, or of a dictionary within it."""
    prefix = ""
    if ema and isinstance(content, dict) and (keys := [key for key, value in content.items() if is_ema(key) and isinstance(value, dict)]):
        content, prefix = content[keys[0]], f"{keys[0]}."
    for _ in range(_MAX_DEPTH):
        if not isinstance(content, dict):
            raise ValueError(f"a dictionary of tensors was expected, but it holds an object of type {type(content).__name__!r}")
        within = [content[key] for key in _WRAPPERS if isinstance(content.get(key), dict)]
        content = next((part for part in within if _holds_tensors(part)), content)
    assert isinstance(content, dict)
    tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if unnamed := [name for name in tensors if not isinstance(name, str)]:
        raise ValueError(f"its tensors are expected to have names, but one is called {unnamed[0]!r:.100}")
    if not tensors:
        shown = ", ".join(f"{key!r:.40}" for key in list(content)[:5])
        raise ValueError(f"no tensors by name at its top or under {', '.join(_WRAPPERS)}; its keys are: {shown or 'none'}")
    return {prefix + name: tensor for name, tensor in tensors.items()}


def _holds_tensors(content: object) -> bool:
    """Whether there are tensors in dictionaries within dictionaries: a trainer's settings may have the name of a wrapper."""
    left, seen = [content], set[int]()
    while left:
        part = left.pop()
        if isinstance(part, Tensor):
            return True
        if isinstance(part, dict) and id(part) not in seen:
            seen.add(id(part))
            left += part.values()
    return False


def _arrays(
    tensors: dict[str, Tensor], read: Callable[[Storage], bytes], big_endian: bool, file_size: int, max_bytes: int
) -> dict[str, np.ndarray]:
    storages: dict[str, Storage] = {}
    for name, tensor in tensors.items():
        if storages.setdefault(tensor.storage.key, tensor.storage).nbytes != tensor.storage.nbytes:
            raise ValueError(f"the storage of {name!r:.100} has two sizes")
    stored = sum(each.nbytes for each in storages.values())
    if stored > file_size:
        raise ValueError(f"its tensors need {stored} bytes, but the file has {file_size}; it is truncated or corrupted")
    total = max(stored, sum(tensor.nbytes for tensor in tensors.values()))
    if total > max_bytes:
        raise ValueError(f"its tensors take {total} bytes, and max_bytes allows {max_bytes}; raise it if you trust the file")
    numbers = {key: read(each) for key, each in storages.items()}
    for key, data in numbers.items():
        if len(data) != (needed := storages[key].nbytes):
            raise ValueError(f"storage {key[:100]!r} needs {needed} bytes, and {len(data)} are there; it is truncated or corrupted")
    swap = big_endian != (sys.byteorder == "big")
    return {name: _array(numbers[tensor.storage.key], tensor, swap) for name, tensor in tensors.items()}


def _array(numbers: bytes, tensor: Tensor, swap: bool) -> np.ndarray:
    """The window of a tensor, in the byte order of the machine. NumPy checks again that it lies within the bytes."""
    dtype, shape = tensor.dtype, tensor.shape
    if 0 in shape:
        return np.empty(shape, dtype)
    strides = [stride * dtype.itemsize if extent > 1 else 0 for extent, stride in zip(shape, tensor.strides, strict=True)]
    array = np.ndarray(shape, dtype, numbers, tensor.storage.start + tensor.offset * dtype.itemsize, strides)
    if swap:
        width = dtype.itemsize // (2 if dtype.kind == "c" else 1)  # a complex number is two
        array = np.ascontiguousarray(array).reshape(-1).view(f"u{width}").byteswap().view(dtype).reshape(shape)
        array.flags.writeable = False
    return array
