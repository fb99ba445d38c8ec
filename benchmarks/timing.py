"""What is timed: steps of TorchRay and of ours, and models alone. Each function makes one that runs something and returns seconds."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import extremal_jax as ej
import peer
from extremal_jax.graph.canonical import canonical

Timed = Callable[[], float]  # runs something, and returns the seconds of one step of it


def torchray_step(network: Any, image: Any, target: int, areas: Sequence[float], steps: int) -> Timed:
    """One step of TorchRay, without its set-up: the time from one call of its reward function to the next."""

    def timed() -> float:
        stamps: list[float] = []
        peer.extremal_perturbation(network, image, target, areas, steps + 1, lambda: stamps.append(time.perf_counter()))
        return (stamps[-1] - stamps[0]) / steps

    return timed


def our_step(model: ej.models.Classifier, image: np.ndarray, target: int, areas: Sequence[float], config: ej.Config, steps: int) -> Timed:
    """One step of ours, without set-up: the time from one report of progress to the last, chunks of steps later."""
    config = dataclasses.replace(config, num_steps=2 * steps, exchange=False)

    def timed() -> float:
        stamps: list[tuple[int, float]] = []
        watcher = lambda now: stamps.append((now.step, time.perf_counter()))  # noqa: E731
        ej.extremal_perturbation(model, image, target, areas, config=config, progress=watcher)
        (first, start), (last, end) = stamps[0], stamps[-1]
        return (end - start) / (last - first)

    return timed


def torch_model(network: Any, images: Any, target: int, steps: int) -> Timed:
    """The model's forward pass and the gradient of its input, in PyTorch."""

    def timed() -> float:
        peer.synchronize()
        start = time.perf_counter()
        for _ in range(steps):
            images.grad = None
            network(images.requires_grad_(True))[:, target].sum().backward()
        peer.synchronize()
        return (time.perf_counter() - start) / steps

    return timed


def our_models(model: ej.models.Classifier, images: np.ndarray, target: int, steps: int) -> dict[str, Timed]:
    """The same of ours: as a compiled function that is called again and again, and as the body of a loop, with canonical convolutions."""

    def gradient(model: ej.models.Classifier, images: jax.Array) -> jax.Array:
        return jax.grad(lambda images: model(images)[:, target].sum())(images)

    def loop(model: ej.models.Classifier, images: jax.Array) -> jax.Array:
        # Each turn needs the one before, so that none is left out.
        return jax.lax.scan(lambda images, _: (images + 1e-6 * gradient(model, images), None), images, None, steps)[0]

    pixels = jnp.asarray(images)
    single, looped = jax.jit(gradient), jax.jit(canonical(loop))

    def plain() -> float:
        start = time.perf_counter()
        for _ in range(steps):
            single(model, pixels).block_until_ready()
        return (time.perf_counter() - start) / steps

    def scanned() -> float:
        start = time.perf_counter()
        looped(model, pixels).block_until_ready()
        return (time.perf_counter() - start) / steps

    return {"model, jit": plain, "model, canonical scan": scanned}


def whole(run: Callable[[], Any]) -> Timed:
    def timed() -> float:
        start = time.perf_counter()
        jax.block_until_ready(run())
        return time.perf_counter() - start

    return timed
