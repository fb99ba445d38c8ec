"""Locks of files, so that two processes do not write the same."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

_WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}  # some network file systems


def locked(file: BinaryIO, *, shared: bool = False, wait: bool = False) -> bool:
    """Whether this process now holds a file, which it lets go of when the file is closed or the process ends.

    Args:
      file: an open file of a local disk. Where the system or the disk has no such locks, everybody holds every file.
      shared: hold it together with others that do so too.
      wait: until it is free.

    Example:
      >>> import tempfile
      >>> with tempfile.NamedTemporaryFile() as file, open(file.name, "rb") as same:
      ...     locked(file), locked(same)
      (True, False)
    """
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _WITHOUT_LOCKS:
            raise
    return True


@contextlib.contextmanager
def in_turn(path: Path) -> Iterator[None]:
    """Wait until no other process holds a file, and hold it inside the block. A missing file is made, with its folder.

    Raises:
      OSError: if it cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
    except OSError as error:
        raise type(error)(f"cannot write {path}: {error.strerror or error}; choose another output folder") from error
    with file:
        locked(file, wait=True)
        yield
