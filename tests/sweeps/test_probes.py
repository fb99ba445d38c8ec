"""Models and records of one's own that have one name: a store is resumed only with what computes the same."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

import small
from extremal_jax.operators.games import Game
from sweep_pictures import run


def model(factor: float) -> Any:
    network = small.model()
    return lambda images: factor * network(images)


def reward(factor: float) -> Any:
    return dict(reward=lambda outputs, targets: factor * outputs[:, 1])


def perturbation(factor: float) -> Any:
    return dict(perturbation=small.Grey(factor))


def game(factor: float) -> Any:
    return dict(game=Game("own", "of a test", ((False, int(factor)),)))


@pytest.mark.parametrize("own", [model, reward, perturbation, game])
def test_functions_of_one_name_are_told_apart(tmp_path: Path, own: Any) -> None:
    """The same ones, written anew, go on."""

    def go_on(factor: float) -> Any:
        given = dict(model=own(factor)) if own is model else dict(config=dataclasses.replace(small.CONFIG, **own(factor)))
        return run(tmp_path / "store", targets=1, limit=1, **given)

    go_on(1.0)
    assert go_on(1.0).counts().explained == 1
    with pytest.raises(ValueError, match=rf"holds another sweep: computed, {own.__name__} was"):
        go_on(-1.0)
