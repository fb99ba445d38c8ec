"""One explanation in a fresh process: its seconds and its peak memory, as a line of JSON. Run by `speed.py`.

    python benchmarks/job.py ours --steps 50
    python benchmarks/job.py torchray --steps 10

Memory is that of the device on a GPU. On a CPU it is the process's: its high-water mark at the end minus what was resident when the
imports were done; for ours that includes what compiling took.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from typing import Any

import jax
import numpy as np

import extremal_jax as ej
import machine
import peer

AREAS = (0.025, 0.05, 0.1, 0.2)
CALLS = 2  # of which the first compiles


def measure(which: str, steps: int, seed: int) -> dict[str, Any]:
    """Run `job.py` in a fresh process."""
    command = [sys.executable, __file__, which, "--steps", str(steps), "--seed", str(seed)]
    finished = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(finished.stdout.splitlines()[-1])


def scene(model: ej.models.Classifier, seed: int) -> tuple[np.ndarray, int]:
    """A two-object scene, prepared, and the class of one of its objects."""
    scenes = ej.data.scenes.generate(seed, 1, model.input_size, objects=2)
    return model.preprocess(scenes.images[0]), int(scenes.labels[0].argmax())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("which", choices=("ours", "torchray"), help="ours: the default preset")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--seed", type=int, default=0, help="of the scene")
    options = parser.parse_args()

    on_gpu = jax.default_backend() == "gpu"
    if options.which == "torchray":
        peer.require()
        import torchray.attribution.extremal_perturbation  # noqa: F401
    before = machine.resident("VmRSS")
    model = ej.models.load("scenes")
    image, target = scene(model, options.seed)
    if options.which == "ours":
        config = ej.Config(num_steps=options.steps)

        def run() -> None:
            jax.block_until_ready(ej.extremal_perturbation(model, image, target, AREAS, config=config))
    else:
        import torch_scenes

        device = peer.device()
        network = torch_scenes.from_classifier(model).to(device)
        batch = torch_scenes.to_torch(image).to(device)

        def run() -> None:
            peer.extremal_perturbation(network, batch, target, AREAS, options.steps)

    seconds = []
    for _ in range(CALLS):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    peak = device_peak(options.which) if on_gpu else machine.resident("VmHWM") - before
    print(json.dumps(dict(seconds=seconds, peak_bytes=peak)))


def device_peak(which: str) -> int:
    """Bytes in use on the GPU, at most so far."""
    if which == "ours":
        return jax.devices()[0].memory_stats()["peak_bytes_in_use"]
    import torch

    return torch.cuda.max_memory_allocated()


if __name__ == "__main__":
    main()
