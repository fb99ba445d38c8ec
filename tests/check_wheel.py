"""Builds the wheel, installs it in a new environment outside the repository, and uses it there: `make wheel`.

The environment sees no checkout: the working folder is temporary, and Python ignores PYTHONPATH. What fails raises, and
says which part.
"""

from __future__ import annotations

import argparse
import email
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from email.message import Message
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
MOST_BYTES = 8_000_000
STEPS = 2  # of the run that explains a packaged scene
METADATA = {
    "Name": "extremal-jax",
    "License-Expression": "Apache-2.0",
    "Requires-Python": ">=3.11",
    "Description-Content-Type": "text/markdown",
}
USE = """if True:
    import importlib, importlib.metadata, importlib.resources, json, pkgutil
    import numpy as np
    import extremal_jax as ej

    missing = [name for name in ej.__all__ if not hasattr(ej, name)]
    modules = [found.name for found in pkgutil.walk_packages(ej.__path__, "extremal_jax.") if not found.name.endswith("__main__")]
    for name in modules:
        module = importlib.import_module(name)
        missing += [f"{name}.{one}" for one in getattr(module, "__all__", []) if not hasattr(module, one)]
    model = ej.models.load("scenes")
    scores = model(model.preprocess(ej.data.scenes.generate(0, 1).images[0])[None])
    print(json.dumps({
        "file": ej.__file__,
        "version": [ej.__version__, importlib.metadata.version("extremal-jax")],
        "missing": missing,
        "modules": len(modules),
        "typed": (importlib.resources.files("extremal_jax") / "py.typed").is_file(),
        "scores": scores.shape,
        "finite": bool(np.isfinite(scores).all()),
    }))
"""


def check(condition: Any, sentence: str, found: Any = None) -> None:
    """Print what holds, or stop at what does not, with what was found."""
    if not condition:
        raise SystemExit(f"make wheel: it does not hold that {sentence}" + ("" if found is None else f"; found {found}"))
    print(f"  {sentence}", flush=True)


def build(python: Path, folder: Path) -> Path:
    """Build the wheel into a folder."""
    subprocess.run([python, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT], check=True)
    [wheel] = folder.glob("*.whl")
    return wheel


def check_files(wheel: Path) -> Message:
    """Check the files of the wheel, and return its metadata."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/")]
        [metadata] = [email.message_from_bytes(archive.read(name)) for name in names if name.endswith(".dist-info/METADATA")]
        [points] = [archive.read(name).decode() for name in names if name.endswith(".dist-info/entry_points.txt")]
    size = wheel.stat().st_size
    check(size <= MOST_BYTES, f"the wheel has {size / 1e6:.1f} MB, at most {MOST_BYTES / 1e6:.0f}")
    source = {str(file.relative_to(ROOT)) for file in (ROOT / "extremal_jax").rglob("*") if file.is_file() and file.suffix != ".pyc"}
    packed = {name for name in names if ".dist-info/" not in name}
    check(packed == source, f"it has all {len(source)} files of the package and no other", sorted(packed ^ source)[:5])
    check({Path(name).name for name in names} >= {"LICENSE", "NOTICE"}, "it has LICENSE and NOTICE")
    check("extremal-jax = extremal_jax.cli:main" in points, "it has the command extremal-jax")
    return metadata


def check_metadata(metadata: Message) -> str:
    """Check the metadata of the wheel, and return its version."""
    for name, value in METADATA.items():
        check(metadata[name] == value, f"{name} is {value}", metadata[name])
    version = re.findall(r'^__version__ = "(.+)"$', (ROOT / "extremal_jax/__init__.py").read_text(), re.MULTILINE)
    check([metadata["Version"]] == version, f"Version is that of extremal_jax/__init__.py, {version[0]}", metadata["Version"])
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    check(project["dynamic"] == ["version"] and "version" not in project, "pyproject.toml has no version of its own")
    urls = metadata.get_all("Project-URL") or []
    check(len(urls) >= 4 and all("https://" in url for url in urls), f"it has {len(urls)} links")
    check("# extremal_jax" in str(metadata.get_payload()), "its description is README.md")
    return version[0]


def check_use(environment: Path, folder: Path, version: str) -> None:
    """Use the installed package in an empty folder."""
    python, command = environment / "bin" / "python", environment / "bin" / "extremal-jax"
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}

    def output(*arguments: Any) -> str:
        return subprocess.run(list(map(str, arguments)), cwd=folder, env=clean, check=True, stdout=subprocess.PIPE, text=True).stdout

    found = json.loads(output(python, "-I", "-W", "error::ImportWarning", "-c", USE))
    check(Path(found["file"]).is_relative_to(environment), f"the package is that of the environment, {found['file']}")
    check(found["version"] == [version] * 2, f"its version is {version}")
    check(not found["missing"], f"all public names of {found['modules']} modules can be imported", found["missing"])
    check(found["typed"], "it is typed")
    check(found["scores"] == [1, 26] and found["finite"], "the packaged classifier answers a generated scene")

    check(version in output(command, "--version"), "extremal-jax --version")
    doctor = json.loads(output(command, "doctor", "--no-speed", "--json"))
    check(all(doctor["packages"].values()) and doctor["devices"], "extremal-jax doctor finds all packages and a device")
    scene = Path(found["file"]).parent / "data" / "packaged" / "dog-and-car.png"
    explained = json.loads(output(command, "explain", scene, "--target", "dog", "--num-steps", STEPS, "--report", "--json"))
    [image] = explained["images"]
    check((image["target"]["name"], len(image["masks"])) == ("dog", 4), "extremal-jax explain explains the packaged scene")
    for file in (explained["report"], *image["files"].values()):
        check((folder / file).stat().st_size > 10_000, f"it writes {file}")
    page = (folder / explained["report"]).read_text()
    check("<script" in page and "<style" in page, "the report holds its scripts and styles")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--constraint", type=Path, help="versions of the dependencies")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        environment, work = folder / "environment", folder / "work"
        work.mkdir()
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        python = environment / "bin" / "python"
        print("The wheel")
        wheel = build(python, folder / "wheels")
        version = check_metadata(check_files(wheel))
        print("Its use in a new environment")
        constraints = [] if options.constraint is None else ["--constraint", options.constraint.resolve()]
        subprocess.run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *constraints, wheel], check=True)
        check_use(environment, work, version)


if __name__ == "__main__":
    main()
