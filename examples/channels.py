"""Channels of a layer: the few that suffice for an image, and those that classes have in common.

python examples/channels.py --out out
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
    parser.add_argument("--at", default="blocks.2", help="the layer")
    parser.add_argument("--images", type=int, default=8, help="number of images of each class")
    parser.add_argument("--classes", nargs="+", default=["dog", "wolf", "car", "bus", "apple", "tomato"])
    parser.add_argument("--top", type=int, default=5, help="number of top channels to draw and to compare")
    parser.add_argument("--steps", type=int, default=200, help="optimisation steps of the pictures that excite a channel")
    parser.add_argument("--seed", type=int, default=11, help="seed of the scenes and of the pictures")
    options = parser.parse_args()
    model = ej.models.load("scenes")

    # One image: the sets of 1, 2, 4 ... channels that excite its class most.
    scene = ej.data.scenes.generate(options.seed, 1, objects=2)
    image, target = model.preprocess(scene.images[0]), int(scene.labels[0].argmax())
    result = ej.channel_perturbation(model, image, target, (1, 2, 4, 8, 16, 32, 64), at=options.at)
    print(f"{model.classes[target]}: response {float(result.image_rewards):.1f}; the best 4 channels are {result.channels(4).tolist()}")

    # Classes: the channels of the smallest sufficient sets, over images of each class.
    images, targets = images_of(options.classes, options.images, options.seed, model)
    found = ej.class_channels(model, images, targets, at=options.at, threshold=0.9)
    for index, top in zip(found.classes, found.top(options.top), strict=True):
        print(f"{model.classes[index]:8} {' '.join(map(str, top[top >= 0]))}")
    print("overlap of the top channels:")
    for index, row in zip(found.classes, found.overlap(options.top), strict=True):
        print(f"{model.classes[index]:8} {' '.join(f'{share:4.0%}' for share in row)}")

    # A picture that excites each of these channels.
    channels = np.unique(found.top(options.top))
    channels = channels[channels >= 0]  # a class may have fewer
    config = ej.InversionConfig(num_steps=options.steps)
    excited = ej.maximize_channel(model, channels, at=options.at, config=config, key=jax.random.key(options.seed))
    pictures = dict(zip(channels.tolist(), np.asarray(excited.images), strict=True))

    options.out.mkdir(parents=True, exist_ok=True)
    figures = {
        "channels.png": ej.plots.channels(result),
        "class-channels.png": ej.plots.class_channels(found, pictures, options.top, model.classes),
    }
    for name, figure in figures.items():
        figure.savefig(options.out / name)
        print(f"wrote {options.out / name}")


def images_of(classes: list[str], count: int, seed: int, model: ej.models.Classifier) -> tuple[np.ndarray, np.ndarray]:
    """`count` scenes of a single object for each class, and their classes."""
    images: list[np.ndarray] = []
    targets: list[int] = []
    wanted = {model.classes.index(name): count for name in classes}
    first = 0
    while any(wanted.values()):
        scenes = ej.data.scenes.generate(seed, 32, objects=1, first=first)
        for pixels, label in zip(scenes.images, scenes.labels.argmax(axis=1), strict=True):
            if wanted.get(int(label), 0) > 0:
                wanted[int(label)] -= 1
                images.append(model.preprocess(pixels))
                targets.append(int(label))
        first += 32
    return np.stack(images), np.array(targets)


if __name__ == "__main__":
    main()
