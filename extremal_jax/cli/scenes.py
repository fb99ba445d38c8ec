"""The command `scenes`."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import click

from extremal_jax.cli import commands
from extremal_jax.cli.console import output
from extremal_jax.ground.files import check_writable, whole_file


@commands.command(short_help="Write generated scenes and the exact masks of their objects.")
@click.option("--count", type=click.IntRange(min=1), default=4, show_default=True, help="Number of scenes.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the scenes.")
@click.option("--size", type=click.IntRange(min=32), default=128, show_default=True, help="Side of a scene, in pixels.")
@click.option("--objects", type=click.IntRange(1, 6), help="Number of objects in each scene.  [default: 1 to 3]")
@commands.out
def scenes(count: int, seed: int, size: int, objects: int | None, out: Path) -> dict[str, Any]:
    """Write generated scenes, the exact mask of each object, and a list of the objects, labels.json.

    Scenes join the list of those that are in the folder.

    \b
    Example:
      extremal-jax scenes --count 10 --seed 7 --out scenes
    """
    from PIL import Image

    import extremal_jax as ej

    check_writable(file := out / "labels.json")
    before = _known(file)
    generated = ej.data.scenes.generate(seed, count, size, objects=objects or (1, 3))
    contents = {}
    for index, scene in enumerate(generated):
        name = f"scene-{seed}-{index:03d}"
        shown = [label for label, present in zip(scene.classes, scene.labels[0], strict=True) if present]
        files = {f"{name}.png": scene.images[0]}
        for label in shown:
            files[f"{name}-{label}.png"] = scene.masks[0, scene.classes.index(label)].astype("uint8") * 255
        for picture, pixels in files.items():
            with whole_file(out / picture) as temporary:
                Image.fromarray(pixels).save(temporary)
        contents[f"{name}.png"] = shown
    with whole_file(file) as temporary:
        temporary.write_text(json.dumps(before | contents, indent=1) + "\n")
    output.say(f"wrote {count} scenes, their masks and labels.json to {out}")
    return {"folder": out, "labels": contents}


def _known(file: Path) -> dict[str, list[str]]:
    """The list of the scenes that are in the folder."""
    found: Any = None
    with contextlib.suppress(ValueError):
        found = json.loads(file.read_text()) if file.exists() else {}
    lists = list(found.values()) if isinstance(found, dict) else [None]
    if not all(isinstance(one, list) and all(isinstance(name, str) for name in one) for one in lists):
        raise click.BadParameter(f"{file} is not a list of scenes that this command wrote; choose another folder", param_hint="--out")
    return found
