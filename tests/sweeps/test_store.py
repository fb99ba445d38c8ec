"""The store: other libraries open it as it is, and what is wrong with it is said in a sentence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import extremal_jax as ej
import small
from extremal_jax.sweeps import store
from extremal_jax.sweeps.claims import claimed
from sweep_pictures import COUNT, files, run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep") / "store"
    run(folder)
    return folder


def test_xarray_opens_it(finished: Path) -> None:
    xarray = pytest.importorskip("xarray")
    found = ej.open_sweep(finished)
    with xarray.open_zarr(finished) as data:
        assert data.masks.dims == ("picture", "area", "row", "column")
        assert data.picture.values.tolist() == list(found.names)
        assert data.area.values.tolist() == found.areas.tolist()
        np.testing.assert_allclose(data.masks[3].values, found[3].masks, atol=1e-6)
        np.testing.assert_array_equal(data.rewards.sel(picture="000004").values, found[4].rewards)
        assert data.attrs["extremal_jax"]["key"] == [0, 0]


def test_zarr_opens_it(finished: Path) -> None:
    zarr = pytest.importorskip("zarr")
    group = zarr.open_group(finished, mode="r")
    arrays = dict(group.arrays())
    assert {"masks", "params", "rewards", "areas", "targets", "status", "history_rewards", "picture", "area"} <= set(arrays)
    assert all(array.chunks[0] == 1 for name, array in arrays.items() if name not in ("picture", "area"))
    assert arrays["status"][:].tolist() == [1] * COUNT
    assert arrays["masks"].dtype == np.uint8
    assert arrays["masks"].metadata.dimension_names == ("picture", "area", "row", "column")


def test_what_is_equal_to_the_fill_value_is_written(finished: Path) -> None:
    """Otherwise a chunk of zeros could not be told from one that is lost."""
    for name in ("faults", "targets", "masks"):
        assert len(list((finished / name).glob("c.*"))) == COUNT, name


def test_a_picture_without_its_status_is_absent(finished: Path, tmp_path: Path) -> None:
    run(tmp_path / "store", limit=COUNT)
    (tmp_path / "store" / "status" / "c.3").unlink()
    found = ej.open_sweep(tmp_path / "store")
    assert found.counts().absent == 1
    with pytest.raises(ValueError, match="picture 3, 000003, is not done yet; run the sweep again"):
        found[3]


def test_a_damaged_chunk_is_named_and_mended(finished: Path, tmp_path: Path) -> None:
    run(tmp_path / "store")
    chunk = tmp_path / "store" / "masks" / "c.7.0.0.0"
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 255
    chunk.write_bytes(bytes(content))
    found = ej.open_sweep(tmp_path / "store")
    found[6]
    with pytest.raises(ValueError, match=r"store is damaged: .*masks/c\.7.*; delete status/c\.7 there and run the sweep again"):
        found[7]
    (tmp_path / "store" / "status" / "c.7").unlink()
    run(tmp_path / "store")
    assert files(tmp_path / "store") == files(finished)


@pytest.mark.parametrize("content", [b"", b"\0" * 20])
def test_a_damaged_status_is_named_and_mended(content: bytes, finished: Path, tmp_path: Path) -> None:
    run(tmp_path / "store")
    chunk = tmp_path / "store" / "status" / "c.7"
    chunk.write_bytes(content)
    for call in (lambda: ej.open_sweep(tmp_path / "store").counts(), lambda: run(tmp_path / "store")):
        with pytest.raises(ValueError, match=r"store is damaged: .*status/c\.7.*; delete status/c\.7 there and run the sweep again"):
            call()
    chunk.unlink()
    assert ej.open_sweep(tmp_path / "store").counts().absent == 1
    run(tmp_path / "store")
    assert files(tmp_path / "store") == files(finished)


def test_other_damaged_files_are_mended(finished: Path, tmp_path: Path) -> None:
    """A new start writes the coordinates, makes arrays that lack their zarr.json, and takes the group's from the same sweep elsewhere."""
    folder = tmp_path / "store"
    run(folder)
    for name in ("picture/c.0", "picture/zarr.json", "area/c.0", "area/zarr.json"):
        (folder / name).write_bytes(b"\0")
    for name in ("masks/zarr.json", "status/zarr.json"):
        (folder / name).unlink()
    run(tmp_path / "begun", shard=(1, COUNT))
    (folder / "zarr.json").write_bytes((tmp_path / "begun" / "zarr.json").read_bytes())
    run(folder)
    assert files(folder) == files(finished)


def test_the_manifest_is_that_of_the_run_that_began(finished: Path, tmp_path: Path) -> None:
    """A resume with another size of batches and another version of JAX keeps it, and another version of the library is refused."""
    run(tmp_path / "store", shard=(1, 2))
    path = tmp_path / "store" / "zarr.json"
    text = path.read_text().replace(f'"jax": "{jax.__version__}"', '"jax": "0.1"')
    assert '"jax": "0.1"' in text
    path.write_text(text)
    found = run(tmp_path / "store", batch_size=6)
    assert (found.manifest["jax"], found.manifest["batch_size"], found.counts().absent) == ("0.1", 4, 0)
    assert found.manifest == ej.open_sweep(tmp_path / "store").manifest
    assert path.read_text() == text
    path.write_text(text.replace(f'"version": "{ej.__version__}"', '"version": "0.0.1"'))
    with pytest.raises(ValueError, match=rf"holds another sweep: version was '0\.0\.1' and is '{ej.__version__}'\."):
        run(tmp_path / "store")
    assert ej.open_sweep(tmp_path / "store").counts().explained == COUNT


def test_a_store_of_a_later_version_is_refused(finished: Path, tmp_path: Path) -> None:
    group = json.loads((finished / "zarr.json").read_text())
    group["attributes"]["extremal_jax"] |= dict(format=9, version="7.0")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "zarr.json").write_text(json.dumps(group))
    for call in (ej.open_sweep, run):
        with pytest.raises(ValueError, match=r"was written by extremal-jax 7\.0, in the format 9; this version reads the format 1"):
            call(tmp_path / "store")


def test_other_groups_and_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "zarr.json").write_text(json.dumps(dict(zarr_format=3, node_type="group", attributes={})))
    with pytest.raises(ValueError, match="is a zarr group, but not of a sweep"):
        ej.open_sweep(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"no sweep in .*missing"):
        ej.open_sweep(tmp_path / "missing")
    (tmp_path / "photographs").mkdir()
    (tmp_path / "photographs" / "cat.jpg").write_bytes(b"")
    with pytest.raises(FileExistsError, match=r"holds other files, such as cat\.jpg; give the sweep a folder of its own"):
        run(tmp_path / "photographs")
    for text in ("s3://bucket/sweep", "http://host/sweep"):
        with pytest.raises(ValueError, match="only local folders and gs:// write each chunk whole or not at all"):
            run(text)  # type: ignore[arg-type]


def test_a_store_that_was_only_begun_is_finished(tmp_path: Path, finished: Path) -> None:
    """A kill between the first file and the arrays."""
    group = json.loads((finished / "zarr.json").read_text())
    del group["consolidated_metadata"]
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "zarr.json").write_text(json.dumps(group))
    with pytest.raises(ValueError, match="it was begun, and stopped before its arrays were made; run the sweep again"):
        ej.open_sweep(tmp_path / "store")
    run(tmp_path / "store")
    assert files(tmp_path / "store") == files(finished)


def test_another_process_begins_at_the_same_moment(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unchecked: None
) -> None:
    """After this one has looked for a sweep, and before it has looked for other files."""
    opened = store._opened

    class Late:
        """Files to which another process writes between the first two looks."""

        def __init__(self, kvstore: Any) -> None:
            self.kvstore, self.spec, self.write = kvstore, kvstore.spec, kvstore.write

        def read(self, key: str) -> Any:
            return self.kvstore.read(key)

        def list(self) -> Any:
            monkeypatch.setattr(store, "_opened", opened)
            run(tmp_path / "store", shard=(1, 2))
            return self.kvstore.list()

    def late(location: Path) -> Any:
        text, kvstore = opened(location)
        return text, Late(kvstore)

    monkeypatch.setattr(store, "_opened", late)
    run(tmp_path / "store", shard=(2, 2))
    assert ej.open_sweep(tmp_path / "store").counts().explained == COUNT


def test_indices(finished: Path) -> None:
    found = ej.open_sweep(finished)
    np.testing.assert_array_equal(found[-1].masks, found[COUNT - 1].masks)
    with pytest.raises(IndexError, match="this sweep is of 10 pictures, got the index 10"):
        found[COUNT]
    assert repr(found).endswith("10 pictures, 2 areas)")
    assert found.classes == tuple(f"class {index}" for index in range(small.CLASSES))
    assert found.preprocessing is None


def test_two_writers_of_a_shard_are_refused(finished: Path, tmp_path: Path) -> None:
    run(tmp_path / "store", shard=(1, 2))
    with claimed(str(tmp_path / "store"), (2, 2)):
        with pytest.raises(BlockingIOError, match="another process runs the shard 2 of 2"):
            run(tmp_path / "store", shard=(2, 2))
        with pytest.raises(BlockingIOError, match="with another number of shards than 1; wait for it"):
            run(tmp_path / "store")
    assert run(tmp_path / "store").counts().absent == 0
