"""Explain a photograph by an ImageNet classifier that works offline: two classes of one picture.

    pip install 'extremal-jax[demo]'
    python examples/photograph.py --out out

The photograph is scikit-image's cup of coffee; `--image` explains another.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import jax
import numpy as np

import extremal_jax as ej


def photograph() -> Any:
    """The cup of coffee that comes with scikit-image (CC0)."""
    try:
        from skimage import data
    except ImportError as error:
        raise ImportError("the photograph comes with scikit-image; install it by `pip install 'extremal-jax[demo]'`") from error
    return data.coffee()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, help="another photograph")
    parser.add_argument("--targets", nargs="+", default=["espresso", "cup"], help="classes of ImageNet")
    parser.add_argument("--areas", nargs="+", type=float, default=[0.05, 0.1, 0.2], help="shares of the image")
    parser.add_argument("--steps", type=int, default=50, help="optimisation steps")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder to write to")
    options = parser.parse_args()

    try:
        model = ej.models.load("efficientnet_lite0")
        picture = photograph() if options.image is None else ej.data.load_image(options.image)
    except ImportError as error:
        raise SystemExit(f"no photograph is explained: {error}") from None

    # One copy of the image for each class: all masks of all classes are found by one compiled program.
    images = np.stack([model.preprocess(picture)] * len(options.targets))
    result = ej.extremal_perturbation(
        model, images, options.targets, options.areas, config=ej.Config(num_steps=options.steps), key=jax.random.key(0), progress=True
    )
    print(result.status)
    for target, rewards, whole in zip(options.targets, result.rewards, result.image_rewards, strict=True):
        print(f"{target:15} response {whole:.1f}, to the masks {', '.join(f'{reward:.1f}' for reward in rewards)}")

    options.out.mkdir(parents=True, exist_ok=True)
    result.save(options.out / "photograph.npz")
    ej.plots.overview(images, result, model.classes).savefig(options.out / "photograph.png")
    print(f"wrote {options.out / 'photograph.png'} and {options.out / 'photograph.npz'}")


if __name__ == "__main__":
    main()
