"""The notebooks run, with small networks and few steps, and become pages and files for Jupyter."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest

import extremal_jax as ej
from command_line import small_load
from extremal_jax.optimise import driver

ROOT = Path(__file__).parents[1]
PARAMETERS: dict[str, dict[str, Any]] = {
    "all_methods": {"num_steps": 2, "num_masks": 4, "methods": ("extremal_perturbation", "gradient", "grad_cam", "rise")},
    "channels_of_a_class": {"num_steps": 1, "num_scenes": 12},
    "own_model": {"training_steps": 2},
    "paper_figures": {"areas": (0.2, 0.4)},
    "sweep_and_report": {"num_steps": 2, "limit": 4},
}
LONG = ("all_methods", "channels_of_a_class", "paper_figures", "sweep_and_report")  # many programs to compile
SCRIPT = """# %% [markdown]
# # Title
#
# Text with `code`.

# %% tags=["parameters"]
number = 1

# %%
print(number)
2 * number
"""


@pytest.fixture
def notebooks(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(ROOT / "website")
    import notebooks

    return notebooks


def test_all_notebooks_are_run_here() -> None:
    assert {script.stem for script in (ROOT / "examples" / "notebooks").glob("*.py")} == set(PARAMETERS)


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in PARAMETERS])
def test_notebooks_run(name: str, notebooks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With scikit-image's photographs replaced by noise; runs of the default length take only their first and last step."""
    photograph = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    data = types.SimpleNamespace(coffee=lambda: photograph, chelsea=lambda: photograph)
    monkeypatch.setitem(sys.modules, "skimage", types.SimpleNamespace(data=data))
    monkeypatch.setattr(ej.models, "load", small_load)
    if "num_steps" not in PARAMETERS[name]:
        monkeypatch.setattr(driver, "chunks", lambda num_steps: [slice(0, 1), slice(num_steps - 1, num_steps)])
    cells = notebooks.read((ROOT / "examples" / "notebooks" / f"{name}.py").read_text())
    notebooks.run(cells, f"{name}.py", PARAMETERS[name])
    plt.close("all")
    assert any(cell.picture for cell in cells)
    assert any(cell.printed for cell in cells)
    assert len([cell for cell in cells if cell.is_parameters]) == 1
    assert cells[0].source.startswith("# ")


def test_pages_and_jupyter_files_hold_text_code_and_outputs(notebooks: Any) -> None:
    cells = notebooks.read(SCRIPT)
    notebooks.run(cells, "script.py", {"number": 3})
    assert [cell.printed for cell in cells] == ["", "", "3\n6\n"]
    cells[2].picture = b"png"
    text, pictures = notebooks.page(cells, "script", "https://example.org/script.py")
    assert text.startswith("# Title\n\nText with `code`.\n\n```python\nnumber = 1\n```\n\n")
    assert "```text\n3\n6\n```\n\n![Title](script-0.png)\n" in text
    assert pictures == {"script-0.png": b"png"}
    written = json.loads(notebooks.jupyter(cells))["cells"]
    assert [cell["cell_type"] for cell in written] == ["markdown", "code", "code"]
    assert written[1]["metadata"] == {"tags": ["parameters"]}
    assert [output["output_type"] for output in written[2]["outputs"]] == ["stream", "display_data"]


def test_unknown_parameters_are_refused(notebooks: Any) -> None:
    with pytest.raises(ValueError, match=r"script\.py has no parameters \['numbre'\]"):
        notebooks.run(notebooks.read(SCRIPT), "script.py", {"numbre": 3})
