"""Files are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path`, moved to it when the block ends, and deleted when the block raises or is
    interrupted.

    The temporary name keeps the suffix, by which writers choose a format.

    Raises:
      OSError: if the folder cannot be made or written, in a sentence that names it.

    Example:
      >>> folder = Path(tempfile.mkdtemp())
      >>> with whole_file(folder / "numbers.txt") as temporary:
      ...     _ = temporary.write_text("1 2 3")
      >>> [path.name for path in folder.iterdir()]
      ['numbers.txt']
    """
    temporary = _temporary(Path(path))
    try:
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raise now what `whole_file(path)` would raise at its start: before a long run, not after it. Makes the folder.

    Raises:
      OSError: if the folder cannot be made or written, in a sentence that names it.

    Example:
      >>> check_writable(Path(tempfile.mkdtemp()) / "out" / "result.npz")
    """
    _temporary(Path(path)).unlink()


def _temporary(path: Path) -> Path:
    """A new empty file beside `path`, whose folder is made if need be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".", suffix=path.suffix, dir=path.parent)
    except OSError as error:
        raise type(error)(f"cannot write {path}: {error.strerror or error}; choose another output folder") from error
    os.close(handle)
    return Path(name)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
