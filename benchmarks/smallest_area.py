"""Does the response grow with the area, and how little of a picture suffices? Writes results/smallest_area.md and the figure beside it.

    python benchmarks/smallest_area.py                    # about an hour on two cores
    python benchmarks/smallest_area.py --scenes 10 --search-scenes 0 --nested-scenes 0 --folder look       # a quick look

What was measured is kept in a folder, batch by batch: run again, the script goes on where it was interrupted, or where it stopped after
`--at-most` batches.

Scenes of one to three objects of 128x128 pixels, the packaged classifier, the default preset; the target is an object drawn at random. A
curve is the response to the masks of growing areas, each found for itself.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

import extremal_jax as ej
import machine
from extremal_jax.ground.files import whole_file
from extremal_jax.perturbation import monotone_fraction

AREAS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
FIGURE = Path(__file__).parents[1] / "docs" / "pictures" / "smallest-area-curves.png"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1005, help="of the scenes, and of their targets")
    parser.add_argument("--scenes", type=int, default=500, help="how many curves")
    parser.add_argument("--search-scenes", type=int, default=50, help="the first so many also by `smallest_area`")
    parser.add_argument("--nested-scenes", type=int, default=20, help="the first so many also as nested masks")
    parser.add_argument("--batch", type=int, default=10, help="images in one call")
    parser.add_argument("--folder", type=Path, default=Path("benchmark-smallest-area"), help="where measurements are kept")
    parser.add_argument("--at-most", type=int, default=10**9, help="batches to measure before stopping")
    return parser.parse_args()


def measured(options: argparse.Namespace) -> bool:
    """Measure what is not yet in the folder. Whether everything is there then."""
    model = ej.models.load("scenes")
    left = options.at_most
    kinds = {"curves": (curves, options.scenes), "search": (search, options.search_scenes), "nested": (nested, options.nested_scenes)}
    for kind, (measure, count) in kinds.items():
        for start in range(0, count, options.batch):
            path = options.folder / f"{kind}-{options.seed}-{options.batch}-{start:04d}.npz"
            if path.exists():
                continue
            if left == 0:
                return False
            left -= 1
            # Always a whole batch, so that all have one shape.
            scenes = ej.data.scenes.generate(options.seed, options.batch, objects=(1, 3), first=start)
            rng = np.random.default_rng((options.seed, start))
            targets = np.array([rng.choice(np.flatnonzero(labels)) for labels in scenes.labels])
            images = np.stack([model.preprocess(image) for image in scenes.images])
            with whole_file(path) as temporary, temporary.open("wb") as file:
                np.savez(file, **measure(model, images, targets, start))
            print(path, flush=True)
    return True


def curves(model: ej.models.Classifier, images: np.ndarray, targets: np.ndarray, start: int) -> dict[str, Any]:
    """The responses to the masks of all areas."""
    result = ej.extremal_perturbation(model, images, targets, AREAS, key=jax.random.key(start))
    binary = sharp_rewards(model, images, targets, result.binary_masks())
    return dict(responses=result.rewards, binary_responses=binary, whole=result.image_rewards)


def search(model: ej.models.Classifier, images: np.ndarray, targets: np.ndarray, start: int) -> dict[str, Any]:
    """The smallest sufficient areas."""
    result = ej.smallest_area(model, images, targets, areas=AREAS, key=jax.random.key(start))
    return dict(areas=result.areas, reached=result.reached, errors=np.abs(result.masks.mean(axis=(1, 2)) - result.areas))


def nested(model: ej.models.Classifier, images: np.ndarray, targets: np.ndarray, start: int) -> dict[str, Any]:
    """The responses to binary masks of exactly the same areas, found each for itself and made to contain one another."""
    result = ej.extremal_perturbation(model, images, targets, AREAS, key=jax.random.key(start))
    order = np.asarray(result.ranking())[:, None]
    masks = order < np.round(np.multiply(AREAS, order[0].size))[:, None, None]
    free = result.binary_masks()
    responses = (sharp_rewards(model, images, targets, kept) for kept in (np.asarray(masks, np.float32), free))
    return dict(zip(("nested", "free"), responses, strict=True))


def sharp_rewards(model: ej.models.Classifier, images: np.ndarray, targets: np.ndarray, masks: Any) -> np.ndarray:
    """The rewards of binary masks (N, K, H, W) of the areas, with sharp edges."""
    return np.asarray(ej.evaluation.reward_at_areas(model, images, targets, masks, AREAS, edge="sharp"))


def collected(options: argparse.Namespace, kind: str, count: int) -> dict[str, np.ndarray]:
    def parts() -> Iterator[dict[str, np.ndarray]]:
        for start in range(0, count, options.batch):
            with np.load(options.folder / f"{kind}-{options.seed}-{options.batch}-{start:04d}.npz") as file:
                yield {name: file[name] for name in file.files}

    whole = list(parts())
    return {name: np.concatenate([part[name] for part in whole])[:count] for name in whole[0]}


def monotone_table(found: dict[str, np.ndarray]) -> machine.Table:
    """How often the response grows with the area."""
    whole, rows = found["whole"], []
    positive = whole > 0
    for name, responses in (("masks of exact area", found["responses"]), ("binary masks", found["binary_responses"])):
        fall = 0.1 * np.abs(whole)
        upward = np.diff(responses >= whole[:, None], axis=1)  # where sufficiency changes
        once = (upward.sum(axis=1) <= 1) & ~((responses[:, 0] >= whole) & (responses[:, -1] < whole))
        until = [monotone_fraction(r[: np.argmax(r >= w) + 1 if (r >= w).any() else None]) for r, w in zip(responses, whole, strict=True)]
        rises = np.diff(responses, axis=1) > 0
        rows.append(
            (
                name,
                f"{np.mean(until):.1%}",
                f"{once[positive].mean():.1%}",
                f"{monotone_fraction(responses):.1%}",
                f"{np.mean(np.all(np.diff(responses, axis=1) >= -fall[:, None], axis=1)):.1%}",
                " ".join(f"{share:.0%}" for share in rises.mean(axis=0)),
            )
        )
    return machine.Table(
        "The response as a function of the area",
        (
            *("", "monotone until it suffices", "once enough, always enough", "monotone to 40 %", "the same, but for falls below a tenth"),
            "grows from each area to the next",
        ),
        rows,
        f"{len(whole)} scenes, areas {', '.join(map(str, AREAS))}. A curve is monotone if it never falls. It suffices where it reaches the"
        " response to the whole image: what the search for the smallest area relies on is that an area above one that suffices does as"
        f" well ({positive.sum()} scenes whose image has a positive response). A tenth is one of the response to the whole image.",
    )


def area_table(found: dict[str, np.ndarray]) -> machine.Table:
    """The smallest areas."""
    areas, reached = found["areas"], found["reached"]
    quartiles = np.percentile(areas[reached], [25, 50, 75])
    row = (str(len(areas)), f"{reached.mean():.1%}", *(f"{q:.3f}" for q in quartiles), f"{found['errors'][reached].max():.1e}")
    return machine.Table(
        "The smallest sufficient area",
        ("scenes", "reached", "first quartile", "median", "third quartile", "largest error of a mask's area"),
        [row],
        "`smallest_area` with its defaults: the response to the whole image, resolution 0.1.",
    )


def nested_table(found: dict[str, np.ndarray]) -> machine.Table:
    """What nesting costs."""
    rows = [(f"{name} masks", *(f"{mean:.2f}" for mean in found[name].mean(axis=0)), f"{found[name].mean():.2f}") for name in found]
    return machine.Table(
        "Nested masks",
        ("", *(f"area {area:g}" for area in AREAS), "mean"),
        rows,
        f"{len(found['free'])} scenes: the mean response to binary masks, found each for itself, and made to contain one another.",
    )


def draw(found: dict[str, np.ndarray], path: Path) -> None:
    """The responses as shares of that to the whole image: median and quartiles over the scenes."""
    positive = found["whole"] > 0
    shares = found["responses"][positive] / found["whole"][positive, None]
    figure = ej.plots.responses(AREAS, shares)
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")


def main() -> None:
    options = parse()
    if not measured(options):
        return
    found = collected(options, "curves", options.scenes)
    tables = [monotone_table(found)]
    if options.search_scenes:
        tables.append(area_table(collected(options, "search", options.search_scenes)))
    if options.nested_scenes:
        tables.append(nested_table(collected(options, "nested", options.nested_scenes)))
    machine.report("smallest_area", "The smallest sufficient area", tables)
    draw(found, FIGURE)


if __name__ == "__main__":
    main()
