"""Do inverted features show the object that their channels speak for? Writes results/inversion.md.

    python benchmarks/inversion.py                          # about five minutes on two cores
    python benchmarks/inversion.py --scenes 2 --steps 20    # a quick look

Scenes of two objects, the packaged classifier. Of a layer's channels an eighth is kept: those whose activation, times the gradient of the
difference between the two objects' scores, sums up highest over the layer's places for the one object, the target. The activation of all
channels, of the kept ones and of the dropped ones is inverted, and the classifier asked what it sees in the pictures.
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

PARTS = ("all channels", "kept channels", "dropped channels")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1006, help="of the scenes")
    parser.add_argument("--scenes", type=int, default=8, help="how many")
    parser.add_argument("--at", nargs="+", default=["blocks.1", "blocks.2"], help="the layers")
    parser.add_argument("--objectives", nargs="+", default=["dot", "l2"], choices=["dot", "l2"], help="what makes activations alike")
    parser.add_argument("--steps", type=int, default=100, help="optimisation steps")
    parser.add_argument("--batch", type=int, default=4, help="scenes in one call")
    return parser.parse_args()


def contributions(model: ej.models.Classifier, images: Any, at: str, target: Any, neighbour: Any) -> tuple[np.ndarray, np.ndarray]:
    """The activation at a layer, and (N, channels): what each channel adds to the target's score less the neighbour's, to first order."""
    parts = ej.graph.split(model, at, images)
    activation = parts.before(images)
    rows = jnp.arange(len(images))

    def difference(activation: Any) -> Any:
        scores = parts.after(activation)
        return (scores[rows, target] - scores[rows, neighbour]).sum()

    products = jax.grad(difference)(activation) * activation
    return np.asarray(activation), np.asarray(products.reshape(len(images), -1, products.shape[-1]).sum(axis=1))


def measured(model: ej.models.Classifier, at: str, objective: str, options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray, float]:
    """(parts, N, 2): the scores of target and neighbour; (parts, N): the cosines; seconds per picture."""
    scores, cosines, seconds = [], [], []
    for start in range(0, options.scenes, options.batch):
        scenes = ej.data.scenes.generate(options.seed, options.batch, objects=2, first=start)
        images = jnp.asarray(np.stack([model.preprocess(image) for image in scenes.images]))
        target, neighbour = np.array([np.flatnonzero(labels) for labels in scenes.labels]).T
        activation, gains = contributions(model, images, at, target, neighbour)
        kept = gains >= np.sort(gains, axis=1)[:, -gains.shape[1] // 8, None]
        masks = np.concatenate([np.ones_like(kept), kept, ~kept]).astype(np.float32)
        began = time.perf_counter()
        result = ej.invert_features(
            model,
            np.concatenate([activation] * len(PARTS)),
            masks,
            at=at,
            config=ej.InversionConfig(objective=objective, num_steps=options.steps, prior=ej.NaturalImages(total_variation=1.0)),
            key=jax.random.key(options.seed),
        )
        pictures = np.asarray(result.images)
        seconds.append((time.perf_counter() - began) / len(pictures))
        preprocessing = model.preprocessing
        shown = np.asarray(model((pictures - np.float32(preprocessing.mean)) / np.float32(preprocessing.std)))
        shown = shown.reshape(len(PARTS), options.batch, -1)
        rows = np.arange(options.batch)
        scores.append(np.stack([shown[:, rows, target], shown[:, rows, neighbour]], axis=-1))
        cosines.append(np.asarray(result.cosines).reshape(len(PARTS), options.batch))
        print(at, objective, start + options.batch, flush=True)
    return np.concatenate(scores, axis=1)[:, : options.scenes], np.concatenate(cosines, axis=1)[:, : options.scenes], min(seconds)


def main() -> None:
    options = parse()
    model = ej.models.load("scenes")
    rows = []
    for at in options.at:
        for objective in options.objectives:
            scores, cosines, seconds = measured(model, at, objective, options)
            for part, found, cosine in zip(PARTS, scores, cosines, strict=True):
                target, neighbour = found.T
                rows.append(
                    (
                        f"{at}, {objective}, {part}",
                        f"{target.mean():.1f}",
                        f"{neighbour.mean():.1f}",
                        f"{(target > neighbour).mean():.0%}",
                        f"{cosine.mean():.2f}",
                        f"{seconds:.1f}",
                    )
                )
    table = machine.Table(
        "What the classifier sees in inverted features",
        ("", "score of the target", "of its neighbour", "target above neighbour", "cosine", "seconds per picture"),
        rows,
        f"{options.scenes} scenes of two objects of seed {options.seed}, {options.steps} steps, total variation 1. An eighth of the"
        " channels is kept. Mean scores, before any sigmoid. The cosine is that between the picture's activation and the one that was asked"
        " for.",
    )
    machine.report("inversion", "Feature inversion", [table])


if __name__ == "__main__":
    main()
