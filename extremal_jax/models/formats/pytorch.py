"""PyTorch files without PyTorch, and without running what they contain.

In each of the formats (`pytorch_archives.py`), a pickle says which tensors there are and where their numbers lie (`pytorch_tensors.py`). It
goes through a machine that knows tensors and containers alone (`pickles.py`); then only the numbers of the tensors that are returned are
read.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import save_file

from extremal_jax.ground.files import whole_file
from extremal_jax.models.formats.archives import Opened, opened
from extremal_jax.models.formats.pickles import RefusedError
from extremal_jax.models.formats.tensors import Storage, Tensor

MAX_BYTES = 4 * 2**30
_WRAPPERS = ("state_dict", "model_state_dict", "model")
_MAX_DEPTH = 4


def read_tensors(path: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> dict[str, np.ndarray]:
    """The tensors of a PyTorch file (.pth, .pt, .bin, .pth.tar) by name, in the order of the file.

    Args:
      path: a file written by `torch.save`, that holds a dictionary of tensors and parameters, or one with such a dictionary under
        "state_dict", "model_state_dict" or "model". Whatever else is in it, of containers, numbers, text and tensors, is ignored.
      max_bytes: the most that the tensors may take.

    Returns:
      Read-only arrays. bfloat16 and the 8-bit floats are the types of `ml_dtypes`. Tensors that share numbers in the file share memory.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if it asks for anything but tensors and containers, which is named, and nothing of which is executed; if it is truncated,
        corrupted, too large, or something else.

    Example:
      >>> read_tensors("tests/golden/pytorch_files/zip.pth")["float32"]
      array([0., 1., 2., 3.], dtype=float32)
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights file {path}; expected a file written by torch.save")
    try:
        with path.open("rb") as file, opened(file) as contents:
            return _arrays(contents, path.stat().st_size, max_bytes)
    except RefusedError as error:
        raise ValueError(f"cannot read {path}: {error}; save the state_dict() alone, or get a .safetensors file") from error
    except ValueError as error:
        raise ValueError(f"cannot read {path}: {error}") from error


def convert(source: str | os.PathLike[str], target: str | os.PathLike[str], *, max_bytes: int = MAX_BYTES) -> tuple[str, ...]:
    """Write the tensors of a PyTorch file to a safetensors file, which holds tensors and executes nothing; whole or not at all.

    Args:
      source: as in `read_tensors`.
      target: ends in .safetensors; replaced if there is one. Tensors that share numbers are written in full.
      max_bytes: as in `read_tensors`.

    Returns:
      The names of the tensors.

    Raises:
      FileNotFoundError: if there is no source.
      ValueError: if the source is not such a file (see `read_tensors`), or the target has another ending, or cannot hold these types.
    """
    if Path(target).suffix != ".safetensors":
        raise ValueError(f"the name of the copy must end in .safetensors, got {os.fspath(target)!r}")
    tensors = {name: np.asarray(array, order="C") for name, array in read_tensors(source, max_bytes=max_bytes).items()}
    try:
        with whole_file(target) as temporary:
            save_file(tensors, temporary, {"format": "pt"})
    except (SafetensorError, KeyError) as error:
        raise ValueError(f"cannot write {target}: {error}") from error
    return tuple(tensors)


def _arrays(contents: Opened, file_size: int, max_bytes: int) -> dict[str, np.ndarray]:
    tensors = _named_tensors(contents.content)
    storages: dict[str, Storage] = {}
    for name, tensor in tensors.items():
        if storages.setdefault(tensor.storage.key, tensor.storage).nbytes != tensor.storage.nbytes:
            raise ValueError(f"the storage of {name!r:.100} has two sizes")
    stored = sum(storage.nbytes for storage in storages.values())
    if stored > file_size:
        raise ValueError(f"its tensors need {stored} bytes, but the file has {file_size}; it is truncated or corrupted")
    total = max(stored, sum(tensor.nbytes for tensor in tensors.values()))
    if total > max_bytes:
        raise ValueError(f"its tensors take {total} bytes, and max_bytes allows {max_bytes}; raise it if you trust the file")
    swap = contents.big_endian != (sys.byteorder == "big")
    numbers = {key: _bytes(contents, storage) for key, storage in storages.items()}
    types = {(tensor.storage.key, tensor.dtype) for tensor in tensors.values()}
    buffers = {(key, dtype): _swapped(numbers[key], dtype) if swap else numbers[key] for key, dtype in types}
    return {name: _view(buffers[tensor.storage.key, tensor.dtype], tensor) for name, tensor in tensors.items()}


def _named_tensors(content: object) -> dict[str, Tensor]:
    """The tensors of the dictionary, or of the dictionary within it."""
    for _ in range(_MAX_DEPTH):
        if not isinstance(content, dict):
            raise ValueError(f"a dictionary of tensors was expected, but it holds an object of type {type(content).__name__!r}")
        content = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), dict)), content)
    assert isinstance(content, dict)
    tensors = {name: value for name, value in content.items() if isinstance(value, Tensor)}
    if unnamed := [name for name in tensors if not isinstance(name, str)]:
        raise ValueError(f"its tensors are expected to have names, but one is called {unnamed[0]!r:.100}")
    if not tensors:
        keys = ", ".join(f"{key!r:.40}" for key in list(content)[:5])
        raise ValueError(f"no tensors by name at its top or under {', '.join(_WRAPPERS)}; its keys are: {keys or 'none'}")
    return tensors


def _bytes(contents: Opened, storage: Storage) -> np.ndarray:
    data = contents.read(storage)
    if len(data) != storage.nbytes:
        raise ValueError(
            f"storage {storage.key[:100]!r} needs {storage.nbytes} bytes, and {len(data)} are there; it is truncated or corrupted"
        )
    return np.frombuffer(data, np.uint8)


def _swapped(numbers: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The same bytes in the other order, number by number; a complex number is two."""
    width = dtype.itemsize // (2 if dtype.kind == "c" else 1)
    whole = numbers[: numbers.size // width * width].view(f"u{width}").byteswap().view(np.uint8)
    whole.flags.writeable = False
    return whole


def _view(numbers: np.ndarray, tensor: Tensor) -> np.ndarray:
    """The window of a tensor; numpy checks once more that it lies within the bytes."""
    if 0 in tensor.shape:
        return np.empty(tensor.shape, tensor.dtype)
    size = tensor.dtype.itemsize
    strides = [stride * size if extent > 1 else 0 for extent, stride in zip(tensor.shape, tensor.strides, strict=True)]
    start = tensor.storage.start + tensor.offset * size
    return np.ndarray(tensor.shape, tensor.dtype, numbers.data, start, strides)
