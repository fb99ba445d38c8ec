"""Extremal perturbations of PyTorch modules, through `ej.models.from_torch`, against TorchRay's on the same module. Writes
results/torch_modules.md.

    python benchmarks/torch_modules.py                                              # an hour on two cores
    python benchmarks/torch_modules.py --rounds 1 --models resnet18 --size 64       # a quick look

torchvision's networks with random weights. TorchRay runs on the module; ours runs on the function that `from_torch` makes of it, and, where
`models.load` has the network, on that too, which shows what the translation costs. That all outputs agree is checked first. Four masks of
one image, float32.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np

import extremal_jax as ej
import machine
import peer
import timing
import zoo

AREAS = (0.025, 0.05, 0.1, 0.2)
STEPS = 2  # of TorchRay that are timed at once
MODELS = ("resnet18", "resnet50", "vgg16", "vit_b_16")
AIM = "≥ 1.5"  # TorchRay's step ÷ ours, torchray preset


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--size", type=int, default=224, help="height and width of the image; vit_b_16 takes 224 alone")
    return parser.parse_args()


def table(name: str, images: np.ndarray, rounds: int) -> machine.Table:
    """A step on a network: TorchRay's, and ours on the converted and on the loaded one."""
    network, loaded = zoo.pair(name)
    converted: Any = ej.models.from_torch(network.cpu(), images[0])
    network.to(peer.device())
    for model in (converted, loaded):
        zoo.check_equal(name, network, model, images)
    default, preset = ej.Config(), ej.Config.torchray()
    alone = timing.our_models(converted, images, 0, STEPS)
    contenders = {
        "TorchRay": timing.torchray_step(network, zoo.to_torch(images[:1]), 0, AREAS, STEPS),
        "PyTorch alone": timing.torch_model(network, zoo.to_torch(images), 0, STEPS),
        "torchray preset": timing.our_step(converted, images[0], 0, AREAS, preset, 5 * STEPS),
        "default preset": timing.our_step(converted, images[0], 0, AREAS, default, 5 * STEPS),
        "loaded": timing.our_step(loaded, images[0], 0, AREAS, default, 5 * STEPS),
        **alone,
    }
    seconds = machine.alternate(contenders, rounds)
    ours, theirs = seconds["default preset"], seconds["TorchRay"]
    single = min((seconds[form] for form in alone), key=np.median)
    rows = [
        *zoo.step_times(seconds, single),
        ("TorchRay's step ÷ ours, torchray preset", machine.ratio(seconds["torchray preset"], theirs), AIM),
        ("TorchRay's step ÷ ours, default preset", machine.ratio(ours, theirs), ""),
        ("our step ÷ model alone", machine.ratio(single, ours), ""),
        ("our step ÷ on the network of `models.load`", machine.ratio(seconds["loaded"], ours), ""),
    ]
    size = "x".join(map(str, images.shape[1:3]))
    note = f"Four masks of one image of {size} pixels. *Model alone*: the forward pass and the gradient of the input."
    return machine.Table(f"A step on {name}", ("", "median (range)", "aim"), rows, note)


def main() -> None:
    options = parse()
    peer.require()
    machine.warn_if_busy()
    images = np.random.default_rng(0).standard_normal((len(AREAS), options.size, options.size, 3), np.float32)
    tables = [table(name, images, options.rounds) for name in options.models]
    machine.report("torch_modules", "PyTorch modules: steps against TorchRay", tables)


if __name__ == "__main__":
    main()
