"""Masks as PNG, COCO and NPZ files."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image

import command_line
import extremal_jax as ej
from extremal_jax.data.scenes import generate
from extremal_jax.sweeps import Sweep, export
from extremal_jax.sweeps.exporting import FORMATS

AREAS = (0.1, 0.25)
SIZES = ((48, 64), (50, 34), (32, 32), (32, 32))
NAMES = ("../a b.png", "photographs/猫" + 100 * "é" + ".v2.jpg", "damaged.png", "c\udcff:*?.png")
DONE = (0, 1, 3)
DECODING = pytest.mark.filterwarnings(
    "ignore:__array__ implementation:DeprecationWarning"
)  # pycocotools 2.0.11 lacks an argument of NumPy 2
STEMS = ("000000-a_b", "000001-猫" + 49 * "é", "000003-c_")


class Pictures(list[Any]):
    """Pictures with names, as a reader of one's own may have them."""

    names = NAMES


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    pictures = Pictures(generate(40 + index, 1, size).images[0] for index, size in enumerate(SIZES))
    pictures[2] = b"damaged"
    config = ej.Config(num_steps=2, pitch=4, sigma=4.0, num_levels=2, max_blur=4.0, exchange=False)
    out = tmp_path_factory.mktemp("sweep") / "store"
    return ej.sweep(command_line.classifier(), pictures, out, areas=AREAS, targets="top", config=config, batch_size=2)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


def placed(sweep: Sweep, index: int, binary: bool = False) -> np.ndarray:
    """The masks, laid on the picture."""
    masks = np.asarray(sweep[index].binary_masks() if binary else sweep[index].masks)
    return command_line.classifier().preprocessing.place(masks, SIZES[index])


def test_png(sweep: Sweep, tmp_path: Path) -> None:
    assert export(sweep, tmp_path / "new" / "masks") == (3, 6)
    assert names(tmp_path) == sorted(["new", "masks", *(f"{stem}-{area}.png" for stem in STEMS for area in AREAS)])
    for index, stem in zip(DONE, STEMS, strict=True):
        for area, mask in zip(AREAS, placed(sweep, index), strict=True):
            with Image.open(tmp_path / "new" / "masks" / f"{stem}-{area}.png") as file:
                assert (file.mode, file.size) == ("L", SIZES[index][::-1])
                np.testing.assert_allclose(np.asarray(file), 255 * mask, atol=0.51)


def test_png_of_the_size_of_the_input(sweep: Sweep, tmp_path: Path) -> None:
    export(sweep, str(tmp_path), on_picture=False)
    for area, mask in zip(AREAS, sweep[0].masks, strict=True):
        np.testing.assert_allclose(ej.data.load_image(tmp_path / f"000000-a_b-{area}.png")[..., 0], 255 * mask, atol=0.51)


@pytest.mark.parametrize("on_picture", [True, False])
def test_binary_png(sweep: Sweep, tmp_path: Path, on_picture: bool) -> None:
    export(sweep, tmp_path, binary=True, on_picture=on_picture)
    for index, stem in zip(DONE, STEMS, strict=True):
        expected = placed(sweep, index, binary=True) >= 0.5 if on_picture else np.asarray(sweep[index].binary_masks())
        for area, mask in zip(AREAS, expected, strict=True):
            np.testing.assert_array_equal(ej.data.load_image(tmp_path / f"{stem}-{area}.png")[..., 0], 255 * mask)
            assert on_picture or mask.sum() == round(area * 32 * 32)


@DECODING
@pytest.mark.parametrize("on_picture", [True, False])
def test_coco(sweep: Sweep, tmp_path: Path, on_picture: bool) -> None:
    tools = pytest.importorskip("pycocotools.mask")
    assert export(sweep, tmp_path, "coco", on_picture=on_picture) == (3, 1)
    assert names(tmp_path) == ["masks.json"]
    entries = json.loads((tmp_path / "masks.json").read_text(encoding="utf-8"))
    assert [(entry["image_id"], entry["requested_area"]) for entry in entries] == [(index, area) for index in DONE for area in AREAS]
    for place, entry in enumerate(entries):
        index, area = entry["image_id"], place % 2
        result = sweep[index]
        expected = placed(sweep, index, binary=True) >= 0.5 if on_picture else np.asarray(result.binary_masks())
        np.testing.assert_array_equal(tools.decode(entry["segmentation"]), expected[area])
        assert entry["segmentation"]["size"] == list(SIZES[index] if on_picture else (32, 32))
        assert (entry["category_id"], entry["file_name"]) == (int(result.targets), sweep.names[index])
        assert entry["score"] == pytest.approx(float(result.rewards[area]))


@DECODING
def test_coco_reads_it_as_results(sweep: Sweep, tmp_path: Path) -> None:
    ground = pytest.importorskip("pycocotools.coco").COCO()
    export(sweep, tmp_path, "coco")
    images = [dict(id=index, height=height, width=width) for index, (height, width) in enumerate(SIZES)]
    ground.dataset = dict(images=images, categories=[], annotations=[])
    ground.createIndex()
    found = ground.loadRes(str(tmp_path / "masks.json"))
    masks = [found.annToMask(entry) for entry in found.loadAnns(found.getAnnIds(imgIds=[1]))]
    np.testing.assert_array_equal(masks, placed(sweep, 1, binary=True) >= 0.5)


def test_scores_that_are_not_finite(sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON has no NaN."""
    pytest.importorskip("pycocotools")
    broken = dataclasses.replace(sweep[0], rewards=np.array([np.nan, 2], np.float32))
    monkeypatch.setattr(Sweep, "__getitem__", lambda *_: broken)
    export(sweep, tmp_path, "coco")
    text = (tmp_path / "masks.json").read_text(encoding="utf-8")
    assert [entry["score"] for entry in json.loads(text, parse_constant=pytest.fail)] == 3 * [None, 2]


def test_npz(sweep: Sweep, tmp_path: Path) -> None:
    assert export(sweep, tmp_path, "npz") == (3, 3)
    assert names(tmp_path) == sorted(f"{stem}.npz" for stem in STEMS)
    for index, stem in zip(DONE, STEMS, strict=True):
        found, expected = ej.ExtremalResult.load(tmp_path / f"{stem}.npz"), sweep[index]
        assert found.config == expected.config
        jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_masks_of_a_model_without_a_preprocessing(sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows where they lie on the picture."""
    monkeypatch.setattr(Sweep, "preprocessing", None)
    export(sweep, tmp_path)
    with Image.open(tmp_path / "000000-a_b-0.1.png") as file:
        assert file.size == (32, 32)


def test_areas_that_read_alike_have_files_of_their_own(sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sweep, "areas", np.array([0.1, 0.1], np.float32))
    assert export(sweep, tmp_path / "masks").files == len(list((tmp_path / "masks").iterdir())) == 6
    assert (tmp_path / "masks" / f"{STEMS[0]}-1-0.1.png").exists()


def test_files_are_written_anew(sweep: Sweep, tmp_path: Path) -> None:
    for _ in range(2):
        assert export(sweep, tmp_path).files == len(names(tmp_path)) == 6


def test_names_and_reasons_that_are_not_unicode(sweep: Sweep) -> None:
    assert sweep.names == (*NAMES[:3], "c?:*?.png")
    assert sweep.reason(2).endswith("damaged.png is not an image of a known format")


def test_refusals(sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match=r"file_format must be one of 'png', 'coco', 'npz', got 'jpg'"):
        export(sweep, tmp_path, "jpg")
    (tmp_path / "file").write_text("")
    for file_format in FORMATS:
        with pytest.raises(OSError, match=r"cannot write .*file.*; choose another output folder"):
            export(sweep, tmp_path / "file", file_format)
    with pytest.raises(ValueError, match="path must be a local file, got the address gs://bucket/masks"):
        export(sweep, "gs://bucket/masks")
    monkeypatch.setattr(Sweep, "done", lambda _: iter(()))
    with pytest.raises(ValueError, match=r"no picture of Sweep\(.*\) is explained yet; run it first"):
        export(sweep, tmp_path)
    assert names(tmp_path) == ["file"]


def test_coco_needs_its_package(sweep: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools.mask", None)
    with pytest.raises(ImportError, match=r"the format coco needs pycocotools: pip install 'extremal-jax\[coco\]'"):
        export(sweep, tmp_path / "masks", "coco")
    assert not (tmp_path / "masks").exists()
