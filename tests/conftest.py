"""Shapes and types of all annotated functions are checked while the tests run."""

from __future__ import annotations

import gc
import importlib.metadata
import os
from collections.abc import Iterator
from pathlib import Path

# Two devices, for the tests of sharding. Machine code is not optimised and made in the plainest way, so that programs compile in a third of
# the time; `make slow` tests the optimised code. Later versions than JAX 0.10 have no other emitters, and abort on flags that they
# do not know.
FLAGS = ["--xla_force_host_platform_device_count=2", "--xla_backend_optimization_level=0", "--xla_cpu_parallel_codegen_split_count=1"]
if importlib.metadata.version("jaxlib").startswith("0.10."):
    FLAGS.append("--xla_cpu_use_fusion_emitters=false")
os.environ.setdefault("XLA_FLAGS", " ".join(FLAGS))

# Programs do not say which lines they come from, which takes a seventh of the time.
os.environ.setdefault("JAX_TRACEBACK_IN_LOCATIONS_LIMIT", "0")

import jaxtyping

import typechecking
from quick import pytest_addoption, pytest_collection_modifyitems, pytest_configure

jaxtyping.install_import_hook(typechecking.checked_modules(), "typechecking.check")

import jax
import numpy as np
import pytest

import extremal_jax as ej

# Tracing makes many objects and hardly any garbage; at Python's default, the collector takes a tenth of the time.
gc.set_threshold(20_000)

collect_ignore = ["torch_networks.py"]  # modules for other tests, which need PyTorch

MEMORY_MAPS = Path("/proc/self/maps")


@pytest.fixture(autouse=True, scope="module")
def compiled_programs() -> None:
    """Frees the compiled programs once they are many: each holds dozens of memory maps, of which Linux allows a process 65,530, and XLA
    aborts when there are no more."""
    if MEMORY_MAPS.exists() and MEMORY_MAPS.read_bytes().count(b"\n") > 50_000:
        jax.clear_caches()


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody checks the types of a caller's arguments, as elsewhere than in these tests: the library's own errors are seen."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture(scope="session")
def classifier() -> ej.models.Classifier:
    return ej.models.load("scenes")


@pytest.fixture(scope="session")
def scene() -> ej.data.scenes.Scenes:
    """Two scenes of two objects."""
    return ej.data.scenes.generate(5, 2, objects=2)


@pytest.fixture(scope="session")
def images(classifier: ej.models.Classifier, scene: ej.data.scenes.Scenes) -> np.ndarray:
    return np.stack([classifier.preprocess(image) for image in scene.images])


@pytest.fixture(scope="session")
def targets(scene: ej.data.scenes.Scenes) -> np.ndarray:
    return scene.labels.argmax(axis=1)


@pytest.fixture
def compilations() -> Iterator[list[str]]:
    """A list that grows by one with each program that is compiled while the test runs."""
    events: list[str] = []

    def listen(event: str, duration_secs: float, **_: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            events.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield events
    jax.monitoring.unregister_event_duration_listener(listen)
