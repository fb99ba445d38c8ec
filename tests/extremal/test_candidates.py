"""Several candidates for each mask, and the masks of other areas as candidates."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
import pytest

import extremal_jax as ej
import small
from extremal_jax.extremal.candidates import stages
from small import AREAS, CONFIG, IMAGES, TARGETS

MANY = dataclasses.replace(CONFIG, candidates=2)
EXCHANGE = dataclasses.replace(CONFIG, exchange=True)
BOTH = dataclasses.replace(CONFIG, candidates=2, exchange=True)


def run(*arguments: Any, config: ej.Config = MANY, **options: Any) -> Any:
    return small.explain(*arguments, config=config, **options)


def close(a: Any, b: Any) -> None:
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-4, rtol=1e-4), a, b)


@pytest.mark.parametrize(
    ("count", "num_steps", "exchange"),
    [(1, 1, True), (1, 3, True), (2, 2, True), (3, 4, False), (4, 50, True), (7, 100, False), (8, 8, True)],
)
def test_stages(count: int, num_steps: int, exchange: bool) -> None:
    """Each has a step at least; the last has one candidate, and ends the run."""
    found = stages(count, num_steps, exchange)
    assert len(found) > 1 or num_steps == 1
    assert found[0][0] == count
    assert found[-1] == (1, num_steps)
    ends = [0, *(end for _, end in found)]
    assert np.all(np.diff(ends) >= 1)
    halved = [candidates for candidates, _ in found]
    assert halved[1:] == [-(-candidates // 2) for candidates in halved[:-1]]


def test_four_candidates_cost_less_than_three_runs() -> None:
    config = ej.Config.thorough()
    found = stages(config.candidates, config.num_steps, config.exchange)
    ends = [0, *(end for _, end in found)]
    passes = sum(count * (end - begin) for (count, end), begin in zip(found, ends, strict=False))
    assert (config.candidates, passes) == (4, 2.75 * config.num_steps)
    assert passes <= 200


def test_a_candidate_that_wins_at_once() -> None:
    """Where nothing moves, the start decides: the candidate that stays is never worse than the first, and here better for one area."""
    images = np.ones((1, 20, 24, 3), np.float32)
    config = dataclasses.replace(MANY, perturbation="fade", learning_rate=0.0, candidates=2, spread=1.0, jitter=False, smoothing=1.7)

    def corner(x: Any) -> Any:
        return x[:, :8, :9].sum(axis=(1, 2, 3))[:, None]

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
    base = run(config=BOTH)
    close(run(config=BOTH, chunk_size=3), base)
    for index in range(2):
        close(run(IMAGES[index], TARGETS[index], AREAS, config=BOTH), base[index])
    jax.tree.map(np.testing.assert_array_equal, run(config=BOTH), base)


@pytest.mark.slow
def test_sharded_images_inside_jit() -> None:
    sharding = jax.sharding.NamedSharding(jax.sharding.Mesh(np.array(jax.devices()[:2]), ("images",)), jax.sharding.PartitionSpec("images"))
    traced = jax.jit(lambda images: run(images, config=BOTH))
    close(traced(jax.device_put(IMAGES, sharding)), run(config=BOTH))


def test_second_calls_compile_nothing(compilations: list[str]) -> None:
    run(config=BOTH)
    del compilations[:]
    run(2 * IMAGES, np.array(TARGETS[::-1]), np.array(AREAS) / 2, config=BOTH, key=jax.random.key(1))
    assert not compilations


def half(x: Any) -> Any:
    """The light of the left half of an image."""
    return x[:, :, :12].sum(axis=(1, 2, 3))[:, None]


def test_an_area_takes_the_better_masks_of_another() -> None:
    """The second area starts where it sees nothing of the target and cannot move; the first starts on the target."""
    images = np.ones((2, 20, 24, 3), np.float32)
    config = dataclasses.replace(EXCHANGE, perturbation="fade", learning_rate=0.0, jitter=False)
    start = np.zeros((2, 2, *run().params.shape[2:]), np.float32)
    start[:, 0, :, :2], start[:, 1, :, -2:] = 1, 1
    alone = run(images, 0, AREAS, model=half, initial_params=start, config=dataclasses.replace(config, exchange=False))
    together = run(images, 0, AREAS, model=half, initial_params=start, config=config)
    assert np.all(alone.rewards[:, 0] > 10 * alone.rewards[:, 1])
    assert np.all(together.rewards[:, 1] > 2 * together.rewards[:, 0])
    np.testing.assert_array_equal(together.params[:, 1], start[:, 0])
    np.testing.assert_allclose(together.areas, alone.areas, atol=1e-6)  # of its own area still


def test_an_image_does_not_take_the_masks_of_another() -> None:
    images = np.ones((2, 20, 24, 3), np.float32)
    config = dataclasses.replace(EXCHANGE, perturbation="fade", learning_rate=0.0, jitter=False)
    start = np.zeros((2, 2, *run().params.shape[2:]), np.float32)
    start[0, :, :, :2], start[1, :, :, -2:] = 1, 1
    found = run(images, 0, AREAS, model=half, initial_params=start, config=config)
    np.testing.assert_array_equal(found.params, start)


def test_one_area_has_nothing_to_exchange() -> None:
    jax.tree.map(
        np.testing.assert_array_equal,
        run(areas=AREAS[:1], config=EXCHANGE).masks,
        run(areas=AREAS[:1], config=CONFIG).masks,
    )


@pytest.mark.parametrize(
    "config", [ej.Config(exact_area=False), ej.Config.torchray(), ej.Config.paper()], ids=["inexact", "torchray", "paper"]
)
def test_areas_that_are_not_exact_exchange_nothing(config: ej.Config) -> None:
    assert not config.resolve((224, 224)).exchange
    assert not ej.Config().resolve((14, 14), inner=True).exchange
    assert ej.Config().resolve((224, 224)).exchange


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


def test_rewards_of_the_last_step_are_those_of_the_masks() -> None:
    """Where they are not evaluated anew, areas exchange no masks after the last step."""
    settings: Any = dict(final_update=False, jitter=False, num_steps=6)
    recorded, evaluated = (small.explain(config=dataclasses.replace(EXCHANGE, final_evaluation=kind, **settings)) for kind in (False, True))
    again = small.explain(
        config=dataclasses.replace(
            CONFIG, num_steps=1, anneal=0.0, final_update=False, jitter=False, ramp=EXCHANGE.schedules()["ramp"][-1:]
        ),
        initial_params=recorded.params,
    )
    np.testing.assert_allclose(recorded.rewards, again.rewards, rtol=1e-4)
    assert (np.asarray(evaluated.rewards) >= np.asarray(recorded.rewards) - 1e-4).all()
