"""The recorded numbers of the reference implementations; golden/README.md says how they were made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

GOLDEN = Path(__file__).parent / "golden"


def torchray(name: str) -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "torchray" / f"{name}.npz") as file:
        return {key: file[key] for key in file.files}


def cases(data: dict[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
    """The numbered cases of a file."""
    numbers = sorted({int(key.split("/")[0]) for key in data if key[0].isdigit()})
    return [{key.split("/", 1)[1]: value for key, value in data.items() if key.startswith(f"{n}/")} for n in numbers]


def torchray_runs() -> list[dict[str, Any]]:
    return json.loads((GOLDEN / "torchray" / "runs.json").read_text())["runs"]
