"""Exit codes, and the errors that end a command with one of them."""

from __future__ import annotations

from typing import IO, Any

import click

FINISHED, FAILED, MISTAKE, MEANINGLESS, INTERRUPTED = 0, 1, 2, 3, 130  # 128 and the number of SIGINT, as shells have it
CODES = {
    FINISHED: "finished",
    FAILED: "failed: a file cannot be written, a package is missing, the hub cannot be reached, memory ran out",
    MISTAKE: "an option, a value or a file that was given cannot be used; nothing was computed",
    MEANINGLESS: "finished, but the answer for an image means nothing; standard error says where and why",
    INTERRUPTED: "interrupted by Ctrl-C",
}
_CANNOT_WRITE = "cannot write "  # the beginning of what `extremal_jax.ground.files` says
_MISTAKES = (ValueError, TypeError, FileNotFoundError, FileExistsError)  # what the library raises at its boundary


class Failed(click.ClickException):
    """An error of one sentence."""

    exit_code = FAILED


class Mistake(click.ClickException):
    """A mistake in what was given, which the library found."""

    exit_code = MISTAKE


class Meaningless(click.ClickException):
    """An answer that means nothing, at the end of a command that finished."""

    exit_code = MEANINGLESS


class Interrupted(click.ClickException):
    """The end by Ctrl-C, which is no error."""

    exit_code = INTERRUPTED

    def show(self, file: IO[Any] | None = None) -> None:
        click.echo(self.message, file=file, err=True)


def end(error: Exception) -> click.ClickException:
    """The end of a command in which the library raised an error.

    Example:
      >>> end(ValueError("areas must be positive, got 0")), end(FileNotFoundError("cannot write a.png"))
      (Mistake('areas must be positive, got 0'), Failed('cannot write a.png'))
    """
    sentence = " ".join(str(error).split()) or type(error).__name__
    return (Mistake if isinstance(error, _MISTAKES) and not sentence.startswith(_CANNOT_WRITE) else Failed)(sentence)
