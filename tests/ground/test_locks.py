"""Locks of files, between processes and within one."""

from __future__ import annotations

import errno
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from extremal_jax.ground import locks
from extremal_jax.ground.locks import locked

pytest.importorskip("fcntl")
HOLDER = """
import runpy, sys
locked = runpy.run_path(sys.argv[1])["locked"]
with open(sys.argv[2], "ab") as file:
    print(locked(file, shared=sys.argv[3] == "shared"), flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("second", [True, False])
def test_only_shared_locks_are_held_together(tmp_path: Path, first: bool, second: bool) -> None:
    with (tmp_path / "file").open("ab") as one, (tmp_path / "file").open("ab") as other:
        assert locked(one, shared=first)
        assert locked(other, shared=second) == (first and second)
        assert locked(one, shared=first)  # its holder may ask again


def test_a_closed_file_is_free(tmp_path: Path) -> None:
    with (tmp_path / "file").open("ab") as file:
        assert locked(file)
    with (tmp_path / "file").open("ab") as file:
        assert locked(file)


@pytest.mark.parametrize("kind", ["shared", "alone"])
def test_a_killed_process_lets_go(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "file"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, locks.__file__, str(path), kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "True\n"
        with path.open("ab") as file:
            assert not locked(file)
            assert locked(file, shared=True) == (kind == "shared")
        holder.kill()
    with path.open("ab") as file:
        assert locked(file)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS])
def test_disks_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """As some network file systems are; other errors are errors."""

    def fail(*_: Any) -> None:
        raise OSError(number, "no locks")

    monkeypatch.setattr("fcntl.flock", fail)
    with (tmp_path / "file").open("ab") as file:
        assert locked(file)
        number = errno.EIO
        with pytest.raises(OSError, match="no locks"):
            locked(file)


def test_without_such_locks_everybody_holds_every_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)  # as on Windows
    with (tmp_path / "file").open("ab") as one, (tmp_path / "file").open("ab") as other:
        assert (locked(one), locked(other)) == (True, True)
