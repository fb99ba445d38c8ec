"""Speed against TorchRay: one step, the model alone, a whole job, compilation and memory. Writes results/speed.md.

    python benchmarks/speed.py                                       # about ten minutes on two cores
    python benchmarks/speed.py --rounds 2 --torchray-steps 20        # a quick look

TorchRay and the torchray preset are at TorchRay's geometry (step 7, sigma 21), the default preset is at its own; a scene of 128x128 pixels
and four areas, on the device that JAX has, with all its cores. Both classifiers have the same weights, which is checked first. What is
compared is measured in turns.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

import extremal_jax as ej
import job
import machine
import peer
import timing

AREAS = job.AREAS
STEPS = 10  # of the model alone, and of a run, that are timed at once


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9, help="how often each step time is measured")
    parser.add_argument("--jobs", type=int, default=1, help="how often TorchRay's whole job is measured")
    parser.add_argument("--torchray-steps", type=int, default=800, help="of TorchRay's whole job")
    parser.add_argument("--seed", type=int, default=0, help="of the scene")
    return parser.parse_args()


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
            "TorchRay": timing.torchray_step(network, batch, target, AREAS, STEPS),
            "torchray preset": timing.our_step(model, image, target, AREAS, ej.Config.torchray(), STEPS),
            "default preset": timing.our_step(model, image, target, AREAS, default, STEPS),
            "model, PyTorch": timing.torch_model(network, batch.repeat(len(AREAS), 1, 1, 1), target, STEPS),
            **timing.our_models(model, np.repeat(image[None], len(AREAS), axis=0), target, STEPS),
        },
        options.rounds,
    )
    ours = timing.whole(lambda: ej.extremal_perturbation(model, image, target, AREAS, config=default))
    ours()  # compiles
    jobs = machine.alternate(
        {
            "default preset": lambda: float(np.median([ours() for _ in range(3)])),
            "TorchRay": timing.whole(lambda: peer.extremal_perturbation(network, batch, target, AREAS, options.torchray_steps)),
        },
        options.jobs,
        warm_up=False,
    )
    machine.report("speed", "Speed against TorchRay", [*step_tables(steps), job_table(jobs, fresh, options)])


if __name__ == "__main__":
    main()
