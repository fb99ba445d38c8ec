"""What all commands share: how they fail, and the options that several have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

_DEBUG = "extremal_jax.debug"


class Commands(click.Group):
    """Commands that end in a sentence and exit code 1 when they fail, and in a traceback only with --debug."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            if context.meta.get(_DEBUG):
                raise
            raise click.ClickException(" ".join(str(error).split()) or type(error).__name__) from error


def _remember_debug(context: click.Context, _: click.Parameter, value: bool) -> None:
    context.meta[_DEBUG] = value


class Weights(click.ParamType):
    """The name of a file that exists, or of a repository on the hub."""

    name = "file|hub[:...]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "hub" or value.startswith("hub:"):
            return value
        return click.Path(exists=True, dir_okay=False).convert(value, param, ctx)


def several(parse: Callable[[str], Any], text: str) -> tuple[Any, ...] | None:
    """The numbers of a text with commas between them; None if it is something else.

    Example:
      >>> several(float, "0.05,0.1"), several(float, "many")
      ((0.05, 0.1), None)
    """
    try:
        return tuple(parse(part) for part in text.split(","))
    except ValueError:
        return None


debug = click.option("--debug", is_flag=True, expose_value=False, callback=_remember_debug, help="Show the traceback of an error.")
out = click.option("--out", type=click.Path(file_okay=False, path_type=Path), default="out", show_default=True, help="Folder to write to.")
model = click.option("--model", "model_name", default="scenes", show_default=True, help="A classifier; `extremal-jax models` lists them.")
weights = click.option(
    "--weights", type=Weights(), help="A file, of safetensors or PyTorch; `hub`; or `hub:OWNER/NAME@REVISION`.  [default: packaged]"
)
target = click.option(
    "--target", default="top", show_default=True, help="A class by name or index, or `top`: the class of the highest score."
)
game = click.option(
    "--game", type=click.Choice(["preserve", "delete", "dual"]), help="What the mask does to the evidence.  [default: preserve]"
)
reward = click.option("--reward", type=click.Choice(["logit", "log_probability", "contrastive"]), help="What is excited.  [default: logit]")
steps = click.option("--steps", "num_steps", type=click.IntRange(min=1), help="Optimisation steps.  [default: the preset's]")
seed = click.option("--seed", type=int, default=0, show_default=True, help="Of the random part: the mirroring of what is shown.")
chunk_size = click.option("--chunk-size", type=click.IntRange(min=1), help="The most masks shown to the model at a time, to bound memory.")
