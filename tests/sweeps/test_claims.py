"""Claims of shards: no picture is written by two processes."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from extremal_jax.ground.locks import locked
from extremal_jax.sweeps.claims import claimed

pytest.importorskip("fcntl")


def test_shards_of_one_number_run_beside_each_other(tmp_path: Path) -> None:
    with claimed(str(tmp_path), (1, 3)), claimed(str(tmp_path), (3, 3)), claimed(str(tmp_path), (2, 3)):
        pass


def test_the_same_shard_is_refused(tmp_path: Path) -> None:
    with claimed(str(tmp_path), (2, 3)), claimed(str(tmp_path), (1, 3)):
        with (
            pytest.raises(BlockingIOError, match=r"another process runs the shard 2 of 3 in .*; wait for it, or take another shard"),
            claimed(str(tmp_path), (2, 3)),
        ):
            pass
        with pytest.raises(BlockingIOError), claimed(str(tmp_path), (1, 3)):
            pass


@pytest.mark.parametrize("shard", [(1, 1), (4, 4)])
def test_another_number_of_shards_is_refused(tmp_path: Path, shard: tuple[int, int]) -> None:
    """Its pictures overlap."""
    message = f"another process runs a sweep in .* with another number of shards than {shard[1]}; wait for it"
    with claimed(str(tmp_path), (1, 3)), pytest.raises(BlockingIOError, match=message), claimed(str(tmp_path), shard):
        pass


def test_a_shard_is_free_again(tmp_path: Path) -> None:
    """After the block, also after an error in it; files of earlier runs do not matter."""
    for shard in ((1, 2), (1, 2), (1, 1), (2, 2)):
        with pytest.raises(KeyError), claimed(str(tmp_path), shard):
            raise KeyError
    with pytest.raises(BlockingIOError), claimed(str(tmp_path), (1, 2)), claimed(str(tmp_path), (1, 1)):
        pass
    with claimed(str(tmp_path), (1, 1)):
        pass


def test_processes_that_only_ask_are_no_obstacle(tmp_path: Path) -> None:
    """Many processes that begin together ask for the files that a run with another number of shards has left."""
    with claimed(str(tmp_path), (1, 1)):
        pass
    left = tmp_path / ".shards" / "of-1"
    with left.open("ab") as file:
        assert locked(file)
        threading.Timer(0.02, file.close).start()
        with claimed(str(tmp_path), (1, 2)):
            pass


def test_files_of_claims_are_hidden_and_empty(tmp_path: Path) -> None:
    with claimed(str(tmp_path), (1, 2)):
        assert [path.name for path in tmp_path.iterdir()] == [".shards"]
        assert {path.name: path.stat().st_size for path in (tmp_path / ".shards").iterdir()} == {"of-2": 0, "1-of-2": 0}


def test_addresses_have_no_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with claimed("gs://bucket/sweep", (1, 2)), claimed("gs://bucket/sweep", (1, 2)):
        pass
    assert list(tmp_path.iterdir()) == []
