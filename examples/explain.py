"""Explain the scores of a classifier: both objects of two scenes, at three areas, in one compiled program.

python examples/explain.py --out out
"""

from __future__ import annotations

import argparse
from pathlib import Path

import jax
import numpy as np

import extremal_jax as ej


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder to write to")
    parser.add_argument("--steps", type=int, default=50, help="optimisation steps")
    parser.add_argument("--seed", type=int, default=2024, help="seed of the scenes and of the run")
    options = parser.parse_args()

    # A model is any function from images (B, H, W, C) to scores (B, classes).
    model = ej.models.load("scenes")

    # Each scene twice, once for each of its two objects.
    scenes = ej.data.scenes.generate(options.seed, 2, objects=2)
    images = np.stack([model.preprocess(scene) for scene in scenes.images for _ in range(2)])
    targets = np.concatenate([np.flatnonzero(labels) for labels in scenes.labels])

    result = ej.extremal_perturbation(
        model,
        images,
        targets,
        areas=(0.05, 0.1, 0.2),
        config=ej.Config(num_steps=options.steps),
        key=jax.random.key(options.seed),
        progress=True,
    )
    print(result.status)

    objects = scenes.masks.repeat(2, axis=0)[np.arange(4), targets]
    for target, rewards, whole, point, mask in zip(
        targets, result.rewards, result.image_rewards, result.point(images), objects, strict=True
    ):
        hit = "on" if mask[tuple(point)] else "off"
        kept = ", ".join(f"{reward:.1f}" for reward in rewards)
        print(f"{model.classes[target]:10} response {whole:.1f}, to the masks {kept}; the point is {hit} the object")

    options.out.mkdir(parents=True, exist_ok=True)
    result.save(options.out / "explained.npz")
    ej.plots.overview(images, result, model.classes).savefig(options.out / "explained.png")
    print(f"wrote {options.out / 'explained.png'} and {options.out / 'explained.npz'}")


if __name__ == "__main__":
    main()
