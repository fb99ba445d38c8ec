"""The bars of commands and of runs show the time left, however slow they are."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator

import pytest
import rich.progress

import extremal_jax as ej
from extremal_jax.cli.console import output
from extremal_jax.cli.console.progress import bar
from extremal_jax.ground.progress import watching


@contextlib.contextmanager
def run() -> Iterator[Callable[[int, int], None]]:
    """The bar of a run, as a function of the numbers of finished and of all steps."""
    with watching(True) as watcher:
        assert watcher is not None
        yield lambda done, total: watcher(ej.Progress(done, total, 0.0))


@pytest.mark.parametrize("shown", [functools.partial(bar, "explaining"), run], ids=["command", "run"])
def test_a_minute_between_two_updates(shown: Callable, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Longer than the window in which rich measures the speed by default."""
    now = [0.0]
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    monkeypatch.setattr(rich.progress, "Progress", functools.partial(rich.progress.Progress, get_time=lambda: now[0]))
    with shown() as progress:
        for done in (0, 4, 8):
            progress(done, 20)
            now[0] += 60
    assert "8/20 0:03:00" in " ".join(capsys.readouterr().err.replace("reward 0.00", "").split())
