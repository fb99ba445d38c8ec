"""The names of inputs: files, folders of DICOM slices, and arrays in .npz files, FILE.npz:NAME."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

_SUFFIX = ".npz"


def parts(path: Path) -> tuple[Path, str | None]:
    """The file of an input, and the name of the array in it, if the input names one.

    Example:
      >>> parts(Path("clips.npz:first")), parts(Path("clips.npz"))
      ((PosixPath('clips.npz'), 'first'), (PosixPath('clips.npz'), None))
    """
    file, found, name = str(path).rpartition(f"{_SUFFIX}:")
    return (Path(file + _SUFFIX), name) if found and name and not path.exists() else (path, None)


class Input(click.ParamType):
    """An existing file or folder, or a name of an array in a .npz file."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(value)
        click.Path(exists=True).convert(str(parts(path)[0]), param, ctx)
        return path

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        return click.Path().shell_complete(ctx, param, incomplete)


inputs = click.argument("images", nargs=-1, required=True, type=Input(), metavar="IMAGES...")
