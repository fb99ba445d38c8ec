"""Write a report on a photograph, and, with Chromium, a picture of the page.

    pip install 'extremal-jax[demo]'
    python examples/report.py --out out
    python examples/report.py --out out --picture docs/pictures/report.png

`CHROMIUM` names the browser if it is not on the path.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import jax

import extremal_jax as ej


def draw(page: Path, picture: Path, height: int) -> None:
    """Take a picture of a page in Chromium, 1,200 pixels wide."""
    names = "chromium", "chromium-browser", "google-chrome"
    browser = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        raise SystemExit("the picture needs Chromium; install it, or name it in the environment variable CHROMIUM")
    picture.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as profile:
        # Containers lack what the sandbox needs, and the page is our own.
        quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}"]
        shot = [f"--window-size=1200,{height}", f"--screenshot={picture.resolve()}", "--virtual-time-budget=5000"]
        done = subprocess.run([browser, *quiet, *shot, page.resolve().as_uri()], capture_output=True, text=True, errors="replace")
    if done.returncode or not picture.exists():
        raise SystemExit(f"{browser} took no picture: {done.stderr[-300:]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="tabby", help="class to explain, by name or index")
    parser.add_argument("--steps", type=int, default=50, help="optimisation steps")
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder to write to")
    parser.add_argument("--picture", type=Path, help="also take a picture of the page, a PNG file")
    parser.add_argument("--height", type=int, default=1280, help="of the picture, in pixels")
    options = parser.parse_args()

    try:
        from skimage import data

        model = ej.models.load("efficientnet_lite0")
    except ImportError as error:
        raise SystemExit(f"no report: {error}; run\n  pip install 'extremal-jax[demo]'") from None
    image = model.preprocess(data.chelsea())
    areas = [0.025, 0.05, 0.1, 0.2]
    result = ej.extremal_perturbation(
        model, image, options.target, areas, config=ej.Config(num_steps=options.steps), key=jax.random.key(0), progress=True
    )
    last_stage = ej.graph.activations(model, image[None])[-3].name  # before the head and the pool
    maps = {"grad_cam": ej.attribution.grad_cam(model, image, options.target, at=last_stage)}
    page = options.out / "report.html"
    ej.report.write(page, image, result, model=model, names=["chelsea.png"], maps=maps, title="A cat, by EfficientNet-lite0")
    print(f"wrote {page}")
    if options.picture is not None:
        draw(page, options.picture, options.height)
        print(f"wrote {options.picture}")


if __name__ == "__main__":
    main()
