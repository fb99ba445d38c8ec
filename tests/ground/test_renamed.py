"""Old names of keyword arguments: they work and warn; signatures, copies and pickles know the new ones alone."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import runpy
import sys
from typing import Any

import pytest

from extremal_jax.ground.renamed import renamed


@renamed(steps="num_steps", step="pitch")
def run(image: Any, *, num_steps: Any = 50, pitch: Any = 7) -> Any:
    """Run."""
    return image, num_steps, pitch


@renamed(step="pitch")
@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings."""

    pitch: int = 7
    sigma: float = 21.0

    def __post_init__(self) -> None:
        if self.pitch < 1:
            raise ValueError("pitch must be positive")


old_run: Any = run  # called by names that type checkers do not know
OldSettings: Any = Settings


def test_functions() -> None:
    assert run(1, num_steps=3) == (1, 3, 7)
    with pytest.warns(DeprecationWarning, match="run: `steps` is now called `num_steps`; the old name works") as caught:
        assert old_run(1, steps=3, pitch=2) == (1, 3, 2)
    assert len(caught) == 1
    assert (run.__doc__, run.__name__, list(inspect.signature(run).parameters)) == ("Run.", "run", ["image", "num_steps", "pitch"])


def test_dataclasses() -> None:
    with pytest.warns(DeprecationWarning, match="Settings: `step` is now called `pitch`"):
        settings = OldSettings(step=3)
    assert settings == Settings(pitch=3)
    assert isinstance(settings, Settings)
    assert list(inspect.signature(Settings).parameters) == ["pitch", "sigma"]
    assert dataclasses.replace(settings, sigma=2.0) == Settings(pitch=3, sigma=2.0)
    assert pickle.loads(pickle.dumps(settings)) == copy.deepcopy(settings) == settings
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.pitch = 4  # type: ignore[misc]
    with pytest.warns(DeprecationWarning, match="`step`"), pytest.raises(ValueError, match="pitch must be positive"):
        OldSettings(step=0)


def test_the_line_of_the_caller_is_named() -> None:
    """In the module as it is, without the wrappers by which the tests check types."""
    plain = runpy.run_path(inspect.getfile(sys.modules[renamed.__module__]))["renamed"]
    for target in (lambda num_steps: num_steps, dataclasses.make_dataclass("Numbers", ["num_steps"])):
        with pytest.warns(DeprecationWarning, match="`steps`") as caught:
            plain(steps="num_steps")(target)(steps=3)
        assert caught[0].filename == __file__


def test_both_names_are_an_error() -> None:
    with pytest.raises(TypeError, match="run: `steps` is now called `num_steps`; pass only `num_steps`"):
        old_run(1, steps=3, num_steps=3)
    with pytest.raises(TypeError, match="pass only `pitch`"):
        dataclasses.replace(OldSettings(), step=3)


def test_unknown_names_stay_errors() -> None:
    with pytest.raises(TypeError, match="stride"):
        old_run(1, stride=3)
    with pytest.raises(TypeError, match="stride"):
        OldSettings(stride=3)
