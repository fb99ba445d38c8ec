"""The store of a sweep as a folder of pages: every picture on a page or named in the contents, and nothing loaded at once."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import shutil
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import extremal_jax as ej
import small
import sweep_pictures
from extremal_jax.report.gallery import _Pictures
from extremal_jax.sweeps import Sweep
from extremal_jax.sweeps.layout import State
from report_pages import Page, pixels

DAMAGED, SKIPPED = 3, "damaged.png"
HOSTILE = '</script><script>alert(1)</script>"'


class Pictures(list[Any]):
    """Pictures with names."""

    names: tuple[str, ...]


def pictures(**changed: Any) -> Pictures:
    """Six pictures, one of them damaged, one of a hostile name; some may be others, by number."""
    found = Pictures(sweep_pictures.PICTURES[:6])
    found[DAMAGED] = b"damaged"
    for place, picture in changed.items():
        found[int(place[1:])] = picture
    found.names = ("a.png", HOSTILE, "c.png", SKIPPED, "e.png", "f.png")
    return found


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep") / "store"
    sweep_pictures.run(folder, pictures(), targets="top")
    return folder


@pytest.fixture
def unfinished(store: Path, tmp_path: Path) -> Path:
    """A copy of the store, in which the fifth picture is not done."""
    copy = tmp_path / "copy"
    shutil.copytree(store, copy)
    (copy / "status" / "c.4").unlink()
    return copy


def write(folder: Path, sweep: Any, source: Any = None, **options: Any) -> list[Any]:
    """Write the pages; the rows of the contents."""
    given: dict[str, Any] = dict(preprocess=sweep_pictures.prepare) | options
    ej.report.write_sweep(folder, sweep, pictures() if source is None else source, **given)
    [rows] = read(folder / "index.html").pictures
    return rows


def read(path: Path) -> Page:
    return Page(path.read_text(encoding="utf-8"))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_every_picture_is_on_a_page_or_named_with_the_reason(unfinished: Path, tmp_path: Path) -> None:
    rows = write(tmp_path / "new" / "pages", unfinished, per_page=2)
    folder = tmp_path / "new" / "pages"
    assert names(folder) == ["index.html", "page-0001.html", "page-0002.html"]
    addresses = ["page-0001.html#picture-1", "page-0001.html#picture-2", "page-0002.html#picture-1", None, None, "page-0002.html#picture-2"]
    assert [row[0] for row in rows] == list(pictures().names)
    assert [row[2] for row in rows] == ["explained", "explained", "explained", "skipped", "absent", "explained"]
    assert [row[3] for row in rows] == addresses
    assert rows[3][-1] == "damaged.png is not an image of a known format"
    texts = read(folder / "index.html").texts
    counts = dict(zip(texts[(first := texts.index("Pictures")) : first + 8 : 2], texts[first + 1 : first + 8 : 2], strict=True))
    assert counts == {"Pictures": "6", "Explained": "4", "Skipped": "1", "Not done yet": "1"}
    assert [texts[texts.index(f"Page {page}") + 1] for page in (1, 2)] == ["1–2", "3–6"]


def test_a_page_is_the_report_of_its_pictures(store: Path, tmp_path: Path) -> None:
    rows = write(tmp_path, store, per_page=3)
    sweep = ej.open_sweep(store)
    page = read(tmp_path / "page-0002.html")
    assert [one["name"] for one in page.pictures] == ["e.png", "f.png"]
    for one, index in zip(page.pictures, (4, 5), strict=True):
        found, row = sweep[index], rows[index]
        for stop, mask, reward in zip(one["stops"], found.masks, found.rewards, strict=True):
            np.testing.assert_allclose(pixels(stop["mask"]), 255 * mask, atol=0.51)
            assert stop["response"] == pytest.approx(float(reward), rel=1e-4)
        assert one["target"] == row[1] == f"class {found.targets}"
        assert row[4] == one["whole"] == pytest.approx(float(found.image_rewards), rel=1e-4)
        assert row[5] == max(stop["share"] for stop in one["stops"])
    assert "num_steps" in page.texts


def test_pages_link_one_another_and_the_contents(store: Path, tmp_path: Path) -> None:
    write(tmp_path, store, per_page=2)
    links = [[a["href"] for a in read(tmp_path / f"page-000{page}.html").all("a") if ".html" in a["href"]] for page in (1, 2, 3)]
    first, second, third = (f"page-000{page}.html" for page in (1, 2, 3))
    assert links == [["index.html", second], ["index.html", first, third], ["index.html", second]]
    assert [a["href"] for a in read(tmp_path / "index.html").all("a") if ".html" in a["href"]] == [first, second, third]


def test_a_hundred_pictures_make_a_page_unless_told_otherwise(store: Path, tmp_path: Path) -> None:
    write(tmp_path, store)
    assert names(tmp_path) == ["index.html", "page-0001.html"]


def test_an_opened_sweep_is_as_good_as_its_folder(store: Path, tmp_path: Path) -> None:
    assert write(tmp_path / "a", ej.open_sweep(store)) == write(tmp_path / "b", str(store))


def test_names_and_titles_stay_texts(store: Path, tmp_path: Path) -> None:
    rows = write(tmp_path, store, title=HOSTILE)
    assert rows[1][0] == HOSTILE
    index, page = read(tmp_path / "index.html"), read(tmp_path / "page-0001.html")
    assert len(index.all("script")) == 2  # the list, and the page's own
    assert index.texts.count(HOSTILE) == 2
    assert len(page.all("script")) == 1 + len(page.pictures)
    assert f"{HOSTILE}, page 1 of 1" in page.texts
    assert "alert(1)</script>" not in (tmp_path / "index.html").read_text() + (tmp_path / "page-0001.html").read_text()


def test_pictures_that_cannot_be_shown_are_listed_with_the_reason(store: Path, tmp_path: Path) -> None:
    other = np.zeros((5, 7, 3), np.uint8)
    rows = write(tmp_path, store, pictures(_0=b"gone", _2=other))
    height, width = sweep_pictures.PICTURES.shape[1:3]
    assert [row[2] for row in rows] == ["unread", "explained", "unread", "skipped", "explained", "explained"]
    assert rows[0][-1] == "a.png is not an image of a known format"
    assert rows[2][-1] == f"the picture explained was of {height}x{width} pixels, the source's is of 5x7"
    assert [row[3] for row in rows if row[3]] == [f"page-0001.html#picture-{card}" for card in (1, 2, 3)]
    assert [one["name"] for one in read(tmp_path / "page-0001.html").pictures] == [HOSTILE, "e.png", "f.png"]


def test_faulty_pictures_are_marked(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = ej.open_sweep(store)[0]
    status = dataclasses.replace(sound.status, no_gradient=np.array([True, False, False])[: len(small.AREAS)])
    monkeypatch.setattr(Sweep, "__getitem__", lambda *_: dataclasses.replace(sound, status=status))
    rows = write(tmp_path, store)
    assert {row[2] for row in rows} == {"faulty", "skipped"}
    assert rows[0][-1] == "; ".join(status.message.splitlines())
    assert "With faults" in read(tmp_path / "index.html").texts


def test_a_source_may_have_more_pictures_in_another_order(store: Path, tmp_path: Path) -> None:
    more = Pictures([*pictures()[::-1], pictures()[0]])
    more.names = (*pictures().names[::-1], "new.png")
    assert write(tmp_path / "a", store, more) == write(tmp_path / "b", store)
    images = [[one["image"] for one in read(tmp_path / folder / "page-0001.html").pictures] for folder in "ab"]
    assert images[0] == images[1]


def test_a_picture_of_several_classes_is_shown_for_each(tmp_path: Path) -> None:
    picture = sweep_pictures.PICTURES[0]
    source = [(picture, (0, 2)), (sweep_pictures.PICTURES[1], 1)]
    sweep_pictures.run(tmp_path / "store", source)
    rows = write(tmp_path / "pages", tmp_path / "store", source)
    assert [row[:2] for row in rows] == [["000000", "class 0"], ["000000", "class 2"], ["000001", "class 1"]]
    images = [one["image"] for one in read(tmp_path / "pages" / "page-0001.html").pictures]
    assert images[0] == images[1] != images[2]


def test_one_picture_is_in_memory_at_a_time(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subject, made, most = _Pictures.subject, list[Any](), list[int]()

    def watched(self: _Pictures, index: int) -> Any:
        gc.collect()
        most.append(sum(one() is not None for one in made))
        found = subject(self, index)
        made.append(weakref.ref(found.result))
        return found

    monkeypatch.setattr(_Pictures, "subject", watched)
    write(tmp_path, store)
    assert len(most) == 5
    assert max(most) <= 1


def test_progress_counts_pictures(store: Path, tmp_path: Path) -> None:
    calls: list[tuple[int, int]] = []
    write(tmp_path, store, per_page=2, progress=lambda *counts: calls.append(counts))
    assert calls == [(0, 5), (2, 5), (4, 5), (5, 5)]


def test_mistakes_are_found_before_anything_is_written(store: Path, tmp_path: Path) -> None:
    folder, file, others = tmp_path / "new", tmp_path / "file", pictures()
    file.touch()
    others.names = ("a.png", "b.png", *others.names[2:])
    with pytest.raises(ValueError, match=r"per_page must be .* at least 1, got 0"):
        write(folder, store, per_page=0)
    with pytest.raises(TypeError, match="title"):
        write(folder, store, title=3)
    with pytest.raises(FileNotFoundError, match="no sweep in "):
        write(folder, tmp_path)
    with pytest.raises(
        ValueError, match=r"source must have the pictures of the sweep, and items lacks 1 of 6, such as .*alert.*; the sweep is of"
    ):
        write(folder, store, others)
    with pytest.raises(ValueError, match=r"source must have the pictures of the sweep, and items lacks 6 of 6, such as 'a\.png'"):
        write(folder, store, sweep_pictures.SOURCE)
    twice = Pictures([*pictures()[::-1], pictures()[1]])
    twice.names = (*pictures().names[::-1], "a.png")
    with pytest.raises(ValueError, match=r"source must have one picture of each name, and items has 2 named 'a\.png'"):
        write(folder, store, twice)
    with pytest.raises(TypeError, match=r"preprocess must be the function of the sweep from a picture .*, got None"):
        write(folder, store, preprocess=None)
    with pytest.raises(NotADirectoryError, match=r"cannot write into .*file: it is a file; choose another output folder"):
        write(file, store)
    assert names(tmp_path) == ["file"]


def test_a_store_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "zarr.json").write_text(json.dumps({"zarr_format": 3, "node_type": "group"}))
    with pytest.raises(ValueError, match="is a zarr group, but not of a sweep"):
        write(tmp_path / "pages", tmp_path)


def test_nothing_to_show(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="no picture of the source can be shown: preprocess makes 5x5 of the picture"):
        write(tmp_path, store, preprocess=lambda _: np.zeros((5, 5, 3), np.float32))
    assert "index.html" not in names(tmp_path)
    monkeypatch.setattr(Sweep, "states", lambda self: np.full(len(self), State.ABSENT))
    with pytest.raises(ValueError, match=r"no picture of Sweep\(.*\) is explained yet; run it first"):
        write(tmp_path, store)


def test_a_failure_leaves_no_part_of_a_page(store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(_Pictures, "subject", full)
    with pytest.raises(MemoryError):
        write(tmp_path, store)
    assert os.listdir(tmp_path) == []
