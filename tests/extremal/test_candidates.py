"""Several candidates for each mask."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import extremal_jax as ej
import small
from extremal_jax.extremal.candidates import stages
from small import AREAS, CONFIG, IMAGES, TARGETS

MANY = dataclasses.replace(CONFIG, candidates=2)


def run(*arguments: Any, config: ej.Config = MANY, **options: Any) -> Any:
    return small.explain(*arguments, config=config, **options)


def close(a: Any, b: Any) -> None:
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-4, rtol=1e-4), a, b)


@pytest.mark.parametrize(("count", "num_steps"), [(1, 1), (2, 2), (3, 4), (4, 50), (7, 100), (8, 8)])
def test_stages(count: int, num_steps: int) -> None:
    """Each has a step at least; the last has one candidate, and ends the run."""
    found = stages(count, num_steps)
    assert found[0][0] == count
    assert found[-1] == (1, num_steps)
    ends = [0, *(end for _, end in found)]
    assert np.all(np.diff(ends) >= 1)
    halved = [candidates for candidates, _ in found]
    assert halved[1:] == [-(-candidates // 2) for candidates in halved[:-1]]


def test_four_candidates_cost_less_than_three_runs() -> None:
    config = ej.Config.thorough()
    ends = [0, *(end for _, end in stages(config.candidates, config.num_steps))]
    passes = sum(count * (end - begin) for (count, end), begin in zip(stages(config.candidates, config.num_steps), ends, strict=False))
    assert (config.candidates, passes) == (4, 2.75 * config.num_steps)
    assert passes <= 200


def test_a_candidate_that_wins_at_once() -> None:
    """Where nothing moves, the start decides: the candidate that stays is never worse than the first, and here better for one area."""
    images = np.ones((1, 20, 24, 3), np.float32)
    config = dataclasses.replace(MANY, perturbation="fade", learning_rate=0.0, candidates=4, spread=1.0, jitter=False)

    def corner(x: Any) -> Any:
        return x[:, :10, :12].sum(axis=(1, 2, 3))[:, None]

    one = run(images, 0, AREAS, model=corner, config=dataclasses.replace(config, candidates=1))
    best = run(images, 0, AREAS, model=corner, config=config)
    assert np.all(best.rewards >= one.rewards)
    assert np.any(best.rewards > 1.1 * one.rewards)
    np.testing.assert_allclose(best.history.rewards[:, -1], best.rewards, rtol=0.2)  # its path, not that of another
    assert best.masks.shape == one.masks.shape


def test_the_first_start_is_the_one_given() -> None:
    """Without a spread, all candidates are the same, so the run is that of one."""
    one, none = dataclasses.replace(MANY, candidates=1), dataclasses.replace(MANY, spread=0.0)
    close(run(config=none).params, run(config=one).params)
    start = np.full(run().params.shape, 0.6, np.float32)
    close(run(config=none, initial_params=start).params, run(config=one, initial_params=start).params)


def test_laws() -> None:
    base = run()
    close(run(chunk_size=5), base)
    close(jax.jit(lambda images: run(images))(jnp.asarray(IMAGES)), base)
    for index in range(2):
        close(run(IMAGES[index], TARGETS[index], AREAS), base[index])
    jax.tree.map(np.testing.assert_array_equal, run(), base)


def test_the_key_draws_the_starts() -> None:
    differ = [not np.allclose(run(key=jax.random.key(seed)).params, run().params, atol=1e-3) for seed in (1, 2, 3)]
    assert any(differ)
    assert not np.allclose(run(config=dataclasses.replace(MANY, spread=0.1)).params, run().params, atol=1e-3)


def test_progress_counts_the_whole_run() -> None:
    seen: list[ej.Progress] = []
    run(progress=seen.append)
    assert [(now.step, now.num_steps) for now in seen] == [(2, 4), (4, 4)]


def test_smallest_areas_have_candidates_in_their_sweep() -> None:
    found = small.smallest(config=MANY)
    assert np.all(found.status.ok)
    assert not np.array_equal(found.params, small.smallest(config=dataclasses.replace(MANY, candidates=1)).params)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(candidates=0), "candidates must be a whole number, at least 1, got 0"),
        (dict(candidates=5, num_steps=4), "candidates must leave a step for each halving, and 5 are too many for num_steps=4"),
        (dict(spread=1.5), "spread must be a share of the full mask, from 0 to 1, got 1.5"),
    ],
)
def test_bad_settings(settings: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ej.Config(**settings)
