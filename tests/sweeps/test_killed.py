"""A sweep that is killed at random moments loses nothing, does nothing wrong, and ends as if it had not been."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

import sweep_pictures
from sweep_pictures import COUNT, begin, files


def done(folder: Path) -> int:
    """How many pictures are there."""
    return sum(not path.name.endswith("__lock") for path in (folder / "status").glob("c.*"))


def chunks(folder: Path) -> dict[str, tuple[int, int]]:
    """The chunks of pictures that are there: which file each is, and when it was written."""
    paths = [path for path in folder.glob("*/c.*") if path.parent.name not in ("picture", "area") and not path.name.endswith("__lock")]
    return {f"{path.parent.name}/{path.name}": ((status := path.stat()).st_ino, status.st_mtime_ns) for path in paths}


def finished(folder: Path) -> set[tuple[str, tuple[int, int]]]:
    """The chunks of pictures that have a status."""
    found = chunks(folder)
    return {(name, file) for name, file in found.items() if f"status/c.{name.split('.')[1]}" in found}


@pytest.mark.essential
def test_a_kill(tmp_path: Path) -> None:
    """Between two pictures of a batch, or between two batches."""
    process = begin(tmp_path / "killed")
    while not list((tmp_path / "killed" / "masks").glob("c.*")) and process.poll() is None:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert done(tmp_path / "killed") < COUNT
    for name in ("killed", "whole"):
        sweep_pictures.run(tmp_path / name, sharding=sweep_pictures.device())
    assert files(tmp_path / "killed") == files(tmp_path / "whole")


@pytest.mark.slow
def test_fifty_kills(tmp_path: Path) -> None:
    """At random moments of the time that an unbroken sweep takes, and after random numbers of chunks, in turns. The same
    store goes on, and what was finished in it is not written again."""
    began = time.monotonic()
    assert begin(tmp_path / "whole").wait() == 0
    length = time.monotonic() - began
    each = len(chunks(tmp_path / "whole")) // COUNT
    rng, stores, struck = random.Random(0), 0, 0
    for kill in range(50):
        store = tmp_path / f"killed-{stores}"
        before, kept = chunks(store), finished(store)
        process = begin(store)
        if kill % 2:
            time.sleep(rng.uniform(0.2, 1.1) * length)
        else:
            number = rng.randint(1, each * (COUNT - done(store)))
            while len(chunks(store).items() - before.items()) < number and process.poll() is None:
                time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert kept <= finished(store)
        struck += chunks(store) != before and done(store) < COUNT
        stores += done(store) == COUNT  # the next one begins anew
    assert struck >= 10, "kills while chunks were written"
    assert begin(tmp_path / f"killed-{stores}").wait() == 0
    for store in tmp_path.glob("killed-*"):
        assert files(store) == files(tmp_path / "whole"), store
