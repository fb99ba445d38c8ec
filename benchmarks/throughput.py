"""Pictures per hour against TorchRay, by the number of pictures in a batch. Writes results/throughput.md.

    python benchmarks/throughput.py                                             # an hour and more on two cores
    python benchmarks/throughput.py --models efficientnet_lite0 --batches 1 8   # a quick look

EfficientNet-lite0 and ResNet-50 with random weights, the same on both sides, which is checked first; images of 224x224
pixels, four areas each, on the device that JAX has. TorchRay takes one picture at a time and 800 steps, each as long as
another: some of them are timed. Ours is the default preset, with all that surrounds its steps: runs of a few and of
twice as many steps are timed, in turns with TorchRay's steps, and extrapolated to all steps. The shorter take at least
two, since a run of one step exchanges no masks between areas. On a GPU it runs with matrix products in float32, in
TensorFloat-32 and with weights in bfloat16.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import extremal_jax as ej
import machine
import peer
import timing
import zoo

PRECISIONS: dict[str, tuple[str, str]] = {  # of weights, and of products
    "float32": ("float32", "highest"),
    "TensorFloat-32": ("float32", "tensorfloat32"),
    "bfloat16": ("bfloat16", "default"),
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=zoo.STEP_AIMS, default=["efficientnet_lite0", "resnet50"])
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 8, 64], help="pictures at a time")
    parser.add_argument("--steps", type=int, default=4, help="of the shorter runs of ours; the longer take twice as many")
    parser.add_argument("--chunk-size", type=int, default=8, help="masks at a time; 0: all")
    parser.add_argument("--rounds", type=int, default=2, help="how often each is measured")
    options = parser.parse_args()
    if options.steps < 2:
        parser.error(f"--steps must be 2 or more, got {options.steps}: a run of one step exchanges no masks, and cannot be extrapolated")
    return options


def run(model: ej.models.Classifier, images: np.ndarray, num_steps: int, chunk_size: int | None, products: str) -> Callable[[], Any]:
    """A run of so many steps."""
    config = dataclasses.replace(ej.Config(), num_steps=num_steps)

    def explained() -> Any:
        with jax.default_matmul_precision(products):
            return ej.extremal_perturbation(model, images, 0, zoo.AREAS, config=config, chunk_size=chunk_size)

    return explained


def rows(name: str, options: argparse.Namespace) -> list[tuple[str, ...]]:
    """A network's rows."""
    network, exact = zoo.pair(name)
    images = np.random.default_rng(0).standard_normal((max(options.batches), 224, 224, 3), np.float32)
    zoo.check_equal(name, network, exact, images[:4])
    precisions = PRECISIONS if jax.default_backend() == "gpu" else {"float32": PRECISIONS["float32"]}
    contenders = {"TorchRay": timing.torchray_step(network, zoo.to_torch(images[:1]), 0, zoo.AREAS, 2)}
    for label, (weights, products) in precisions.items():
        model = exact if weights == "float32" else jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), exact)
        for batch in options.batches:
            for steps in (options.steps, 2 * options.steps):
                contenders[f"{label} {batch} {steps}"] = timing.whole(
                    run(model, images[:batch], steps, options.chunk_size or None, products)
                )
    seconds = machine.alternate(contenders, options.rounds)
    theirs = zoo.JOB * seconds["TorchRay"]
    found = [(f"{name}, TorchRay", "1", machine.spread(3600 / theirs, ".2f"), "")]
    for label in precisions:
        for batch in options.batches:
            fewer, more = (seconds[f"{label} {batch} {steps}"] for steps in (options.steps, 2 * options.steps))
            each = (more + (more - fewer) * (ej.Config().num_steps / options.steps - 2)) / batch
            found.append((f"{name}, {label}", str(batch), machine.spread(3600 / each, ".0f"), machine.ratio(each, theirs)))
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
    columns = ("", "pictures at a time", "pictures per hour", "ours ÷ TorchRay")
    machine.report("throughput", "Pictures per hour", [machine.Table("Whole runs", columns, measured, note)])


if __name__ == "__main__":
    main()
