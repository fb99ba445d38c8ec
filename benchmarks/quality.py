"""What the masks are worth: rewards at exact hard areas, and the pointing game. Writes results/quality.md.

    python benchmarks/quality.py                                                    # forty minutes on two cores
    python benchmarks/quality.py --scenes 8 --torchray-scenes 0 --pointing-scenes 8 --presets default    # a quick look

Rewards. Two-object scenes of 128x128 pixels. Of every mask the round(a n) highest pixels are shown to the classifier, exactly; the
others are blurred as strongly as the default preset does (standard deviation 20 · 128/224 pixels, the border repeated). So all are judged
alike, at the same areas, whatever they were optimised with. The reward is the target's logit. Feathered: the same with soft edges, as in
`judge.py`.

Pointing. Scenes of two or three objects; one of them, drawn at random, is the target. Does the point of the result lie on its pixels, or,
as the pointing game counts, less than 15 pixels of a picture of 500 away, here 4 of 128?
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

import extremal_jax as ej
import machine
import peer
from extremal_jax.operators.area import binarize

AREAS = (0.025, 0.05, 0.1, 0.2)
PRESETS: dict[str, Callable[[], ej.Config]] = {"default": ej.Config, "torchray": ej.Config.torchray, "paper": ej.Config.paper}
TOLERANCE = 4  # pixels: round(15 * 128 / 500)


class Cases(NamedTuple):
    """Scenes and what is to be explained in them.

    Attributes:
      images: (N, H, W, 3), prepared.
      targets: (N,), class indices.
      masks: (N, H, W), the target's pixels.
    """

    images: np.ndarray
    targets: np.ndarray
    masks: np.ndarray


class Outcome(NamedTuple):
    """What a method made of cases.

    Attributes:
      rewards: (N, K), at exact hard area.
      feathered: (N, K), the same with soft edges.
      area_errors: (N, K), |reached − asked| of the soft masks.
      seconds: per image, of each batch.
    """

    rewards: np.ndarray
    feathered: np.ndarray
    area_errors: np.ndarray
    seconds: Sequence[float]

    def first(self, count: int) -> Outcome:
        """The first cases, with the seconds of all."""
        return Outcome(self.rewards[:count], self.feathered[:count], self.area_errors[:count], self.seconds)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1001, help="of the scenes whose rewards are measured")
    parser.add_argument("--scenes", type=int, default=32, help="how many of them")
    parser.add_argument("--torchray-scenes", type=int, default=4, help="the first so many also by TorchRay itself; 0: needs no PyTorch")
    parser.add_argument("--pointing-seed", type=int, default=1004, help="of the scenes to point in, and of their targets")
    parser.add_argument("--pointing-scenes", type=int, default=100, help="how many of them")
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=["default", "torchray"], help="whose rewards are measured")
    parser.add_argument("--pointing-presets", nargs="+", choices=PRESETS, default=["default"], help="which of them are to point")
    parser.add_argument("--batch", type=int, default=8, help="images that are explained in one call")
    return parser.parse_args()


def cases(model: ej.models.Classifier, seed: int, count: int, objects: int | tuple[int, int]) -> Cases:
    """Generated scenes with targets drawn from the classes that they show."""
    scenes = ej.data.scenes.generate(seed, count, model.input_size, objects=objects)
    rng = np.random.default_rng(seed)
    targets = np.array([rng.choice(np.flatnonzero(labels)) for labels in scenes.labels])
    images = np.stack([model.preprocess(image) for image in scenes.images])
    return Cases(images, targets, scenes.masks[np.arange(count), targets])


def results(
    model: ej.models.Classifier, task: Cases, config: ej.Config, batch: int, title: str
) -> Iterator[tuple[slice, ej.ExtremalResult, float]]:
    """Explain cases batch by batch: which cases, their result, and seconds per image.

    The last batch is filled up with its first case, so that all have one shape and compile once.
    """
    count = len(task.images)
    config = config.resolve(task.images.shape[1:3])
    with machine.progress() as bar:
        line = bar.add_task(title, total=count)
        for start in range(0, count, batch):
            chosen = np.arange(start, min(start + batch, count))
            filled = np.concatenate([chosen, np.full(batch - len(chosen), start)])
            began = time.perf_counter()
            watcher = lambda now, start=start: bar.update(line, completed=min(count, start + batch * now.step / now.num_steps))  # noqa: E731
            result = ej.extremal_perturbation(
                model, task.images[filled], task.targets[filled], AREAS, config=config, key=jax.random.key(start), progress=watcher
            )
            seconds = (time.perf_counter() - began) / batch
            yield slice(start, start + len(chosen)), jax.tree.map(lambda leaf: leaf[: len(chosen)], result), seconds  # noqa: B023


def measured(model: ej.models.Classifier, task: Cases, preset: str, batch: int) -> Outcome:
    """A preset of ours."""
    parts, seconds = [], []
    for chosen, result, taken in results(model, task, PRESETS[preset](), batch, f"{preset} preset"):
        errors = np.abs(np.asarray(result.areas) - np.asarray(result.requested_areas))
        parts.append((*judged(model, task, chosen, result.binary_masks()), errors))
        seconds.append(taken)
    rewards, feathered, area_errors = map(np.concatenate, zip(*parts, strict=True))
    return Outcome(rewards, feathered, area_errors, seconds)


def judged(model: ej.models.Classifier, task: Cases, chosen: slice, binary_masks: Array) -> tuple[np.ndarray, np.ndarray]:
    """The rewards of binary masks with sharp and with soft edges, (N, K) each."""
    call = model, task.images[chosen], task.targets[chosen], binary_masks, AREAS
    sharp, feathered = (np.asarray(ej.evaluation.reward_at_areas(*call, edge=edge)) for edge in ("sharp", "feathered"))
    return sharp, feathered


def measured_torchray(model: ej.models.Classifier, task: Cases, count: int) -> Outcome:
    """TorchRay itself, 800 steps, on the first cases."""
    import torch_scenes

    device, steps = peer.device(), ej.Config.torchray().num_steps
    network = torch_scenes.from_classifier(model)
    torch_scenes.check_equal(model, network, task.images[:count])
    network = network.to(device)
    masks, seconds = [], []
    with machine.progress() as bar:
        line = bar.add_task("TorchRay", total=count * steps)
        for image, target in zip(task.images[:count], task.targets, strict=False):
            start = time.perf_counter()
            batch = torch_scenes.to_torch(image).to(device)
            masks.append(peer.extremal_perturbation(network, batch, int(target), AREAS, steps, lambda: bar.advance(line)))
            seconds.append(time.perf_counter() - start)
    stacked = np.stack(masks)
    areas = np.array(AREAS, np.float32)
    flat = stacked.reshape(count * len(AREAS), -1)
    binary = binarize(jnp.asarray(flat), jnp.tile(areas, count)).reshape(stacked.shape)
    sharp, feathered = judged(model, task, slice(count), binary)
    return Outcome(sharp, feathered, np.abs(stacked.mean(axis=(2, 3)) - areas), seconds)


def reward_row(name: str, outcome: Outcome) -> tuple[str, ...]:
    means = outcome.rewards.mean(axis=0)
    seconds = float(np.median(outcome.seconds))
    errors = outcome.area_errors.max(axis=0)
    return (
        name,
        str(len(outcome.rewards)),
        *(f"{mean:.2f}" for mean in means),
        f"{means.mean():.2f}",
        f"{outcome.feathered.mean():.2f}",
        f"{errors.max():.4f}",
        f"{seconds:.2f}",
    )


def reward_table(model: ej.models.Classifier, options: argparse.Namespace) -> machine.Table:
    """Mean rewards at exact hard area."""
    task = cases(model, options.seed, options.scenes, objects=2)
    outcomes = {preset: measured(model, task, preset, options.batch) for preset in options.presets}
    rows = [reward_row(f"{preset} preset, {PRESETS[preset]().num_steps} steps", outcome) for preset, outcome in outcomes.items()]
    first = min(options.torchray_scenes, options.scenes)
    if first:
        rows += [reward_row(f"{preset} preset, the first {first}", outcome.first(first)) for preset, outcome in outcomes.items()]
        rows.append(
            reward_row(f"TorchRay 1.0, {ej.Config.torchray().num_steps} steps, the first {first}", measured_torchray(model, task, first))
        )
    return machine.Table(
        "Reward at exact hard area",
        ("", "scenes", *(f"area {area:g}" for area in AREAS), "mean", "mean, feathered", "largest area error", "seconds per image"),
        rows,
        f"Two-object scenes of seed {options.seed}: the mean logit of the target when the highest pixels of its mask, in number exactly the"
        f" area's, are shown, and the rest is blurred (standard deviation 20/224 of the side, border repeated). Feathered: with"
        f" soft edges. Area error: |reached − asked| of the soft masks, over all scenes and areas."
        f" Seconds: the median over calls of {options.batch} images each, TorchRay's"
        " one by one; compilation falls into the first call.",
    )


def pointing_table(model: ej.models.Classifier, options: argparse.Namespace) -> machine.Table:
    """How often the point lies on the target."""
    task = cases(model, options.pointing_seed, options.pointing_scenes, objects=(2, 3))
    rows = []
    for preset in options.pointing_presets:
        points: dict[str, list[np.ndarray]] = {"saliency": [], "evidence": []}
        for chosen, result, _ in results(model, task, PRESETS[preset](), options.batch, f"pointing, {preset} preset"):
            points["saliency"].append(np.asarray(result.point()))
            points["evidence"].append(np.asarray(result.point(task.images[chosen])))
        for kind, parts in points.items():
            distances = distances_to_mask(np.concatenate(parts), task.masks)
            shares = (distances == 0).mean(), (distances < TOLERANCE).mean()
            rows.append((f"{preset} preset, point of the {kind}", str(len(distances)), *(f"{share:.3f}" for share in shares)))
    return machine.Table(
        "Pointing",
        ("", "scenes", "on the target", f"less than {TOLERANCE} pixels away"),
        rows,
        f"Scenes of two or three objects of seed {options.pointing_seed}, one random object of each, its exact mask."
        f" Areas {', '.join(map(str, AREAS))}.",
    )


def distances_to_mask(points: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """(N,): pixels from each point (N, 2) to the nearest pixel of its mask (N, H, W)."""
    rows, columns = np.indices(masks.shape[1:])
    distances = np.hypot(rows - points[:, 0, None, None], columns - points[:, 1, None, None])
    return np.where(masks, distances, np.inf).min(axis=(1, 2))


def main() -> None:
    options = parse()
    if options.torchray_scenes:
        peer.require()
    machine.warn_if_busy()
    model = ej.models.load("scenes")
    tables = [reward_table(model, options), pointing_table(model, options)]
    machine.report("quality", "Quality of the masks", tables)


if __name__ == "__main__":
    main()
