"""Batches and sweeps: how time and memory grow, how much of a sweep is computing, and what bfloat16 costs. Writes results/scale.md.

    python benchmarks/scale.py                                  # a quarter of an hour on two cores
    python benchmarks/scale.py --parts growth memory --rounds 1

- growth: seconds against the number of pictures, areas, pixels and levels of blur, and a figure.
- memory: the peak of a fresh process against the number of pictures and areas, with `chunk_size` and without.
- overlap: the share of a sweep that its compiled runs take, on ResNet-50 with random weights.
- bfloat16: rewards and points of EfficientNet-lite0 with weights in bfloat16 against float32, both judged in float32.
- start: from the start of a process to its first result, with an empty compilation cache and with a full one.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

import extremal_jax as ej
import machine
from extremal_jax.ground.files import whole_file
from extremal_jax.sweeps import running

AREAS = (0.025, 0.05, 0.1, 0.2)
GROWTH: dict[str, Sequence[int]] = {
    "pictures": (1, 2, 4, 8, 16),
    "areas": (1, 2, 4, 8, 16),
    "side": (64, 128, 192, 256),
    "levels": (2, 4, 8),
}
MEMORY = ((1, 4), (4, 4), (16, 4), (4, 16))  # pictures and areas
CHUNK = 8
SCENES = 16  # for bfloat16
STEPS = 10  # of the runs whose time is taken
PARTS = ("growth", "memory", "overlap", "bfloat16", "start")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--rounds", type=int, default=3, help="how often each time is taken")
    parser.add_argument("--model", default="resnet50", help="whose sweep is timed")
    parser.add_argument("--photographs", type=Path, help="a folder for bfloat16; photographs of scikit-image by default")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        CHILDREN[options.child[0]](*options.child[1:])
        return
    made: dict[str, Callable[[], machine.Table]] = {
        "growth": lambda: growth(options.rounds),
        "memory": memory,
        "overlap": lambda: overlap(options.model),
        "bfloat16": lambda: bfloat16(options.photographs),
        "start": lambda: start(options.rounds),
    }
    machine.report("scale", "Batches and sweeps", [made[part]() for part in options.parts])


def run(model: Any, pictures: int, areas: int, side: int = 128, levels: int | None = None, chunk_size: int | None = None) -> Any:
    """The masks of some scenes, without what only the default's selection does, so that all steps are alike."""
    prepare = dataclasses.replace(model.preprocessing, size=(side, side))
    images = np.stack([prepare(one) for one in ej.data.scenes.generate(0, pictures, objects=1).images])
    config = ej.Config(num_steps=STEPS, exchange=False) if levels is None else ej.Config(num_steps=STEPS, exchange=False, num_levels=levels)
    chosen = np.linspace(0.05, 0.3, areas)
    return jax.block_until_ready(ej.extremal_perturbation(model, images, 0, chosen, config=config, chunk_size=chunk_size))


def growth(rounds: int) -> machine.Table:
    """Seconds of a step and mask, along one axis at a time."""
    rows: list[Sequence[str]] = []
    _, axes = plt.subplots(1, len(GROWTH), figsize=(12, 3), sharey=True)
    for axis, (name, values) in zip(axes, GROWTH.items(), strict=True):
        times = [seconds(name, value, rounds) for value in values]
        each = [1e3 * taken / STEPS / masks(name, value) for taken, value in zip(times, values, strict=True)]
        axis.plot(values, each, "o-")
        axis.set(xlabel=name, xscale="log", xticks=values, xticklabels=values)
        axis.minorticks_off()
        rows += [
            (name, str(value), f"{1e3 * taken / STEPS:.1f}", f"{one:.2f}") for value, taken, one in zip(values, times, each, strict=True)
        ]
    axes[0].set(ylabel="ms of a step and mask", ylim=(0, 1.1 * max(float(row[-1]) for row in rows)))
    plt.tight_layout()
    with whole_file(machine.RESULTS / "scale.png") as temporary:
        plt.savefig(temporary, dpi=110)
    note = (
        "The packaged classifier; two areas, two pictures, 128x128 pixels and the default's levels unless a row says otherwise. Where"
        " growth is linear, the last column is constant; in the rows of a side, it grows with its square. ![](scale.png)"
    )
    return machine.Table("Growth", ("axis", "value", "ms of a step", "ms of a step and mask"), rows, note)


def masks(name: str, value: int) -> int:
    return 2 * value if name in ("pictures", "areas") else 4


def seconds(name: str, value: int, rounds: int) -> float:
    """The shortest time of a run, which other work of the machine lengthens least."""
    given = dict(pictures=2, areas=2) | {name: value}
    model = ej.models.load("scenes")
    taken = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        run(model, **given)
        taken.append(time.perf_counter() - began)
    return min(taken[1:])


def memory() -> machine.Table:
    """The peak memory of fresh processes."""
    rows = []
    for pictures, areas in MEMORY:
        peaks = [child("memory", str(pictures), str(areas), str(chunk)) for chunk in (0, CHUNK)]
        rows.append((str(pictures), str(areas), *(f"{peak:.0f}" for peak in peaks)))
    columns = ("pictures", "areas", "all at once, MiB", f"chunk_size={CHUNK}, MiB")
    note = "EfficientNet-lite0, 224x224 pixels, two steps: the high-water mark of a process beyond its imports and the model."
    return machine.Table("Memory", columns, rows, note)


def child_memory(pictures: str, areas: str, chunk: str) -> None:
    model = ej.models.load("efficientnet_lite0", weights=None)
    images = np.random.default_rng(0).standard_normal((int(pictures), 224, 224, 3)).astype(np.float32)
    before = machine.resident("VmRSS")
    config = ej.Config(num_steps=2, exchange=False)
    jax.block_until_ready(
        ej.extremal_perturbation(model, images, 0, np.linspace(0.05, 0.3, int(areas)), config=config, chunk_size=int(chunk) or None)
    )
    print(json.dumps((machine.resident("VmHWM") - before) / 2**20))


def overlap(name: str) -> machine.Table:
    """A sweep of image files, and the time within its compiled runs."""
    model = ej.models.load(name, weights=None)
    inside, explained = [], ej.extremal_perturbation

    def timed(*arguments: Any, **options: Any) -> Any:
        began = time.perf_counter()
        result = jax.block_until_ready(explained(*arguments, **options))
        inside.append(time.perf_counter() - began)
        return result

    config = ej.Config(num_steps=2, exchange=False)
    running.extremal_perturbation = timed  # type: ignore[assignment,attr-defined]
    moments: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        photographs(Path(folder) / "pictures", 40)
        source, out = Path(folder) / "pictures", Path(folder) / "store"
        ej.sweep(model, source, out, targets=0, batch_size=8, config=config, progress=lambda *_: moments.append(time.perf_counter()))
    running.extremal_perturbation = explained  # type: ignore[attr-defined]
    whole = moments[-1] - moments[1]  # without the first batch, which compiles
    computing = sum(inside[1:])
    note = (
        "JPEG files of 1600x1200 pixels, batches of eight, four areas, random weights. Runs of two steps, twenty-five times shorter than"
        " the default's, make reading and writing as heavy as they get."
    )
    columns = ("network", "pictures", "s in compiled runs", "s in all", "share")
    rows = [(name, str(8 * len(inside[1:])), f"{computing:.1f}", f"{whole:.1f}", f"{computing / whole:.1%}")]
    return machine.Table("How much of a sweep is computing", columns, rows, note)


def photographs(folder: Path, count: int) -> None:
    """Large JPEG files."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for index in range(count):
        small = Image.fromarray(rng.integers(0, 255, (30, 40, 3), np.uint8))
        small.resize((1600, 1200), Image.Resampling.BICUBIC).save(folder / f"{index}.jpg", quality=92)


def bfloat16(folder: Path | None) -> machine.Table:
    """The masks of networks in bfloat16, judged by the same networks in float32; on scenes, points against the objects as well."""
    scenes = ej.data.SceneDataset(SCENES, objects=2)
    regions = [scene.region(scene.labels[0]) for scene in scenes]
    rows = [
        compared("EfficientNet-lite0, photographs", "efficientnet_lite0", some(folder)),
        compared(
            "packaged classifier, scenes", "scenes", [scene.load() for scene in scenes], [scene.labels[0] for scene in scenes], regions
        ),
    ]
    columns = ("", "images", "reward, float32", "bfloat16", "difference", "points on the object, float32", "bfloat16")
    note = (
        "The feathered reward at exact areas by the network in float32, for masks that were found with weights of either type. Of a"
        " photograph the class of the highest score is explained, of a scene one of two objects."
    )
    return machine.Table("bfloat16", columns, rows, note)


def compared(title: str, name: str, pictures: Sequence[np.ndarray], labels: Any = None, regions: Any = None) -> Sequence[str]:
    """A row: mean rewards, and how many points lie on the objects where these are known."""
    exact, rounded = (ej.models.load(name, dtype=dtype) for dtype in ("float32", "bfloat16"))
    rewards: list[list[float]] = [[], []]
    hits: list[list[bool]] = [[], []]
    for index, image in enumerate(map(exact.preprocess, pictures)):
        target = int(np.argmax(exact(image[None]))) if labels is None else labels[index]
        for kind, model in enumerate((exact, rounded)):
            result = ej.extremal_perturbation(model, image, target, AREAS)
            judged = ej.evaluation.reward_at_areas(exact, image[None], np.array([target]), result.masks[None], AREAS)
            rewards[kind].append(float(judged.mean()))
            if regions is not None:
                hits[kind].append(bool(regions[index][tuple(np.asarray(result.point(image)))]))
    first, second = (float(np.mean(values)) for values in rewards)
    points = ["", ""] if regions is None else [f"{np.mean(values):.0%}" for values in hits]
    return (title, str(len(pictures)), f"{first:.2f}", f"{second:.2f}", f"{second / first - 1:+.1%}", *points)


def some(folder: Path | None) -> list[np.ndarray]:
    """Photographs."""
    if folder is not None:
        return [ej.data.load_image(path) for path in sorted(folder.glob("*.jpg"))[:8]]
    import skimage.data  # type: ignore[import-not-found]

    return [np.asarray(getattr(skimage.data, name)()) for name in ("chelsea", "coffee", "astronaut", "rocket")]


def start(rounds: int) -> machine.Table:
    """Processes that explain one scene, in rounds: without a compilation cache, with an empty one, and with the one just filled."""
    taken = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            cached = {"JAX_COMPILATION_CACHE_DIR": folder, "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
            taken.append([whole_process({}), whole_process(cached), whole_process(cached)])
    names = ("no cache", "an empty cache", "a full cache")
    rows = [
        (name, f"{np.median(one):.1f} ({min(one):.1f}–{max(one):.1f})") for name, one in zip(names, zip(*taken, strict=True), strict=True)
    ]
    note = (
        "From the start of a process to its first result: the packaged classifier, one scene, four areas, the default"
        f" settings. The median and the range of {rounds} rounds."
    )
    return machine.Table("A cold start", ("", "seconds"), rows, note)


def whole_process(environment: dict[str, str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, __file__, "--child", "start"], env=os.environ | environment, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def child_start() -> None:
    scene = ej.data.scenes.generate(0, 1, objects=1)
    model = ej.models.load("scenes")
    jax.block_until_ready(ej.extremal_perturbation(model, model.preprocess(scene.images[0]), int(scene.labels[0].argmax()), AREAS))


CHILDREN: dict[str, Callable[..., None]] = {"memory": child_memory, "start": child_start}


def child(*arguments: str) -> Any:
    """What a fresh process prints."""
    found = subprocess.run([sys.executable, __file__, "--child", *arguments], check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(found.stdout.splitlines()[-1])


if __name__ == "__main__":
    main()
