"""What the benchmarks share: a description of the machine, a timer that alternates, and tables."""

from __future__ import annotations

import datetime
import importlib.metadata
import math
import os
import platform
import resource
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from extremal_jax.ground.files import whole_file

RESULTS = Path(__file__).parent / "results"
BUSY = 0.5  # a load above which times are not worth much
LOAD = os.getloadavg()  # before a benchmark adds its own
_PACKAGES = ("extremal-jax", "jax", "flax", "numpy", "torch", "torchray")


class Table(NamedTuple):
    """A table and what is to be known to read it.

    Attributes:
      title: its heading.
      columns: the names of its columns.
      rows: of as many cells, already text.
      note: a paragraph below the heading.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""

    def markdown(self) -> str:
        """The table in markdown; all columns but the first are aligned to the right."""
        widths = [max(map(len, column)) for column in zip(self.columns, *self.rows, strict=True)]

        def line(cells: Sequence[str]) -> str:
            first, *others = (
                cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
            )
            return "| " + " | ".join((first, *others)) + " |"

        ruler = "|" + "|".join("-" * (width + 2) if i == 0 else "-" * (width + 1) + ":" for i, width in enumerate(widths)) + "|"
        paragraphs = [f"## {self.title}", self.note, "\n".join((line(self.columns), ruler, *map(line, self.rows)))]
        return "\n\n".join(filter(None, paragraphs)) + "\n"


def report(name: str, title: str, tables: Sequence[Table]) -> Path:
    """Print tables below a description of the machine, and write them to `results/NAME.md`, whole or not at all."""
    text = "\n".join((f"# {title}\n", description(), *(table.markdown() for table in tables)))
    path = RESULTS / f"{name}.md"
    with whole_file(path) as temporary:
        temporary.write_text(text)
    print(text)
    print(f"written to {path}")
    return path


def description() -> str:
    """Date, machine and versions, as a markdown list."""
    device = jax.devices()[0]
    accelerator = "" if device.platform == "cpu" else f", {device.device_kind}"
    versions = ", ".join(f"{name} {version}" for name in _PACKAGES if (version := _version(name)))
    lines = [
        f"- date: {datetime.datetime.now(datetime.UTC):%Y-%m-%d}",
        f"- machine: {_processor()}, {os.cpu_count()} cores{accelerator}",
        f"- load before the run (1, 5, 15 minutes): {', '.join(f'{load:.1f}' for load in LOAD)}",
        f"- versions: Python {platform.python_version()}, {versions}",
    ]
    return "\n".join(lines) + "\n"


def warn_if_busy() -> None:
    """Warn if other programs are running: they inflate the times, most of all PyTorch's, whose threads wait by spinning."""
    if LOAD[0] > BUSY:
        Console(stderr=True).print(
            f"[yellow]the machine is busy (load {LOAD[0]:.1f}): other programs inflate these times; run this when it is idle"
        )


def resident(field: str) -> int:
    """Bytes of this process in memory: "VmRSS" now, "VmHWM" at most so far.

    On Linux both are read from /proc, since the kernel's other record, `ru_maxrss`, begins with what the parent process had; elsewhere
    `ru_maxrss` has to do.
    """
    status = Path("/proc/self/status")
    if status.exists():
        [line] = [line for line in status.read_text().splitlines() if line.startswith(field)]
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{names[0] if names else platform.processor() or 'unknown processor'} ({platform.machine()})"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def alternate(contenders: Mapping[str, Callable[[], float]], rounds: int, warm_up: bool = True) -> dict[str, np.ndarray]:
    """Measure contenders in turns, A B C A B C ..., so that what disturbs the machine disturbs them alike.

    Args:
      contenders: functions that run something once and return its seconds.
      rounds: how often each is measured.
      warm_up: whether to run each once beforehand, unmeasured: compilation and first touches of memory.

    Returns:
      (rounds,) seconds of each.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    with progress() as bar:
        task = bar.add_task("measuring", total=(rounds + warm_up) * len(contenders))
        for turn in range(rounds + warm_up):
            for name, run in contenders.items():
                bar.update(task, description=name)
                taken = run()
                if turn >= warm_up:
                    seconds[name].append(taken)
                bar.advance(task)
    return {name: np.array(values) for name, values in seconds.items()}


def progress() -> Progress:
    """A bar on standard error, also for measurements that take minutes each."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), speed_estimate_period=math.inf)


def milliseconds(seconds: np.ndarray) -> str:
    """The median, and in brackets the range over the rounds."""
    return spread(1e3 * seconds, ".1f" if np.median(seconds) > 2e-3 else ".3f")


def ratio(ours: np.ndarray, theirs: np.ndarray) -> str:
    """theirs ÷ ours: of the medians, and in brackets the range of the single rounds' ratios. A difference of times that noise makes
    negative in some round has no ratio."""
    if min(np.min(ours), np.min(theirs)) <= 0:
        return "lost in noise"
    low, high = (f"{value:.2f}" for value in _range(theirs / ours))
    return f"{np.median(theirs) / np.median(ours):.2f} ({low}–{high})"


def spread(values: Sequence[float] | np.ndarray, form: str) -> str:
    """The median of values, and in brackets their range."""
    low, high = _range(values)
    median = format(statistics.median(values), form)
    return median if low == high else f"{median} ({low:{form}}–{high:{form}})"


def _range(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    return float(np.min(values)), float(np.max(values))
