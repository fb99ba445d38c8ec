"""The store of a sweep: arrays in the format zarr v3, written by tensorstore, one picture to a chunk.

A chunk is written under a temporary name, synced and renamed, so that it is whole or absent. The status of a picture is
written once everything else of it is on the disk. So a picture whose status is there is whole, and what a killed run
left of others is written again.

zarr and xarray open the folder as it is: the arrays stand at the root of a group whose metadata are consolidated.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorstore as ts

from extremal_jax.ground.files import address, as_path
from extremal_jax.sweeps.layout import STATUS, Field
from extremal_jax.sweeps.manifest import check_format, check_same

NAMES, AREAS = "picture", "area"  # the coordinates of two axes
_GROUP = "zarr.json"
_ATTRIBUTE = "extremal_jax"  # of the group, which holds the manifest
_KEYS = {"name": "default", "configuration": {"separator": "."}}  # a slash would make a folder of every chunk
_ZSTD = 3  # the level at which masks shrink to a tenth; higher ones gain little
Layout = Mapping[str, tuple[Field, tuple[int, ...]]]  # the arrays by name, with the lengths of their axes after the first


class Store:
    """A store that is open for reading, and if it was created here for writing as well.

    Attributes:
      location: the folder, or the address of a bucket's folder.
      manifest: what the sweep is of, by the run that began it.
      names: of the pictures.
      areas: (K,), of the masks.
    """

    def __init__(self, location: str, kvstore: ts.KvStore, manifest: dict[str, Any], arrays: dict[str, ts.TensorStore]) -> None:
        self.location, self.manifest, self._arrays = location, manifest, arrays
        with _reading(location):
            self.names = _read_texts(kvstore, NAMES, manifest["pictures"])
            self.areas = np.frombuffer(_required(kvstore, f"{AREAS}/c.0"), "<f4")

    def read(self, index: int) -> dict[str, np.ndarray]:
        """All values of one picture.

        Raises:
          ValueError: if a chunk is damaged; the message names it.
        """
        futures = {name: array[index].read() for name, array in self._arrays.items()}
        with _reading(self.location, index):
            return {name: np.asarray(future.result()) for name, future in futures.items()}

    def statuses(self) -> np.ndarray:
        """(N,), the status of each picture.

        Raises:
          ValueError: if a chunk is damaged; the message names it.
        """
        try:
            return np.asarray(self._arrays[STATUS].read().result())
        except ValueError:  # one by one, to name the picture whose chunk is damaged
            return np.array([self._status(index) for index in range(len(self.names))], np.uint8)

    def _status(self, index: int) -> np.uint8:
        with _reading(self.location, index):
            return np.uint8(self._arrays[STATUS][index].read().result())

    def write(self, indices: Sequence[int], values: Mapping[str, np.ndarray]) -> list[Any]:
        """Begin to write arrays of some pictures, (M, ...) each. Pictures that are smaller than others lie in a corner."""
        futures = []
        for name, value in values.items():
            array = self._arrays[name]
            value = np.pad(value, [(0, 0), *((0, full - length) for full, length in zip(array.shape[1:], value.shape[1:], strict=True))])
            futures.append(array.oindex[np.asarray(indices)].write(value))
        return futures

    def finish(self, indices: Sequence[int], statuses: Sequence[int], futures: Sequence[Any]) -> None:
        """Wait until what was begun is on the disk, then write the statuses.

        Raises:
          OSError: if it cannot be written.
        """
        with _writing(self.location):
            for future in futures:
                future.result()
            self._arrays[STATUS].oindex[np.asarray(indices)].write(np.asarray(statuses, np.uint8)).result()


def create(
    location: str | os.PathLike[str], manifest: dict[str, Any], names: Sequence[str], areas: Sequence[float], layout: Layout
) -> Store:
    """Make a store for writing, or open the one of the same sweep that is there.

    Args:
      location: a local folder, which may be missing, or gs://BUCKET/FOLDER.
      manifest: what the sweep is of.
      names: of the pictures.
      areas: (K,), of the masks.
      layout: the arrays.

    Raises:
      ValueError: if it holds another sweep, with the differences, or for an address that cannot be written safely.
      OSError: if it cannot be written, or holds other files.
    """
    text, kvstore = _opened(location)
    with _writing(text):
        found = kvstore.read(_GROUP).result()
        others = [] if found.state != "missing" else [key.decode() for key in kvstore.list().result() if not key.startswith(b".")]
        begun = kvstore.read(_GROUP).result().state != "missing"  # by now, maybe by another process, which writes this file first
    if others and not begun:
        raise FileExistsError(f"{text} holds other files, such as {min(others)}; give the sweep a folder of its own")
    with _writing(text):
        if found.state == "missing":  # of several processes, one is the first
            kvstore.write(_GROUP, _group(manifest), if_equal=found.stamp.generation).result()
    kept = _manifest(kvstore, text)  # of the run that began the sweep, which may have had other batches and another version of JAX
    check_same(kept, manifest, text)
    with _writing(text):
        arrays = {name: _array(kvstore, name, (len(names), *lengths), field) for name, (field, lengths) in layout.items()}
        _write_plain(kvstore, NAMES, NAMES, "string", "", len(names), {"name": "vlen-utf8"}, _texts(names))
        little = {"name": "bytes", "configuration": {"endian": "little"}}
        _write_plain(kvstore, AREAS, AREAS, "float32", 0.0, len(areas), little, np.asarray(areas, "<f4").tobytes())
        metadata = {name: json.loads(_required(kvstore, f"{name}/{_GROUP}")) for name in (*layout, NAMES, AREAS)}
        kvstore.write(_GROUP, _group(kept, metadata)).result()
    return Store(text, kvstore, kept, arrays)


def open_store(location: str | os.PathLike[str]) -> Store:
    """Open a store for reading.

    Raises:
      FileNotFoundError: if there is none.
      ValueError: if it is damaged, something else, or of a later version.
    """
    text, kvstore = _opened(location)
    manifest = _manifest(kvstore, text)
    with _reading(text):
        names = json.loads(_required(kvstore, _GROUP)).get("consolidated_metadata", {}).get("metadata")
        if names is None:
            raise ValueError("it was begun, and stopped before its arrays were made; run the sweep again")
        arrays = {name: _open(kvstore, name) for name in names if name not in (NAMES, AREAS)}
    return Store(text, kvstore, manifest, arrays)


def _opened(location: str | os.PathLike[str]) -> tuple[str, ts.KvStore]:
    """The location as a text, and its files."""
    where = address(location) if isinstance(location, str | os.PathLike) else None
    if where is None:
        path = as_path(location)
        return str(path), ts.KvStore.open({"driver": "file", "path": f"{path.absolute()}/"}).result()
    if not where.startswith("gs://"):
        raise ValueError(
            f"a sweep cannot be written to {where}: only local folders and gs:// write each chunk whole or not at all; write there, and"
            f" copy the store"
        )
    return where, ts.KvStore.open(where.rstrip("/") + "/").result()


def _manifest(kvstore: ts.KvStore, location: str) -> dict[str, Any]:
    """The manifest of a store of a version that is read."""
    with _reading(location):
        found = kvstore.read(_GROUP).result()
        if found.state == "missing":
            raise FileNotFoundError(f"no sweep in {location}: it has no {_GROUP}")
        manifest = json.loads(found.value).get("attributes", {}).get(_ATTRIBUTE)
    check_format(manifest, location)
    return manifest


def _group(manifest: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> bytes:
    """The content of the file that makes a folder a group."""
    content: dict[str, Any] = {"zarr_format": 3, "node_type": "group", "attributes": {_ATTRIBUTE: manifest}}
    if metadata is not None:
        content["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": metadata}
    return json.dumps(content, indent=1).encode()


def _array(kvstore: ts.KvStore, name: str, shape: tuple[int, ...], field: Field) -> ts.TensorStore:
    """Make an array, one picture to a chunk, or open the one that is there."""
    endian = {} if np.dtype(field.dtype).itemsize == 1 else {"configuration": {"endian": "little"}}
    codecs = [{"name": "bytes", **endian}, {"name": "zstd", "configuration": {"level": _ZSTD}}, {"name": "crc32c"}]
    metadata = {
        "shape": shape,
        "data_type": field.dtype,
        "fill_value": "NaN" if field.dtype == "float32" else 0,
        "dimension_names": [NAMES, *field.axes],
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1, *shape[1:]]}},
        "chunk_key_encoding": _KEYS,
        "codecs": codecs,
        "attributes": field.attributes,
    }
    return _open(kvstore, name, metadata=metadata, create=True, store_data_equal_to_fill_value=True)


def _open(kvstore: ts.KvStore, name: str, **options: Any) -> ts.TensorStore:
    inner = kvstore.spec().to_json()
    return ts.open({"driver": "zarr3", "kvstore": inner | {"path": f"{inner['path']}{name}/"}, "open": True, **options}).result()


def _write_plain(
    kvstore: ts.KvStore, name: str, axis: str, dtype: str, fill: Any, length: int, codec: Mapping[str, Any], content: bytes
) -> None:
    """Write an array of one axis as a single chunk, whose bytes are given: tensorstore has no texts."""
    metadata = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [length],
        "data_type": dtype,
        "fill_value": fill,
        "dimension_names": [axis],
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [length]}},
        "chunk_key_encoding": _KEYS,
        "codecs": [codec],
        "attributes": {},
    }
    kvstore.write(f"{name}/c.0", content).result()
    kvstore.write(f"{name}/{_GROUP}", json.dumps(metadata).encode()).result()


def _texts(texts: Sequence[str]) -> bytes:
    """Texts as the codec vlen-utf8 has them: their number, then the length and the bytes of each."""
    encoded = [text.encode(errors="replace") for text in texts]  # names of files need not be Unicode
    return struct.pack("<I", len(encoded)) + b"".join(struct.pack("<I", len(part)) + part for part in encoded)


def _read_texts(kvstore: ts.KvStore, name: str, count: int) -> tuple[str, ...]:
    content, place, found = _required(kvstore, f"{name}/c.0"), 4, []
    if struct.unpack_from("<I", content) != (count,):
        raise ValueError(f"{name}/c.0 does not hold {count} names")
    for _ in range(count):
        (length,) = struct.unpack_from("<I", content, place)
        found.append(content[place + 4 : place + 4 + length].decode())
        place += 4 + length
    return tuple(found)


def _required(kvstore: ts.KvStore, key: str) -> bytes:
    found = kvstore.read(key).result()
    if found.state == "missing":
        raise ValueError(f"{key} is missing")
    return found.value


@contextlib.contextmanager
def _writing(location: str) -> Iterator[None]:
    """Errors of the disk, in a sentence that says what to do. tensorstore reports them as ValueErrors."""
    try:
        yield
    except (ValueError, OSError, RuntimeError) as error:
        kind = type(error) if isinstance(error, OSError) else OSError
        raise kind(f"cannot write {location}: {error}. Nothing is lost: mend this and run again, and the sweep goes on") from error


@contextlib.contextmanager
def _reading(location: str, index: int | None = None) -> Iterator[None]:
    """Errors of damaged files, in a sentence that says what to do."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (ValueError, OSError, RuntimeError, struct.error, KeyError) as error:
        hint = "" if index is None else f"; delete {STATUS}/c.{index} there and run the sweep again, which does this picture anew"
        raise ValueError(f"{location} is damaged: {error}{hint}") from error
