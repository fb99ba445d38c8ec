"""The smallest area of an image that excites a class as much as the whole image, for both objects of two scenes.

python examples/smallest_area.py --out out
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
    parser.add_argument("--scenes", type=int, default=2, help="number of scenes")
    parser.add_argument("--steps", type=int, default=50, help="optimisation steps of the first areas")
    parser.add_argument("--seed", type=int, default=5, help="seed of the scenes and of the run")
    options = parser.parse_args()

    model = ej.models.load("scenes")
    scenes = ej.data.scenes.generate(options.seed, options.scenes, objects=2)
    images = np.stack([model.preprocess(scene) for scene in scenes.images for _ in range(2)])
    targets = np.concatenate([np.flatnonzero(labels) for labels in scenes.labels])

    result = ej.smallest_area(
        model,
        images,
        targets,
        config=ej.Config(num_steps=options.steps),
        key=jax.random.key(options.seed),
        progress=True,
    )
    print(result.status)
    for i, target in enumerate(targets):
        least = f"{float(result.areas[i]):.1%} of the image suffices" if result.reached[i] else "no area that was tried suffices"
        print(f"{model.classes[target]:10} response {float(result.image_responses[i]):.1f}; {least}")

    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "smallest-area.png"
    ej.plots.smallest_area(model.preprocessing.picture(images), result, model.classes).savefig(path)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()
