"""The tests of maps: insertion in chunks against a loop of one image at a time, and the overhead of a benchmark.

    python benchmarks/evaluation.py
    python benchmarks/evaluation.py --models scenes efficientnet_lite0 --images 4 --rounds 3

Writes results/evaluation.md. The loop does the same forward passes one image at a time: it makes each image in NumPy, as
RISE's own script does, and shows it to the compiled model. The overhead is the time of a benchmark beyond the methods' own
and the forward passes of its tests, both called in the same batches.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import extremal_jax as ej
import machine
import timing
from extremal_jax.evaluation.faithfulness.curves import rise_blur
from extremal_jax.evaluation.suite.benchmark import AREAS
from extremal_jax.evaluation.suite.contenders import contender

CHUNK = 32
METHODS = ("grad_cam", "extremal_perturbation")
TESTS = ("pointing-game", "energy", "insertion", "deletion")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["scenes", "efficientnet_lite0"])
    parser.add_argument("--images", type=int, default=2, help="whose curves are made")
    parser.add_argument("--benchmark-images", type=int, default=8, help="of the benchmark whose overhead is measured")
    parser.add_argument("--rounds", type=int, default=3)
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


def curves(name: str, options: argparse.Namespace) -> tuple[str, ...]:
    """The row of a model: insertion in chunks, and one image at a time."""
    model = ej.models.load(name)
    rng = np.random.default_rng(0)
    height, width = model.input_size
    images = rng.standard_normal((options.images, height, width, 3)).astype(np.float32)
    maps, targets = rng.random((options.images, height, width)).astype(np.float32), np.arange(options.images)
    contenders = {
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


def overhead(options: argparse.Namespace) -> list[tuple[str, ...]]:
    """The seconds of a benchmark of the packaged classifier, and of what it cannot do without."""
    model = ej.models.load("scenes")
    dataset = ej.data.SceneDataset(options.benchmark_images, objects=1)
    images = np.stack([model.preprocess(example.load()) for example in dataset])
    targets = np.array([example.labels[0] for example in dataset], np.int32)
    forward = jax.jit(lambda model, images: model(images))
    passes = 2 * len(images) * (images.shape[1] + 1) // CHUNK
    chunk = jnp.asarray(images[np.arange(CHUNK) % len(images)])
    rows = []
    for name in METHODS:
        one = contender(name)

        def explained(one: Any = one) -> Any:
            return jax.block_until_ready(one.explain(model, images, targets, AREAS, jax.random.key(0)))

        def passed() -> None:
            for _ in range(passes):
                forward(model, chunk).block_until_ready()

        def whole(name: str = name) -> Any:
            return ej.evaluation.benchmark(TESTS, dataset, {"scenes": model}, [name], batch_size=len(images))

        runs = {"method": explained, "passes": passed, "benchmark": whole}
        for run in runs.values():
            run()  # compiles
        seconds = machine.alternate({side: timing.whole(run) for side, run in runs.items()}, options.rounds, warm_up=False)
        necessary = seconds["method"] + seconds["passes"]
        cells = (machine.milliseconds(seconds[side]) for side in runs)
        rows.append((name, *cells, machine.ratio(necessary, seconds["benchmark"])))
    return rows


def main() -> None:
    options = parse()
    machine.warn_if_busy()
    start = time.perf_counter()
    tables = [
        machine.Table(
            "Insertion",
            ("", "images per curve", "one at a time, ms", f"in chunks of {CHUNK}, ms", "ratio"),
            [curves(name, options) for name in options.models],
            "For each image. Both sides do the same forward passes, compiled.",
        ),
        machine.Table(
            "A benchmark",
            ("", "the method, ms", "forward passes, ms", "the benchmark, ms", "benchmark ÷ the two"),
            overhead(options),
            f"{', '.join(TESTS)} of {options.benchmark_images} scenes of one object each.",
        ),
    ]
    machine.report("evaluation", "Tests of maps", tables)
    print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
