"""The `rnabench` command."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup

from rnabench import __version__
from rnabench.cli.answer import Answer
from rnabench.cli.attack import attack, crosscheck
from rnabench.cli.card import card
from rnabench.cli.command import SEVERAL, command
from rnabench.cli.conform import conform
from rnabench.cli.dense import dense
from rnabench.cli.doctor import doctor
from rnabench.cli.exchange import convert, export
from rnabench.cli.output_streams import visible, watched_output
from rnabench.cli.recipes import recipes
from rnabench.cli.report import check, report
from rnabench.cli.reproduce import quickstart, reproduce
from rnabench.cli.rescore import rescore
from rnabench.cli.runs import runs
from rnabench.cli.share import pull, push
from rnabench.cli.study import studies, study
from rnabench.cli.train import bench, describe, train
from rnabench.errors import InvalidValue, OfOneRank, RnabenchError
from rnabench.runtime.launch import launched, tells_errors
from rnabench.runtime.stopping import Stopped

STOPPED, INTERRUPTED, BAD_INPUT = 3, 130, 2
RANK_SECONDS = 5.0

COMMANDS: dict[str, Callable[..., Answer | None]] = {
    "quickstart": quickstart, "train": train, "attack": attack, "conform": conform,
    **{kind: study(kind) for kind in studies()}, "recipes": recipes, "reproduce": reproduce, "report": report,
    "card": card, "check": check, "rescore": rescore, "runs": runs, "describe": describe, "convert": convert,
    "export": export, "push": push, "pull": pull, "bench": bench, "crosscheck": crosscheck, "dense": dense,
    "doctor": doctor,
}
LOOKS: dict[str, Any] = {"rich_markup_mode": None, "pretty_exceptions_enable": False}


class Command(TyperCommand):
    """Of an option that is given again the last one counts, so that scripts can change each other's. Not of lists:
    `--attacks fgsm --attacks pgd20` would lose an attack without a word."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not ctx.resilient_parsing:
            typed = self.make_parser(ctx).parse_args(args=list(args))[2]
            for each in typed:
                if str(each.metavar).endswith(SEVERAL) and typed.count(each) > 1:
                    raise RnabenchError(f"{each.opts[0]}: given {typed.count(each)} times; expected one list, joined "
                                        "by commas")
        return super().parse_args(ctx, args)


class Commands(TyperGroup):
    """Gives a command its options when it is asked for, so that a list of all commands needs no settings."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        name, found, rest = super().resolve_command(ctx, args)
        if name is None:  # a shell asks what may follow a command that is none
            return name, found, rest
        if name != "train" and launched() is not None:
            raise InvalidValue("torchrun", name, "train: other commands are started by themselves")
        single = typer.Typer(**LOOKS, add_completion=False)
        single.command(name, cls=Command)(command(COMMANDS[name], name))
        return name, typer.main.get_command(single), rest


app = typer.Typer(
    help="Measure the robustness of randomised defences: train and attack networks whose normalisers are drawn at "
         "random (RNA, NeurIPS 2022), under the paper's protocol and adaptive ones.",
    no_args_is_help=True, cls=Commands, **LOOKS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
for each, function in COMMANDS.items():
    app.command(each, help=function.__doc__)(lambda: None)


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
    with watched_output():
        _run(arguments)


def _run(arguments: list[str] | None) -> NoReturn:
    try:
        code = app(arguments, standalone_mode=False)
    except RnabenchError as error:
        _fail(str(error), isinstance(error, OfOneRank))
    except Stopped as stop:
        if not tells_errors():
            sys.exit(0)  # it has done its part; the first rank's code counts
        with suppress(OSError):
            print(visible(f"stopped: {stop}; run the same command again to go on"), file=sys.stderr)
        sys.exit(STOPPED)
    except OSError as error:  # as when a terminal is closed: the state is saved, only nobody can be told
        if isinstance(error.__context__, Stopped):
            sys.exit(STOPPED)
        raise
    except (KeyboardInterrupt, typer.Abort) as error:
        if isinstance(error.__cause__, EOFError):  # which click takes for Ctrl-D, although nothing was asked
            raise error.__cause__ from None
        if tells_errors():
            print("interrupted", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except Exception as error:
        # usage errors belong to click, which typer brings along under a name of its own in newer releases
        if not hasattr(error, "format_message"):
            raise
        _fail(error.format_message())
    sys.exit(code or 0)


def _fail(message: str, of_one_rank: bool = False) -> NoReturn:
    if not (of_one_rank or tells_errors()):
        time.sleep(RANK_SECONDS)  # a launcher ends all processes when one ends: the first one has to tell before
        sys.exit(BAD_INPUT)
    is_help = message.startswith("Usage:")  # what `rnabench` alone gets
    for line in message.splitlines():
        print(visible(line if is_help else f"error: {line}"), file=sys.stderr)
    sys.exit(BAD_INPUT)
