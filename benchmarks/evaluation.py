"""The tests of maps: insertion in chunks against a loop of one image at a time, and the overhead and memory of a benchmark.

    python benchmarks/evaluation.py
    python benchmarks/evaluation.py --models scenes efficientnet_lite0 --images 4 --rounds 3
    python benchmarks/evaluation.py --only memory

Writes results/evaluation.md. The loop does the same forward passes one image at a time: it makes each image in NumPy, as
RISE's own script does, and shows it to the compiled model. The overhead is the time of a benchmark beyond the methods' own
and the forward passes of its tests, both called in the same batches. Its peak memory is that of a fresh process for each
number of images. With `--only`, the other tables stay as they are in the file.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import extremal_jax as ej
import machine
import timing
from extremal_jax.boundary.areas import USUAL_AREAS
from extremal_jax.evaluation.faithfulness.curves import rise_blur
from extremal_jax.evaluation.suite.contenders import contender

CHUNK = 32
METHODS = ("grad_cam", "extremal_perturbation")
TESTS = ("pointing-game", "energy", "insertion", "deletion")
IN_MEMORY, MEMORY_TESTS = ("gradient",), ("pointing-game", "energy")  # the methods and tests whose memory is measured
MEBIBYTE = 2**20


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["scenes", "efficientnet_lite0"])
    parser.add_argument("--images", type=int, default=2, help="whose curves are made")
    parser.add_argument("--benchmark-images", type=int, default=8, help="of the benchmark whose overhead is measured")
    parser.add_argument("--methods", nargs="+", default=METHODS, help="whose benchmark's overhead is measured")
    parser.add_argument("--memory-images", type=int, nargs="+", default=[32, 128, 512], help="of the benchmarks whose memory is measured")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES), help="the tables to make anew")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)  # the number of images of a process whose memory is measured
    return parser.parse_args()


def one_by_one(model: ej.models.Classifier, images: np.ndarray, targets: np.ndarray, maps: np.ndarray) -> np.ndarray:
    """The insertion curve's areas, from a loop over steps whose images are shown one at a time."""
    forward = jax.jit(lambda model, image: jax.nn.softmax(model(image)))
    ends = []
    for image, target, saliency in zip(images, targets, maps, strict=True):
        shown = np.array(rise_blur(jnp.asarray(image)[None])[0]).reshape(-1, image.shape[-1])
        order = np.argsort(-saliency.ravel(), kind="stable")
        step, scores = image.shape[1], []
        for start in range(0, len(order) + step, step):
            scores.append(float(forward(model, shown.reshape(1, *image.shape))[0, target]))
            chosen = order[start : start + step]
            shown[chosen] = image.reshape(-1, image.shape[-1])[chosen]
        ends.append((sum(scores) - scores[0] / 2 - scores[-1] / 2) / (len(scores) - 1))
    return np.array(ends)


def curve(name: str, options: argparse.Namespace) -> tuple[str, ...]:
    """The row of a model: insertion in chunks, and one image at a time."""
    model = ej.models.load(name)
    rng = np.random.default_rng(0)
    height, width = model.input_size
    images = rng.standard_normal((options.images, height, width, 3)).astype(np.float32)
    maps, targets = rng.random((options.images, height, width)).astype(np.float32), np.arange(options.images)
    contenders: dict[str, Callable[[], Any]] = {
        "ours": lambda: ej.evaluation.insertion(model, images, targets, maps, chunk_size=CHUNK).auc,
        "loop": lambda: one_by_one(model, images, targets, maps),
    }
    ours, loop = (np.asarray(run()) for run in contenders.values())
    if not np.allclose(ours, loop, atol=1e-4):
        raise SystemExit(f"{name}: the curves differ: {ours} and {loop}")
    seconds = machine.alternate({side: timing.whole(run) for side, run in contenders.items()}, options.rounds, warm_up=False)
    steps = height + 1  # of one image width of pixels each, and the start
    cells = (machine.milliseconds(seconds[side] / options.images) for side in ("loop", "ours"))
    return (name, str(steps), *cells, machine.ratio(seconds["ours"], seconds["loop"]))


def curves(options: argparse.Namespace) -> machine.Table:
    return machine.Table(
        "Insertion",
        ("", "images per curve", "one at a time, ms", f"in chunks of {CHUNK}, ms", "ratio"),
        [curve(name, options) for name in options.models],
        "For each image. Both sides do the same forward passes, compiled.",
    )


def overhead(options: argparse.Namespace) -> machine.Table:
    """The seconds of a benchmark of the packaged classifier, and of what it cannot do without."""
    model = ej.models.load("scenes")
    dataset = ej.data.SceneDataset(options.benchmark_images, objects=1)
    images = np.stack([model.preprocess(example.load()) for example in dataset])
    targets = np.array([example.labels[0] for example in dataset], np.int32)
    forward = jax.jit(lambda model, images: model(images))
    passes = math.ceil(2 * len(images) * (images.shape[1] + 1) / CHUNK)
    chunk = jnp.asarray(images[np.arange(CHUNK) % len(images)])
    rows = []
    for name in options.methods:
        one = contender(name)

        def explained(one: Any = one) -> Any:
            return jax.block_until_ready(one.explain(model, images, targets, USUAL_AREAS, jax.random.key(0)))

        def passed() -> None:
            for _ in range(passes):
                forward(model, chunk).block_until_ready()

        def whole(name: str = name) -> Any:
            return ej.evaluation.benchmark(TESTS, dataset, {"scenes": model}, [name], batch_size=len(images))

        runs = {"method": explained, "passes": passed, "benchmark": whole}
        for run in runs.values():
            run()  # compiles
        processor: dict[str, list[float]] = {side: [] for side in runs}
        timed = {side: timing.whole(_counted(run, processor[side])) for side, run in runs.items()}
        seconds = machine.alternate(timed, options.rounds, warm_up=False)
        both = (seconds, {side: np.array(values) for side, values in processor.items()})
        ratios = (machine.ratio(times["method"] + times["passes"], times["benchmark"]) for times in both)
        rows.append((name, *(machine.milliseconds(seconds[side]) for side in runs), *ratios))
    return machine.Table(
        "A benchmark",
        ("", "the method, ms", "forward passes, ms", "the benchmark, ms", "benchmark ÷ the two", "the same of processor time"),
        rows,
        f"{', '.join(TESTS)} of {options.benchmark_images} scenes of one object each.",
    )


def _counted(run: Callable[[], Any], seconds: list[float]) -> Callable[[], Any]:
    """The function, which also notes the processor's time of this process."""

    def counted() -> Any:
        start = time.process_time()
        found = jax.block_until_ready(run())
        seconds.append(time.process_time() - start)
        return found

    return counted


def memory(options: argparse.Namespace) -> machine.Table:
    """The peak memory of benchmarks of more and more images."""
    rows = []
    for count in options.memory_images:
        command = [sys.executable, __file__, "--child", str(count)]
        finished = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        found = json.loads(finished.stdout.splitlines()[-1])
        sizes = (f"{found[name] / MEBIBYTE:.0f}" for name in ("before", "peak"))
        rows.append((f"{count} images", str(found["cases"]), *sizes, f"{found['seconds']:.1f}"))
    return machine.Table(
        "Memory of a benchmark",
        ("", "cases", "after the imports, MiB", "at most, MiB", "s"),
        rows,
        f"{', '.join(MEMORY_TESTS)} of {', '.join(IN_MEMORY)} on scenes, each in a process of its own: its resident memory.",
    )


def child(count: int) -> None:
    """A benchmark of so many images; prints the memory and the seconds of this process."""
    model, dataset = ej.models.load("scenes"), ej.data.SceneDataset(count)
    before, start = machine.resident("VmRSS"), time.perf_counter()
    report = ej.evaluation.benchmark(MEMORY_TESTS, dataset, {"scenes": model}, IN_MEMORY)
    seconds = time.perf_counter() - start
    print(json.dumps(dict(before=before, peak=machine.resident("VmHWM"), cases=report.lines[0].cases, seconds=seconds)))


_EARLIER = "Of an earlier run, and another load than above."


class Kept:
    """A table as it stands in the file."""

    def __init__(self, title: str):
        self.title = title

    def markdown(self) -> str:
        path = machine.RESULTS / "evaluation.md"
        parts = path.read_text().split("\n## ") if path.exists() else []
        found = next((part for part in parts if part.splitlines()[0] == self.title), "").replace(f"{_EARLIER}\n\n", "").rstrip()
        return found and f"## {self.title}\n\n{_EARLIER}{found.removeprefix(self.title)}\n"


TABLES = {"insertion": (curves, "Insertion"), "overhead": (overhead, "A benchmark"), "memory": (memory, "Memory of a benchmark")}


def main() -> None:
    options = parse()
    if options.child is not None:
        child(options.child)
        return
    machine.warn_if_busy()
    start = time.perf_counter()
    tables: list[Any] = [make(options) if name in options.only else Kept(title) for name, (make, title) in TABLES.items()]
    machine.report("evaluation", "Tests of maps", tables)
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
