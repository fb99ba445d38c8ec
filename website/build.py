"""Builds the documentation site: `make docs`.

    python website/build.py

The pages of the repository, the reference and the notebooks, which run, become build/website/html/. The folder `node_modules` beside this
file holds KaTeX, which draws the formulas, and iframe-worker, by which the search works without a server, as `npm ci --prefix website`
installs them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import check
import notebooks
import pages
import reference

HERE = Path(__file__).parent
PACKAGES = HERE / "node_modules"
SHIM = "https://unpkg.com/iframe-worker/shim"  # where Zensical's pages would load iframe-worker from
ACCESSIBLE = {  # for screen readers: an empty table corner is no header, and each landmark has its own name
    "<th></th>": "<td></td>",
    '<nav class="md-path" aria-label="Navigation"': '<nav class="md-path" aria-label="Path"',
}


def stage_assets(folder: Path) -> None:
    """Copy the style sheet, the script, and the files of other projects that pages load, with their licences."""
    if not PACKAGES.exists():
        raise SystemExit("KaTeX and iframe-worker are missing, which the pages load; install them by `npm ci --prefix website`")
    shutil.copytree(HERE / "assets", folder)
    katex = PACKAGES / "katex"
    shutil.copytree(katex / "dist" / "fonts", folder / "katex" / "fonts", ignore=lambda _, names: [n for n in names if ".woff2" not in n])
    for file in ("dist/katex.min.js", "dist/katex.min.css", "LICENSE"):
        shutil.copy(katex / file, folder / "katex")
    (folder / "iframe-worker").mkdir()
    for file in ("shim/index.js", "LICENSE"):
        shutil.copy(PACKAGES / "iframe-worker" / file, folder / "iframe-worker")


def mend(folder: Path) -> None:
    """Make the built pages load iframe-worker from the site itself, and make them accessible."""
    absent = set(ACCESSIBLE)
    for page in folder.rglob("*.html"):
        text = page.read_text("utf-8").replace(SHIM, os.path.relpath(folder / "assets" / "iframe-worker" / "index.js", page.parent))
        absent -= {theirs for theirs in absent if theirs in text}
        for theirs, ours in ACCESSIBLE.items():
            text = text.replace(theirs, ours)
        page.write_text(text, "utf-8")
    if absent:
        raise SystemExit(f"the theme has changed, and no page has {', '.join(sorted(absent))}; see ACCESSIBLE")


def settings(repository: str) -> str:
    """The text of zensical.toml, with a link to the repository."""
    social = f'\n[[project.extra.social]]\nicon = "lucide/git-branch"\nlink = "{repository}"\nname = "Repository"\n'
    return (HERE / "zensical.toml").read_text("utf-8") + social


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=pages.ROOT / "build" / "website", help="folder that is replaced")
    parser.add_argument("--notebooks", choices=("run", "skip"), default="run", help="skip: their pages have no outputs")
    options = parser.parse_args()

    repository = tomllib.loads((pages.ROOT / "pyproject.toml").read_text("utf-8"))["project"]["urls"]["Repository"]
    shutil.rmtree(options.out, ignore_errors=True)
    pages.stage(options.out / "pages", repository)
    reference.stage(options.out / "pages" / "reference")
    notebooks.stage(pages.ROOT / "examples" / "notebooks", options.out / "pages" / "notebooks", repository, options.notebooks == "run")
    stage_assets(options.out / "pages" / "assets")
    (options.out / "zensical.toml").write_text(settings(repository), "utf-8")
    zensical = Path(sys.executable).with_name("zensical")
    subprocess.run([zensical, "build", "--clean", "--strict", "--config-file", options.out / "zensical.toml"], check=True)
    mend(options.out / "html")

    wrong = check.check(options.out / "html", set(reference.places().values()))
    if wrong:
        raise SystemExit("\n".join(wrong))
    print(f"wrote {options.out / 'html' / 'index.html'}")


if __name__ == "__main__":
    main()
