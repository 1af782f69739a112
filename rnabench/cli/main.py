"""The `rnabench` command."""

from __future__ import annotations

import sys
from itertools import pairwise
from typing import Any, NoReturn

import typer

from rnabench import __version__
from rnabench.cli import (
    attack,
    bench,
    check,
    convert,
    crosscheck,
    describe,
    export,
    gradient_similarity,
    path_difference,
    report,
    reproduce,
    runs,
    smoothness,
    theory,
    train,
    transfer_matrix,
)
from rnabench.errors import RnabenchError
from rnabench.runtime.stopping import Stopped

STOPPED, INTERRUPTED, BAD_INPUT = 3, 130, 2

app = typer.Typer(
    help="Measure the robustness of randomised defences: train and attack networks whose normalisers are drawn at "
         "random (RNA, NeurIPS 2022), under the paper's protocol and adaptive ones.",
    no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
app.command("train")(train.train)
app.command("attack")(attack.attack)
app.command("transfer-matrix")(transfer_matrix.transfer_matrix)
app.command("path-difference")(path_difference.path_difference)
app.command("smoothness")(smoothness.smoothness)
app.command("gradient-similarity")(gradient_similarity.gradient_similarity)
app.command("theory")(theory.theory)
app.command("reproduce")(reproduce.reproduce)
app.command("report")(report.report)
app.command("check")(check.check)
app.command("runs")(runs.runs)
app.command("describe")(describe.describe)
app.command("convert")(convert.convert)
app.command("export")(export.export)
app.command("bench")(bench.bench)
app.command("crosscheck")(crosscheck.crosscheck)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rnabench {__version__}")
        raise typer.Exit


@app.callback()
def callback(version: bool = typer.Option(False, "--version", callback=_version, is_eager=True,
                                          help="Show the version and exit.")) -> None:
    pass


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; users' errors become lines on stderr and exit code 2, in this one place."""
    try:
        code = app(arguments, standalone_mode=False)
    except RnabenchError as error:
        _fail(str(error))
    except Stopped as stop:
        print(f"stopped: {stop}; run the same command again to go on", file=sys.stderr)
        sys.exit(STOPPED)
    except (KeyboardInterrupt, typer.Abort):
        print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        # usage errors belong to click, which typer brings along under a name of its own in newer releases
        if not hasattr(error, "format_message"):
            raise
        _fail(_usage(error, sys.argv[1:] if arguments is None else arguments))
    sys.exit(code or 0)


def _usage(error: Any, arguments: list[str]) -> str:
    """The message of a usage error, with the value that was given, which some messages leave out."""
    message: str = error.format_message()
    words = [word for argument in arguments for word in (
        argument.split("=", 1) if argument.startswith("--") else [argument])]
    for option in getattr(getattr(error, "param", None), "opts", ()):
        for given, value in pairwise(words):
            if given == option and value not in message:
                reason = message.partition(": ")[2].removeprefix("Input should be ")
                return f"{option}: {value!r} is not valid; expected {reason}"
    return message


def _fail(message: str) -> NoReturn:
    is_help = message.startswith("Usage:")  # what `rnabench` alone gets
    for line in message.splitlines():
        print(line if is_help else f"error: {line}", file=sys.stderr)
    sys.exit(BAD_INPUT)
