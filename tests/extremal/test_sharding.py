"""Images on several devices: the same result, and no device waits for another."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import small
from extremal_jax.extremal import run as runs
from extremal_jax.optimise import driver

COUNT = len(jax.devices())
IMAGES, TARGETS = small.images(COUNT), np.arange(COUNT, dtype=np.int32) % small.CLASSES


def mesh(kind: Any = AxisType.Auto) -> Any:
    return jax.make_mesh((COUNT,), ("images",), axis_types=(kind,))


def laid_out(kind: Any = AxisType.Auto) -> Any:
    return jax.device_put(IMAGES, NamedSharding(mesh(kind), P("images")))


@pytest.fixture(scope="module")
def unsharded() -> Any:
    return small.explain(IMAGES, TARGETS)


def close(result: Any, expected: Any) -> None:
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-4, rtol=1e-4), result, expected)


def test_sharded_is_unsharded(unsharded: Any) -> None:
    assert COUNT > 1
    found = small.explain(laid_out(), TARGETS)
    close(found, unsharded)
    assert layout(found).spec[0] == "images"
    targets = jax.device_put(TARGETS, NamedSharding(mesh(), P("images")))
    close(small.explain(laid_out(), targets), unsharded)


def test_in_chunks(unsharded: Any) -> None:
    close(small.explain(laid_out(), TARGETS, chunk_size=COUNT), unsharded)


def test_under_a_mesh_of_the_context(unsharded: Any) -> None:
    with jax.set_mesh(mesh()):
        close(small.explain(laid_out(), TARGETS), unsharded)


@pytest.mark.parametrize("in_context", [True, False])
def test_explicit_axes(in_context: bool, unsharded: Any) -> None:
    """The result lies on the mesh of the images, whose type it is part of."""
    images = laid_out(AxisType.Explicit)
    if in_context:
        with jax.set_mesh(mesh(AxisType.Explicit)):
            found = small.explain(images, TARGETS)
    else:
        found = small.explain(images, TARGETS)
    close(found, unsharded)
    assert layout(found).mesh.axis_types == (AxisType.Explicit,)
    assert layout(found).spec[0] == "images"


def layout(result: Any) -> Any:
    return result.masks.sharding


def test_a_model_that_is_sharded_over_another_axis() -> None:
    devices = np.array(jax.devices()).reshape(-1, 2)
    both = jax.sharding.Mesh(devices, ("images", "model"), axis_types=(AxisType.Auto,) * 2)
    weights = {
        name: jax.device_put(value, NamedSharding(both, P(*[None] * (value.ndim - 1), None if value.shape[-1] % 2 else "model")))
        for name, value in small.weights().items()
    }
    model = jax.tree_util.Partial(small.classify, weights)
    images = jax.device_put(IMAGES, NamedSharding(both, P("images")))
    close(small.explain(images, TARGETS, model=model).masks, small.explain(IMAGES, TARGETS).masks)


@pytest.fixture
def step(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """The compiled programs of the steps of the runs in a test."""
    found: list[str] = []
    drive = driver.drive

    def noted(advance: Any, state: Any, schedule: Any, progress: Any = None) -> Any:
        part = {name: values[:2] for name, values in schedule.items()}
        found.append(advance.func.lower(*advance.args, state, part).compile().as_text())
        return drive(advance, state, schedule, progress)

    monkeypatch.setattr(runs, "drive", noted)
    yield found
    assert found


def test_the_step_holds_no_collective(step: list[str]) -> None:
    """But what the caller's own sharded model needs."""
    small.explain(laid_out(), TARGETS)
    assert collectives(step[-1]) == set()

    def summed(images: Any) -> Any:
        return small.MODEL(images) + jnp.zeros(()) * images.mean()  # over all images

    small.explain(laid_out(), TARGETS, model=summed)
    assert collectives(step[-1]) == {"all-reduce"}


def collectives(program: str) -> set[str]:
    return set(re.findall(r"\b(all-reduce|all-gather|collective-permute|all-to-all|reduce-scatter)\(", program))


@pytest.mark.slow
def test_eight_devices() -> None:
    flags = "--xla_force_host_platform_device_count=8"
    command = [sys.executable, "-m", "pytest", "-n0", "-q", "-m", "not slow", "-p", "no:cacheprovider", __file__]
    found = subprocess.run(command, env=os.environ | {"XLA_FLAGS": flags}, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout
