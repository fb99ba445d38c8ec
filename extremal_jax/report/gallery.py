"""`write_sweep`: the store of a sweep as a folder of pages, with one picture in memory at a time."""

from __future__ import annotations

import itertools
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from extremal_jax.ground.checks import check_count
from extremal_jax.ground.files import as_path, check_writable, whole_file
from extremal_jax.models.preprocessing import Preprocessing
from extremal_jax.optimise.settings import settings_table
from extremal_jax.report.contents import Subject, describe
from extremal_jax.report.index import Entry, Leaf, index_page
from extremal_jax.report.page import page
from extremal_jax.report.subjects import check_title
from extremal_jax.sweeps.inputs import Prepare, dataset_of
from extremal_jax.sweeps.layout import State
from extremal_jax.sweeps.opened import Sweep, open_sweep

_INDEX = "index.html"


def write_sweep(
    folder: str | os.PathLike[str],
    sweep: Sweep | str | os.PathLike[str],
    source: Any,
    *,
    preprocess: Prepare | None = None,
    per_page: int = 100,
    title: str = "Extremal perturbations",
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a report on a sweep: a folder of pages, as `write` makes them, with a page of contents.

    `index.html` counts the pictures, links the pages, and lists all pictures by name, also those that are skipped,
    faulty or not done yet, with the reasons. The list can be searched. Results and pictures are read one by one, so a
    sweep of any size takes the memory of one picture and of the names.

    Args:
      folder: where the files are written: `index.html`, `page-0001.html` and so on, each whole or absent. It is made where
        it is missing; files of these names are replaced, and others stay.
      sweep: the store, or what `open_sweep` returns; it may still be running.
      source: the pictures, which the store does not hold: the `source` of the sweep, in any of the forms that `sweep`
        takes. It may have more pictures than were explained.
      preprocess: as in `sweep`; needed if the model had no `Preprocessing` of its own.
      per_page: the pictures of a page.
      title: of the pages.
      progress: a function that is called before each page and at the end, with the numbers of written and of all pictures.

    Returns:
      None. A result or picture that cannot be read now is listed with the reason, and on no page.

    Raises:
      TypeError: if `preprocess` is needed, or `title` is no text.
      ValueError: if the store is not of a sweep, none of its pictures is explained, or the source lacks some of them.
      OSError: if there is no store, or the files cannot be written.

    Example:
      >>> import tempfile
      >>> import extremal_jax as ej
      >>> scenes, model = ej.data.SceneDataset(3, objects=1), ej.models.load("scenes")
      >>> found = ej.sweep(model, scenes, tempfile.mkdtemp(), areas=[0.1], config=ej.Config(num_steps=2))
      >>> folder = Path(tempfile.mkdtemp())
      >>> write_sweep(folder, found, scenes, per_page=2)
      >>> sorted(path.name for path in folder.iterdir())
      ['index.html', 'page-0001.html', 'page-0002.html']
    """
    check_count("per_page", per_page, 1)
    check_title(title)
    opened = sweep if isinstance(sweep, Sweep) else open_sweep(sweep)
    pictures = _Pictures(opened, source, preprocess)
    folder = as_path(folder)
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"cannot write into {folder}: it is a file; choose another output folder")
    states = opened.states()
    shown = [int(index) for index in np.flatnonzero((states == State.EXPLAINED) | (states == State.FAULTY))]
    if not shown:
        raise ValueError(f"no picture of {opened} is explained yet; run it first")
    check_writable(folder / _INDEX)
    entries: dict[int, Entry] = {}
    leaves = [Leaf(f"page-{number:04}.html", part[0] + 1, part[-1] + 1) for number, part in enumerate(_parts(shown, per_page), 1)]
    for number, part in enumerate(_parts(shown, per_page), 1):
        if progress is not None:
            progress((number - 1) * per_page, len(shown))
        contents = _contents(pictures, part, leaves[number - 1].file, entries)
        heading = f"{title}, page {number} of {len(leaves)}"
        _write(folder / leaves[number - 1].file, page(heading, contents, settings_table(opened.config), _links(number, leaves)))
    if all(entry.address is None for entry in entries.values()):
        raise ValueError(f"no picture of the source can be shown: {entries[shown[0]].remark}")
    for index in np.flatnonzero((states == State.ABSENT) | (states == State.SKIPPED)):
        entries[int(index)] = _missing(opened, int(index), State(states[index]))
    ordered = [entries[index] for index in range(len(opened))]
    _write(folder / _INDEX, index_page(title, ordered, leaves, _about(opened), [*_run(opened), *settings_table(opened.config)]))
    if progress is not None:
        progress(len(shown), len(shown))


class _Pictures:
    """The pictures of a sweep with their results, each read when it is asked for."""

    def __init__(self, sweep: Sweep, source: Any, preprocess: Prepare | None) -> None:
        self.sweep, self._prepare = sweep, preprocess
        self._preprocessing: Preprocessing | None = sweep.preprocessing if preprocess is None else None
        if preprocess is None:
            self._prepare = self._preprocessing
        if not callable(self._prepare):
            raise TypeError(
                "preprocess must be the function of the sweep from a picture (H, W, 3) uint8 to the model's input (h, w, C), since the"
                f" sweep's model had no preprocessing of its own, got {preprocess!r}"
            )
        self._dataset = dataset_of(source, sweep.classes or (), limit=None, labelled=False)
        if len(self._dataset) < len(sweep) and isinstance(source, str | os.PathLike):  # 500 scenes, and the sweep may be of more
            self._dataset = dataset_of(source, sweep.classes or (), limit=len(sweep), labelled=False)
        self._places = _places(sweep, self._dataset.names, self._dataset.name)

    def subject(self, index: int) -> Subject:
        """A picture with its result.

        Raises:
          OSError, ValueError: if either cannot be read, or the picture has another size than the one that was explained.
        """
        result = self.sweep[index]
        pixels = self._dataset[self._places[index]].load()
        if pixels.shape[:2] != (size := self.sweep.size(index)):
            raise ValueError(
                f"the picture explained was of {size[0]}x{size[1]} pixels, the source's is of {pixels.shape[0]}x{pixels.shape[1]}"
            )
        assert self._prepare is not None, "it is checked"
        image = np.asarray(self._prepare(pixels))
        if image.shape[:2] != result.masks.shape[1:]:
            shape = "x".join(map(str, result.masks.shape[1:]))
            raise ValueError(f"preprocess makes {image.shape[0]}x{image.shape[1]} of the picture, and the masks are of {shape}")
        return Subject(self.sweep.names[index], image, result, self.sweep.classes, preprocessing=self._preprocessing)


def _places(sweep: Sweep, names: Sequence[str], source: str) -> Sequence[int]:
    """The index in the source of each picture of a sweep: by order where the names are the same, or else by name."""
    stored = [name.encode(errors="replace").decode() for name in names]
    if tuple(stored[: len(sweep)]) == sweep.names:
        return range(len(sweep))
    known = {name: index for index, name in enumerate(stored)}
    lacking = [name for name in sweep.names if name not in known]
    if lacking:
        raise ValueError(
            f"source must have the pictures of the sweep, and {source} lacks {len(lacking)} of {len(sweep)}, such as {lacking[0]!r}; the"
            f" sweep is of {sweep.manifest['data']}"
        )
    counts = Counter(stored)
    if repeated := next((name for name in sweep.names if counts[name] > 1), None):
        raise ValueError(f"source must have one picture of each name, and {source} has {counts[repeated]} named {repeated!r}")
    return [known[name] for name in sweep.names]


def _contents(pictures: _Pictures, part: Sequence[int], file: str, entries: dict[int, Entry]) -> Iterator[dict[str, Any]]:
    """The contents of a page, one picture after the other, each noted in the entries."""
    card = itertools.count(1)
    for index in part:
        try:
            subject = pictures.subject(index)
        except (OSError, ValueError) as error:
            entries[index] = Entry(pictures.sweep.names[index], state="unread", remark=str(error))
            continue
        found = describe(subject)
        state = "faulty" if found["faults"] else "explained"
        best = max((stop["share"] for stop in found["stops"] if stop["share"] is not None), default=None)
        remark = "; ".join(found["faults"])
        entries[index] = Entry(found["name"], found["target"], state, f"{file}#picture-{next(card)}", found["whole"], best, remark)
        yield found


def _missing(sweep: Sweep, index: int, state: State) -> Entry:
    """The entry of a picture that has no result."""
    return Entry(sweep.names[index], state=state.name.lower(), remark=sweep.reason(index) if state == State.SKIPPED else "")


def _parts(indices: Sequence[int], size: int) -> list[Sequence[int]]:
    return [indices[start : start + size] for start in range(0, len(indices), size)]


def _links(number: int, leaves: Sequence[Leaf]) -> list[tuple[str, str]]:
    """From a page to the contents, and to the pages before and after it."""
    links = [("Contents", _INDEX)]
    if number > 1:
        links.append((f"← Page {number - 1}", leaves[number - 2].file))
    if number < len(leaves):
        links.append((f"Page {number + 1} →", leaves[number].file))
    return links


def _about(sweep: Sweep) -> str:
    """A line on the sweep."""
    areas = ", ".join(f"{100 * area:g}%" for area in sweep.areas)
    return f"Model {sweep.manifest['model']['name']} · data {sweep.manifest['data']} · masks of {areas} of the image"


def _run(sweep: Sweep) -> list[tuple[str, str]]:
    """What the manifest says of the run, besides the settings."""
    kept = sweep.manifest
    targets = kept["targets"] if isinstance(kept["targets"], str) else "given"
    facts = dict(data=kept["data"], model=kept["model"]["name"], weights=kept["model"]["digest"], targets=targets)
    facts |= dict(areas=", ".join(f"{area:g}" for area in kept["areas"]), key=json.dumps(kept["key"]), masks=kept["masks"])
    return [*facts.items(), ("extremal-jax of the sweep", kept["version"]), ("JAX of the sweep", kept["jax"])]


def _write(path: Path, parts: Iterator[str]) -> None:
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", errors="replace") as file:  # names of files may be no Unicode
        file.writelines(parts)
