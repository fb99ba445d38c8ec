"""docs/extending.md, followed word for word in a copy of the package."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_page_works_word_for_word(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "extending.md").read_text(), re.DOTALL)
    shutil.copytree(ROOT / "extremal_jax", tmp_path / "extremal_jax")
    files = {block.splitlines()[0].removeprefix("# "): block for block in blocks if block.startswith("# extremal_jax/")}
    for name, block in files.items():
        assert not (ROOT / name).exists()
        (tmp_path / name).write_text(block.partition("\n")[2])
    assert len(files) == 2
    code = "\n".join(block for block in blocks if block not in files.values())
    names = "import click; from extremal_jax.cli import main\n"
    names += 'print(main.commands["explain"].get_help(click.Context(main.commands["explain"])))'
    done = subprocess.run([sys.executable, "-c", f"{code}\n{names}"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("noise", "keep_twice", "share", "brightness"):  # the choices of the command line
        assert name in done.stdout
