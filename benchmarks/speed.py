"""Speed against TorchRay: one step, the model alone, a whole job, compilation and memory. Writes results/speed.md.

    python benchmarks/speed.py                                       # about ten minutes on two cores
    python benchmarks/speed.py --rounds 2 --torchray-steps 20        # a quick look

TorchRay and the torchray preset are at TorchRay's geometry (step 7, sigma 21), the default preset is at its own; a scene of 128x128 pixels
and four areas, on the device that JAX has, with all its cores. Both classifiers have the same weights, which is checked first. What is
compared is measured in turns.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import extremal_jax as ej
import job
import machine
import peer
from extremal_jax.graph.canonical import canonical

AREAS = job.AREAS
STEPS = 10  # of the model alone, and of a run, that are timed at once
Timed = Callable[[], float]  # runs something, and returns the seconds of one step of it


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="how often each step time is measured")
    parser.add_argument("--jobs", type=int, default=1, help="how often TorchRay's whole job is measured")
    parser.add_argument("--torchray-steps", type=int, default=800, help="of TorchRay's whole job")
    parser.add_argument("--seed", type=int, default=0, help="of the scene")
    return parser.parse_args()


def torchray_step(network: Any, batch: Any, target: int) -> Timed:
    """One step of TorchRay, without its set-up: the time from one call of its reward function to the next."""

    def timed() -> float:
        stamps: list[float] = []
        peer.extremal_perturbation(network, batch, target, AREAS, STEPS + 1, lambda: stamps.append(time.perf_counter()))
        return (stamps[-1] - stamps[0]) / STEPS

    return timed


def our_step(model: ej.models.Classifier, image: np.ndarray, target: int, config: ej.Config) -> Timed:
    """One step of ours, without set-up: the time from one report of progress to the last, chunks of steps later."""
    config = dataclasses.replace(config, num_steps=2 * STEPS)

    def timed() -> float:
        stamps: list[tuple[int, float]] = []
        watcher = lambda now: stamps.append((now.step, time.perf_counter()))  # noqa: E731
        ej.extremal_perturbation(model, image, target, AREAS, config=config, progress=watcher)
        (first, start), (last, end) = stamps[0], stamps[-1]
        return (end - start) / (last - first)

    return timed


def torch_model(network: Any, batch: Any, target: int) -> Timed:
    """The model's forward pass and the gradient of its input, in PyTorch."""
    images = batch.repeat(len(AREAS), 1, 1, 1)

    def timed() -> float:
        peer.synchronize()
        start = time.perf_counter()
        for _ in range(STEPS):
            images.grad = None
            network(images.requires_grad_(True))[:, target].sum().backward()
        peer.synchronize()
        return (time.perf_counter() - start) / STEPS

    return timed


def our_models(model: ej.models.Classifier, image: np.ndarray, target: int) -> dict[str, Timed]:
    """The same of ours: as a compiled function that is called again and again, and as the body of a loop, with canonical convolutions."""

    def gradient(model: ej.models.Classifier, images: jax.Array) -> jax.Array:
        return jax.grad(lambda images: model(images)[:, target].sum())(images)

    def loop(model: ej.models.Classifier, images: jax.Array) -> jax.Array:
        # Each turn needs the one before, so that none is left out.
        return jax.lax.scan(lambda images, _: (images + 1e-6 * gradient(model, images), None), images, None, STEPS)[0]

    images = jnp.repeat(image[None], len(AREAS), axis=0)
    single, looped = jax.jit(gradient), jax.jit(canonical(loop))

    def plain() -> float:
        start = time.perf_counter()
        for _ in range(STEPS):
            single(model, images).block_until_ready()
        return (time.perf_counter() - start) / STEPS

    def scanned() -> float:
        start = time.perf_counter()
        looped(model, images).block_until_ready()
        return (time.perf_counter() - start) / STEPS

    return {"model, jit": plain, "model, canonical scan": scanned}


def step_tables(seconds: dict[str, np.ndarray]) -> list[machine.Table]:
    """Step times, and what they say beside the aims."""
    faster = min(("model, jit", "model, canonical scan"), key=lambda name: float(np.median(seconds[name])))
    theirs, alone = seconds["TorchRay"], seconds[faster]
    their_alone = seconds["model, PyTorch"]
    presets = {"torchray preset": seconds["torchray preset"], "default preset": seconds["default preset"]}
    ms = machine.milliseconds
    times = machine.Table(
        "One step",
        ("ms: median (range)", "TorchRay", *presets),
        [
            ("whole step", ms(theirs), *map(ms, presets.values())),
            ("model alone", ms(their_alone), ms(alone), ms(alone)),
            ("outside the model", ms(theirs - their_alone), *(ms(step - alone) for step in presets.values())),
        ],
        "Forward and backward pass for four masks of 128x128 pixels, and all that a step does besides. The model alone: its forward"
        " pass and the gradient of its input at the same batch. Of ours it is the faster form, "
        + ", ".join(f"{name.removeprefix('model, ')} {ms(seconds[name])}" for name in ("model, jit", "model, canonical scan"))
        + " ms.",
    )
    ratios = machine.Table(
        "Ratios of step times",
        ("ratio of the medians (range over the rounds)", *presets, "aim"),
        [
            ("TorchRay ÷ ours, whole step", *(machine.ratio(step, theirs) for step in presets.values()), "≥ 4"),
            (
                "TorchRay ÷ ours, outside the model",
                *(machine.ratio(step - alone, theirs - their_alone) for step in presets.values()),
                "≥ 9",
            ),
            ("ours ÷ model alone", *(machine.ratio(alone, step) for step in presets.values()), "≤ 1.5"),
        ],
    )
    return [times, ratios]


def job_table(seconds: dict[str, np.ndarray], fresh: dict[str, dict[str, Any]], options: argparse.Namespace) -> machine.Table:
    """A whole job per image, compilation and memory."""
    ours, theirs = seconds["default preset"], seconds["TorchRay"]
    first, second = fresh["ours"]["seconds"]
    mebibytes = {which: f"{result['peak_bytes'] / 2**20:.0f}" for which, result in fresh.items()}
    steps = ej.Config().num_steps
    return machine.Table(
        "A whole job: one image, four areas",
        ("", f"TorchRay, {options.torchray_steps} steps", f"default preset, {steps} steps", "TorchRay ÷ ours", "aim"),
        [
            ("seconds, compiled", machine.spread(theirs, ".2f"), machine.spread(ours, ".2f"), machine.ratio(ours, theirs), "≥ 60"),
            ("seconds to compile, once", "0", f"{first - second:.1f}", "", ""),
            (
                "peak memory, MiB",
                mebibytes["torchray"],
                mebibytes["ours"],
                f"{fresh['torchray']['peak_bytes'] / fresh['ours']['peak_bytes']:.2f}",
                "",
            ),
        ],
        "The rewards that these runs reach are in quality.md. Compilation is the first call of a fresh process minus its second, and the"
        " memory is the peak of a fresh process beyond its imports (of the device, on a GPU), compilation included.",
    )


def whole(run: Callable[[], Any]) -> Timed:
    def timed() -> float:
        start = time.perf_counter()
        jax.block_until_ready(run())
        return time.perf_counter() - start

    return timed


def main() -> None:
    options = parse()
    peer.require()
    machine.warn_if_busy()
    import torch_scenes

    device = peer.device()
    model = ej.models.load("scenes")
    image, target = job.scene(model, options.seed)
    network = torch_scenes.from_classifier(model)
    difference = torch_scenes.check_equal(model, network, image[None])
    print(f"the two classifiers' outputs differ by {difference:.1e} at most")
    network, batch = network.to(device), torch_scenes.to_torch(image).to(device)

    default = ej.Config()
    fresh = {"ours": job.measure("ours", default.num_steps, options.seed), "torchray": job.measure("torchray", STEPS, options.seed)}
    steps = machine.alternate(
        {
            "TorchRay": torchray_step(network, batch, target),
            "torchray preset": our_step(model, image, target, ej.Config.torchray()),
            "default preset": our_step(model, image, target, default),
            "model, PyTorch": torch_model(network, batch.clone(), target),
            **our_models(model, image, target),
        },
        options.rounds,
    )
    ours = whole(lambda: ej.extremal_perturbation(model, image, target, AREAS, config=default))
    ours()  # compiles
    jobs = machine.alternate(
        {
            "default preset": lambda: float(np.median([ours() for _ in range(3)])),
            "TorchRay": whole(lambda: peer.extremal_perturbation(network, batch, target, AREAS, options.torchray_steps)),
        },
        options.jobs,
        warm_up=False,
    )
    machine.report("speed", "Speed against TorchRay", [*step_tables(steps), job_table(jobs, fresh, options)])


if __name__ == "__main__":
    main()
