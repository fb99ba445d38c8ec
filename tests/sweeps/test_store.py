"""The store: other libraries open it as it is, and what is wrong with it is said in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import extremal_jax as ej
import small
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
