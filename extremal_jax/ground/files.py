"""Writing files so that each is whole or absent, also after a crash or a power cut."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

_UNSYNCABLE = {errno.EACCES, errno.EPERM, errno.EBADF, errno.EINVAL, errno.EISDIR, errno.ENOTSUP}  # Windows, some network file systems


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it there when the block ends, or delete it when the block raises.

    The temporary name keeps the suffix, from which many writers infer the format. The file is synced before the move,
    its folder after it.

    Raises:
      TypeError: if `path` is not a path.
      OSError: if the folder cannot be created or written; the message names it.

    Example:
      >>> folder = Path(tempfile.mkdtemp())
      >>> with whole_file(folder / "numbers.txt") as temporary:
      ...     _ = temporary.write_text("1 2 3")
      >>> [path.name for path in folder.iterdir()]
      ['numbers.txt']
    """
    path = as_path(path)
    temporary = _temporary(path)
    try:
        yield temporary
        with _opened(temporary, os.O_RDWR) as descriptor:
            os.umask(mask := os.umask(0))  # it can only be read by setting it
            temporary.chmod(0o666 & ~mask)
            os.fsync(descriptor)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Create the folder of `path` and raise now the errors that `whole_file(path)` would raise after a long run.

    Example:
      >>> check_writable(Path(tempfile.mkdtemp()) / "out" / "result.npz")
    """
    _temporary(as_path(path)).unlink()


def address(path: str | os.PathLike[str]) -> str | None:
    """The address that is given in place of a path; None for a path. A `Path` has lost one of its slashes.

    Example:
      >>> address(Path("https://example.org/cat.jpg")), address("C:/cat.jpg")
      ('https://example.org/cat.jpg', None)
    """
    text = os.fspath(path)
    if not re.match(r"[A-Za-z][\w+.-]+:/", text):
        return None
    return text if "://" in text else text.replace(":/", "://", 1)


def as_path(path: object) -> Path:
    """Convert a string or an `os.PathLike` to a `Path`.

    Example:
      >>> as_path(b"result.npz")
      Traceback (most recent call last):
      TypeError: path must be a str or a pathlib.Path, such as 'result.npz', got bytes
    """
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path must be a str or a pathlib.Path, such as 'result.npz', got {type(path).__name__}")
    if found := address(path):
        raise ValueError(f"path must be a local file, got the address {found}")
    return Path(path)


def _temporary(path: Path) -> Path:
    """A new empty file beside `path`, whose folder is created where it is missing."""
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=".", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise type(error)(f"cannot write {path}: {error.strerror or error}; choose another output folder") from error
    os.close(descriptor)
    return Path(name)


def _sync_folder(folder: Path) -> None:
    """Make the entries of a folder survive a power cut, where the system can sync folders."""
    try:
        with _opened(folder, os.O_RDONLY) as descriptor:
            os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _UNSYNCABLE:
            raise


@contextlib.contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    descriptor = os.open(path, flags)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
