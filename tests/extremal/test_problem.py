"""The objective, evaluated once: its equation, and the settings that change it."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import small
from extremal_jax import Config
from extremal_jax.extremal.images import check_masking
from extremal_jax.extremal.run import check_call
from small import AREAS, CONFIG, IMAGES

AREAS_OF_ELEMENTS = np.array(AREAS * 2, np.float32)
evaluated = jax.jit(lambda problem, params, now: problem(params, None, now, jnp.zeros(len(params))))


def problem_of(config: Config, at: str | None = None) -> Any:
    task = check_call(small.MODEL, IMAGES, small.TARGETS, len(AREAS), config, None, at)
    return check_masking(task, config, at, None).pose(np.array(AREAS, np.float32))


def objective(config: Any = CONFIG, **now: Any) -> Any:
    """The values and the record of four masks: the upper left corner, growing from mask to mask."""
    problem = problem_of(config)
    height, width = problem.plan.masks.lattice
    rows, columns = jnp.arange(height) / height, jnp.arange(width) / width
    params = jnp.stack([jnp.where((rows < s)[:, None] & (columns < s)[None], 0.9, 0.1) for s in (0.3, 0.5, 0.7, 0.8)])
    now = dict(area_weight=2.0, ramp=0.3, shrinkage=0.9) | now
    return evaluated(problem, params, jax.tree.map(jnp.asarray, now))


@pytest.mark.parametrize("relative", [True, False])
def test_the_objective_is_the_reward_minus_the_weighted_area_loss(relative: bool) -> None:
    values, record = objective(dataclasses.replace(CONFIG, relative_area_loss=relative))
    losses = record.area_losses / AREAS_OF_ELEMENTS if relative else record.area_losses
    np.testing.assert_allclose(values, record.rewards - 2.0 * losses, rtol=1e-5)
    assert np.all(record.area_losses > 1e-3)


STEPS: list[dict[str, Any]] = [
    dict(area_weight=3.0),
    dict(ramp=0.6),
    dict(shrinkage=0.5),
    dict(flipped=True),
    dict(shift=np.array([2, 1])),
    dict(strength=0.5),
    dict(noise=jax.random.key(0), noise_scale=0.5),
]


@pytest.mark.parametrize("now", STEPS, ids=", ".join)
def test_the_numbers_of_a_step_matter(now: Any) -> None:
    assert not np.allclose(objective(**now)[0], objective()[0], rtol=1e-4)


@pytest.mark.parametrize(
    "changes",
    [
        dict(game="delete"),
        dict(game="dual"),
        dict(reward="log_probability"),
        dict(reward="contrastive"),
        dict(reward=lambda outputs, targets: outputs[:, 0]),
        dict(pitch=2),
        dict(sigma=6.0),
        dict(temperature=0.2),
        dict(num_levels=3),
        dict(smoothing=1.0),
        dict(feather=1.0),
        dict(area_over="canvas"),
        dict(exact_area=False),
    ],
    ids=", ".join,
)
def test_settings_change_the_objective(changes: Any) -> None:
    """`test_images` has the settings that change the path of a run."""
    assert not np.allclose(objective(dataclasses.replace(CONFIG, **changes))[0], objective()[0], rtol=1e-4)


def test_the_area_shown_shrinks() -> None:
    problem = problem_of(CONFIG)
    params = jax.random.uniform(jax.random.key(0), (4, *problem.plan.masks.lattice))
    shown = jax.jit(lambda shrinkage: problem.shown(params, None, shrinkage, jnp.float32(0.3)).masks.mean(axis=(1, 2)))
    np.testing.assert_allclose(shown(jnp.float32(0)), 1, atol=1e-5)
    np.testing.assert_allclose(shown(jnp.float32(0.5)), AREAS_OF_ELEMENTS**0.5, atol=1e-4)
    np.testing.assert_allclose(shown(jnp.float32(1)), AREAS_OF_ELEMENTS, atol=1e-4)


def test_at_a_layer_the_activation_is_masked() -> None:
    problem = problem_of(CONFIG, at="first")
    assert problem.plan.masks.shape == (10, 12)
    assert problem.levels.shape == (2, 2, 10, 12, 6)
    np.testing.assert_array_equal(problem.levels[:, 0], 0)  # an activation fades, unless the settings say otherwise


def test_optimizers_and_rewards_that_are_built_anew_compile_once(compilations: list[str]) -> None:
    def run(rate: float = 0.1, factor: float = 1.0) -> Any:
        def scaled(outputs: Any, targets: Any) -> Any:
            return factor * outputs[:, 1]

        config = dataclasses.replace(small.CONFIG, optimizer=optax.sgd(rate), reward=scaled)
        return np.asarray(small.explain(config=config).rewards)

    first = run()
    del compilations[:]
    np.testing.assert_array_equal(run(), first)
    assert not compilations
    assert not np.array_equal(run(rate=0.3), first)
    assert not np.array_equal(run(factor=-1.0), first)


def test_a_reward_that_reads_what_has_changed_is_another() -> None:
    wanted = [0.0]

    def near(outputs: Any, targets: Any) -> Any:
        return -jnp.square(outputs[:, 1] - wanted[0])

    config = dataclasses.replace(small.CONFIG, reward=near)
    before = np.asarray(small.explain(config=config).rewards)
    wanted[0] = 100.0
    assert np.asarray(small.explain(config=config).rewards).max() < before.min() - 1


def test_a_perturbation_that_has_changed_is_another() -> None:
    grey = small.Grey(0.0)
    config = dataclasses.replace(small.CONFIG, perturbation=grey)
    before = np.asarray(small.explain(config=config).rewards)
    grey.value = 5.0
    assert not np.allclose(small.explain(config=config).rewards, before)


def test_a_reward_that_changed_after_its_run_serves_no_other() -> None:
    """One that is equal to what it was is traced for another number of steps: from itself."""

    @dataclasses.dataclass
    class Scaled:
        factor: float

        def __call__(self, outputs: Any, targets: Any) -> Any:
            return self.factor * outputs[:, 1]

    first = Scaled(1.0)
    small.explain(config=dataclasses.replace(small.CONFIG, reward=first))
    first.factor = 7.0
    longer = dataclasses.replace(small.CONFIG, reward=Scaled(1.0), num_steps=5)
    plain = dataclasses.replace(small.CONFIG, reward=lambda outputs, targets: 1.0 * outputs[:, 1], num_steps=5)
    np.testing.assert_allclose(small.explain(config=longer).rewards, small.explain(config=plain).rewards, rtol=1e-5)
