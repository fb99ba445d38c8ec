"""Small datasets on disk, in the forms of the published ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

# Images of several sizes; objects as name, (xmin, ymin, xmax, ymax) counted from one, and difficult. They come in an order that is
# neither that of their names nor that in which TensorFlow Datasets would shuffle them.
VOC: dict[str, tuple[tuple[int, int], list[tuple[str, tuple[int, int, int, int], int]]]] = {
    "000007": ((48, 64), [("dog", (1, 1, 20, 48), 0), ("dog", (11, 8, 31, 30), 1), ("person", (64, 48, 64, 48), 0)]),
    "000002": ((64, 50), [("train", (7, 13, 41, 59), 1)]),
    "000019": (
        (37, 61),
        [("cat", (3, 5, 60, 37), 0), ("chair", (2, 2, 9, 9), 1), ("chair", (30, 20, 33, 21), 1), ("cat", (1, 1, 2, 2), 0)],
    ),
    "000011": ((333, 500), [("pottedplant", (137, 211, 401, 331), 0), ("tvmonitor", (1, 1, 500, 333), 0)]),
}


def write_voc(folder: Path, split: str = "test", year: str = "2007") -> Path:
    """A tree VOCdevkit/VOC<year> in a folder; returns VOCdevkit."""
    tree = folder / "VOCdevkit" / f"VOC{year}"
    for part in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (tree / part).mkdir(parents=True)
    (tree / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{stem}\n" for stem in VOC))
    (tree / "ImageSets" / "Main" / f"dog_{split}.txt").write_text("".join(f"{stem} -1\n" for stem in VOC))
    noise = np.random.default_rng(0).integers(0, 256, (333, 500, 3), np.uint8)
    for stem, (size, things) in VOC.items():
        Image.fromarray(noise[: size[0], : size[1]]).save(tree / "JPEGImages" / f"{stem}.jpg")
        (tree / "Annotations" / f"{stem}.xml").write_text(annotation(stem, size, things))
    return tree.parent


def annotation(stem: str, size: tuple[int, int], things: list[tuple[str, tuple[int, int, int, int], int]]) -> str:
    """The content of an annotation. A part of a person, which is not an object, stands within each object, as in VOC 2007."""
    objects = "".join(
        f"<object><name>{name}</name><pose>Left</pose><truncated>1</truncated><difficult>{difficult}</difficult>{_box(box)}"
        f"<part><name>head</name>{_box((1, 1, 2, 2))}</part></object>"
        for name, box, difficult in things
    )
    width, height = size[::-1]
    shape = f"<size><width>{width}</width><height>{height}</height><depth>3</depth></size>"
    return f"<annotation>\n<folder>VOC2007</folder><filename>{stem}.jpg</filename>{shape}{objects}</annotation>\n"


def _box(box: tuple[int, int, int, int]) -> str:
    sides = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    return f"<bndbox>{''.join(f'<{side}>{value}</{side}>' for side, value in sides)}</bndbox>"


def write_coco(folder: Path) -> tuple[Path, Path]:
    """A folder of images and its annotations: polygons, two of one class, a crowd, an image without objects."""
    images = folder / "val2014"
    images.mkdir()
    sizes = {42: (40, 60), 7: (50, 30), 99: (36, 36)}
    for number, size in sizes.items():
        Image.fromarray(np.full((*size, 3), number, np.uint8)).save(images / f"COCO_val2014_{number:012d}.jpg")
    square = [[10, 5, 30, 5, 30, 25, 10, 25]]
    # The lengths of runs of zeros and ones, column by column: the first two columns.
    crowd = {"counts": [0, 80, 40 * 60 - 80], "size": [40, 60]}

    def instance(number: int, image: int, category: int, mask: Any, box: list[float], crowd: int = 0) -> dict[str, Any]:
        return {"id": number, "image_id": image, "category_id": category, "segmentation": mask, "bbox": box, "iscrowd": crowd, "area": 1}

    content = {
        "images": [
            {"id": number, "file_name": f"COCO_val2014_{number:012d}.jpg", "height": size[0], "width": size[1]}
            for number, size in sizes.items()
        ],
        "categories": [{"id": 17, "name": "cat"}, {"id": 1, "name": "person"}, {"id": 90, "name": "toothbrush"}],
        "annotations": [
            instance(1, 42, 17, square, [10, 5, 20, 20]),
            instance(2, 42, 17, [[40, 30, 50, 30, 50, 35, 40, 35]], [40.0, 30.5, 10.2, 4.5]),
            instance(3, 42, 1, crowd, [0, 0, 2, 40], 1),
            instance(4, 7, 90, [[0, 0, 30, 0, 30, 10, 0, 10], [0, 40, 30, 40, 30, 50, 0, 50]], [0, 0, 30, 50]),
        ],
    }
    path = folder / "instances_val2014.json"
    path.write_text(json.dumps(content))
    return images, path


def fields(example: Any) -> Any:
    """What an example states, for comparisons: its image decoded, its masks as lists."""
    objects = [(thing.label, thing.box, None if thing.mask is None else thing.mask.tolist(), thing.difficult) for thing in example.objects]
    return example.name, example.load().tolist(), example.size, objects
