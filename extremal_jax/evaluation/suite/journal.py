"""The folder of a benchmark: its settings, and a row for each image as it comes, so that a killed run resumes."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from extremal_jax.ground.differences import difference, differences
from extremal_jax.ground.files import as_path, whole_file
from extremal_jax.ground.locks import in_turn, locked

Row = dict[str, Any]
GROWING = ("methods", "models", "environments")  # settings to which a later run may add names


class Journal:
    """The rows of a benchmark, in a folder. Each shard appends to a file of its own, so that several can run at once.

    A row is one line of JSON. It counts once its line is whole: a line that a killed run left unfinished is removed
    when the same shard goes on, and ignored by others.

    Attributes:
      folder: where the rows are.
      settings: those of the benchmark, with all models and methods that have been run in the folder.
      shard: (index, count), the index from 1.
    """

    def __init__(self, folder: str | os.PathLike[str], settings: Mapping[str, Any], shard: tuple[int, int] = (1, 1)):
        """Open the folder, or make it.

        Args:
          folder: where rows are kept.
          settings: the settings that determine the rows, as values of JSON. Those in `GROWING` are mappings from names, to which a later
            run may add names.
          shard: (index, count), the index from 1.

        Raises:
          ValueError: if the folder holds a benchmark of other settings, or one is running there, with the differences.
          BlockingIOError: if another process is running the shard.
          OSError: if it cannot be written.
        """
        self.folder, self.shard = as_path(folder), shard
        self.settings: dict[str, Any] = json.loads(json.dumps(settings))
        self._path = self.folder / f"rows-{shard[0]}-of-{shard[1]}.jsonl"
        with in_turn(self.folder / "settings.lock"):  # shards that start at once add to the settings one after another
            self._file = self._path.open("a+b")
            if not locked(self._file):
                self._file.close()
                raise BlockingIOError(f"another process is running shard {shard[0]} of {shard[1]} in {self.folder}")
            try:
                self._claim()
            except BaseException:
                self._file.close()
                if self._path.stat().st_size == 0:
                    self._path.unlink()
                raise
        self._drop_unfinished_line()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _claim(self) -> None:
        path = self.folder / "settings.json"
        begun = next(rows_in(self.folder), None) is not None or self._others_run()
        if path.exists() and begun:
            kept = read_settings(self.folder)
            merged = {name: kept.get(name, {}) | self.settings.get(name, {}) for name in GROWING}
            pairs = _differences(kept, self.settings)
            if pairs:
                raise ValueError(f"{self.folder} holds a benchmark of other settings: {pairs}. Choose another folder, or the same settings")
            self.settings |= merged
            if self.settings == kept:
                return
        elif begun:
            raise ValueError(f"{self.folder} holds rows without settings.json, which says what they are; choose another folder")
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(self.settings, indent=1) + "\n", encoding="utf-8")

    def _others_run(self) -> bool:
        """Whether another process holds another shard, which may have no rows yet."""
        for path in self.folder.glob("rows-*.jsonl"):
            if path != self._path:
                with path.open("rb") as file:
                    if not locked(file):
                        return True
        return False

    def _drop_unfinished_line(self) -> None:
        self._file.seek(0)
        whole = sum(len(line) for line in self._file if line.endswith(b"\n"))
        self._file.truncate(whole)

    def append(self, rows: Sequence[Row]) -> None:
        """Write rows, and wait until they are on the disk."""
        self._file.write("".join(json.dumps(row) + "\n" for row in rows).encode())
        self._file.flush()
        os.fsync(self._file.fileno())

    def finish(self) -> None:
        """Mark the shard as finished if it has no rows, because its images show nothing to test: it is not missing then."""
        if self.shard[1] > 1 and next(self.own_rows(), None) is None:
            self.append([{"of": "nothing"}])

    def rows(self) -> Iterator[Row]:
        """The rows of all shards, one by one."""
        return rows_in(self.folder)

    def own_rows(self) -> Iterator[Row]:
        """The rows of this shard."""
        return _whole_rows(self._path)


def rows_in(folder: Path) -> Iterator[Row]:
    """The rows of all shards in a folder, one by one."""
    for path in sorted(folder.glob("rows-*.jsonl")):
        yield from _whole_rows(path)


def missing_shards(folder: Path, count: int) -> list[int]:
    """The shards, of so many, that have no rows in a folder yet, not even one that says that there is nothing to test."""
    found = {path.name for path in folder.glob("rows-*.jsonl") if path.stat().st_size}
    return [index for index in range(1, count + 1) if f"rows-{index}-of-{count}.jsonl" not in found]


def _whole_rows(path: Path) -> Iterator[Row]:
    """The rows of a file whose lines are whole."""
    if path.exists():
        with path.open("rb") as file:
            yield from (json.loads(line) for line in file if line.endswith(b"\n"))


def read_settings(folder: Path) -> dict[str, Any]:
    """The settings of the benchmark in a folder.

    Raises:
      FileNotFoundError: if there is none.
      ValueError: if the file is damaged.
    """
    path = folder / "settings.json"
    if not path.is_file():
        raise FileNotFoundError(f"no benchmark in {folder}: it has no settings.json")
    try:
        settings = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{path} is damaged: it holds no settings")
    return settings


def _differences(kept: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """The settings that differ, in words; "" for none. Of those that may grow, the names that both have are compared."""
    found = differences(kept, settings, GROWING)
    for name in GROWING:
        before, now = kept.get(name) or {}, settings.get(name) or {}
        found += [difference(f"{name}, {one}", before[one], now[one]) for one in before if one in now and before[one] != now[one]]
    return "; ".join(found)
