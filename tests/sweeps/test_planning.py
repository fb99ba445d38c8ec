"""Plans: passes as they are made, files as a sweep writes them, and arithmetic that every option enters."""

from __future__ import annotations

import dataclasses
import os
import types
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import extremal_jax as ej
import small
from extremal_jax.sweeps import planning
from extremal_jax.sweeps.planning import passes, plan
from sweep_pictures import named, run


def prepare(picture: np.ndarray) -> np.ndarray:
    """A small part of the photograph."""
    return picture[:20, :24].astype(np.float32) / 128 - 1


def planned(**options: Any) -> ej.sweeps.Plan:
    given: dict[str, Any] = dict(areas=small.AREAS, config=small.CONFIG, batch_size=4, preprocess=prepare) | options
    return plan(named(), **given)


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is measured: a run takes a second, a picture takes 0.1 s to write in 3 files, and a pass 10 or 20 operations."""
    result = types.SimpleNamespace(config=small.CONFIG)
    monkeypatch.setattr(planning, "_computed", lambda job, images: (1.0, result))
    monkeypatch.setattr(planning, "_stored", lambda job, result: (0.1, 100.0, 3.0, 200.0))
    monkeypatch.setattr(planning, "_flops", lambda job: np.array([20.0, 10.0]))
    monkeypatch.setattr(planning, "_seconds", lambda function: 0.008)


def test_passes_are_those_that_are_made() -> None:
    seen: list[int] = []

    def model(images: Any) -> Any:
        jax.debug.callback(lambda images: seen.append(len(images)), images)
        return images.sum(axis=(1, 2))

    config = ej.Config(num_steps=2, pitch=4, sigma=4.0, game="dual", perturbation="fade")
    result = ej.extremal_perturbation(model, small.IMAGES[:1], np.zeros(1, np.int32), small.AREAS, config=config)
    jax.block_until_ready(result.masks)
    jax.effects_barrier()
    assert sum(seen) == 2 * sum(passes(config, (20, 24), 2))
    assert passes(config, (20, 24), 2) == (2 * 2, 2 * (3 + 2 + 2))
    assert passes(config, (20, 24), 1) == (2 * 2, 2 * 3)
    assert passes(ej.Config(num_steps=4, candidates=2), (20, 24), 3) == (2 * 2 + 2, 3 + 6 + 3)
    assert passes(small.CONFIG, (20, 24), 2) == (4, 3)
    assert passes(ej.Config.torchray(), (20, 24), 2) == (800, 3)


def test_a_store_has_the_files_that_were_planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "_STEPS", 4)
    found = planned(pictures=4)
    assert (found.num_steps, found.size, found.areas, found.pictures, found.batch_size) == (4, (20, 24), 2, 4, 4)
    assert min(found.step_seconds, found.read_seconds, found.write_seconds) > 0
    assert found.batch_seconds > 4 * found.step_seconds
    run(tmp_path / "store", limit=4)
    files = [path.stat().st_size for path in (tmp_path / "store").glob("*/c.*") if path.parent.name not in ("area", "picture")]
    assert found.store_files == len(files)
    assert found.store_bytes == pytest.approx(sum(files), rel=0.2)  # of other masks, which are packed
    assert found.disk_bytes >= 4096 * len(files)
    longer = planned(pictures=4, config=dataclasses.replace(small.CONFIG, num_steps=7))
    assert longer.store_bytes - found.store_bytes == 4 * 3 * 2 * 8  # two numbers for each picture, step and area


def test_batches_take_the_time_of_their_operations(known: None) -> None:
    found = planned(config=dataclasses.replace(small.CONFIG, num_steps=8), pictures=7200)
    assert found.passes == (8, 3)
    assert found.mask_flops == 8 * 20 + 3 * 10
    assert found.batch_seconds == pytest.approx(190 / 110)  # the run that was measured has four steps
    assert found.step_seconds == pytest.approx(20 / 110)
    [here] = found.runs
    assert here.masks_per_second == pytest.approx(8 / found.batch_seconds)
    assert here.hours == pytest.approx(found.batch_seconds / 2)
    assert here.bound == "the model's arithmetic"
    assert (found.store_bytes, found.store_files, found.disk_bytes) == (720_000, 21_600, 1_440_000)


@pytest.mark.parametrize(
    ("options", "masks", "bound"),
    [
        (dict(devices=3), 24, "writing"),
        (dict(speedup=2.0), 16, "the model's arithmetic"),
        (dict(speedup=2.0, devices=3), 48, "writing"),
        (dict(rate=5.0, devices=2), 10, "the model's arithmetic"),
        (dict(accelerator="v5e"), 0.3 * 197e12 / 110, "writing"),
        (dict(accelerator="v5e", devices=4, utilisation=0.5), 4 * 0.5 * 197e12 / 110, "writing"),
        (dict(accelerator="h100"), 0.3 * 494e12 / 110, "writing"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, str | int | tuple) else "",
)
def test_elsewhere(known: None, options: dict[str, Any], masks: float, bound: str) -> None:
    here, there = planned(pictures=36_000, **options).runs
    assert there.masks_per_second == pytest.approx(masks)
    assert there.hours == pytest.approx(36_000 * max(2 / masks, 0.1) / 3600)
    assert here.masks_per_second == pytest.approx(8)
    assert there.bound == bound
    assert ("estimate" in there.where) == ("accelerator" in options)


def test_reading_can_be_the_bound(known: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planning, "_seconds", lambda function: 8.0)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    here, there = planned(speedup=100.0, pictures=3600).runs
    assert here.bound == there.bound == "reading"
    assert here.hours == pytest.approx(4)  # two cores read
    assert there.hours == pytest.approx(1)  # eight threads do


def test_a_plan_can_be_read(known: None) -> None:
    text = str(planned(accelerator="v5e", pictures=1000))
    assert text.startswith("1,000 pictures x 2 areas, Named at 20x24, 4 steps\n")
    assert "  passes per mask: 4 forward and backward, 3 forward; 1.1e-07 GFLOP\n" in text
    assert "  estimate for 1 x v5e at 30% of 197 TFLOP/s: " in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(pictures=0), "pictures must be a whole number, at least 1, got 0"),
        (dict(devices=0), "devices must be a whole number, at least 1, got 0"),
        (dict(rate=0.0), "rate must be a positive number, got 0.0"),
        (dict(speedup=-1.0), "speedup must be a positive number, got -1.0"),
        (dict(accelerator="v5"), "accelerator must be one of .*; did you mean 'v5p'"),
        (dict(utilisation=1.5), "utilisation must be a share of the peak, from 0 to 1, got 1.5"),
        (dict(utilisation=0.0), "utilisation must be a positive number, got 0.0"),
        (dict(areas=[2.0]), "areas must be shares of the image"),
    ],
)
def test_bad_arguments(options: dict[str, Any], message: str, unchecked: None) -> None:
    with pytest.raises(ValueError, match=message):
        planned(**options)
