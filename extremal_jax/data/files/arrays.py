"""Arrays of numbers in NumPy's files, without Python objects, which could run code."""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path

import numpy as np

from extremal_jax.ground.checks import nearest
from extremal_jax.ground.files import as_path

MAX_BYTES = 4 << 30
_NPY, _ZIP = b"\x93NUMPY", b"PK"


def load_array(path: str | os.PathLike[str], name: str | None = None, *, max_bytes: int = MAX_BYTES) -> np.ndarray:
    """Read an array of real numbers from a file of `np.save` or `np.savez`.

    Args:
      path: a .npy or .npz file; its first bytes say which, and not its ending.
      name: of the array in a .npz file. None: the file must hold one array alone.
      max_bytes: the most memory that the array may take; a larger one is refused before it is read.

    Returns:
      The array, of its own shape and type, in this machine's order of bytes.

    Raises:
      FileNotFoundError: if there is no such file.
      ValueError: if the file is of another format or broken, if the array is empty or too large, if it holds something else than
        real numbers, or if it is not said which of several arrays is meant.

    Example:
      >>> import tempfile
      >>> path = Path(tempfile.mkdtemp()) / "series.npz"
      >>> np.savez(path, first=np.ones((100, 6)), second=np.zeros((100, 6)))
      >>> load_array(path, "second").shape
      (100, 6)
      >>> load_array(path)
      Traceback (most recent call last):
      ValueError: ...series.npz holds 2 arrays; name one of them: 'first', 'second'
    """
    path = as_path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    with path.open("rb") as file:
        head = file.read(len(_NPY))
    if head == _NPY:
        if name is not None:
            raise ValueError(f"{path} holds one array, without a name, got the name {name!r}")
        return _checked(_in_npy(path, max_bytes), str(path))
    if head.startswith(_ZIP):
        return _in_npz(path, name, max_bytes)
    raise ValueError(f"{path} is no file of np.save or np.savez; Python objects are not read, since they could run code")


def _in_npy(path: Path, max_bytes: int) -> np.ndarray:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)  # the size of what is there is checked, and nothing is read
    except Exception as error:
        raise _failure(str(path), error) from error
    _check_bytes(str(path), array.nbytes, max_bytes)
    return np.array(array)


def _in_npz(path: Path, name: str | None, max_bytes: int) -> np.ndarray:
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {entry.filename.removesuffix(".npy"): entry.file_size for entry in archive.infolist()}
    except Exception as error:
        raise _failure(str(path), error) from error
    if name is None and len(sizes) != 1:
        raise ValueError(f"{path} holds {len(sizes)} arrays; name one of them: {', '.join(map(repr, sizes))}")
    if name is not None and name not in sizes:
        raise ValueError(f"{path} holds no array {name!r}; {nearest(name, sizes)}")
    [name] = [name] if name is not None else sizes
    where = f"{name!r} in {path}"
    _check_bytes(where, sizes[name], max_bytes)
    try:
        with np.load(path, allow_pickle=False) as file:
            array = file[name]
    except Exception as error:
        raise _failure(where, error) from error
    if not isinstance(array, np.ndarray):
        raise ValueError(f"{where} is no array")
    return _checked(array, where)


def _check_bytes(where: str, size: int, most: int) -> None:
    if size > most:
        raise ValueError(
            f"{where} takes {math.ceil(size / 1e6):,} MB, more than the {most // 1_000_000:,} MB that are read; save a part of it"
        )


def _failure(where: str, error: Exception) -> ValueError:
    """The error for a file that NumPy does not read: one with Python objects, or a broken one."""
    if "object" in str(error).lower() or "pickle" in str(error).lower():
        return ValueError(f"{where} holds Python objects, which are not read, since they could run code; save an array of numbers")
    return ValueError(f"{where} is broken, or no file of np.save or np.savez: {error}")


def _checked(array: np.ndarray, where: str) -> np.ndarray:
    if array.dtype.kind not in "biuf":
        kind = "complex numbers" if array.dtype.kind == "c" else f"values of type {array.dtype}"
        raise ValueError(f"{where} must hold real numbers, got {kind}")
    if array.size == 0:
        raise ValueError(f"{where} is empty, of the shape {array.shape}")
    return array.astype(array.dtype.newbyteorder("="), copy=False)
