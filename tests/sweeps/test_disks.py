"""A disk that is full and a folder that becomes read-only end a sweep with a sentence; once they are mended, it goes on."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import sweep_pictures
from sweep_pictures import COUNT, files

HERE = Path(sweep_pictures.__file__).parent
PROGRAM = """
import shutil, subprocess, sys
from pathlib import Path
import sweep_pictures
store, copy, before, within, after = sys.argv[1:]
shell = lambda command: subprocess.run(command, shell=True, check=True)
shell(before)
try:
    sweep_pictures.run(Path(store), progress=lambda done, total: shell(within) if done == 8 else None)
except OSError as error:
    print(str(error).splitlines()[0], error.__cause__, sep="; ")
shell(after)
print(sweep_pictures.ej.open_sweep(store).counts().explained)
sweep_pictures.run(Path(store))
shutil.copytree(store, copy)
"""
SEAL = "mount --bind {0} {0} && until mount -o remount,ro,bind {0}; do sleep 0.01; done"  # once no chunk is being written there
MOUNTS = ["unshare", "--mount", "--map-root-user"]


def can_mount(folder: Path) -> bool:
    """Whether a process may mount folders in a namespace of its own."""
    command = f"mount --bind {shlex.quote(str(folder))} {shlex.quote(str(folder))}"
    return shutil.which("unshare") is not None and subprocess.run([*MOUNTS, "sh", "-c", command], capture_output=True).returncode == 0


def swept(folder: Path, prefix: list[str], before: str, within: str, after: str) -> tuple[str, int]:
    """The error of a sweep in a process of its own, and how many pictures it had kept. Afterwards the sweep goes on to its end."""
    where = shlex.quote(str(folder / "store"))
    (folder / "store").mkdir()
    commands = [command.format(where) for command in (before, within, after)]
    program = [*prefix, sys.executable, "-c", PROGRAM, str(folder / "store"), str(folder / "copy"), *commands]
    ended = subprocess.run(program, env=os.environ | {"PYTHONPATH": str(HERE)}, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    error, kept = ended.stdout.splitlines()
    assert error.startswith(f"cannot write {folder / 'store'}: ")
    sweep_pictures.run(folder / "whole")
    assert files(folder / "copy") == files(folder / "whole")
    return error, int(kept)


@pytest.mark.slow
def test_a_folder_that_becomes_read_only(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        error, kept = swept(tmp_path, [], "true", "chmod -R a-w {}", "chmod -R u+w {}")
    elif can_mount(tmp_path):
        error, kept = swept(tmp_path, MOUNTS, "true", SEAL, "umount {}")
    else:
        pytest.skip("root may write everywhere, and a read-only mount needs unshare")
    assert "Read-only file system" in error or "Permission denied" in error
    assert kept == 4  # the first batch; the second was being written


@pytest.mark.slow
def test_a_full_disk(tmp_path: Path) -> None:
    if not can_mount(tmp_path):
        pytest.skip("a small disk needs unshare")
    error, kept = swept(tmp_path, MOUNTS, "mount -t tmpfs -o size=500k none {}", "true", "mount -o remount,size=8m {}")
    assert "No space left on device" in error
    assert 0 < kept < COUNT
