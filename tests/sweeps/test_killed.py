"""A sweep that is killed at random moments loses nothing, does nothing wrong, and ends as if it had not been."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import sweep_pictures
from sweep_pictures import COUNT, files

HERE = Path(sweep_pictures.__file__).parent
PROGRAM = (
    "import sys; from pathlib import Path; import sweep_pictures; sweep_pictures.run(Path(sys.argv[1]), sharding=sweep_pictures.device())"
)


def begin(folder: Path) -> subprocess.Popen[bytes]:
    """A sweep in a process of its own."""
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(folder)], env=os.environ | {"PYTHONPATH": str(HERE)})


def done(folder: Path) -> int:
    """How many pictures are there."""
    return len(list((folder / "status").glob("c.*")))


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
    """At random moments of the time that an unbroken sweep takes, after which the same store goes on."""
    began = time.monotonic()
    assert begin(tmp_path / "whole").wait() == 0
    length = time.monotonic() - began
    rng, stores, left = random.Random(0), 0, []
    for _ in range(50):
        store = tmp_path / f"killed-{stores}"
        process = begin(store)
        time.sleep(rng.uniform(0.2, 1.1) * length)
        process.send_signal(signal.SIGKILL)
        process.wait()
        left.append(done(store))
        stores += left[-1] == COUNT  # the next one begins anew
    assert any(0 < count < COUNT for count in left), left
    assert begin(tmp_path / f"killed-{stores}").wait() == 0
    for store in tmp_path.glob("killed-*"):
        assert files(store) == files(tmp_path / "whole"), store
