"""The methods of TorchRay's table of the pointing game against TorchRay's own calls. Writes results/pointing.md.

    python benchmarks/pointing.py                                       # five minutes on two cores
    python benchmarks/pointing.py --networks resnet50 --pictures 1      # a quick look

Both sides are TorchRay's fully convolutional VGG-16 and ResNet-50 of VOC, with the same random weights, on pictures of
scenes that are wider than high. TorchRay's side calls its methods as the script of its table does, with the ResNet's
pool replaced by one of 7x7 windows; ours are the contenders METHOD:torchray of a benchmark. The maps on the original
picture and their highest points are compared. RISE is left out because its masks are random, and extremal perturbation
because its runs are compared elsewhere.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

import extremal_jax as ej
import machine
import peer
import zoo
from extremal_jax.evaluation.suite.contenders import contender

NETWORKS = {"vgg16": "vgg16_voc_fully_convolutional", "resnet50": "resnet50_voc_sliding"}
LAYERS = {"vgg16": ("features.29", "features.23", "classifier.4"), "resnet50": ("layer4", "layer3", "avgpool")}
LARGEST_SCORE = 5.0
_NAMES = {  # TorchRay's names in the files of weights, by PyTorch's
    "vgg16": ((r"classifier\.3\.", "classifier.2."), (r"classifier\.6\.", "classifier.4.")),
    "resnet50": (
        (r"(bn\d|downsample\.1)\.(running_\w+)$", r"\1.0.\2"),
        (r"(bn\d|downsample\.1)\.(weight|bias)$", r"\1.1.\2"),
        (r"downsample\.0\.weight$", "downsample.0.0.weight"),
    ),
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--pictures", type=int, default=4, help="of how many scenes")
    return parser.parse_args()


def pair(name: str) -> tuple[Any, ej.models.Classifier]:
    """TorchRay's network and ours, of the same random weights."""
    import torch

    models = peer.torchvision_models()
    from torchray.attribution.excitation_backprop import update_resnet
    from torchray.benchmark.models import get_model

    torch.manual_seed(0)
    drawn = getattr(models, name)(weights=None, num_classes=20)
    if name == "resnet50":
        drawn.conv1 = torch.nn.Conv2d(3, 64, 7, 2, 3)
    zoo.randomize(drawn)
    weights = {_renamed(name, key): value for key, value in drawn.state_dict().items() if not key.endswith("num_batches_tracked")}
    if name == "vgg16":  # its linear layers are convolutions in the files
        weights |= {key: value[..., None, None] for key, value in weights.items() if re.match(r"classifier\..\.weight", key)}
        weights["classifier.0.weight"] = weights["classifier.0.weight"].reshape(-1, 512, 7, 7)
    original, build = torch.hub.load_state_dict_from_url, getattr(models, name)
    try:
        torch.hub.load_state_dict_from_url = lambda *_: dict(weights)
        setattr(models, name, lambda pretrained: build(weights=None))
        network = get_model(name, "voc", convert_to_fully_convolutional=True)
    finally:
        torch.hub.load_state_dict_from_url = original
        setattr(models, name, build)
    if name == "resnet50":
        network.avgpool = torch.nn.AvgPool2d(7, stride=1)
        network = update_resnet(network)
    network = network.eval().to(peer.device())
    head, prefix = (network.fc, "fc") if name == "resnet50" else (network.classifier[-1], "classifier.4")
    with torch.no_grad():  # TorchRay's softmax overflows at the scores that random weights give
        largest = network(100 * torch.ones(1, 3, 224, 298, device=peer.device())).abs().max()
        for part in ("weight", "bias"):
            getattr(head, part).div_(largest / LARGEST_SCORE)
            weights[f"{prefix}.{part}"] = getattr(head, part).cpu().reshape(weights[f"{prefix}.{part}"].shape)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.pth"
        torch.save({key: value.clone() for key, value in weights.items()}, path)
        return network, ej.models.load(NETWORKS[name], path)


def _renamed(name: str, key: str) -> str:
    for pattern, replacement in _NAMES[name]:
        key = re.sub(pattern, replacement, key)
    return key


def their_maps(name: str, network: Any, image: np.ndarray, target: int, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """TorchRay's maps of an image, of the size (H, W) of the picture."""
    from torchray.attribution.common import get_pointing_gradient
    from torchray.attribution.deconvnet import deconvnet
    from torchray.attribution.excitation_backprop import contrastive_excitation_backprop, excitation_backprop
    from torchray.attribution.grad_cam import grad_cam
    from torchray.attribution.gradient import gradient
    from torchray.attribution.guided_backprop import guided_backprop

    last, inner, before_head = LAYERS[name]
    calls: dict[str, tuple[Any, dict[str, Any]]] = {
        "gradient": (gradient, {"smooth": 0.02}),
        "deconvnet": (deconvnet, {"smooth": 0.02}),
        "guided_backprop": (guided_backprop, {"smooth": 0.02}),
        "grad_cam": (grad_cam, {"saliency_layer": last}),
        "excitation_backprop": (excitation_backprop, {"saliency_layer": inner}),
        "contrastive_excitation_backprop": (contrastive_excitation_backprop, {"saliency_layer": inner, "contrast_layer": before_head}),
    }
    found = {}
    for method, (function, options) in calls.items():
        saliency = function(
            network, zoo.to_torch(image[None]), target, resize=size[::-1], get_backward_gradient=get_pointing_gradient, **options
        )
        found[method] = saliency.detach().cpu().numpy()[0, 0]
    return found


def rows(name: str, count: int) -> list[tuple[str, ...]]:
    """For each method, how far the maps and the points of the two sides are apart."""
    network, model = pair(name)
    layers = ej.graph.activations(model, jax.ShapeDtypeStruct((1, 224, 298, 3), np.float32))
    differences: dict[str, list[float]] = {}
    distances: dict[str, list[float]] = {}
    for index, scene in enumerate(ej.data.SceneDataset(count)):
        picture = Image.fromarray(np.asarray(scene.load())[:96]).resize((400, 300), Image.Resampling.BICUBIC)
        size, target = (picture.height, picture.width), index % 20
        image = model.preprocess(picture)
        if index == 0:
            zoo.check_equal(name, network, model, image[None])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of PyTorch's functions that have changed since TorchRay was written
            theirs = their_maps(name, network, image, target, size)
        for method, expected in theirs.items():
            explain = contender(f"{method}:torchray").explain
            ours = explain(model, image[None], np.array([target]), (), jax.random.key(0), layers).maps
            placed = model.preprocessing.place(np.asarray(ours[0]), size)
            points = [np.array(np.unravel_index(np.argmax(one), size)) for one in (placed, expected)]
            largest = np.abs(expected).max() or 1.0  # a map may be zero
            differences.setdefault(method, []).append(float(np.abs(placed - expected).max() / largest))
            distances.setdefault(method, []).append(float(np.linalg.norm(points[0] - points[1])))
    return [
        (
            f"{method}, {name}",
            f"{np.median(differences[method]):.1e}",
            f"{np.median(distances[method]):.1f}",
            f"{max(distances[method]):.1f}",
            f"{sum(distance < 15 for distance in distances[method])} of {count}",
        )
        for method in differences
    ]


def main() -> None:
    options = parse()
    peer.require()
    found = [row for name in options.networks for row in rows(name, options.pictures)]
    columns = ("", "maps differ by", "points apart, median", "largest", "closer than 15 pixels")
    note = (
        f"{options.pictures} pictures of 300x400 pixels. The difference of two maps is the largest of any pixel, as a share of the largest"
        " entry; its median over pictures. Ours are enlarged twice, from a layer to the input and on to the picture, and smoothed before"
        " that; TorchRay's are enlarged once, and smoothed after it."
    )
    machine.report("pointing", "The methods of TorchRay's table", [machine.Table("Maps and their highest points", columns, found, note)])


if __name__ == "__main__":
    main()
