"""Several processes, each with devices of its own, take their shards of a sweep."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import extremal_jax as ej
import sweep_pictures
from sweep_pictures import COUNT

HERE = Path(sweep_pictures.__file__).parent
PROGRAM = """
import sys
from pathlib import Path
import jax
jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]), heartbeat_timeout_seconds=int(sys.argv[4]), shutdown_timeout_seconds=20)
import sweep_pictures
assert (jax.local_device_count(), jax.device_count()) == (2, 4)
sweep_pictures.run(Path(sys.argv[3]))
"""


def begin(store: Path, heartbeat: int = 10) -> list[subprocess.Popen[bytes]]:
    """Two hosts; the coordinator ends both once it has heard nothing of one for some seconds."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    plain = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    flags = os.environ["XLA_FLAGS"].replace("--xla_force_host_platform_device_count=2", "")
    environment = plain | {"PYTHONPATH": str(HERE), "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "2", "XLA_FLAGS": flags}
    return [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, address, str(index), str(store), str(heartbeat)], env=environment, stderr=subprocess.PIPE
        )
        for index in range(2)
    ]


def same(found: ej.sweeps.Sweep, alone: ej.sweeps.Sweep) -> None:
    """Both have the same masks of all pictures, but for rounding."""
    assert found.counts().explained == COUNT
    for index in range(COUNT):
        np.testing.assert_allclose(found[index].masks, alone[index].masks, atol=2.1 / 255)


def test_two_hosts(tmp_path: Path) -> None:
    for host in begin(tmp_path / "store"):
        _, errors = host.communicate(timeout=120)
        assert host.returncode == 0, errors.decode()
    assert sorted(path.name for path in (tmp_path / "store" / ".shards").iterdir()) == ["1-of-2", "2-of-2", "of-2"]
    same(ej.open_sweep(tmp_path / "store"), sweep_pictures.run(tmp_path / "alone"))


@pytest.mark.slow
def test_a_killed_host_loses_nothing_of_the_other(tmp_path: Path) -> None:
    store = tmp_path / "store"
    first, second = begin(store, heartbeat=5)
    while not (store / "masks" / "c.1.0.0.0").exists() and second.poll() is None:  # the second host's first picture
        time.sleep(0.001)
    second.kill()
    second.communicate(timeout=60)
    first.communicate(timeout=120)  # its own end, or the coordinator's, which misses the second
    assert first.returncode != 0
    states = ej.open_sweep(store).states()
    assert states[::2].tolist() == [1] * (COUNT // 2)
    assert 0 in states[1::2]
    kept = {path: path.stat().st_mtime_ns for index in range(0, COUNT, 2) for path in store.glob(f"*/c.{index}.*")}
    same(sweep_pictures.run(store), sweep_pictures.run(tmp_path / "alone"))
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
