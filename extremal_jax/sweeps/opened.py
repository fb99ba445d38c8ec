"""A sweep's store, opened: what is there, and the results, each read when it is asked for."""

from __future__ import annotations

import operator
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from extremal_jax.extremal.config import Config
from extremal_jax.extremal.result import ExtremalResult
from extremal_jax.models.preprocessing import Preprocessing
from extremal_jax.sweeps.layout import State, taken
from extremal_jax.sweeps.manifest import config_of, preprocessing_of
from extremal_jax.sweeps.store import Store, open_store


class Counts(NamedTuple):
    """How far a sweep is.

    Attributes:
      explained: pictures whose run went well.
      faulty: pictures whose run did not; `result.status` says why.
      skipped: pictures that could not be read.
      absent: pictures that are not done.
    """

    explained: int
    faulty: int
    skipped: int
    absent: int


class Sweep:
    """The results of a sweep, finished or not, read one by one.

    `sweep[index]` is the `ExtremalResult` of a picture, of NumPy arrays, without the masks' margins.

    Attributes:
      names: of the pictures. One that was explained for several classes has a name for each.
      areas: (K,), of the masks.
      classes: the names of the classes; None if the model had none.
      manifest: what the sweep is of: data, model, settings, key, versions. It is of the run that began the sweep.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.names, self.areas, self.manifest = store.names, store.areas, store.manifest
        classes = store.manifest["model"]["classes"]
        self.classes: tuple[str, ...] | None = None if classes is None else tuple(classes)

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"Sweep({self._store.location!r}, {len(self)} pictures, {len(self.areas)} areas)"

    @property
    def config(self) -> Config:
        """The settings."""
        return config_of(self.manifest)

    @property
    def preprocessing(self) -> Preprocessing | None:
        """The preprocessing of the model, whose `place` lays masks on the pictures; None if the model was the caller's own."""
        return preprocessing_of(self.manifest)

    def states(self) -> UInt8[np.ndarray, " N"]:
        """(N,), what has become of each picture, as `State` has it: 0 absent, 1 explained, 2 faulty, 3 skipped."""
        return self._store.statuses()

    def counts(self) -> Counts:
        """How many pictures are done."""
        states = self.states()
        return Counts(*(int(np.sum(states == state)) for state in (State.EXPLAINED, State.FAULTY, State.SKIPPED, State.ABSENT)))

    def __getitem__(self, index: int) -> ExtremalResult:
        """The result of a picture.

        Raises:
          IndexError: if there is no such picture.
          ValueError: if it is not done, was skipped, or is damaged.
        """
        return taken(self._values(index), self.areas, self.config, self.manifest["masks"])

    def size(self, index: int) -> tuple[int, int]:
        """(height, width) of a picture. Raises as `sweep[index]` does."""
        height, width = self._values(index)["sizes"]
        return int(height), int(width)

    def reason(self, index: int) -> str:
        """Why a picture was skipped; empty if it was not."""
        values = self._store.read(self._index(index))
        return bytes(values["reasons"]).rstrip(b"\0").decode(errors="ignore") if values["status"] == State.SKIPPED else ""

    def done(self) -> Iterator[int]:
        """The indices of the pictures that have results."""
        states = self.states()
        return (int(index) for index in np.flatnonzero((states == State.EXPLAINED) | (states == State.FAULTY)))

    def _values(self, index: int) -> dict[str, Any]:
        index = self._index(index)
        values = self._store.read(index)
        name = self.names[index]
        if values["status"] == State.ABSENT:
            raise ValueError(f"picture {index}, {name}, is not done yet; run the sweep again, and it goes on")
        if values["status"] == State.SKIPPED:
            raise ValueError(f"picture {index}, {name}, was skipped: {self.reason(index)}")
        return values

    def _index(self, index: int) -> int:
        try:
            index = operator.index(index)
        except TypeError as error:
            hint = f"; names.index({index!r}) finds a picture by its name" if isinstance(index, str) else ""
            raise TypeError(f"the index of a picture must be a whole number, got {index!r}{hint}") from error
        if not -len(self) <= index < len(self):
            raise IndexError(f"this sweep is of {len(self)} pictures, got the index {index}")
        return index % len(self)


def open_sweep(location: str | os.PathLike[str]) -> Sweep:
    """Open the store of a sweep, also one that is still running.

    Args:
      location: as `sweep` took it as `out`.

    Returns:
      The sweep, whose results are read when they are asked for.

    Raises:
      FileNotFoundError: if there is none.
      ValueError: if it is damaged, something else, or was written by a later version.

    Example:
      >>> found = open_sweep("sweep")  # doctest: +SKIP
      >>> found.counts(), found[0].masks.shape  # doctest: +SKIP
      (Counts(explained=50000, faulty=0, skipped=0, absent=0), (4, 224, 224))
    """
    return Sweep(open_store(location))
