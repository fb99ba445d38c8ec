"""The parts that all commands share: errors and options."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from extremal_jax.cli import tables
from extremal_jax.cli.console import exits, output
from extremal_jax.ground.files import check_writable

if TYPE_CHECKING:
    from extremal_jax import Config
    from extremal_jax.models import Classifier

_DEBUG = "extremal_jax.debug"
_IN_OUT = ""  # the value of --report without a file: report.html in the output folder


class Commands(click.Group):
    """Commands that fail with one sentence and an exit code, and show a traceback only with --debug."""

    def invoke(self, context: click.Context) -> Any:
        try:
            return super().invoke(context)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            raise exits.Interrupted("interrupted") from None
        except Exception as error:
            if context.meta.get(_DEBUG) or (isinstance(error, OSError) and error.errno == errno.EPIPE):  # click ends in silence
                raise
            raise exits.end(error) from error

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), meaning) for code, meaning in exits.CODES.items()])


def command(*arguments: Any, **options: Any) -> Callable[[Callable[..., Any]], click.Command]:
    """`click.command`, for functions that return a document for `--json`.

    The command also has `--quiet` and `--debug`, and its help lists the names that its options take.
    """

    def decorate(function: Callable[..., dict[str, Any]]) -> click.Command:
        made = click.command(*arguments, cls=tables.Command, **options)(output.documented(function))
        made.params += [*output.options(), debug]
        return made

    return decorate


class Weights(click.ParamType):
    """An existing file, or a repository on the hub."""

    name = "file|hub[:...]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if is_hub(value):
            return value
        return click.Path(exists=True, dir_okay=False).convert(value, param, ctx)


def is_hub(weights: str) -> bool:
    """Whether the value of `--weights` names a repository on the hub, and no file."""
    return weights == "hub" or weights.startswith("hub:")


class Several(click.ParamType):
    """Numbers from `least` to `most`, separated by commas; `expected` names them in errors, and `name` the value in
    help."""

    def __init__(self, parse: Callable[[str], float], least: float, most: float, expected: str, name: str):
        self.parse, self.least, self.most, self.expected, self.name = parse, least, most, expected, name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        try:
            numbers = tuple(self.parse(part) for part in value.split(","))
        except ValueError:
            numbers = ()
        if not numbers or not all(self.least <= number <= self.most for number in numbers):
            self.fail(f"expected {self.expected}, separated by commas, got {value!r}", param, ctx)
        return numbers


class Page(click.ParamType):
    """The path of an HTML page, and not an image, which an option without a value would take for one."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value != _IN_OUT and Path(value).suffix.lower() not in (".html", ".htm"):
            self.fail(f"the report is a page, FILE.html, got {str(value)!r}; without a FILE, give the option last", param, ctx)
        return value


class Shard(click.ParamType):
    """i/n, the i-th of n parts of the data."""

    name = "i/n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not isinstance(value, str):
            return value
        index, slash, count = value.partition("/")
        if not (slash and index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
            self.fail(f"expected i/n with i from 1 to n, such as 2/8, got {value!r}", param, ctx)
        return int(index), int(count)


def report_page(report: str | None, out: Path) -> Path | None:
    """The page that `--report` asks for, once it is known to be writable; None without the option."""
    if report is None:
        return None
    page = out / "report.html" if report == _IN_OUT else Path(report)
    check_writable(page)
    return page


def refuse(names: Iterable[str], where: str) -> None:
    """Raise a `BadParameter` for the first of some options that is given; `where` says where it applies.

    Args:
      names: of the parameters, such as "num_steps".
      where: the end of the sentence, such as "only with --transfer".
    """
    source = click.get_current_context().get_parameter_source
    for name in names:
        if source(name) is click.core.ParameterSource.COMMANDLINE:
            raise click.BadParameter(f"applies {where}", param_hint=f"--{name.replace('_', '-')}")


def load(name: str, weights: str | None) -> Classifier:
    """A classifier with the weights of the option, or those that come with packages."""
    import extremal_jax as ej

    return ej.models.load(name, weights="default" if weights is None else weights)


def config(preset: str, settings: Mapping[str, Any]) -> Config:
    """The settings of a preset, with those that options give in place of its own."""
    import extremal_jax as ej

    make: Any = ej.Config if preset == "default" else getattr(ej.Config, preset)
    return make(**{name: value for name, value in settings.items() if value is not None})


def _remember_debug(context: click.Context, _: click.Parameter, value: bool) -> None:
    context.meta[_DEBUG] = value


images = click.argument("images", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
debug = click.Option(["--debug"], is_flag=True, expose_value=False, callback=_remember_debug, help="Show the traceback of an error.")
out = click.option("--out", type=click.Path(file_okay=False, path_type=Path), default="out", show_default=True, help="Output folder.")


def _model(classifiers: tables.Name) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """The option `--model`."""
    listed = "A classifier; `extremal-jax models` lists them."
    return click.option("--model", "model_name", type=classifiers, default="scenes", show_default=True, help=listed)


model = _model(tables.IMAGE_CLASSIFIERS)
any_model = _model(tables.CLASSIFIERS)
weights = click.option(
    "--weights", type=Weights(), help="A safetensors or PyTorch file; `hub`; or `hub:OWNER/NAME@REVISION`.  [default: packaged]"
)
target = click.option(
    "--target", default="top", show_default=True, help="A class by name or index, or `top`: the class of the highest score."
)
figure_format = click.option(
    "--figure-format", type=click.Choice(["png", "pdf", "svg"]), default="png", show_default=True, help="Format of the figures."
)
_SHARES = Several(float, 1e-9, 1, "shares of the image above 0 and at most 1, such as 0.05,0.1", "share,share,...")
areas = click.option(
    "--areas", type=_SHARES, default="0.025,0.05,0.1,0.2", show_default=True, help="Areas of masks, as shares of the image."
)
preset = click.option("--preset", type=tables.PRESET_NAMES, default="default", show_default=True, help="Settings to start from.")
game = click.option("--game", type=tables.GAMES, help="Which masks the model sees.  [default: preserve]")
reward = click.option("--reward", type=tables.REWARDS, help="The quantity to maximise.  [default: logit]")
steps = click.option("--num-steps", "--steps", "num_steps", type=click.IntRange(min=1), help="Number of optimisation steps.")
seed = click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed of all random numbers.")
chunk_size = click.option("--chunk-size", type=click.IntRange(min=1), help="Most masks shown to the model at once, to bound memory.")
report = click.option(
    "--report",
    type=Page(),
    is_flag=False,
    flag_value=_IN_OUT,
    metavar="[FILE.html]",
    help="Also write an HTML page to look through all images.  [without a FILE: report.html in the output folder]",
)
