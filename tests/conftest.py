"""Shapes and types of all annotated functions are checked while the tests run."""

from __future__ import annotations

import os

# Two devices, for the tests of sharding; and no optimisation of machine code, so that programs compile in half the time. `make slow` tests
# the optimised code.
os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0")

from jaxtyping import install_import_hook

install_import_hook("extremal_jax", "typechecking.check")

import jax
import numpy as np
import pytest

import extremal_jax as ej


@pytest.fixture(scope="session")
def classifier() -> ej.models.Classifier:
    return ej.models.load("scenes")


@pytest.fixture(scope="session")
def scene() -> ej.data.scenes.Scenes:
    """Two scenes of two objects."""
    return ej.data.scenes.generate(5, 2, objects=2)


@pytest.fixture(scope="session")
def images(classifier, scene) -> np.ndarray:
    return np.stack([classifier.preprocess(image) for image in scene.images])


@pytest.fixture(scope="session")
def targets(scene) -> np.ndarray:
    return scene.labels.argmax(axis=1)


@pytest.fixture
def compilations():
    """A list that grows by one with each program that is compiled while the test runs."""
    events: list[str] = []

    def listen(event: str, duration: float, **_: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration":
            events.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    yield events
    jax.monitoring.unregister_event_duration_listener(listen)
