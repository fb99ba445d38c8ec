"""The folder of a benchmark: its settings, and a row for each image as it comes, so that a killed run resumes."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from extremal_jax.ground.files import as_path, whole_file

Row = dict[str, Any]
_LONGEST = 80  # characters of a setting in an error


class Journal:
    """The rows of a benchmark, in a folder. Each shard appends to a file of its own, so that several can run at once.

    A row is one line of JSON. It counts once its line is whole: a line that a killed run left unfinished is removed
    when the same shard goes on, and ignored by others.
    """

    def __init__(self, folder: str | os.PathLike[str], settings: Mapping[str, Any], shard: tuple[int, int] = (1, 1)):
        """Open the folder, or make it.

        Args:
          folder: where rows are kept.
          settings: that determine the rows, values of JSON.
          shard: (index, count), the index from 1.

        Raises:
          ValueError: if the folder holds a benchmark of other settings, with the differences.
          OSError: if it cannot be written.
        """
        self.folder, self.shard = as_path(folder), shard
        self.settings: dict[str, Any] = json.loads(json.dumps(settings))
        self._claim()
        self._path = self.folder / f"rows-{shard[0]}-of-{shard[1]}.jsonl"
        self._drop_unfinished_line()

    def _claim(self) -> None:
        settings = self.settings
        path = self.folder / "settings.json"
        if path.exists():
            kept = json.loads(path.read_text(encoding="utf-8"))
            if kept != settings:
                names = sorted(name for name in kept.keys() | settings.keys() if kept.get(name) != settings.get(name))
                pairs = "; ".join(f"{name} was {_short(kept.get(name))} and is {_short(settings.get(name))}" for name in names)
                raise ValueError(f"{self.folder} holds a benchmark of other settings: {pairs}. Choose another folder, or the same settings")
            return
        if self.folder.is_dir() and any(self.folder.glob("rows-*.jsonl")):
            raise ValueError(f"{self.folder} holds rows without settings.json, which says what they are; choose another folder")
        with whole_file(path) as temporary:
            temporary.write_text(json.dumps(settings, indent=1) + "\n", encoding="utf-8")

    def _drop_unfinished_line(self) -> None:
        if self._path.exists():
            with self._path.open("r+b") as file:
                whole = file.read().rfind(b"\n") + 1
                file.truncate(whole)

    def append(self, rows: Sequence[Row]) -> None:
        """Write rows, and wait until they are on the disk."""
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())

    def rows(self) -> Iterator[Row]:
        """The rows of all shards, one by one."""
        for path in sorted(self.folder.glob("rows-*.jsonl")):
            yield from _whole_rows(path)

    def own_rows(self) -> Iterator[Row]:
        """The rows of this shard."""
        return _whole_rows(self._path)

    def missing_shards(self) -> list[int]:
        """The shards of this count that have no rows yet."""
        found = {match[1] for path in self.folder.glob("rows-*.jsonl") if (match := re.fullmatch(r"rows-(\d+)-of-(\d+)\.jsonl", path.name))}
        return [index for index in range(1, self.shard[1] + 1) if str(index) not in found]


def _whole_rows(path: Path) -> Iterator[Row]:
    """The rows of a file whose lines are whole."""
    if path.exists():
        with path.open("rb") as file:
            yield from (json.loads(line) for line in file if line.endswith(b"\n"))


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."
