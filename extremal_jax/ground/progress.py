"""Progress of a run: a bar for people, or calls of a function. Silent by default."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import NamedTuple


class Progress(NamedTuple):
    """The progress of a run.

    Attributes:
      step: the number of completed steps.
      num_steps: the number of all steps.
      reward: the mean reward of all masks at the last completed step.
    """

    step: int
    num_steps: int
    reward: float


Watcher = Callable[[Progress], None]
Counter = Callable[[int, int], None]  # of how many parts of a dataset are finished, and how many there are


def later(watcher: Watcher | None, done: int, total: int) -> Watcher | None:
    """A watcher of one run among several, which counts the steps of all of them."""
    return watcher and (lambda now: watcher(Progress(done + now.step, total, now.reward)))


@contextlib.contextmanager
def watching(progress: bool | Watcher | None) -> Iterator[Watcher | None]:
    """Yield the function that a run should call, or None. For True, a bar on standard error is shown while the block
    runs.

    Example:
      >>> with watching(print) as watcher:
      ...     watcher(Progress(10, 50, 1.5))
      Progress(step=10, num_steps=50, reward=1.5)
    """
    if progress is None or progress is False:
        yield None
    elif progress is not True:
        if not callable(progress):
            raise TypeError(f"progress must be True, False or a function that is called with a Progress, got {progress!r}")
        yield progress
    else:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress as Bar, TextColumn, TimeRemainingColumn

        reward = TextColumn("reward {task.fields[reward]}")
        columns = TextColumn("optimising"), BarColumn(), MofNCompleteColumn(), reward, TimeRemainingColumn()
        with Bar(*columns, console=Console(stderr=True), speed_estimate_period=math.inf) as bar:  # steps may be minutes apart
            task = bar.add_task("optimising", total=None, reward="...")
            yield lambda now: bar.update(task, completed=now.step, total=now.num_steps, reward=f"{now.reward:.2f}")
