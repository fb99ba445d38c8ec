"""Sweeps into gs://: the objects are the files of a sweep into a folder, whatever happens in between."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import extremal_jax as ej
from bucket import Bucket, serving
from command_line import document
from sweep_pictures import COUNT, begin, device, files, run


@pytest.fixture(scope="module")
def bucket() -> Iterator[Bucket]:
    with serving() as bucket:
        yield bucket


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep") / "store"
    run(folder)
    return folder


def test_a_sweep(bucket: Bucket, expected: Path) -> None:
    found = run("gs://bucket/whole")
    assert bucket.contents("whole") == files(expected)
    assert found.counts() == (COUNT, 0, 0, 0)
    again = ej.open_sweep("gs://bucket/whole")
    np.testing.assert_array_equal(again[3].masks, ej.open_sweep(expected)[3].masks)


def test_an_interrupted_sweep_goes_on(bucket: Bucket, expected: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        if done >= 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run("gs://bucket/interrupted", progress=interrupt)
    assert 0 < sum(ej.open_sweep("gs://bucket/interrupted").counts()[:1]) < COUNT
    run("gs://bucket/interrupted")
    assert bucket.contents("interrupted") == files(expected)


def test_a_kill(bucket: Bucket) -> None:
    process = begin("gs://bucket/killed")
    while not any(name.startswith("masks/c.") for name in bucket.contents("killed")) and process.poll() is None:
        time.sleep(0.001)
    process.kill()
    process.wait()
    assert sum(name.startswith("status/c.") for name in bucket.contents("killed")) < COUNT
    for name in ("killed", "not killed"):
        run(f"gs://bucket/{name}", sharding=device())
    assert bucket.contents("killed") == bucket.contents("not killed")


@pytest.mark.parametrize("uploads", [0, 7, 40, 100])
def test_a_bucket_that_forbids_uploads(bucket: Bucket, expected: Path, uploads: int) -> None:
    """At first, while the arrays are made, and between and within pictures."""
    folder, bucket.uploads_left = f"forbidden-{uploads}", uploads
    try:
        with pytest.raises(OSError, match=f"cannot write gs://bucket/{folder}: .*Nothing is lost: mend this and run again"):
            run(f"gs://bucket/{folder}")
    finally:
        bucket.uploads_left = None
    run(f"gs://bucket/{folder}")
    assert bucket.contents(folder) == files(expected)


def test_other_settings_are_refused(bucket: Bucket) -> None:
    run("gs://bucket/settings", limit=2)
    with pytest.raises(ValueError, match="areas"):
        run("gs://bucket/settings", limit=2, areas=(0.2,))


def test_no_sweep(bucket: Bucket) -> None:
    with pytest.raises(FileNotFoundError, match=r"no sweep in gs://bucket/nothing: it has no zarr\.json"):
        ej.open_sweep("gs://bucket/nothing")


def test_the_command_says_how_far_a_sweep_is(bucket: Bucket) -> None:
    run("gs://bucket/status", limit=3)
    assert document("sweep", "--status", "gs://bucket/status") == dict(pictures=3, explained=3, faulty=0, skipped=[], absent=0)
