"""Progress of a run: silent by default, and an exception of a watcher breaks nothing."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import extremal_jax as ej
from extremal_jax.ground.progress import watching

IMAGE = np.linspace(0, 1, 32 * 32 * 3, dtype=np.float32).reshape(32, 32, 3)
CONFIG = ej.Config(num_steps=30, perturbation="fade", exchange=False)  # the history is of the masks that were selected


def model(images: Any) -> Any:
    return jnp.stack([images[:, :16].mean((1, 2, 3)), images[:, 16:].mean((1, 2, 3))], axis=-1)


def explain(progress: Any = None) -> Any:
    return ej.extremal_perturbation(model, IMAGE, 1, (0.1, 0.3), config=CONFIG, progress=progress)


@pytest.fixture(scope="module")
def unwatched() -> Any:
    return explain()


@pytest.mark.parametrize("progress", [None, False])
def test_silent_unless_asked(capfd: pytest.CaptureFixture[str], progress: Any) -> None:
    explain(progress)
    assert capfd.readouterr() == ("", "")


def test_bar_on_standard_error(capsys: pytest.CaptureFixture[str], unwatched: Any) -> None:
    result = explain(True)
    out, err = capsys.readouterr()
    assert out == ""
    assert "optimising" in err
    assert "30/30" in err
    assert f"reward {result.history.rewards[-1].mean():.2f}" in err
    np.testing.assert_array_equal(result.masks, unwatched.masks)


def test_a_function_is_called_during_the_run() -> None:
    seen: list[Any] = []
    result = explain(seen.append)
    steps = [now.step for now in seen]
    assert steps == sorted(set(steps))
    assert steps[0] < steps[-1] == 30
    assert {now.num_steps for now in seen} == {30}
    rewards = result.history.rewards.mean(axis=-1)
    np.testing.assert_allclose([now.reward for now in seen], [rewards[step - 1] for step in steps], rtol=1e-6)  # float32 means


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_watchers_exception_passes_and_breaks_nothing(error: Any, unwatched: Any) -> None:
    seen = []

    def watcher(now: Any) -> None:
        seen.append(now.step)
        if len(seen) == 2:
            raise error("enough")

    with pytest.raises(error, match="enough"):
        explain(watcher)
    assert len(seen) == 2
    again = explain()
    assert again.status.ok
    np.testing.assert_array_equal(again.masks, unwatched.masks)


def test_bar_shows_the_last_step_of_an_interrupted_run(capsys: pytest.CaptureFixture[str]) -> None:
    def watch() -> None:
        with watching(True) as watcher:
            watcher(ej.Progress(3, 7, -1.25))  # type: ignore[misc]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        watch()
    err = capsys.readouterr().err
    assert "3/7" in err
    assert "reward -1.25" in err
