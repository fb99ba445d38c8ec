"""The page as a person meets it: in Chromium, by mouse and by keyboard. Skipped where Chromium or Playwright is missing.

`CHROMIUM` names the program if it is not on the path, and `AXE` the file axe.min.js, which checks accessibility; without
it, that check is skipped.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import extremal_jax as ej
import report_results
import small
from extremal_jax.report.index import Entry, Leaf, index_page
from plot_results import CLASSES, picture, result, smallest
from report_pages import pixels

playwright = pytest.importorskip("playwright.sync_api")
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if not CHROMIUM:
    pytest.skip("Chromium is not installed", allow_module_level=True)
AXE = Path(os.environ.get("AXE", "node_modules/axe-core/axe.min.js"))
NARROW, WIDE = {"width": 360, "height": 740}, {"width": 1280, "height": 900}
FORMS = ["video", "spectrogram", "series", "channels", "inversions", "maps"]
PAGES = [("one.html", ""), ("many.html", ""), ("model.html", "#picture-2"), ("index.html", ""), *((f"{form}.html", "#") for form in FORMS)]
HOSTILE = '"></script><img src=x onerror=alert(1)>'


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report on a single picture with all that it can hold, one on three pictures, and the contents of a folder."""
    made = tmp_path_factory.mktemp("reports")
    maps = {"grad_cam": np.eye(4), HOSTILE: np.ones((2, 2))}
    ej.report.write(made / "one.html", picture(), result(), CLASSES, maps=maps, smallest=smallest()[0], names="photo.png")
    ej.report.write(made / "many.html", picture(3), result(3), ["dog", "cat", HOSTILE], names=["b.png", "c.png", "a.png"])
    ej.report.write(made / "model.html", small.IMAGES, small.explain(), model=small.MODEL)
    for kind in FORMS[:3]:
        maps = {HOSTILE: np.ones(report_results.masked_shape(kind))}
        ej.report.write(
            made / f"{kind}.html", report_results.values(kind), report_results.result(kind), [HOSTILE], maps=maps, names=HOSTILE
        )
    each, names = np.zeros((3, 8, 8, 3)), ["cat", HOSTILE]
    ej.report.write(made / "channels.html", picture(), report_results.channels(), names, inversions={HOSTILE: each}, names=HOSTILE)
    ej.report.write(made / "inversions.html", picture(), {HOSTILE: report_results.inversion(), "b": report_results.inversion(seed=1)})
    ej.report.write(made / "maps.html", picture(), classes=names, maps={HOSTILE: np.eye(4)}, targets=1, names=HOSTILE)
    entries = [Entry(f"{number}.png", "cat", "explained", f"many.html#picture-{number % 3 + 1}", 2.0, 0.5) for number in range(118)]
    entries += [Entry(HOSTILE, "", "skipped", remark="no image"), Entry("z.png", "", "absent")]
    index = index_page("Sweep", entries, [Leaf("many.html", 1, 118)], "a line", [("a", "b")])
    (made / "index.html").write_text("".join(index), encoding="utf-8")
    return made


class Visit:
    """A page in a browser, with what it asked for and complained about."""

    def __init__(self, browser: Any, path: Path, place: str = "", **options: Any) -> None:
        context = browser.new_context(viewport=options.pop("viewport", WIDE), **options)
        self.page = context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        self.address = path.as_uri()
        self.page.goto(self.address + place)
        if place or path.name == "one.html":
            self.ready()

    def ready(self) -> None:
        """Wait until a picture is drawn."""
        self.until("document.documentElement.dataset.ready !== undefined")
        self.page.wait_for_timeout(400)  # longer than the transition from mask to mask

    def until(self, condition: str) -> None:
        """Wait for a condition in JavaScript. Playwright's own wait evaluates text inside the page, which its policy forbids."""
        for _ in range(200):
            if self.page.evaluate(condition):
                return
            self.page.wait_for_timeout(50)
        pytest.fail(f"never true: {condition}")

    def stage(self) -> Any:
        """The pixels of the picture, (H, W, 3)."""
        return pixels(self.page.evaluate("document.getElementById('canvas').toDataURL()"))[..., :3].astype(int)

    def text(self, selector: str) -> Any:
        return self.page.inner_text(selector)

    def press(self, selector: str, key: str) -> None:
        self.page.press(selector, key)
        self.page.wait_for_timeout(400)

    def leave(self) -> None:
        """Close the page, and check that it complained of nothing and loaded nothing but itself."""
        self.page.context.close()
        assert self.complaints == []
        assert {url.split("#")[0] for url in self.requests if not url.startswith("data:")} == {self.address}


def test_the_slider_reveals_other_parts(browser: Any, folder: Path) -> None:
    visit = Visit(browser, folder / "one.html")
    shown, facts = [], []
    visit.page.focus("#area")
    visit.press("#area", "Home")
    for _ in range(5):  # three masks, the smallest area and the whole image
        shown.append(visit.stage())
        facts.append([visit.text("#fact-area"), visit.text("#fact-response"), visit.text("#fact-share")])
        visit.press("#area", "ArrowRight")
    for before, after in itertools.pairwise(shown):
        assert np.abs(before - after).mean() > 1
    areas = result().areas
    assert facts[0] == [f"{areas[0]:.1%}", "1.00", "13%"]
    assert facts[2] == ["25.0%", "3.00", "38%"]  # a*
    assert facts[4] == ["100.0%", "8.00", "100%"]
    assert "whole image" in visit.page.get_attribute("#area", "aria-valuetext")
    small_picture = shown[4].reshape(24, shown[4].shape[0] // 24, 36, -1, 3).mean(axis=(1, 3))
    assert np.corrcoef(small_picture.ravel(), picture().ravel())[0, 1] > 0.9  # the image itself, but for JPEG
    visit.leave()


def test_views_and_rests(browser: Any, folder: Path) -> None:
    """Each choice changes the picture; the keyboard makes them too."""
    visit = Visit(browser, folder / "one.html")
    visit.press("#area", "Home")
    pictures = {"kept": visit.stage()}
    visit.page.focus("input[value=kept]")
    for name in ("without", "mask"):
        visit.page.keyboard.press("ArrowRight")
        visit.page.wait_for_timeout(400)
        pictures[name] = visit.stage()
    assert visit.page.evaluate("document.getElementById('rests').disabled")
    assert (pictures["mask"] == pictures["mask"][..., :1]).all()  # grey
    visit.page.check("input[value=kept]", force=True)
    for name in ("black", "outline"):
        visit.page.check(f"input[value={name}]", force=True)
        visit.page.wait_for_timeout(400)
        pictures[name] = visit.stage()
    assert pictures["black"].mean() < pictures["kept"].mean()
    names = list(pictures)
    for index, name in enumerate(names):
        for other in names[index + 1 :]:
            assert np.abs(pictures[name] - pictures[other]).mean() > 1, (name, other)
    visit.leave()


def test_buttons_and_charts_choose_an_area(browser: Any, folder: Path) -> None:
    visit = Visit(browser, folder / "one.html")
    visit.page.click("#strip button:nth-child(2)")
    assert visit.page.input_value("#area") == "1"
    assert visit.page.eval_on_selector_all("#strip [aria-pressed=true]", "found => found.length") == 1
    assert visit.page.locator("#charts svg").count() == 3
    assert visit.page.locator("#charts path.line.chosen").count() == 2  # of the response and of the area loss
    box = visit.page.locator("#charts svg").first.bounding_box()
    visit.page.mouse.click(box["x"] + box["width"] - 12, box["y"] + 50)
    assert visit.page.input_value("#area") == "4"
    assert "a* 25.0%" in visit.text("#charts")
    visit.page.hover("#charts figure:nth-child(2) svg")
    assert visit.text("#charts figure:nth-child(2) .readout").startswith("step ")
    assert visit.text("#maps figure:last-child") == HOSTILE
    visit.leave()


def test_the_classes_follow_the_mask_and_the_view(browser: Any, folder: Path) -> None:
    visit = Visit(browser, folder / "model.html", "#picture-1")
    found = []
    for stop, view in ((0, "kept"), (1, "kept"), (1, "without"), (2, "kept")):
        visit.page.check(f"input[value={view}]", force=True)
        visit.page.click(f"#strip button:nth-child({stop + 1})")
        found.append(visit.text("#classes"))
    assert len(set(found)) == 4
    assert [text.count("(target)") for text in found] == [1] * 4
    assert visit.page.locator("#classes-list li").count() == 5
    assert [text.split("\n")[0] for text in found] == [
        "Classes of what it keeps",
        "Classes of what it keeps",
        "Classes of what is left",
        "Classes of the whole image",
    ]
    visit.leave()


def test_the_slices_of_a_clip(browser: Any, folder: Path) -> None:
    """The page begins with the slice that the mask keeps most; slider, film strip and chart choose another."""
    visit = Visit(browser, folder / "video.html", "#")
    visit.press("#area", "Home")
    assert (visit.page.input_value("#slice"), visit.page.locator("#frames canvas").count()) == ("1", 6)
    before = visit.stage()
    visit.press("#slice", "ArrowRight")
    assert np.abs(visit.stage() - before).mean() > 1
    assert visit.page.get_attribute("#slice", "aria-valuetext") == "time 2, of which the mask keeps 0.0%"
    assert "time 2" in visit.page.get_attribute("#canvas", "aria-label")
    visit.page.click("#frames div:nth-child(6)")
    assert visit.page.input_value("#slice") == "5"
    visit.page.locator("#charts figure:last-child svg").click(position={"x": 46, "y": 50})
    assert visit.page.input_value("#slice") == "0"
    assert visit.text("#maps figure:last-child") == HOSTILE
    visit.leave()


def test_a_series_of_constants(browser: Any, tmp_path: Path) -> None:
    """Under a mask a constant differs from itself by rounding, where round numbers are too close to count."""
    values = np.broadcast_to(np.array([5.0, 10.0, 20.0, 1013.2], np.float32), (200, 4))
    config = ej.Config(num_steps=2, perturbation="blur")
    found = ej.extremal_perturbation(lambda series: series.mean(axis=1), values, 1, (0.05, 0.1, 0.2), axes="series", config=config)
    ej.report.write(tmp_path / "constants.html", values, found)
    visit = Visit(browser, tmp_path / "constants.html", "#")
    for key in ("Home", "ArrowRight", "End"):
        visit.press("#area", key)
    assert visit.page.locator("#plots svg").count() == 4
    visit.leave()


def test_the_lines_of_a_series(browser: Any, folder: Path) -> None:
    visit = Visit(browser, folder / "series.html", "#")
    shades = []
    for key in ("Home", "ArrowRight", "End"):
        visit.press("#area", key)
        shades.append(visit.page.get_attribute("#plots figure:nth-child(2) .shade", "d"))
    assert len(set(shades)) == 3
    assert visit.page.locator("#plots svg").count() == 4
    assert not visit.page.is_visible("#canvas")
    seen = visit.page.get_attribute("#plots figure:nth-child(2) .seen", "d")
    visit.page.check("input[value=without]", force=True)
    assert visit.page.get_attribute("#plots figure:nth-child(2) .seen", "d") != seen
    visit.page.hover("#plots figure:nth-child(1) svg")
    assert visit.text("#plots figure:nth-child(1) .readout").startswith("time ")
    assert visit.page.get_attribute("#plots figure:nth-child(1) svg", "aria-label").startswith("feature 0 over time: ")
    visit.leave()


def test_the_sets_of_channels(browser: Any, folder: Path) -> None:
    visit = Visit(browser, folder / "channels.html", "#")
    visit.press("#area", "Home")
    assert (visit.text("#fact-area"), visit.text("#fact-note")) == ("1", "1 of 12: 1")
    before = visit.stage()
    visit.press("#area", "ArrowRight")
    assert (visit.text("#fact-area"), visit.text("#fact-note")) == ("3", "3 of 12: 1, 2, 3")
    assert np.abs(visit.stage() - before).mean() > 1
    assert visit.text("#found figure:last-child") == HOSTILE
    assert "3 channels of blocks.2" in visit.page.get_attribute("#area", "aria-valuetext")
    visit.leave()


def test_pages_without_masks(browser: Any, folder: Path) -> None:
    visit = Visit(browser, folder / "inversions.html", "#")
    assert not visit.page.is_visible("#columns")
    assert visit.text("#found figure:nth-child(2)") == f"{HOSTILE} cosine 0.75"
    assert visit.page.locator("#charts path.line").count() == 2
    visit.leave()
    visit = Visit(browser, folder / "maps.html", "#")
    assert visit.page.locator("#maps canvas").count() == 1
    assert (visit.text("#detail-title"), visit.page.is_visible("#charts-section")) == (HOSTILE, False)
    visit.leave()


def test_the_gallery_is_searched_and_sorted(browser: Any, folder: Path) -> None:
    visit = Visit(browser, folder / "many.html")

    def names() -> Any:
        return visit.page.eval_on_selector_all(".card:not([hidden]) .card-name", "found => found.map(one => one.textContent)")

    assert (names(), visit.text("#count")) == (["b.png", "c.png", "a.png"], "3 pictures")
    visit.page.select_option("#sort", "name")
    assert names() == ["a.png", "b.png", "c.png"]
    visit.page.select_option("#sort", "-share")
    assert names() == ["a.png", "c.png", "b.png"]
    assert visit.page.locator("#sort option[value=area]").count() == 0  # no picture has one
    visit.page.fill("#search", "DOG")
    assert (names(), visit.text("#count")) == (["b.png"], "1 of 3 pictures")
    visit.page.fill("#search", "onerror")
    assert names() == ["a.png"]
    visit.leave()


def test_the_keyboard_goes_through_the_gallery(browser: Any, folder: Path) -> None:
    visit = Visit(browser, folder / "many.html")
    visit.page.focus(".card a")
    visit.page.keyboard.press("Enter")
    visit.ready()
    assert visit.text("#detail-title") == "dog"
    visit.until("document.activeElement.id === 'detail-title'")
    visit.page.focus("nav .next")
    visit.page.keyboard.press("Enter")
    visit.until("document.getElementById('detail-title').textContent === 'cat'")
    visit.page.go_back()
    visit.until("document.getElementById('detail-title').textContent === 'dog'")
    visit.until("document.querySelector('nav .previous').getAttribute('aria-disabled') === 'true'")
    visit.page.click("nav .all")
    visit.until("document.querySelector('.cards').checkVisibility()")
    visit.page.goto(visit.address + "#picture-3")
    visit.until("location.hash === '#picture-3' && !document.getElementById('detail').hidden")
    visit.until(f"document.getElementById('detail-title').textContent === {json.dumps(HOSTILE)}")
    visit.leave()


def test_the_contents_are_searched(browser: Any, folder: Path) -> None:
    visit = Visit(browser, folder / "index.html")
    rows = visit.page.locator("#list tr")
    assert (rows.count(), visit.text("#count")) == (50, "120 pictures, the first 50 below")
    visit.page.click("#more")
    visit.page.click("#more")
    assert (rows.count(), visit.text("#count"), visit.page.is_visible("#more")) == (120, "120 pictures", False)
    visit.page.fill("#search", "CAT 111")
    assert (rows.count(), visit.text("#count")) == (1, "1 of 120 pictures")
    assert rows.first.inner_text().split() == ["111.png", "cat", "2.00", "50%"]
    visit.page.fill("#search", "")
    visit.page.select_option("#state", label="skipped")
    assert rows.all_inner_texts() == [f"{HOSTILE}\t\t\t\tskipped: no image"]
    assert visit.page.locator("#state option").all_inner_texts() == ["all", "skipped", "not done yet"]
    visit.leave()


def test_the_contents_lead_to_a_picture(browser: Any, folder: Path) -> None:
    visit = Visit(browser, folder / "index.html")
    visit.page.click("text='4.png'")
    visit.ready()
    assert visit.text("#detail-title") == "cat"
    assert visit.complaints == []
    visit.page.context.close()


@pytest.mark.parametrize("viewport", [NARROW, WIDE], ids=["narrow", "wide"])
@pytest.mark.parametrize(("name", "place"), PAGES)
def test_nothing_is_wider_than_the_window(browser: Any, folder: Path, viewport: Any, name: str, place: str) -> None:
    visit = Visit(browser, folder / name, place, viewport=viewport)
    assert visit.page.evaluate("document.documentElement.scrollWidth") == viewport["width"]
    visit.leave()


def test_print(browser: Any, folder: Path) -> None:
    """On paper: no controls, all details."""
    visit = Visit(browser, folder / "one.html")
    visit.page.emulate_media(media="print")
    visit.page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert not visit.page.is_visible("#area")
    assert not visit.page.is_visible("#views")
    assert visit.page.is_visible("#strip canvas")
    assert visit.page.is_visible("#numbers")
    assert visit.page.is_visible(".settings table")
    visit.leave()


@pytest.mark.skipif(not AXE.is_file(), reason="axe-core is not installed")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("name", "place"), PAGES)
def test_accessibility(browser: Any, folder: Path, scheme: str, name: str, place: str) -> None:
    visit = Visit(browser, folder / name, place, color_scheme=scheme)
    visit.page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    visit.page.evaluate(AXE.read_text(encoding="utf-8"))
    violations = visit.page.evaluate("axe.run(document)")["violations"]
    assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in violations] == []
    visit.page.context.close()
