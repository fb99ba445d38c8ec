"""Several processes, each with devices of its own, take their shards of a sweep."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np

import extremal_jax as ej
import sweep_pictures
from sweep_pictures import COUNT

HERE = Path(sweep_pictures.__file__).parent
PROGRAM = """
import sys
from pathlib import Path
import jax
jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]), heartbeat_timeout_seconds=10, shutdown_timeout_seconds=20)
import sweep_pictures
assert (jax.local_device_count(), jax.device_count()) == (2, 4)
sweep_pictures.run(Path(sys.argv[3]))
"""


def test_two_hosts(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    plain = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    flags = os.environ["XLA_FLAGS"].replace("--xla_force_host_platform_device_count=2", "")
    environment = plain | {"PYTHONPATH": str(HERE), "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "2", "XLA_FLAGS": flags}
    hosts = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, address, str(index), str(tmp_path / "store")], env=environment, stderr=subprocess.PIPE
        )
        for index in range(2)
    ]
    for host in hosts:
        _, errors = host.communicate(timeout=120)
        assert host.returncode == 0, errors.decode()
    found, alone = ej.open_sweep(tmp_path / "store"), sweep_pictures.run(tmp_path / "alone")
    assert found.counts().explained == COUNT
    assert sorted(path.name for path in (tmp_path / "store" / ".shards").iterdir()) == ["1-of-2", "2-of-2", "of-2"]
    for index in range(COUNT):
        np.testing.assert_allclose(found[index].masks, alone[index].masks, atol=2.1 / 255)
