"""What the settings of a run do to a mask: a picture for each, of the same photograph and class.

    pip install 'extremal-jax[demo]'
    python examples/settings.py --out docs/pictures/settings

The photograph is scikit-image's cup of coffee (CC0); `--image` takes another. A run takes seconds, and there are about thirty.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from photograph import photograph

import extremal_jax as ej
from extremal_jax.perturbation import perturb

AREA = 0.1
Run = tuple[float, dict[str, Any]]  # an area, and the settings that differ from the default's
PICTURES: dict[str, dict[str, Run]] = {
    "areas": {f"area {area:.1%}": (area, {}) for area in (0.01, 0.025, 0.05, 0.1, 0.2, 0.4)},
    "kernel": {f"sigma={sigma:g}": (AREA, {"sigma": sigma}) for sigma in (7.0, 14.0, 21.0, 35.0)},
    "smoothing": {f"smoothing={smoothing:g}": (AREA, {"smoothing": smoothing}) for smoothing in (0.0, 9.0, 18.7, 30.0)},
    "feather": {f"feather={feather:g}": (AREA, {"feather": feather}) for feather in (0.0, 2.0, 5.0, 12.0)},
    "perturbation": {
        "blur, max_blur=5": (AREA, {"max_blur": 5.0}),
        "blur, max_blur=20": (AREA, {}),
        "blur, num_levels=8": (AREA, {"num_levels": 8}),
        "fade": (AREA, {"perturbation": "fade"}),
        "reference: noise": (AREA, {"perturbation": "reference"}),
    },
    "game": {f'game="{game}"': (AREA, {"game": game}) for game in ("preserve", "delete", "dual")},
    "reward": {f'reward="{reward}"': (AREA, {"reward": reward}) for reward in ("logit", "log_probability", "contrastive")},
    "steps": {f"num_steps={steps}": (AREA, {"num_steps": steps}) for steps in (5, 15, 50, 150)},
    "jitter": {
        "the default": (AREA, {}),
        "jitter=False": (AREA, {"jitter": False}),
        "shift=16": (AREA, {"shift": 16}),
        "noise=0.5": (AREA, {"noise": 0.5}),
        "min_strength=0.3": (AREA, {"min_strength": 0.3}),
    },
}
PRESETS = {
    "the default": (AREA, ej.Config()),
    "thorough": (AREA, ej.Config.thorough()),
    "paper": (AREA, ej.Config.paper()),
    "torchray": (AREA, ej.Config.torchray()),
}
SHOWN = ("perturbation", "game")  # pictures of what the model sees of the photograph, too


def kept(picture: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The picture, grey and light where the mask removes it."""
    grey = 0.6 + 0.3 * picture.mean(axis=-1, keepdims=True)
    return picture * mask[..., None] + grey * (1 - mask[..., None])


def shown(image: np.ndarray, mask: np.ndarray, config: ej.Config, reference: np.ndarray) -> np.ndarray:
    """What the model sees of the image: the perturbed image, or the image without the mask in the game "delete"."""
    levels = config.perturbation_record().levels(jnp.asarray(image[None]), jnp.asarray(reference))
    return np.asarray(perturb(levels[0], jnp.asarray(1 - mask if config.game == "delete" else mask)[None])[0])


def draw(rows: list[list[np.ndarray]], masks: list[np.ndarray], titles: list[str]) -> Figure:
    """A figure of rows of pictures; the outlines of the masks are drawn on the first."""
    figure = Figure(figsize=(2.1 * len(titles), 2.1 * len(rows) + 0.4), layout="constrained")
    grid = figure.subplots(len(rows), len(titles), squeeze=False)
    for axes, pictures in zip(grid, rows, strict=True):
        for axis, picture in zip(axes, pictures, strict=True):
            axis.imshow(np.clip(picture, 0, 1))
            axis.set_axis_off()
    for axis, mask, title in zip(grid[0], masks, titles, strict=True):
        axis.contour(mask, [0.5], colors="black", linewidths=1)
        axis.set_title(title, fontsize=9)
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", type=Path, help="another photograph")
    parser.add_argument("--target", default="espresso", help="a class of ImageNet")
    parser.add_argument("--pictures", nargs="+", default=[*PICTURES, "presets"], help="the pictures to draw")
    parser.add_argument("--steps", type=int, help="optimisation steps, in place of each run's own")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder to write to")
    options = parser.parse_args()

    model = ej.models.load("efficientnet_lite0")
    image = model.preprocess(photograph() if options.image is None else ej.data.load_image(options.image))
    picture = model.preprocessing.picture(image) / 255
    reference = np.asarray(jax.random.normal(jax.random.key(1), image.shape), np.float32)
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.pictures:
        made = {title: (area, ej.Config(**changes)) for title, (area, changes) in PICTURES[name].items()} if name in PICTURES else PRESETS
        masks, seen, titles = [], [], []
        for title, (area, config) in made.items():
            if options.steps:
                config = dataclasses.replace(config, num_steps=options.steps)
            given = reference if config.perturbation == "reference" else None
            result = ej.extremal_perturbation(model, image, options.target, [area], config=config, reference=given)
            masks.append(np.asarray(result.masks[0]))
            seen.append(model.preprocessing.picture(shown(image, masks[-1], result.config, reference)) / 255)
            titles.append(f"{title}\narea {float(result.areas[0]):.3f}, reward {float(result.rewards[0]):.2f}")
            print(name, *titles[-1].splitlines(), result.status)
        rows = [[kept(picture, mask) for mask in masks], *([seen] if name in SHOWN else [])]
        draw(rows, masks, titles).savefig(options.out / f"{name}.png", dpi=100)


if __name__ == "__main__":
    main()
