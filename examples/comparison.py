"""All methods of attribution on one scene, side by side.

    python examples/comparison.py --out out
    python examples/comparison.py --pictures docs/pictures/methods    # also a picture of each method

The maps explain one of the two objects of the scene, whose outline is drawn on them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import Array

import extremal_jax as ej

LAYER, CONTRAST = "blocks.3", "pool"  # the last layer with places, and the input of the head
AT_THE_LAYER = {"grad_cam", "grad_cam_plus_plus", "excitation_backprop", "contrastive_excitation_backprop"}


def options_of(name: str, method: ej.attribution.Method, options: argparse.Namespace) -> dict[str, Any]:
    """The options of a method."""
    given: dict[str, Any] = {"key": jax.random.key(options.seed), "contrast_at": CONTRAST, "num_masks": options.masks, "resize": True}
    if name == "extremal_perturbation":
        given["config"] = ej.Config(num_steps=options.steps)
    elif name in AT_THE_LAYER:
        given["at"] = LAYER
    else:
        given["smooth"] = 0.02  # maps of single pixels are hard to read
    return {name: value for name, value in given.items() if name in method.options}


def maps_of(model: Callable[..., Array], image: np.ndarray, target: int, options: argparse.Namespace) -> dict[str, np.ndarray]:
    """The map of every method."""
    methods = ej.attribution.METHODS
    return {
        name: np.asarray(method.function(model, image, target, **options_of(name, method, options))) for name, method in methods.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder to write to")
    parser.add_argument("--pictures", type=Path, help="folder for a picture of each method")
    parser.add_argument("--steps", type=int, default=50, help="optimisation steps of extremal perturbation")
    parser.add_argument("--masks", type=int, default=2000, help="number of masks of RISE")
    parser.add_argument("--seed", type=int, default=3, help="seed of the scene, the masks and the noise")
    options = parser.parse_args()

    model = ej.models.load("scenes")
    scene = ej.data.scenes.generate(options.seed, 1, objects=2)
    image, target = model.preprocess(scene.images[0]), int(scene.labels[0].argmax())
    maps = maps_of(model, image, target, options)

    options.out.mkdir(parents=True, exist_ok=True)
    mask = scene.masks[0, target]
    titled = {name.replace("_", " "): values for name, values in maps.items()}
    ej.plots.comparison(scene.images[0], titled, mask).savefig(options.out / "comparison.png")
    print(f"{model.classes[target]}: wrote {options.out / 'comparison.png'}")
    if options.pictures is not None:
        options.pictures.mkdir(parents=True, exist_ok=True)
        for name, values in maps.items():
            ej.plots.comparison(scene.images[0], {name: values}, mask).savefig(options.pictures / f"{name}.png")
        print(f"wrote {len(maps)} pictures to {options.pictures}")


if __name__ == "__main__":
    main()
