from __future__ import annotations

import json
from typing import Any

import pytest

import extremal_jax as ej
from command_line import fails, invoke, succeeds
from extremal_jax.sweeps.planning import Estimate

RUNS = tuple(Estimate(where, speed, 10 / speed, "reading") for where, speed in (("this machine (cpu)", 2.0), ("1 x v5e", 400.0)))
FOUND = ej.sweeps.Plan("scenes", (32, 32), 100, 1, 2, 4, (2, 3), 5e9, 0.5, 2.5, 0.004, 0.02, 10**9, 600, 10**10, RUNS)


def test_a_plan_is_printed(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ej.sweeps, "plan", lambda model, **options: FOUND)
    lines = succeeds("plan").splitlines()
    assert lines[0] == "100 pictures x 1 areas, scenes at 32x32, 2 steps"
    assert "  measured: 0.5 s a step, 2.5 s a batch of 4 pictures" in lines
    assert "  store: 1 GB in 600 files" in lines
    assert lines[-1] == "  1 x v5e: 400 masks/s, 0.025 hours, bound by reading"
    values = json.loads(succeeds("plan", "--json"))
    assert (values["pictures"], values["passes"], values["runs"][1]["masks_per_second"]) == (100, [2, 3], 400)


def test_options_reach_the_plan(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(ej.sweeps, "plan", lambda model, **options: asked.update(options, model=model) or FOUND)
    options = "--pictures 7 --areas 0.1,0.3 --preset thorough --steps 20 --batch-size 3 --chunk-size 5 --devices 8"
    options += " --rate 2 --accelerator v5e --utilisation 0.4"
    assert succeeds("plan", *options.split()) == f"{FOUND}\n"
    assert asked == dict(
        model=tiny,
        pictures=7,
        areas=(0.1, 0.3),
        config=ej.Config.thorough(num_steps=20),
        batch_size=3,
        chunk_size=5,
        devices=8,
        rate=2.0,
        speedup=None,
        accelerator="v5e",
        utilisation=0.4,
    )


def test_utilisation_is_of_an_accelerator(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ej.sweeps, "plan", lambda *_, **__: FOUND)
    fails(invoke("plan", "--utilisation", "0.4"), 2, "Invalid value for --utilisation: applies only with --accelerator")
    succeeds("plan", "--accelerator", "v5e")


def test_unknown_accelerators_are_refused() -> None:
    fails(invoke("plan", "--accelerator", "v5"), 2, "--accelerator", "did you mean 'v5p'")
