"""ImageNet classifiers against PyTorch, and steps on ResNet-50 and EfficientNet-lite0 against TorchRay. Writes results/zoo.md.

    python benchmarks/zoo.py                                    # ten minutes on two cores
    python benchmarks/zoo.py --rounds 1 --models resnet50       # a quick look

torchvision's networks with random weights, and ours with the same weights, loaded from the file that PyTorch wrote; that their outputs
agree is checked first. A batch of four images of 224x224 pixels, float32: the forward pass and the gradient of the input.
Batch norm is folded into the convolutions on our side, as `models.load` does it.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

import extremal_jax as ej
import machine
import peer
import timing

AREAS = (0.025, 0.05, 0.1, 0.2)
STEPS = 2  # that are timed at once
AIMS = {"resnet50": "≤ 1.05", "vgg16": "≤ 1.15", "vit_b_16": "≤ 1.15", "convnext_tiny": "", "efficientnet_lite0": ""}
STEP_AIMS = {"resnet50": "≤ 1.08", "efficientnet_lite0": "≤ 1.15"}  # ours ÷ model alone
JOB = 800  # steps of TorchRay, which its authors take
TOLERANCE = 1e-4  # of the largest score


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="how often each is measured")
    parser.add_argument("--models", nargs="+", choices=AIMS, default=list(AIMS))
    return parser.parse_args()


def pair(name: str) -> tuple[Any, ej.models.Classifier]:
    """PyTorch's network, torchvision's or the one of efficientnet-lite-pytorch, and ours, of the same weights."""
    import torch

    torch.manual_seed(0)
    network = peer.efficientnet_lite(name) if "lite" in name else getattr(peer.torchvision_models(), name)(weights=None)
    network = network.eval()
    randomize(network)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.pth"
        torch.save(network.state_dict(), path)
        model = ej.models.load(name, path)
    return network.to(peer.device()), model


def randomize(network: Any) -> None:
    """Draw every number of a network in PyTorch: as it comes, some heads are zero, and no mistake could show."""
    import torch

    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, math.sqrt(2 / parameter[0].numel()))
            else:
                parameter.add_(0.1 * torch.randn_like(parameter))
        for statistic in network.buffers():
            if statistic.is_floating_point():
                statistic.add_(0.1 * torch.rand_like(statistic))  # variances stay positive


def check_equal(name: str, network: Any, model: ej.models.Classifier, images: np.ndarray) -> None:
    """Stop unless the outputs are equal."""
    import torch

    with torch.no_grad():
        theirs = network(to_torch(images)).cpu().numpy()
    ours = np.moveaxis(np.asarray(model(jnp.asarray(images))), -1, 1)  # (B, classes), or (B, classes, h, w)
    difference = np.abs(ours - theirs).max() / np.abs(theirs).max()
    print(f"{name}: the outputs differ by {difference:.1e} of the largest score at most")
    if not difference <= TOLERANCE:  # NaN is no agreement either
        raise SystemExit(f"{name}: the outputs differ by more than {TOLERANCE}, or are not finite")


def to_torch(images: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))).to(peer.device())


def model_row(name: str, images: np.ndarray, rounds: int) -> tuple[str, ...]:
    network, model = pair(name)
    check_equal(name, network, model, images)
    contenders = {"PyTorch": timing.torch_model(network, to_torch(images), 0, STEPS), **timing.our_models(model, images, 0, STEPS)}
    seconds = machine.alternate(contenders, rounds)
    theirs = seconds.pop("PyTorch")
    ours = min(seconds.values(), key=np.median)
    cells = (machine.milliseconds(x) for x in (theirs, *seconds.values()))
    return (name, *cells, machine.ratio(theirs, ours), AIMS[name])


def step_table(name: str, images: np.ndarray, rounds: int) -> machine.Table:
    """A step of extremal perturbations on a network, of TorchRay and of ours, and the whole job."""
    network, model = pair(name)
    default = ej.Config()
    contenders = {
        "TorchRay": timing.torchray_step(network, to_torch(images[:1]), 0, AREAS, STEPS),
        "PyTorch alone": timing.torch_model(network, to_torch(images), 0, STEPS),
        "torchray preset": timing.our_step(model, images[0], 0, AREAS, ej.Config.torchray(), 5 * STEPS),
        "default preset": timing.our_step(model, images[0], 0, AREAS, default, 5 * STEPS),
        "job": timing.whole(lambda: ej.extremal_perturbation(model, images[0], 0, AREAS, config=default)),
        **timing.our_models(model, images, 0, STEPS),
    }
    seconds = machine.alternate(contenders, rounds)
    alone = min((seconds[name] for name in seconds if name.startswith("model")), key=np.median)
    ours, theirs = seconds["default preset"], seconds["TorchRay"]
    rows = [
        *step_times(seconds, alone),
        ("our job, default preset, ms", machine.milliseconds(seconds["job"]), ""),
        ("PyTorch's model ÷ ours", machine.ratio(alone, seconds["PyTorch alone"]), ""),
        ("TorchRay's step ÷ ours, torchray preset", machine.ratio(seconds["torchray preset"], theirs), "≥ 1.8"),
        ("our step ÷ model alone", machine.ratio(alone, ours), STEP_AIMS[name]),
        (f"{JOB} of TorchRay's steps ÷ our job", machine.ratio(seconds["job"], JOB * theirs), "≥ 75"),
    ]
    note = f"Four masks of one image of 224x224 pixels. Our job: {default.num_steps} steps and all that surrounds them, compiled."
    return machine.Table(f"A step on {name}", ("", "median (range)", "aim"), rows, note)


def step_times(seconds: Mapping[str, np.ndarray], alone: np.ndarray) -> list[tuple[str, str, str]]:
    """The rows of the times, each with an empty aim; `alone`: of the faster form of our model."""
    rows = {
        "TorchRay's step, ms": seconds["TorchRay"],
        "PyTorch's model alone, ms": seconds["PyTorch alone"],
        "our step, torchray preset, ms": seconds["torchray preset"],
        "our step, default preset, ms": seconds["default preset"],
        "our model alone, ms": alone,
    }
    return [(title, machine.milliseconds(measured), "") for title, measured in rows.items()]


def main() -> None:
    options = parse()
    peer.require()
    machine.warn_if_busy()
    images = np.random.default_rng(0).standard_normal((len(AREAS), 224, 224, 3), np.float32)
    rows = [model_row(name, images, options.rounds) for name in options.models]
    columns = ("", "PyTorch, ms", "ours, jit, ms", "ours, canonical scan, ms", "ours ÷ PyTorch", "aim")
    tables = [
        machine.Table("Classifiers", columns, rows, "The forward pass and the gradient of the input. Ours ÷ PyTorch: of the faster form.")
    ]
    tables += [step_table(name, images, options.rounds) for name in STEP_AIMS if name in options.models]
    machine.report("zoo", "Classifiers against PyTorch", tables)


if __name__ == "__main__":
    main()
