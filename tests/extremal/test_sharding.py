"""Images on several devices: the same result, and no device waits for another."""

from __future__ import annotations

import dataclasses
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

import extremal_jax as ej
import small
from extremal_jax.extremal import candidates, channels as of_channels, images as of_images, run as runs
from extremal_jax.optimise import driver

COUNT = len(jax.devices())
pytestmark = pytest.mark.skipif(COUNT == 1 and jax.default_backend() != "cpu", reason="this machine has a single accelerator")
IMAGES, TARGETS = small.images(COUNT), np.arange(COUNT, dtype=np.int32) % small.CLASSES


EXCHANGE = dataclasses.replace(small.CONFIG, exchange=True)  # as by default
# Areas, and the size of chunks: an area of each image; the last chunk is not full; a chunk has several areas of each image.
CHUNKS = {"one area": (2, COUNT), "not full": (3, 2 * COUNT), "several areas": (4, 2 * COUNT)}
in_each_chunk = pytest.mark.parametrize(("num_areas", "chunk_size"), CHUNKS.values(), ids=CHUNKS)


def areas(count: int) -> Any:
    return np.linspace(0.1, 0.3, count)


def mesh(kind: Any = AxisType.Auto) -> Any:
    return jax.make_mesh((COUNT,), ("images",), axis_types=(kind,))


def laid_out(kind: Any = AxisType.Auto) -> Any:
    return jax.device_put(IMAGES, NamedSharding(mesh(kind), P("images")))


@pytest.fixture(scope="module")
def unsharded() -> Any:
    return small.explain(IMAGES, TARGETS)


def close(result: Any, expected: Any) -> None:
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, atol=1e-4, rtol=1e-4), result, expected)


@pytest.mark.essential
def test_sharded_is_unsharded(unsharded: Any) -> None:
    assert COUNT > 1
    found = small.explain(laid_out(), TARGETS)
    close(found, unsharded)
    assert layout(found).spec[0] == "images"
    targets = jax.device_put(TARGETS, NamedSharding(mesh(), P("images")))
    close(small.explain(laid_out(), targets), unsharded)


@in_each_chunk
def test_in_chunks(num_areas: int, chunk_size: int, layouts: list[Any]) -> None:
    """The same result, and the solver's state stays where its images are."""
    found = small.explain(laid_out(), TARGETS, areas(num_areas), chunk_size=chunk_size)
    close(found, small.explain(IMAGES, TARGETS, areas(num_areas)))
    assert layout(found).spec[0] == "images"
    assert layouts[0].shard_shape((COUNT * num_areas,)) == (num_areas,)


@pytest.fixture
def layouts(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """How the masks of the runs in a test lie on the devices after the last step."""
    found: list[Any] = []
    drive = driver.drive

    def noted(*arguments: Any) -> Any:
        state, record = drive(*arguments)
        found.append(state.nonfinite_step.sharding)
        return state, record

    monkeypatch.setattr(runs, "drive", noted)
    return found


def test_with_exchanged_masks() -> None:
    close(small.explain(laid_out(), TARGETS, config=EXCHANGE), small.explain(IMAGES, TARGETS, config=EXCHANGE))


def test_explicit_axes_in_chunks(unsharded: Any) -> None:
    found = small.explain(laid_out(AxisType.Explicit), TARGETS, chunk_size=COUNT)
    close(found, unsharded)
    assert layout(found).spec[0] == "images"


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


@pytest.mark.parametrize("chunk_size", [None, COUNT])
def test_a_model_that_is_sharded_over_another_axis(chunk_size: Any) -> None:
    devices = np.array(jax.devices()).reshape(-1, 2)
    both = jax.sharding.Mesh(devices, ("images", "model"), axis_types=(AxisType.Auto,) * 2)
    weights = {
        name: jax.device_put(value, NamedSharding(both, P(*[None] * (value.ndim - 1), None if value.shape[-1] % 2 else "model")))
        for name, value in small.weights().items()
    }
    model = jax.tree_util.Partial(small.classify, weights)
    images = jax.device_put(IMAGES, NamedSharding(both, P("images")))
    close(small.explain(images, TARGETS, model=model, chunk_size=chunk_size).masks, small.explain(IMAGES, TARGETS).masks)


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


@pytest.mark.essential
def test_the_step_holds_no_collective(step: list[str]) -> None:
    """But what the caller's own sharded model needs."""
    small.explain(laid_out(), TARGETS)
    assert collectives(step[-1]) == set()

    def summed(images: Any) -> Any:
        return small.MODEL(images) + jnp.zeros(()) * images.mean()  # over all images

    small.explain(laid_out(), TARGETS, model=summed)
    assert collectives(step[-1]) == {"all-reduce"}


@in_each_chunk
def test_the_step_in_chunks_holds_no_collective(num_areas: int, chunk_size: int, step: list[str]) -> None:
    small.explain(laid_out(), TARGETS, areas(num_areas), chunk_size=chunk_size)
    assert collectives(step[-1]) == set()


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The compiled programs around the steps of the runs in a test: the exchange of masks, and the evaluation."""
    found: dict[str, str] = {}

    def note(module: Any, name: str, called: str) -> None:
        compiled = getattr(module, name)

        def noted(*arguments: Any) -> Any:
            found[called] = compiled.lower(*arguments).compile().as_text()
            return compiled(*arguments)

        monkeypatch.setattr(module, name, noted)

    note(candidates, "best_rows", "best rows")
    note(candidates, "_selected", "selected")
    note(of_images, "_conclude", "images")
    note(of_channels, "_conclude", "channels")
    return found


@pytest.mark.parametrize("chunk_size", [None, COUNT])
def test_exchange_and_evaluation_hold_no_collective(chunk_size: Any, others: dict[str, str]) -> None:
    small.explain(laid_out(), TARGETS, config=EXCHANGE, chunk_size=chunk_size)
    assert set(others) == {"best rows", "selected", "images"}
    assert [name for name, program in others.items() if collectives(program)] == []


each_kind = pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=["auto", "explicit"])


@each_kind
@pytest.mark.parametrize("chunk_size", [None, COUNT])
def test_channels(chunk_size: Any, kind: Any) -> None:
    found = small.channels(laid_out(kind), TARGETS, chunk_size=chunk_size)
    close(found, small.channels(IMAGES, TARGETS))
    assert layout(found).spec[0] == "images"
    assert layout(found).mesh.axis_types == (kind,)


@each_kind
@pytest.mark.parametrize("call", [small.class_channels, small.smallest], ids=["class channels", "smallest area"])
def test_other_calls(call: Any, kind: Any) -> None:
    close(jax.tree.leaves(call(laid_out(kind), TARGETS)), jax.tree.leaves(call(IMAGES, TARGETS)))


@each_kind
def test_inversion(kind: Any) -> None:
    seen = np.asarray(ej.graph.capture(small.MODEL, [small.LAYER])(jnp.asarray(IMAGES))[1][small.LAYER])
    found = small.invert(jax.device_put(seen, NamedSharding(mesh(kind), P("images"))))
    images: Any = found.images
    close(images, small.invert(seen).images)
    assert images.sharding.mesh.axis_types == (kind,)


@pytest.mark.parametrize("chunk_size", [None, COUNT])
def test_channels_hold_no_collective(chunk_size: Any, step: list[str], others: dict[str, str]) -> None:
    small.channels(laid_out(), TARGETS, chunk_size=chunk_size)
    assert collectives(step[-1]) == set()
    assert collectives(others["channels"]) == set()


def collectives(program: str) -> set[str]:
    return set(re.findall(r"\b(all-reduce|all-gather|collective-permute|all-to-all|reduce-scatter)\(", program))


@pytest.mark.slow
def test_eight_devices() -> None:
    flags = "--xla_force_host_platform_device_count=8"
    command = [sys.executable, "-m", "pytest", "-n0", "-q", "-m", "not slow", "-p", "no:cacheprovider", __file__]
    found = subprocess.run(command, env=os.environ | {"XLA_FLAGS": flags}, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout
