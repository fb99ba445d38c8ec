"""Writes the constraints files of this folder: `make constraints`, or `python constraints/refresh.py python3.11 python3.12 python3.13`.

`tried.txt` holds the newest versions of all dependencies, developers' tools included, for each of the given Pythons. `oldest.txt` holds,
for the first of them, the oldest versions of the dependencies that pyproject.toml allows, and the newest of the extras. Nothing is
installed: pip resolves in environments that are deleted again.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

FOLDER = Path(__file__).parent
HEADER = "# Written by `make constraints`. {}\n"


def resolve(python: str, constraints: str = "") -> tuple[str, dict[str, str]]:
    """The version of a Python, "3.12", and the version of each package that pip would install there."""
    with tempfile.TemporaryDirectory() as folder:
        environment, constraints_file = Path(folder) / "environment", Path(folder) / "constraints.txt"
        constraints_file.write_text(constraints)
        subprocess.run([python, "-m", "venv", environment], check=True)
        pip: list[str | Path] = [environment / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--upgrade", "pip"], check=True)
        options: list[str | Path] = ["--dry-run", "--ignore-installed", "--report", "-", "--constraint", constraints_file]
        options.append(f"{FOLDER.parent}[demo,dev,docs]")
        report = json.loads(subprocess.run([*pip, *options], check=True, stdout=subprocess.PIPE).stdout)
    packages = {entry["metadata"]["name"].lower().replace("_", "-"): entry["metadata"]["version"] for entry in report["install"]}
    packages.pop("extremal-jax")
    return report["environment"]["python_version"], dict(sorted(packages.items()))


def lines(resolved: dict[str, dict[str, str]]) -> list[str]:
    """One line for each package and run of Pythons that share its version; only differences between Pythons need a marker."""
    pythons = list(resolved)
    written = []
    for package in sorted(set().union(*resolved.values())):
        versions = [resolved[python].get(package) for python in pythons]
        for first, version in enumerate(versions):
            if version is None or (first and version == versions[first - 1]):
                continue
            last = next((i for i in range(first, len(pythons)) if versions[i] != version), len(pythons)) - 1
            bounds = [f'python_version >= "{pythons[first]}"'] if first else []
            bounds += [f'python_version <= "{pythons[last]}"'] if last < len(pythons) - 1 else []
            written.append(f"{package}=={version}" + (f" ; {' and '.join(bounds)}" if bounds else ""))
    return written


def floors() -> str:
    """The oldest version of each dependency that pyproject.toml allows, as constraints."""
    dependencies = tomllib.loads((FOLDER.parent / "pyproject.toml").read_text())["project"]["dependencies"]
    return "\n".join(dependency.replace(">=", "==") for dependency in dependencies)


def main(*pythons: str) -> None:
    resolved = dict(resolve(python) for python in pythons)
    tried = HEADER.format(f"The versions with which the tests pass, for Python {', '.join(resolved)}.")
    (FOLDER / "tried.txt").write_text(tried + "\n".join(lines(resolved)) + "\n")
    python, packages = resolve(pythons[0], floors())
    oldest = HEADER.format(f"The oldest supported versions, for Python {python}.")
    (FOLDER / "oldest.txt").write_text(oldest + "\n".join(lines({python: packages})) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
