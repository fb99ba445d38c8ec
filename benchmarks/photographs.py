"""What masks are worth on photographs, with an ImageNet network. Writes results/photographs.md.

    python benchmarks/photographs.py                                          # two photographs of scikit-image, the default preset
    python benchmarks/photographs.py --photographs DIR --part report --presets default torchray --methods grad_cam gradient

The files of a folder have names that begin with the index of their ImageNet class, such as 281_tabby.jpg. Of the sorted
files, the even ones are for choosing settings and the odd ones for reporting, so that nothing is reported on pictures
that it was tuned on.

What was measured is kept in a folder, picture by picture: run again, the script goes on where it was interrupted.
`judge.py` says how masks are judged. Grids: 2x2 photographs of different classes, each recognised alone with a
probability above 0.8; the share of the masks' evidence, of the summed masks, or of a map's positive part, inside the
target's cell.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import scipy.stats
from PIL import Image

import extremal_jax as ej
import judge
import machine
from extremal_jax.evaluation.faithfulness.exact_areas import growing
from extremal_jax.evaluation.suite.contenders import PUBLISHED
from extremal_jax.extremal.result import EXPONENT
from extremal_jax.ground.files import whole_file

AREAS = (0.025, 0.05, 0.1, 0.2)
PRESETS: dict[str, Callable[[], ej.Config]] = {
    "default": ej.Config,
    "thorough": ej.Config.thorough,
    "torchray": ej.Config.torchray,
    "paper": ej.Config.paper,
}
METHODS = tuple(name for name in ej.attribution.METHODS if name != "extremal_perturbation")  # which the presets stand for
SLOW = 200  # steps, from which a preset is run on a handful
CONFIDENT = 0.8  # of an image that may stand in a grid
CAM_LAYER = -3  # among a model's activations, the last stage before its head, for the methods that need a layer; the last is its pool


class Photographs(NamedTuple):
    """Prepared photographs.

    Attributes:
      names: (N,), of the files.
      images: (N, H, W, C).
      other_images: (N, H2, W2, C), for the second network.
      cells: (N, H / 2, W / 2, C), for grids.
      targets: (N,), class indices.
    """

    names: list[str]
    images: np.ndarray
    other_images: np.ndarray
    cells: np.ndarray
    targets: np.ndarray


class Explained(NamedTuple):
    """What a contender makes of an image.

    Attributes:
      masks: (K, H, W); a map serves for every area.
      attribution: (H, W), the evidence of the masks, with published presets the saliency; or the method's map.
      rewards: (K,), of the contender's own masks; not a number for maps.
      seconds: of the call.
    """

    masks: np.ndarray
    attribution: np.ndarray
    rewards: np.ndarray
    seconds: float


Contender = Callable[[np.ndarray, int], Explained]


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", type=Path, help="a folder; default: two photographs of scikit-image")
    parser.add_argument("--part", choices=("choose", "report", "all"), default="report", help="of the folder's files")
    parser.add_argument("--at-most", type=int, default=10**9, help="photographs to measure, evenly from the part")
    parser.add_argument("--presets", nargs="*", choices=PRESETS, default=["default"])
    parser.add_argument("--methods", nargs="*", choices=METHODS, default=[], help="of attribution, beside the presets")
    parser.add_argument("--grid-methods", nargs="*", choices=METHODS, default=METHODS, help="of attribution, for grids only; default: all")
    parser.add_argument("--handful", type=int, default=8, help="photographs, and half as many grids, for presets of hundreds of steps")
    parser.add_argument("--model", default="efficientnet_lite0", help="the network that is explained")
    parser.add_argument("--other", default="efficientnet_lite2", help="the network that masks are transferred to")
    parser.add_argument("--grids", type=int, default=12, help="how many")
    parser.add_argument("--side", type=int, help="of the images, in pixels; default: the model's own")
    parser.add_argument("--folder", type=Path, default=Path("benchmark-photographs"), help="where measurements are kept")
    return parser.parse_args()


def photographs(options: argparse.Namespace, model: ej.models.Classifier, other: ej.models.Classifier) -> Photographs:
    """The photographs of a folder, or of scikit-image, prepared."""
    pictures: list[tuple[str, Image.Image]]
    if options.photographs is None:
        import skimage.data

        pictures = [
            (f"{label}_{name}", Image.fromarray(getattr(skimage.data, name)())) for label, name in ((281, "chelsea"), (967, "coffee"))
        ]
    else:
        files = sorted(path for path in options.photographs.iterdir() if re.match(r"\d+_", path.name))
        if not files:
            raise SystemExit(f"{options.photographs} has no files such as 281_tabby.jpg, whose names begin with a class index")
        part = {"choose": slice(0, None, 2), "report": slice(1, None, 2), "all": slice(None)}[options.part]
        files = files[part]
        keep = np.unique(np.linspace(0, len(files) - 1, min(len(files), options.at_most)).round().astype(int))
        pictures = [(files[index].stem, ej.data.load_image(files[index])) for index in keep]  # type: ignore[misc]
    sides = model.input_size if options.side is None else (options.side, options.side)
    prepare = [
        sized(model, sides),
        sized(other, [side * mine // theirs for side, mine, theirs in zip(other.input_size, sides, model.input_size, strict=True)]),
        sized(model, [side // 2 for side in sides]),
    ]
    images, other_images, cells = (np.stack([function(picture) for _, picture in pictures]) for function in prepare)
    targets = np.array([int(name.split("_")[0]) for name, _ in pictures])
    return Photographs([name for name, _ in pictures], images, other_images, cells, targets)


def sized(model: ej.models.Classifier, size: Sequence[int]) -> Callable[[Any], np.ndarray]:
    """A classifier's preparation of images, at another size."""
    height, width = size
    return dataclasses.replace(model.preprocessing, size=(height, width))


def preset(model: ej.models.Classifier, config: ej.Config, published: bool = False) -> Contender:
    """A preset of ours as a contender."""

    def explain(image: np.ndarray, target: int) -> Explained:
        start = time.perf_counter()
        result = ej.extremal_perturbation(model, image, target, AREAS, config=config)
        masks, rewards = np.asarray(result.masks), np.asarray(result.rewards)
        seconds = time.perf_counter() - start
        return Explained(masks, np.asarray(result.saliency() if published else result.evidence(image)), rewards, seconds)

    return explain


def method(model: ej.models.Classifier, name: str) -> Contender:
    """A method of attribution as a contender: the highest pixels of its map are the mask of each area."""
    found = ej.attribution.METHODS[name]
    layers = {"at": model.activations[CAM_LAYER], "contrast_at": model.activations[-1]}
    options: dict[str, Any] = {name: layer for name, layer in layers.items() if name in found.needs}

    def explain(image: np.ndarray, target: int) -> Explained:
        start = time.perf_counter()
        saliency = np.asarray(found.function(model, image, target, resize=True, **options))
        seconds = time.perf_counter() - start
        return Explained(np.stack([saliency] * len(AREAS)), saliency, np.full(len(AREAS), np.nan), seconds)

    return explain


def kept(folder: Path, contender: str, settings: str, name: str, image: np.ndarray, target: int, explain: Contender) -> Explained:
    """What a contender makes of an image: from the folder, or measured and kept there."""
    digest = hashlib.sha256(f"{settings} {target}".encode() + image.tobytes()).hexdigest()[:12]
    path = folder / f"{contender}-{name}-{digest}.npz"
    if not path.exists():
        made = explain(image, target)
        with whole_file(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, **made._asdict())
    with np.load(path) as stored:
        return Explained(**{field: stored[field] for field in Explained._fields})


def interval(values: np.ndarray) -> str:
    """The mean of values (N,), and in brackets its 95 % interval over pictures."""
    mean = values.mean()
    if len(values) < 3 or np.ptp(values) == 0:
        return f"{mean:.2f}"
    bounds = scipy.stats.bootstrap((values,), np.mean, method="basic", random_state=0).confidence_interval
    return f"{mean:.2f} ({bounds.low:.2f}–{bounds.high:.2f})"


def ratio(ours: np.ndarray, theirs: np.ndarray) -> str:
    """The ratio of the means of paired values (N,), and its 95 % interval over pictures."""
    if len(ours) < 3:
        return f"{ours.mean() / theirs.mean():.2f}"
    bounds = scipy.stats.bootstrap(
        (ours, theirs), lambda a, b, axis: a.mean(axis) / b.mean(axis), paired=True, method="basic", random_state=0
    ).confidence_interval
    return f"{ours.mean() / theirs.mean():.2f} ({bounds.low:.2f}–{bounds.high:.2f})"


def main() -> None:
    options = parse()
    machine.warn_if_busy()
    model, other = ej.models.load(options.model), ej.models.load(options.other)
    photos = photographs(options, model, other)
    settings = {name: f"{settings_text(PRESETS[name]())} {EXPONENT}" for name in options.presets} | dict.fromkeys(METHODS, ej.__version__)
    presets = {name: preset(model, PRESETS[name](), name in PUBLISHED) for name in options.presets}
    explained, judged, chosen = {}, {}, {}
    for name, explain in (presets | {name: method(model, name) for name in options.methods}).items():
        chosen[name] = handful(name, len(photos.names), options.handful)
        cases = [(photos.names[index], photos.images[index], photos.targets[index]) for index in chosen[name]]
        explained[name] = [
            kept(options.folder, name, settings[name], title, image, target, explain)
            for title, image, target in rows(name, cases, len(cases))
        ]
        masks = np.stack([made.masks for made in explained[name]])
        images, other_images, targets = (array[chosen[name]] for array in (photos.images, photos.other_images, photos.targets))
        judged[name] = judge.judge(model, other, images, other_images, targets, masks, AREAS)
    tables = [reward_table(judged, explained, chosen, options)]
    if options.grids:
        everyone = presets | {name: method(model, name) for name in dict.fromkeys([*options.methods, *options.grid_methods])}
        tables.append(grid_table(model, photos, everyone, settings, options))
    machine.report("photographs", "Masks on photographs", tables)


def settings_text(config: ej.Config) -> str:
    """The settings as a text that is the same in every process."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(config))


def handful(name: str, count: int, most: int) -> np.ndarray:
    """The indices, of `count` cases, on which a contender is run: all, or a handful for presets of hundreds of steps."""
    slow = name in PRESETS and PRESETS[name]().num_steps >= SLOW
    return np.unique(np.linspace(0, count - 1, min(count, most) if slow else count).round().astype(int))


def rows(title: str, cases: Any, count: int) -> Any:
    """The cases, with a bar."""
    with machine.progress() as bar:
        line = bar.add_task(title, total=count)
        for case in cases:
            yield case
            bar.advance(line)


def reward_table(
    judged: Mapping[str, judge.Judgement],
    explained: Mapping[str, list[Explained]],
    chosen: Mapping[str, np.ndarray],
    options: argparse.Namespace,
) -> machine.Table:
    """Rewards, pieces and seconds."""
    lines = []
    for name, found in judged.items():
        made = explained[name]
        soft = np.stack([e.rewards for e in made]) - found.feathered
        lines.append(
            (
                name,
                str(len(made)),
                interval(found.feathered.mean(axis=1)),
                " ".join(f"{mean:.2f}" for mean in found.feathered.mean(axis=0)),
                interval(found.transferred.mean(axis=1)),
                interval(found.sharp.mean(axis=1)),
                " ".join(f"{mean:.1f}" for mean in found.pieces.mean(axis=0)),
                f"{growing(found.feathered):.2f}",
                "" if np.isnan(soft).any() else f"{soft.mean():.2f}",
                f"{np.median([e.seconds for e in made]):.1f}",
            )
        )
        if name != "torchray" and "torchray" in judged:
            _, mine, theirs = np.intersect1d(chosen[name], chosen["torchray"], return_indices=True)
            feathered, transferred, sharp = (
                ratio(getattr(found, field).mean(axis=1)[mine], getattr(judged["torchray"], field).mean(axis=1)[theirs])
                for field in ("feathered", "transferred", "sharp")
            )
            lines.append((f"{name} ÷ torchray", str(len(mine)), feathered, "", transferred, sharp, "", "", "", ""))
    columns = (
        "",
        "photographs",
        "feathered reward",
        "by area",
        f"on {options.other}",
        "sharp reward",
        "pieces",
        "grows",
        "soft − feathered",
        "seconds",
    )
    return machine.Table(
        "Rewards at exact areas",
        columns,
        lines,
        f"Photographs ({options.part}), {options.model}, areas {', '.join(map(str, AREAS))}. The target's logit when the highest"
        " pixels of each mask, in number exactly the area's, are shown, feathered or sharp, and the rest is blurred. In brackets 95 %"
        " intervals over photographs. Grows: the share of neighbouring areas whose larger one has the larger feathered"
        " reward. Soft: the contender's own reward of its masks. Seconds: the median per photograph, all areas.",
    )


def grid_table(
    model: ej.models.Classifier,
    photos: Photographs,
    contenders: Mapping[str, Contender],
    settings: Mapping[str, str],
    options: argparse.Namespace,
) -> machine.Table:
    """Grid pointing, with exact truth."""
    scores = np.concatenate([np.asarray(jax.nn.softmax(model(photos.cells[i : i + 8]))) for i in range(0, len(photos.cells), 8)])
    sure = scores[np.arange(len(scores)), photos.targets] > CONFIDENT
    if len(np.unique(photos.targets[sure])) < 4:
        return machine.Table("Grid pointing", ("",), [("fewer than four photographs are recognised surely enough",)])
    made = judge.grids(photos.cells[sure], photos.targets[sure], options.grids)
    lines = []
    for name, explain in contenders.items():
        shown = handful(name, len(made), options.handful // 2)
        cases = [(f"grid-{index:02d}", made[index].image, made[index].target) for index in shown]
        found = [
            kept(options.folder, name, settings[name], title, image, target, explain)
            for title, image, target in rows(f"{name}, grids", cases, len(cases))
        ]
        by_title = {name: [one.attribution for one in found]}
        if name in PRESETS:
            by_title[f"{name}, summed masks"] = [one.masks.sum(axis=0) for one in found]
        for title, attributions in by_title.items():
            shares = np.array([made[index].share(one) for index, one in zip(shown, attributions, strict=True)])
            hits = [made[index].hit(one) for index, one in zip(shown, attributions, strict=True)]
            lines.append((title, str(len(shown)), interval(shares), f"{np.mean(hits):.2f}"))
    note = (
        f"Grids of 2x2 photographs of different classes, one of them the target; {sure.sum()} of {len(sure)} photographs serve."
        " The map of a preset is its evidence, of published presets the saliency."
    )
    return machine.Table("Grid pointing", ("", "grids", "share in the cell", "point in the cell"), lines, note)


if __name__ == "__main__":
    main()
