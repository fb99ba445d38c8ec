"""RISE by the number of masked images that go through the model at a time. Writes results/chunks.md.

    python benchmarks/chunks.py

The packaged classifier, one scene of 128x128 pixels, 4,000 masks, compiled, on the device that JAX has. The masks are the same for any
size of the chunks, and so are the maps but for rounding, which is checked first.
"""

from __future__ import annotations

import argparse
from functools import partial

import jax
import numpy as np

import extremal_jax as ej
import machine
import timing
from extremal_jax.attribution import rise
from extremal_jax.attribution.evaluations import usual_chunk


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=[16, 64, 128, 512], help="masked images at a time")
    parser.add_argument("--masks", type=int, default=4000)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured")
    return parser.parse_args()


def main() -> None:
    options = parse()
    machine.warn_if_busy()
    model = ej.models.load("scenes")
    scene = ej.data.scenes.generate(5, 1)
    image, target = model.preprocess(scene.images[0]), int(scene.labels[0].argmax())

    def explain(size: int) -> jax.Array:
        return rise(model, image, target, num_masks=options.masks, chunk_size=size)

    expected = explain(options.sizes[0])
    for size in options.sizes[1:]:
        np.testing.assert_allclose(explain(size), expected, rtol=1e-2)  # TensorFloat-32
    seconds = machine.alternate({str(size): timing.whole(partial(explain, size)) for size in options.sizes}, options.rounds)
    rows = [
        (size, machine.spread(1000 * taken, ".1f"), machine.ratio(taken, seconds[str(options.sizes[0])])) for size, taken in seconds.items()
    ]
    columns = ("masked images at a time", "ms for a map", f"{options.sizes[0]} at a time ÷ this")
    note = f"{options.masks} masks. Where the caller does not say, {usual_chunk()} go through the model at a time on this device."
    machine.report("chunks", "RISE by the size of its chunks", [machine.Table("Whole maps", columns, rows, note)])


if __name__ == "__main__":
    main()
