"""The masks of a sweep as files that other programs read: PNG images, COCO's run lengths, and NPZ."""

from __future__ import annotations

import importlib
import json
import math
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from extremal_jax.extremal.result import ExtremalResult
from extremal_jax.ground.checks import check_choice
from extremal_jax.ground.files import as_path, whole_file
from extremal_jax.sweeps.opened import Sweep

_LONGEST = 50  # letters of a name, of up to four bytes each: most disks take 255 bytes


class Exported(NamedTuple):
    """Files that were written.

    Attributes:
      pictures: how many pictures they show.
      files: how many there are.
    """

    pictures: int
    files: int


def export(
    sweep: Sweep, folder: str | os.PathLike[str], file_format: str = "png", *, on_picture: bool = True, binary: bool = False
) -> Exported:
    """Write the masks of all pictures that are explained, as files.

    Args:
      sweep: as `open_sweep` gives it.
      folder: where files are written; a folder that is missing is made. Names begin with the picture's number.
      file_format: "png", an image of 8 bits for each mask; "coco", one file of binary masks as COCO's results have them,
        run lengths with `image_id` (the picture's number), `category_id` (the class), `score` (the reward; null if it is not
        finite), `file_name` and `requested_area` (a share), which needs `pip install 'extremal-jax[coco]'`; "npz", a result for
        each picture, for `ExtremalResult.load`.
      on_picture: lay masks on the original picture, of its size; otherwise they have the size of the model's input. NPZ
        files hold the model's.
      binary: cut PNG masks to exact areas, black and white. Those of COCO always are.

    Returns:
      How many pictures and files were written.

    Raises:
      ValueError: for an unknown format, or if no picture is done.
      ImportError: if pycocotools is not installed.
      OSError: if the folder cannot be written.

    Example:
      >>> import extremal_jax as ej
      >>> export(ej.open_sweep("sweep"), "masks", "png")  # doctest: +SKIP
      Exported(pictures=12, files=48)
    """
    check_choice("file_format", file_format, _FORMATS)
    done = list(sweep.done())
    if not done:
        raise ValueError(f"no picture of {sweep} is explained yet; run it first")
    return Exported(len(done), _FORMATS[file_format](sweep, done, as_path(folder), on_picture, binary))


def _png(sweep: Sweep, done: list[int], folder: Path, on_picture: bool, binary: bool) -> int:
    count, endings = 0, _endings(sweep.areas.tolist())
    for index, result in _results(sweep, done):
        masks = np.asarray(result.binary_masks() if binary else result.masks)
        for ending, mask in zip(endings, _laid(sweep, index, masks, on_picture), strict=True):
            with whole_file(folder / f"{_stem(sweep, index)}-{ending}.png") as temporary:
                Image.fromarray(np.rint((mask >= 0.5) if binary else mask * 255).astype(np.uint8) * (255 if binary else 1)).save(temporary)
            count += 1
    return count


def _coco(sweep: Sweep, done: list[int], folder: Path, on_picture: bool, binary: bool) -> int:
    encode = _encoder()
    entries: list[dict[str, Any]] = []
    for index, result in _results(sweep, done):
        masks = _laid(sweep, index, np.asarray(result.binary_masks()), on_picture) >= 0.5
        for area, mask, reward in zip(sweep.areas.tolist(), masks, np.asarray(result.rewards).tolist(), strict=True):
            entries.append(
                dict(
                    image_id=index,
                    file_name=sweep.names[index],
                    category_id=int(result.targets),
                    segmentation=encode(mask),
                    score=reward if math.isfinite(reward) else None,
                    requested_area=float(f"{area:g}"),
                )
            )
    with whole_file(folder / "masks.json") as temporary:
        temporary.write_text(json.dumps(entries) + "\n", encoding="utf-8")
    return 1


def _npz(sweep: Sweep, done: list[int], folder: Path, on_picture: bool, binary: bool) -> int:
    for index, result in _results(sweep, done):
        result.save(folder / f"{_stem(sweep, index)}.npz")
    return len(done)


_FORMATS: dict[str, Callable[[Sweep, list[int], Path, bool, bool], int]] = {"png": _png, "coco": _coco, "npz": _npz}
FORMATS = {
    "png": "an image of 8 bits for each mask",
    "coco": "one file of binary masks, as COCO's results have them",
    "npz": "a result for each picture, for `ExtremalResult.load`",
}


def _results(sweep: Sweep, done: list[int]) -> Iterator[tuple[int, ExtremalResult]]:
    return ((index, sweep[index]) for index in done)


def _laid(sweep: Sweep, index: int, masks: np.ndarray, on_picture: bool) -> np.ndarray:
    """Masks (K, h, w), on the original picture where that is asked for and known."""
    preprocessing = sweep.preprocessing
    return preprocessing.place(masks, sweep.size(index)) if on_picture and preprocessing is not None else masks


def _stem(sweep: Sweep, index: int) -> str:
    """The beginning of the names of a picture's files: its number and what is harmless of its name."""
    harmless = re.sub(r"[^\w.-]+", "_", Path(sweep.names[index]).stem)
    return f"{index:06d}-{harmless[:_LONGEST]}"


def _endings(areas: list[float]) -> list[str]:
    """The areas as the ends of names; with their number, where two read alike."""
    texts = [f"{area:g}" for area in areas]
    return texts if len(set(texts)) == len(texts) else [f"{number}-{text}" for number, text in enumerate(texts)]


def _encoder() -> Callable[[np.ndarray], dict[str, Any]]:
    """From a mask to COCO's run lengths."""
    try:
        tools = importlib.import_module("pycocotools.mask")
    except ImportError as error:
        raise ImportError("the format coco needs pycocotools: pip install 'extremal-jax[coco]'") from error

    def encode(mask: np.ndarray) -> dict[str, Any]:
        found = tools.encode(np.asfortranarray(mask.astype(np.uint8)))
        return dict(size=list(map(int, found["size"])), counts=found["counts"].decode())

    return encode
