"""The tables of a benchmark: means with confidence intervals over images, as Markdown, CSV and JSON."""

from __future__ import annotations

import collections
import csv
import io
import json
import math
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from extremal_jax.evaluation.suite.intervals import Estimate, estimate
from extremal_jax.evaluation.suite.journal import missing_shards, read_settings, rows_in
from extremal_jax.evaluation.suite.standard import TESTS, Test
from extremal_jax.ground.files import as_path, whole_file

_MOST_NAMED = 10  # of classes that no image shows
_DIFFICULT = "pointing-game hit, difficult"


@dataclass(frozen=True)
class Line:
    """A model and a method in the table.

    Attributes:
      model: its name.
      method: its name.
      cases: how many pairs of an image and a class were tested, and grids.
      images: how many images, or grids, they show.
      seconds: the median time of an explanation, for each image, after those that compile; not a number if all do.
      estimates: the estimate of each measure, by the names of the test and the measure.
    """

    model: str
    method: str
    cases: int
    images: int
    seconds: float
    estimates: dict[str, Estimate]


@dataclass(frozen=True)
class Report:
    """The table of a benchmark.

    Attributes:
      settings: those of the benchmark, with the versions of JAX and Python that made its rows.
      lines: the lines of the table, by model and method.
      tests: the tests that were run.
      absent: the classes that no case shows.
      torchray_average: whether means over classes count those as zero; else they leave them out.
      skipped: the images that could not be read, for one model at least, with the reason.
      missing_shards: the shards that have not begun.
    """

    settings: dict[str, Any]
    lines: list[Line]
    tests: tuple[Test, ...]
    absent: list[str]
    torchray_average: bool
    skipped: dict[str, str]
    missing_shards: list[int]

    @property
    def measures(self) -> dict[str, bool]:
        """The names of the columns, and whether a higher value is better."""
        named = {f"{test.name} {measure.name}": measure.higher for test in self.tests for measure in test.measures}
        found = {name for line in self.lines for name in line.estimates}
        return {name: higher for name, higher in (named | {_DIFFICULT: True}).items() if name in found}

    def markdown(self) -> str:
        """The table with the settings that determine its numbers."""
        header = [
            "model",
            "method",
            *(f"{name} {'↑' if higher else '↓'}" for name, higher in self.measures.items()),
            "images",
            "cases",
            "seconds",
        ]
        rows = [
            [
                line.model,
                line.method,
                *(str(line.estimates.get(name, "")) for name in self.measures),
                str(line.images),
                str(line.cases),
                "" if math.isnan(line.seconds) else f"{line.seconds:.3g}",
            ]
            for line in self.lines
        ]
        table = ["| " + " | ".join(map(_escaped, row)) + " |" for row in [header, *rows]]
        table.insert(1, "|" + "---|" * len(header))
        return "\n".join([*table, "", *self._notes()]) + "\n"

    @property
    def _areas(self) -> str:
        return ", ".join(f"{area:g}" for area in self.settings["areas"])

    @property
    def _versions(self) -> str:
        return f"extremal_jax {self.settings['version']}, {' and '.join(self.settings['environments'])}"

    def _notes(self) -> list[str]:
        settings = self.settings
        transfer = f", transferred to {settings['transfer'].split()[0]}" if settings["transfer"] else ""
        notes = [f"- {test.name}: {test.description}; {test.settings}." for test in self.tests]
        notes.append(
            f"- Data: {_escaped(settings['data'])}; masks of the areas {self._areas}{transfer}; seed {settings['seed']};"
            f" {self._versions}. In brackets 95 % bootstrap intervals over images."
        )
        if any(measure.by_class for test in self.tests for measure in test.measures):
            absent = len(self.absent)
            named = ", ".join(map(_escaped, self.absent[:_MOST_NAMED])) + (", ..." if absent > _MOST_NAMED else "")
            treated = "counted as zero, as in TorchRay" if self.torchray_average else "left out"
            notes.append(f"- Classes that no case shows: {f'{absent} ({named}), {treated}' if absent else 'none'}.")
        for line in self.lines:
            lost = {name: found.lost for name, found in line.estimates.items() if found.lost}
            if lost:
                named = ", ".join(f"{name}: {count}" for name, count in lost.items())
                notes.append(f"- Values of {_escaped(line.method)} on {_escaped(line.model)} that are not finite are left out ({named}).")
        if self.skipped:
            count = len(self.skipped)
            reason = _escaped(next(iter(self.skipped.values())))
            notes.append(f"- {count} image{'s' * (count > 1)} skipped, which could not be read: {reason}.")
        if self.missing_shards:
            notes.append(f"- Without the shards {', '.join(map(str, self.missing_shards))} of {settings['shards']}.")
        return notes

    def rows(self) -> list[dict[str, Any]]:
        """The table as plain values: the mean and the bounds of each measure."""
        return [
            dict(
                model=line.model,
                method=line.method,
                images=line.images,
                cases=line.cases,
                seconds=None if math.isnan(line.seconds) else line.seconds,
            )
            | {
                f"{name}{suffix}": None if math.isnan(value) else value
                for name, found in line.estimates.items()
                for suffix, value in (("", found.mean), (" low", found.low), (" high", found.high))
            }
            for line in self.lines
        ]

    def csv(self) -> str:
        """The table as comma-separated values, with the bounds of each interval, and in each row the settings."""
        settings = dict(
            data=self.settings["data"],
            areas=self._areas,
            seed=self.settings["seed"],
            versions=self._versions,
            tests="; ".join(f"{test.name}: {test.settings}" for test in self.tests),
        )
        rows, text = [row | settings for row in self.rows()], io.StringIO()
        writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue()

    def json(self) -> str:
        """The settings, those of each test as well, and the table."""
        found = dict(
            settings=self.settings,
            tests={test.name: test.settings for test in self.tests},
            absent=self.absent,
            torchray_average=self.torchray_average,
            skipped=self.skipped,
            missing_shards=self.missing_shards,
            rows=self.rows(),
        )
        return json.dumps(found, indent=1) + "\n"

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write table.md, table.csv and table.json to a folder, each whole."""
        for name, text in (("table.md", self.markdown()), ("table.csv", self.csv()), ("table.json", self.json())):
            with whole_file(as_path(folder) / name) as temporary:
                temporary.write_text(text, encoding="utf-8")


def tabulate(folder: str | os.PathLike[str], *, torchray_average: bool = False) -> Report:
    """The report of all rows in the folder of a benchmark, finished or not.

    Args:
      folder: the folder of the benchmark.
      torchray_average: in means over classes, count those that no case shows as zero, as TorchRay does.

    Returns:
      A `Report`, as `benchmark` returns it.

    Raises:
      FileNotFoundError: if there is no benchmark.
      ValueError: if its settings are damaged.

    Example:
      >>> import tempfile
      >>> import extremal_jax as ej
      >>> models, folder = {"scenes": ej.models.load("scenes")}, tempfile.mkdtemp()
      >>> scenes = ej.data.SceneDataset(2, objects=1)
      >>> report = ej.evaluation.benchmark(["pointing-game"], scenes, models, ["center"], folder=folder)
      >>> tabulate(folder).lines == report.lines
      True
    """
    folder = as_path(folder)
    settings = read_settings(folder)
    tests, classes = [TESTS[name] for name in settings["tests"] if name in TESTS], settings["classes"]
    values: dict[tuple[str, str], dict[str, list[tuple[float, int, int]]]] = {}
    seconds: dict[tuple[str, str], list[float]] = collections.defaultdict(list)
    shown: dict[tuple[str, str], set[tuple[int, str]]] = collections.defaultdict(set)
    skipped: dict[tuple[str, str, str], str] = {}
    met: set[int] = set()
    read: set[tuple[str, str, str]] = set()
    counted: set[tuple[str, ...]] = set()
    for row in rows_in(folder):
        if "skipped" in row:
            skipped[row["model"], row["of"], row["skipped"]] = row["reason"]
        if "case" not in row:
            continue
        case = row["model"], row["method"], row["of"], row["case"]
        if case in counted:
            continue
        counted.add(case)
        line = row["model"], row["method"]
        if row["seconds"] is not None:
            seconds[line].append(row["seconds"])
        shown[line].add((row["image"], row["name"]))
        read.add((row["model"], row["of"], row["name"]))
        if row["of"] == "images":
            met.add(row["class_index"])
        columns = values.setdefault(line, {})
        for name, value in row["values"].items():
            names = [name, _DIFFICULT] if name == "pointing-game hit" and row["difficult"] else [name]
            for column in names:
                columns.setdefault(column, []).append((np.nan if value is None else value, row["image"], row["class_index"]))
    by_class = {f"{test.name} {measure.name}" for test in tests for measure in test.measures if measure.by_class}
    lines = []
    for (model, method), columns in sorted(values.items(), key=lambda item: _place(item[0], settings)):
        estimates = {}
        for name, entries in columns.items():
            numbers, images, labels = (np.array(part) for part in zip(*entries, strict=True))
            grouped = name.split(",")[0] in by_class
            among = len(classes) if grouped and torchray_average else None
            estimates[name] = estimate(numbers.astype(float), images, labels if grouped else None, among=among)
        cases = sum(one[:2] == (model, method) for one in counted)
        median = float(np.median(seconds[model, method])) if seconds[model, method] else np.nan
        lines.append(Line(model, method, cases, len(shown[model, method]), median, estimates))
    absent = [name for index, name in enumerate(classes) if index not in met]
    missing = missing_shards(folder, settings["shards"])
    left_out = {key[-1]: reason for key, reason in skipped.items() if key not in read}  # the others could be read since then
    return Report(settings, lines, tuple(tests), absent, torchray_average, left_out, missing)


def _place(line: tuple[str, str], settings: dict[str, Any]) -> tuple[int, int]:
    """Where a line stands in the table: models and methods in the order of the call."""
    return list(settings["models"]).index(line[0]), list(settings["methods"]).index(line[1])


def _escaped(text: str) -> str:
    """A name as it stands in a cell of Markdown."""
    return "".join(f"\\{letter}" if letter in "\\|`*<>[]" else letter for letter in " ".join(text.split()))
