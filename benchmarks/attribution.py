"""The other methods of attribution against TorchRay's, on ResNet-50. Writes results/attribution.md.

    python benchmarks/attribution.py                                  # about ten minutes on two cores
    python benchmarks/attribution.py --rounds 1 --rise-masks 50       # a quick look

torchvision's network with random weights on both sides, one image of 224x224 pixels, float32; that the maps agree is checked first. What is
compared is measured in turns. The inner layers are those of TorchRay's own benchmark: Grad-CAM at layer4, excitation backpropagation at
layer3, where ours stops and TorchRay goes on to the image. Down to the first layers both do the same convolutions: that case has no aim.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

import extremal_jax as ej
import machine
import peer
import timing
import zoo


class Case(NamedTuple):
    """What is measured.

    Attributes:
      method: its name.
      at: the layer, in the names of both sides; None: the image.
      aim: for ours ÷ TorchRay, if there is one.
    """

    method: str
    at: str | None
    aim: str


CASES = {
    "gradient": Case("gradient", None, "≤ 1.3"),
    "grad_cam": Case("grad_cam", "layer4", "≤ 1.3"),
    "guided_backprop": Case("guided_backprop", None, "≤ 1.3"),
    "excitation_backprop": Case("excitation_backprop", "layer3", "≤ 0.67"),
    "excitation_backprop to the first layers": Case("excitation_backprop", "maxpool", ""),
    "rise": Case("rise", None, "≤ 1"),
}
BATCH = 8
TOLERANCE = 1e-3  # of a map's largest entry


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="how often each is measured")
    parser.add_argument("--rise-masks", type=int, default=1000, help="of RISE, which is measured once")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    return parser.parse_args()


def theirs(case: Case, network: Any, image: Any, rise_masks: int) -> Callable[[], np.ndarray]:
    """TorchRay's map of the method, (h, w)."""
    import torch
    import torchray.attribution.excitation_backprop as excitation
    import torchray.attribution.grad_cam as grad_cam
    import torchray.attribution.gradient as gradient
    import torchray.attribution.guided_backprop as guided
    import torchray.attribution.rise as rise

    def array(maps: Any) -> np.ndarray:
        return maps.detach().cpu().numpy()[0, 0]

    calls = {
        "gradient": lambda x: gradient.gradient(network, x, 0),
        "grad_cam": lambda x: grad_cam.grad_cam(network, x, 0, saliency_layer=case.at),
        "guided_backprop": lambda x: guided.guided_backprop(network, x, 0),
        "excitation_backprop": lambda x: excitation.excitation_backprop(excitation.update_resnet(network), x, 0, saliency_layer=case.at),
        "rise": lambda x: rise.rise_class(network, x, target=torch.tensor([0]), num_masks=rise_masks),
    }
    return lambda: array(calls[case.method](image.clone().requires_grad_(case.method != "rise")))


def ours(case: Case, model: ej.models.Classifier, images: np.ndarray, rise_masks: int) -> Callable[[], np.ndarray]:
    """Our maps, (h, w) or (N, h, w)."""
    options = {"key": jax.random.key(0), "num_masks": rise_masks} if case.method == "rise" else {"at": case.at}
    return lambda: np.asarray(ej.attribution.METHODS[case.method].function(model, images, 0, **options))


def check_equal(name: str, a: np.ndarray, b: np.ndarray) -> None:
    """Stop unless two maps are equal, but for the few pixels behind a rectifier or a max-pool that rounding switches."""
    difference = np.median(np.abs(a - b)) / np.abs(b).max()
    print(f"{name}: the maps differ by {difference:.1e} of the largest entry in the median")
    if not difference <= TOLERANCE:
        raise SystemExit(f"{name}: the maps differ by more than {TOLERANCE}")


def row(name: str, network: Any, model: ej.models.Classifier, images: np.ndarray, options: argparse.Namespace) -> tuple[str, ...]:
    case, image = CASES[name], zoo.to_torch(images[:1])
    their, our = theirs(case, network, image, options.rise_masks), ours(case, model, images[0], options.rise_masks)
    contenders = {"TorchRay": timing.whole(their), "ours": timing.whole(our)}
    first = our()  # compiles
    if name != "rise":  # whose masks are random
        check_equal(name, first, their())
        contenders[f"ours, {BATCH} images"] = timing.whole(ours(case, model, images, 0))
    seconds = machine.alternate(contenders, 1 if name == "rise" else options.rounds, warm_up=name != "rise")
    batch = seconds.get(f"ours, {BATCH} images")
    scaling = "" if batch is None else machine.ratio(BATCH * seconds["ours"], batch)
    cells = (machine.milliseconds(seconds[side]) for side in ("TorchRay", "ours"))
    return (name, *cells, machine.ratio(seconds["TorchRay"], seconds["ours"]), case.aim, scaling)


def main() -> None:
    options = parse()
    peer.require()
    machine.warn_if_busy()
    peer.device()
    network, model = zoo.pair("resnet50")
    images = np.random.default_rng(0).standard_normal((BATCH, 224, 224, 3), np.float32)
    rows = [row(name, network, model, images, options) for name in options.cases]
    columns = ("", "TorchRay, ms", "ours, ms", "ours ÷ TorchRay", "aim", f"{BATCH} images ÷ {BATCH} times one")
    rise = f", RISE with {options.rise_masks:,} masks" if "rise" in options.cases else ""
    note = (
        f"One image of 224x224 pixels, ResNet-50{rise}. The aim of the last column is ≤ 1. Down to the first layers, excitation"
        " backpropagation is as many convolutions on both sides."
    )
    machine.report("attribution", "Methods of attribution against TorchRay", [machine.Table("ResNet-50", columns, rows, note)])


if __name__ == "__main__":
    main()
