"""The pages: their code runs, their links and commands lead somewhere, their lines are short."""

from __future__ import annotations

import doctest
import os
import re
from collections.abc import Iterator
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

import extremal_jax as ej
from command_line import small_load
from extremal_jax.cli import main as command_line
from extremal_jax.optimise import driver

ROOT = Path(__file__).parents[1]
FOLDERS = ("docs", "benchmarks", "tests", "constraints", ".github")
PAGES = sorted([*ROOT.glob("*.md"), *(page for folder in FOLDERS for page in (ROOT / folder).rglob("*.md"))])
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
TEXTS = {name: page.read_text() for name, page in zip(NAMES, PAGES, strict=True)}
SMALL = {f"docs/{name}.md" for name in ("faq", "performance", "quickstart", "settings")}
FENCE = re.compile(r"(<!-- not run: .+ -->\n)?^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(page: str, language: str) -> Iterator[tuple[int, str]]:
    """Line and text of the page's blocks in a language, but those marked `<!-- not run: reason -->` on the line before."""
    for block in FENCE.finditer(TEXTS[page]):
        if block[2] == language and not block[1]:
            yield TEXTS[page].count("\n", 0, block.start(3)) + 1, block[3]


def prose(page: str) -> str:
    """The page without its blocks."""
    return FENCE.sub("", TEXTS[page])


@pytest.fixture
def working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks like the repository's root, with `photo.png` in it."""
    for name in ("extremal_jax", "docs"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "photo.png").symlink_to(ROOT / "extremal_jax/data/packaged/dog-and-car.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, marks=pytest.mark.essential if page == "README.md" else ())
        for page in NAMES
        if any(blocks(page, "python")) and page != "docs/extending.md"
    ],
)
def test_python_blocks_run(page: str, working_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of a page run in order and share their names; those with prompts print what the page says. Runs take only their first and
    last step, and those of `SMALL` are of small networks. `test_extending.py` follows docs/extending.md."""
    if page in SMALL:
        monkeypatch.setattr(ej.models, "load", small_load)
    monkeypatch.setattr(driver, "chunks", lambda num_steps: [slice(0, 1), slice(num_steps - 1, num_steps)])
    names: dict[str, object] = {"__name__": page}
    for line, block in blocks(page, "python"):
        if block.startswith(">>>"):
            report: list[str] = []
            examples = doctest.DocTestParser().get_doctest(block, names, page, page, line - 1)
            doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(examples, out=report.append, clear_globs=False)
            names |= examples.globs
            assert not report, "".join(report)
        else:
            exec(compile("\n" * (line - 1) + block, page, "exec"), names)
    plt.close("all")
    for written in working_folder.iterdir():
        assert written.stat().st_size > 1000, written.name


@pytest.mark.parametrize("page", NAMES)
def test_links_lead_somewhere(page: str) -> None:
    for link in re.findall(r"\]\(([^()\s]+)\)", prose(page)) + re.findall(r"^\[[^\]]+\]: (\S+)$", prose(page), re.MULTILINE):
        if link.startswith(("https://", "http://")):
            continue
        path, _, section = link.partition("#")
        target = Path(os.path.normpath(ROOT / Path(page).parent / path)) if path else ROOT / page
        assert target.exists(), link
        if section:
            titles = re.findall(r"^#+ (.+)$", target.read_text(), re.MULTILINE)
            assert section in {re.sub(r"[^\w\- ]", "", title).lower().replace(" ", "-") for title in titles}, link


@pytest.mark.parametrize("page", [page for page in NAMES if not page.startswith("benchmarks/results/")])
def test_lines_are_short(page: str) -> None:
    """Prose wraps at 120 columns; tables, and words that are longer by themselves, cannot."""
    lines = FENCE.sub(lambda block: "\n" * block[0].count("\n"), TEXTS[page]).splitlines()
    long = [number for number, line in enumerate(lines, 1) if len(line) > 120 and line[0] != "|" and max(map(len, line.split())) < 100]
    assert long == []


@pytest.mark.parametrize("page", NAMES)
def test_no_control_characters(page: str) -> None:
    """A script that writes a formula can turn \\frac into a form feed and \\big into a backspace."""
    assert re.findall(r"[\x00-\x08\x0b-\x1f]", TEXTS[page]) == []


def commands(page: str) -> set[str]:
    """The commands of the page: lines of shell blocks, and code in running text."""
    shell = [line for _, block in blocks(page, "sh") for line in block.splitlines()]
    return {line.split("  #")[0].strip() for line in shell + re.findall(r"`([^`\n]+)`", prose(page))}


@pytest.mark.parametrize("page", NAMES)
def test_commands_exist(page: str) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for command in commands(page):
        program, *arguments = command.split()
        if program == "make":
            assert {argument for argument in arguments if "=" not in argument} <= targets, command
        elif program == "python" and arguments[0].endswith(".py"):
            assert (ROOT / arguments[0]).exists(), command
        elif program == "extremal-jax" and arguments:
            assert arguments[0] in command_line.commands, command
            options = command_line.commands[arguments[0]].params
            known = {"--help", *(name for option in options for name in option.opts + option.secondary_opts)}
            assert {argument.split("=")[0] for argument in arguments if argument.startswith("--")} <= known, command


def test_blocks_that_do_not_run_say_why() -> None:
    """A marker stands directly before a block of Python, where it counts."""
    for name, text in TEXTS.items():
        assert text.count("<!-- not run: ") == len(re.findall(r"^<!-- not run: .{3,} -->\n```python$", text, re.MULTILINE)), name
