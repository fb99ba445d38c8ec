"""Files are whole or absent."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from extremal_jax.ground.files import check_writable, whole_file


def names(folder: Any) -> Any:
    return sorted(path.name for path in folder.iterdir())


def test_content_and_suffix(tmp_path: Path) -> None:
    with whole_file(tmp_path / "a.txt") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".txt"
        temporary.write_text("new")
        assert "a.txt" not in names(tmp_path)
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "new"


def test_path_as_text(tmp_path: Path) -> None:
    with whole_file(f"{tmp_path}/a.txt") as temporary:
        temporary.write_text("new")
    assert names(tmp_path) == ["a.txt"]


def test_folders_are_made(tmp_path: Path) -> None:
    with whole_file(tmp_path / "b" / "c" / "a.txt") as temporary:
        temporary.write_text("new")
    assert names(tmp_path / "b" / "c") == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("old", [None, "old"])
def test_a_failure_leaves_nothing(tmp_path: Path, error: Any, old: Any) -> None:
    path = tmp_path / "a.txt"
    if old:
        path.write_text(old)

    def write() -> None:
        with whole_file(path) as temporary:
            temporary.write_text("ne")
            raise error

    with pytest.raises(error):
        write()
    assert names(tmp_path) == (["a.txt"] if old else [])
    assert not old or path.read_text() == old


def test_permissions_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with whole_file(tmp_path / "a.txt") as temporary:
            temporary.touch()
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


@pytest.fixture
def events(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The syncs, by name and size, and the moves, in their order."""
    events = []
    sync, move = os.fsync, Path.replace

    def spy_on_sync(descriptor: Any) -> None:
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        events.append(("sync", path.name if path.is_dir() else path.read_text()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", spy_on_sync)
    monkeypatch.setattr(Path, "replace", lambda path, target: (events.append(("move", target.name)), move(path, target))[1])  # type: ignore[func-returns-value]
    return events


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="the names of open files are known on Linux")
def test_the_file_is_synced_before_the_move_and_the_folder_after_it(tmp_path: Path, events: Any) -> None:
    with whole_file(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
    assert events == [("sync", "new"), ("move", "a.txt"), ("sync", tmp_path.name)]


def test_a_file_that_cannot_be_synced_is_not_moved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Any) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="the disk is broken"), whole_file(tmp_path / "a.txt") as temporary:
        temporary.touch()
    assert names(tmp_path) == []


@pytest.mark.parametrize(("code", "raises"), [(errno.EINVAL, False), (errno.EACCES, False), (errno.EIO, True)])
def test_folders_that_cannot_be_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: Any, raises: bool) -> None:
    """Some systems cannot sync folders: that is no error, but a broken disk is one."""
    opened = os.open

    def fail(path: Any, flags: Any, *rest: Any, **options: Any) -> Any:
        if Path(path) == tmp_path:
            raise OSError(code, os.strerror(code))
        return opened(path, flags, *rest, **options)

    monkeypatch.setattr(os, "open", fail)
    with (
        pytest.raises(OSError, match=os.strerror(code)) if raises else contextlib.nullcontext(),
        whole_file(tmp_path / "a.txt") as temporary,
    ):
        temporary.write_text("new")
    assert (tmp_path / "a.txt").read_text() == "new"


def test_long_names(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250 + ".txt")  # file systems take 255 characters at most
    with whole_file(path) as temporary:
        temporary.touch()
    assert names(tmp_path) == [path.name]


def test_check_writable_leaves_the_folder_unchanged(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("old")
    check_writable(tmp_path / "a.txt")
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


BOTH = pytest.mark.parametrize(
    "function", [check_writable, lambda path: whole_file(path).__enter__()], ids=["check_writable", "whole_file"]
)


@pytest.mark.usefixtures("unchecked")
@BOTH
@pytest.mark.parametrize("path", [io.BytesIO(), b"a.txt", 3, None], ids=lambda path: type(path).__name__)
def test_other_things_than_paths(function: Any, path: Any) -> None:
    with pytest.raises(TypeError, match=f"^path must be a str or a pathlib.Path, such as 'result.npz', got {type(path).__name__}$"):
        function(path)


@BOTH
def test_a_folder_in_place_of_the_file(tmp_path: Path, function: Any) -> None:
    with pytest.raises(IsADirectoryError, match=f"^cannot write {tmp_path}: Is a directory; choose another output folder$"):
        function(tmp_path)
    assert names(tmp_path) == []


@BOTH
def test_folder_that_cannot_be_made(tmp_path: Path, function: Any) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "out" / "a.txt"
    with pytest.raises(OSError, match=f"^cannot write {path}: .*; choose another output folder$"):
        function(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o555)
    with pytest.raises(PermissionError, match=r"^cannot write .*; choose another output folder$"):
        check_writable(tmp_path / "a.txt")
