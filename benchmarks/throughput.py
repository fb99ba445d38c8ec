"""Pictures per hour against TorchRay, by the number of pictures in a batch. Writes results/throughput.md.

    python benchmarks/throughput.py                                             # an hour and more on two cores
    python benchmarks/throughput.py --models efficientnet_lite0 --batches 1 8   # a quick look

EfficientNet-lite0 and ResNet-50 with random weights, the same on both sides, which is checked first; images of 224x224
pixels, four areas each, on the device that JAX has. TorchRay takes one picture at a time and 800 steps, each as long as
another: some of them are timed. Ours is the default preset, with all that surrounds its steps: runs of a few and of
twice as many steps are timed, in turns with TorchRay's steps, and extrapolated to all steps. The shorter take at least
two, since a run of one step exchanges no masks between areas. The model alone is its forward pass and the gradient of
its input, for as many masks. On a GPU, matrix products run in float32, in TensorFloat-32 on both sides, and with our
weights in bfloat16.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import extremal_jax as ej
import machine
import peer
import timing
import zoo


class Precision(NamedTuple):
    """How numbers are held and multiplied: our weights and products, and TorchRay's products."""

    weights: str
    products: str
    theirs: str


PRECISIONS = {
    "float32": Precision("float32", "highest", "float32"),
    "TensorFloat-32": Precision("float32", "tensorfloat32", "TensorFloat-32"),
    "bfloat16": Precision("bfloat16", "default", "TensorFloat-32"),
}


def parse() -> argparse.Namespace:
    gpu = jax.default_backend() == "gpu"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=zoo.STEP_AIMS, default=["efficientnet_lite0", "resnet50"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 64], help="pictures at a time")
    parser.add_argument("--precisions", nargs="+", choices=PRECISIONS, default=list(PRECISIONS) if gpu else ["float32"])
    parser.add_argument("--steps", type=int, default=4, help="of the shorter runs of ours; the longer take twice as many")
    parser.add_argument("--chunk-size", type=int, default=0 if gpu else 8, help="masks at a time; 0: all")
    parser.add_argument("--rounds", type=int, default=2, help="how often each is measured")
    parser.add_argument("--profile", metavar="FOLDER", help="write a profile of the last run there, by jax.profiler")
    options = parser.parse_args()
    if options.steps < 2:
        parser.error(f"--steps must be 2 or more, got {options.steps}: a run of one step exchanges no masks, and cannot be extrapolated")
    return options


def run(model: ej.models.Classifier, images: np.ndarray, num_steps: int, chunk_size: int | None) -> Callable[[], Any]:
    """A run of so many steps."""
    config = dataclasses.replace(ej.Config(), num_steps=num_steps)
    return lambda: ej.extremal_perturbation(model, images, 0, zoo.AREAS, config=config, chunk_size=chunk_size)


def with_products(timed: timing.Timed, products: str) -> timing.Timed:
    """Our side, with products of matrices of a precision."""

    def multiplied() -> float:
        with jax.default_matmul_precision(products):
            return timed()

    return multiplied


def their_step(network: Any, image: np.ndarray, precision: str) -> timing.Timed:
    """A step of TorchRay with products of matrices of a precision."""
    timed = timing.torchray_step(network, zoo.to_torch(image), 0, zoo.AREAS, 2)

    def multiplied() -> float:
        peer.use_tensorfloat32(precision == "TensorFloat-32")
        return timed()

    return multiplied


def masks_at_a_time(batch: int, options: argparse.Namespace) -> int:
    """How many masks of a batch of pictures the model gets at a time."""
    return min(options.chunk_size or batch * len(zoo.AREAS), batch * len(zoo.AREAS))


def ours(label: str, exact: ej.models.Classifier, images: np.ndarray, options: argparse.Namespace) -> dict[str, timing.Timed]:
    """Our runs of a precision, shorter and longer ones, and the model alone."""
    weights, products, _ = PRECISIONS[label]
    model = exact if weights == "float32" else jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), exact)
    found = {}
    for batch in options.batches:
        several = np.resize(images, (masks_at_a_time(batch, options), *images.shape[1:]))
        found[f"{label} {batch} alone"] = timing.our_models(model, several, 0, options.steps)["model, canonical scan"]
        for steps in (options.steps, 2 * options.steps):
            found[f"{label} {batch} {steps}"] = timing.whole(run(model, images[:batch], steps, options.chunk_size or None))
    return {name: with_products(timed, products) for name, timed in found.items()}


def rows(name: str, options: argparse.Namespace) -> list[tuple[str, ...]]:
    """A network's rows."""
    network, exact = zoo.pair(name)
    images = np.random.default_rng(0).standard_normal((max(options.batches), 224, 224, 3), np.float32)
    peer.use_tensorfloat32(False)
    with jax.default_matmul_precision("highest"):
        zoo.check_equal(name, network, exact, images[:4])
    theirs = dict.fromkeys(PRECISIONS[label].theirs for label in options.precisions)
    contenders = {one: their_step(network, images[:1], one) for one in theirs}
    for label in options.precisions:
        contenders |= ours(label, exact, images, options)
    seconds = machine.alternate(contenders, options.rounds)
    if options.profile:
        with jax.profiler.trace(options.profile):
            contenders[f"{options.precisions[-1]} {options.batches[-1]} {options.steps}"]()
    found: list[tuple[str, ...]] = [
        (f"{name}, TorchRay, {one}", "1", machine.spread(3600 / (zoo.JOB * seconds[one]), ".2f"), "", "", "") for one in theirs
    ]
    for label in options.precisions:
        their = seconds[PRECISIONS[label].theirs]
        for batch in options.batches:
            fewer, more = (seconds[f"{label} {batch} {steps}"] for steps in (options.steps, 2 * options.steps))
            step = (more - fewer) / options.steps
            whole = more + step * (ej.Config().num_steps - 2 * options.steps)
            alone = seconds[f"{label} {batch} alone"] * math.ceil(batch * len(zoo.AREAS) / masks_at_a_time(batch, options))
            ratios = machine.ratio(whole / batch, zoo.JOB * their), machine.ratio(step / batch, their), machine.ratio(step, alone)
            found.append((f"{name}, {label}", str(batch), machine.spread(3600 * batch / whole, ".0f"), *ratios))
    for row in found:
        print(*row, sep="  ", flush=True)
    return found


def main() -> None:
    options = parse()
    peer.require()
    machine.warn_if_busy()
    measured = [row for name in options.models for row in rows(name, options)]
    note = (
        f"Four areas of each picture, 224x224 pixels. TorchRay: {zoo.JOB} steps. Ours: the default preset's {ej.Config().num_steps} steps"
        f" and all that surrounds them, compiled, {options.chunk_size or 'all'} masks at a time;"
        f" extrapolated from {options.steps} and {2 * options.steps} steps."
    )
    if memory := (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use"):
        note += f" JAX took {memory / 2**30:.1f} GiB of the device at most."
    columns = (
        "",
        "pictures at a time",
        "pictures per hour",
        "ours ÷ TorchRay",
        "a step: TorchRay's ÷ ours, for a picture",
        "model alone ÷ a step",
    )
    machine.report("throughput", "Pictures per hour", [machine.Table("Whole runs", columns, measured, note)])


if __name__ == "__main__":
    main()
