"""The command line: one file per command, errors shown in one place."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from streamcolor import __version__
from streamcolor.commands import bench, compare, data, models, run
from streamcolor.commands import eval as eval_command
from streamcolor.commands import export as export_command
from streamcolor.commands import filter as filter_command
from streamcolor.commands import stylize as stylize_command
from streamcolor.commands import train as train_command
from streamcolor.commands.signals import stopped_by_signals
from streamcolor.errors import CallError, StreamcolorError

app = typer.Typer(
    help="Colors black-and-white film from a few painted or found color frames.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("run")(run.command)
app.command("filter")(filter_command.command)
app.add_typer(bench.app, name="bench")
app.command("eval")(eval_command.command)
app.command("models")(models.command)
app.command("stylize")(stylize_command.command)
app.command("export")(export_command.command)
app.command("train", context_settings=train_command.CONTEXT)(train_command.command)
app.command("compare")(compare.command)
app.add_typer(data.app, name="data")

# All wrong calls that the parser finds; typer offers only this child by name.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"streamcolor {__version__}")
        raise typer.Exit


@app.callback()
def _root(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False) -> None:
    pass


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point of ``streamcolor``: run a command, end with the exit code of what went wrong."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    _open_closed_streams()
    came: list[int] = []
    try:
        with stopped_by_signals(came):
            code = _exit_code(words)
    except KeyboardInterrupt:
        code = 130
    sys.exit(128 + came[0] if came and code else code)


def _open_closed_streams() -> None:
    """What a shell has closed (``>&-``) cannot be written, nor does it go into the next file that is opened."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number, and so this one.
            os.open(os.devnull, os.O_RDONLY)


def _exit_code(words: list[str]) -> int:
    verbose = "-v" in words or "--verbose" in words
    try:
        _refuse_empty(words)
        result = app(args=words, prog_name="streamcolor", standalone_mode=False)
        if result == 130:  # newer parsers turn an interrupt into this
            return _say("stopped", 130, verbose)
        return result if isinstance(result, int) else 0
    except StreamcolorError as error:
        return _say(str(error), error.exit_code, verbose)
    except UsageError as error:
        message = getattr(error, "format_message", error.__str__)()
        if str(message).startswith("Usage:"):  # no command: the parser hands over the help
            typer.echo(message)
            return 2
        return _say(" ".join(str(message).split()), 2, verbose)
    except (KeyboardInterrupt, typer.Abort):
        return _say("stopped", 130, verbose)
    except (BrokenPipeError, SystemExit):
        # Whoever read our stdout has gone (the parser turns that into a SystemExit): end as a filter does, and keep
        # the interpreter from flushing into it.
        if sys.stdout is not None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13
    except Exception as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _say(f"no space is left for {error.filename or 'standard output'}: make room", 4, verbose)
        with tempfile.NamedTemporaryFile("w", prefix="streamcolor-", suffix=".log", delete=False) as log:
            traceback.print_exc(file=log)
        return _say(
            f"this is a bug ({type(error).__name__}: {error}); its traceback is in {Path(log.name)}", 1, verbose
        )


def _refuse_empty(words: Sequence[str]) -> None:
    """Nothing takes an empty word; as a path it would be the working folder, and all that lies there."""
    for before, word in zip(["", *words], words, strict=False):
        name, equals, value = word.partition("=")
        if word == "" or (name.startswith("--") and equals and not value):
            empty = name or (before if before.startswith("-") else "an argument")
            raise CallError(f"{empty} is empty (a variable of the shell that is not set?)")


def _say(sentence: str, code: int, verbose: bool) -> int:
    if verbose:
        traceback.print_exc()
    if sentence:
        typer.echo(f"streamcolor: {sentence}", err=True)
    return code
