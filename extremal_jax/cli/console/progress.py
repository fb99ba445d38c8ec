"""A bar of progress on standard error, where that is a terminal and --quiet is not given."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator

from extremal_jax.cli.console import output


@contextlib.contextmanager
def bar(text: str) -> Iterator[Callable[[int, int], None] | None]:
    """Yield a function of the numbers of finished and of all things, which shows a bar with the time left; None where nobody sees it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    if not output.shows_progress():
        yield None
        return
    columns = TextColumn(text), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), speed_estimate_period=math.inf) as shown:  # batches may be minutes apart
        task = shown.add_task(text, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)
