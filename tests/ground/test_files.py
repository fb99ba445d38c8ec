"""Files are whole or not there."""

from __future__ import annotations

import os
import stat

import pytest

from extremal_jax.ground.files import check_writable, whole_file


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_content_and_suffix(tmp_path):
    with whole_file(tmp_path / "a.txt") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".txt"
        temporary.write_text("new")
        assert "a.txt" not in names(tmp_path)
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "new"


def test_path_as_text(tmp_path):
    with whole_file(f"{tmp_path}/a.txt") as temporary:
        temporary.write_text("new")
    assert names(tmp_path) == ["a.txt"]


def test_folders_are_made(tmp_path):
    with whole_file(tmp_path / "b" / "c" / "a.txt") as temporary:
        temporary.write_text("new")
    assert names(tmp_path / "b" / "c") == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("old", [None, "old"])
def test_nothing_is_left_of_a_failure(tmp_path, error, old):
    path = tmp_path / "a.txt"
    if old:
        path.write_text(old)

    def write():
        with whole_file(path) as temporary:
            temporary.write_text("ne")
            raise error

    with pytest.raises(error):
        write()
    assert names(tmp_path) == (["a.txt"] if old else [])
    assert not old or path.read_text() == old


def test_others_may_read_it_as_the_umask_says(tmp_path):
    before = os.umask(0o027)
    try:
        with whole_file(tmp_path / "a.txt") as temporary:
            temporary.touch()
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


def test_long_names(tmp_path):
    path = tmp_path / ("n" * 250 + ".txt")  # 255 is the most that file systems take
    with whole_file(path) as temporary:
        temporary.touch()
    assert names(tmp_path) == [path.name]


def test_check_writable_leaves_the_folder_as_it_was(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    check_writable(tmp_path / "a.txt")
    assert names(tmp_path) == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


@pytest.mark.parametrize("function", [check_writable, lambda path: whole_file(path).__enter__()], ids=["check_writable", "whole_file"])
def test_folder_that_cannot_be_made(tmp_path, function):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "out" / "a.txt"
    with pytest.raises(OSError, match=f"^cannot write {path}: .*; choose another output folder$"):
        function(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_folder_that_cannot_be_written(tmp_path):
    tmp_path.chmod(0o555)
    with pytest.raises(PermissionError, match=r"^cannot write .*; choose another output folder$"):
        check_writable(tmp_path / "a.txt")
