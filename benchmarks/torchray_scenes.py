"""TorchRay's own extremal perturbation in the standard tests on scenes, beside presets of this library. Writes results/torchray_scenes.md.

    python benchmarks/torchray_scenes.py --folder FOLDER                # forty minutes on two cores, most of them TorchRay's
    python benchmarks/torchray_scenes.py --folder FOLDER --shard 1/2    # in one of two processes; the last writes the whole table

The first scenes of the benchmark of docs/evaluation.md, and one class of each, drawn at random. TorchRay runs as it comes: 800 steps, its
own geometry of a step of 7 and a σ of 21 pixels. Its map is the mean of its masks, smoothed as in its pointing game, and its masks of exact
areas are its own. The folder keeps a row for each scene as it comes, so that the same command goes on after a break.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

import extremal_jax as ej
import machine
import peer
from extremal_jax.evaluation.suite.intervals import estimate
from extremal_jax.evaluation.suite.journal import rows_in
from extremal_jax.extremal.result import SMOOTH
from extremal_jax.ground.filters import gaussian_blur
from extremal_jax.operators.nesting import rank_places

TESTS = ("pointing-game", "energy", "insertion", "deletion", "road", "reward")
PEER = "TorchRay 1.0"
COMPARED = ("reward feathered", "reward sharp", "energy iou", "insertion auc", "deletion auc", "road road")
PRESETS = ("extremal_perturbation", "extremal_perturbation:torchray")
STEPS = ej.Config.torchray().num_steps


class OneClassEach(ej.data.SceneDataset):
    """Scenes of which one class is explained, drawn at random."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.name += ", one class of each"

    def example(self, index: int) -> ej.data.Example:
        whole = super().example(index)
        label = int(np.random.default_rng(index).choice(whole.labels))
        return dataclasses.replace(whole, objects=tuple(thing for thing in whole.objects if thing.label == label))


def torchray(model: ej.models.Classifier, steps: int) -> ej.evaluation.Contender:
    """TorchRay on the same classifier in PyTorch."""
    import torch_scenes

    device, network = peer.device(), torch_scenes.from_classifier(model)
    torch_scenes.check_equal(model, network, ej.data.scenes.generate(1, 2, model.input_size).images / np.float32(255))
    network = network.to(device)

    def explain(of: Any, images: np.ndarray, targets: np.ndarray, areas: tuple[float, ...], *_: Any) -> ej.evaluation.Explanation:
        if of is not model:
            raise ValueError("TorchRay explains the classifier in PyTorch alone")
        found = [
            peer.extremal_perturbation(network, torch_scenes.to_torch(image).to(device), int(target), areas, steps)
            for image, target in zip(images, targets, strict=True)
        ]
        masks = jnp.asarray(np.stack(found))
        saliency = gaussian_blur(masks.mean(axis=1)[..., None], SMOOTH * min(images.shape[1:3]), "zeros")[..., 0]
        order = rank_places(masks, jnp.tile(jnp.asarray(areas, jnp.float32), (len(images), 1)), saliency)
        return ej.evaluation.Explanation(saliency, -order.astype(jnp.float32), masks)

    return ej.evaluation.Contender(PEER, f"{steps} steps", explain)


def differences(folder: Path) -> machine.Table:
    """How far the presets exceed TorchRay, on the scenes that both have."""
    found: dict[tuple[str, str], dict[int, float]] = {}
    for row in rows_in(folder):
        for name in COMPARED:
            found.setdefault((row["method"], name), {})[row["image"]] = row["values"][name]
    lines = []
    for method in PRESETS:
        for name in COMPARED:
            ours, theirs = (found.get((one, name), {}) for one in (method, PEER))
            images = np.array(sorted(ours.keys() & theirs.keys()), np.int64)
            if len(images):
                difference = estimate(np.array([ours[image] - theirs[image] for image in images]), images)
                lines.append((f"{method}, {name}", str(len(images)), str(difference)))
    note = "The means over scenes, with 95 % bootstrap intervals."
    return machine.Table("How far the presets exceed TorchRay, paired by scenes", ("", "scenes", "difference"), lines, note)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="folder of the rows")
    parser.add_argument("--scenes", type=int, default=50, help="how many scenes, from the first")
    parser.add_argument("--steps", type=int, default=STEPS, help="TorchRay's number of steps")
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=PRESETS, help="presets of this library to run as well")
    parser.add_argument("--shard", default="1/1", help="index/count, to share the scenes among processes")
    parser.add_argument("--table", action="store_true", help="only write the table of what is in the folder")
    return parser.parse_args()


def main() -> None:
    options = parse()
    if not options.table:
        peer.require()
        machine.warn_if_busy()
        model = ej.models.load("scenes")
        index, count = map(int, options.shard.split("/"))
        with machine.progress() as bar:
            line = bar.add_task("scenes, times methods", total=None)
            ej.evaluation.benchmark(
                TESTS,
                OneClassEach(options.scenes),
                {"scenes": model},
                [torchray(model, options.steps), *options.presets],
                folder=options.folder,
                shard=(index, count),
                batch_size=1,
                progress=lambda done, total: bar.update(line, completed=done, total=total),
            )
    report = ej.evaluation.tabulate(options.folder)
    columns = ("", *report.measures, "seconds")
    rows = [(one.method, *(str(one.estimates[name]) for name in report.measures), f"{one.seconds:.3g}") for one in report.lines]
    count = max(one.images for one in report.lines)
    note = f"{count} scenes, one class of each. Seconds are the median of a scene, on the cores that a process may use."
    tables = [machine.Table("The standard tests", columns, rows, note), differences(options.folder)]
    machine.report("torchray_scenes", "TorchRay in the standard tests on scenes", tables)


if __name__ == "__main__":
    main()
