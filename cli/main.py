"""The entry point: a table of commands, each imported when it is asked for, and exit statuses."""

from __future__ import annotations

import gc
import importlib
import os
import re
import sys
from typing import Any

import click

from .answer_cache import Answer, entry_for, listened
from .shipped_answers import shipped_answer

COMMANDS = {
    "check": "Parse specs, check shapes, prove or refute every expect.",
    "explain": "The operations as a tree of blocks, with what each costs.",
    "formula": "Closed forms, as text, LaTeX, Markdown, Python, JavaScript or JSON.",
    "latex": "A derivation to publish, in LaTeX or Markdown.",
    "evaluate": "Every quantity at one point.",
    "crossover": "Where a pass turns compute-bound, whether it fits, and which batch to run.",
    "solve": "For which values of any dim conditions hold, and which value is best.",
    "sensitivity": "What a quantity follows: elasticities, and what 10% more of each parameter changes.",
    "compare": "Specs side by side, on one device or several, and which is better where.",
    "plot": "A picture: throughput, latency, roofline, regime, memory, breakdown.",
    "report": "One page: verdict, formulas, tables, pictures, the spec.",
    "sweep": "Quantities over a grid, streamed to Parquet or CSV, resumable.",
    "search": "The best point of a grid, proved.",
    "graph": "The dataflow graph.",
    "embed": "Formulas and tables in a document, made anew between markers.",
    "list": "What is shipped: models, devices, operations, quantities.",
    "import": "A spec from a model's published config.json.",
    "new": "Start a spec of one's own from a shipped one.",
    "fmt": "Lay specs out canonically, comments kept.",
    "cache": "The answers kept on disk: how many, or remove them.",
}


def _imported(module: str) -> Any:
    """A module, with the collector off: what an import makes stays, and looking through it is a quarter of the time."""
    gc.disable()
    try:
        return importlib.import_module(module, __package__)
    finally:
        gc.freeze()
        gc.enable()


class LazyGroup(click.Group):
    """Shows its help without importing any command."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = _imported(f".{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from costmodel.names import listed, near_help
            from costmodel.source import Diagnostic, SpecError

            near = near_help(args[0], COMMANDS)
            facts = () if near else (f"commands are {listed(COMMANDS, len(COMMANDS))}",)
            raise SpecError(Diagnostic("unknown-name", f"there is no command `{args[0]}`", facts=facts, help=near))
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="SPEC is a path, or the name of a shipped spec, with :VARIANT behind it: llama-3.1:8b.",
)
@click.option("--no-cache", is_flag=True, expose_value=False, help="Neither keep the answer nor take a kept one.")
@click.version_option(package_name="costmodel", message="%(version)s")
@click.pass_context
def group(context: click.Context) -> None:
    """What a model will cost, before it exists: closed forms for FLOPs, bytes and time, and where decode turns
    compute-bound.

    \b
    costmodel crossover llama-3.1:8b --device h100-nvl --seq-len 8192
    costmodel formula llama-3.1:8b --of flops --format latex
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main() -> None:
    """Run the command line and exit: 0 done, 1 a check failed, 2 the input is wrong."""
    if "_COSTMODEL_COMPLETE" in os.environ:
        group.main(prog_name="costmodel")
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the shell
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    sys.exit(run(sys.argv[1:]))


def _answered(arguments: list[str]) -> int:
    """Show the kept answer, or make it and keep it."""
    if (shipped := shipped_answer(arguments)) is not None:
        shipped.show()
        return shipped.status
    entry = entry_for(arguments)
    if entry is None:
        return _command(arguments)
    kept = entry.answer()
    if kept is not None:
        kept.show()
        return kept.status
    with listened() as (provenance, out, err):
        status = _command(arguments)
    entry.keep(Answer("".join(out), "".join(err), status), provenance)
    return status


def _command(arguments: list[str]) -> int:
    try:
        with group.make_context("costmodel", list(arguments)) as context:
            result: Any = group.invoke(context)
    except click.exceptions.Exit as done:
        result = done.exit_code
    sys.stdout.flush()
    return result if isinstance(result, int) else 0


def _usage(error: click.ClickException) -> tuple[str, str]:
    """What click says of a command line, in the words of all other messages, and what helps."""
    match error:
        case click.NoSuchOption():
            near = error.possibilities or ()
            return f"there is no option `{error.option_name}`", f"`{near[0]}` is near" if near else ""
        case click.MissingParameter(param=click.Parameter() as param):
            name = param.opts[0] if isinstance(param, click.Option) else param.human_readable_name
            return f"`{name}` is missing", ""
        case click.BadOptionUsage():
            wants = "needs a value" if "requires" in error.message else "takes no value"
            return f"`{error.option_name}` {wants}", ""
    extra = re.search(r"unexpected extra arguments? \((.*)\)", error.format_message())
    if extra is not None:
        return f"`{extra[1]}` is more than the command takes", ""
    return error.format_message().rstrip("."), ""


def run(arguments: list[str]) -> int:
    """Run one command line; the exit status."""
    try:
        return _answered(arguments)
    except click.exceptions.Abort:
        return 130
    except click.ClickException as error:
        from costmodel.render.diagnostics import render
        from costmodel.source import Diagnostic

        message, help = _usage(error)
        context = getattr(error, "ctx", None)
        facts = (f"`{context.command_path} --help` shows how it is used",) if context is not None else ()
        click.echo(render([Diagnostic("usage", message, facts=facts, help=help)]), err=True)
        return 2
    except BrokenPipeError:
        _stop_writing()
        return 0
    except OSError as error:
        _stop_writing()
        click.echo(f"error: the answer cannot be written: {(error.strerror or str(error)).lower()}", err=True)
        return 2
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        from costmodel.source import SpecError

        if isinstance(error, SpecError):
            from costmodel.render.diagnostics import render

            click.echo(render(error.diagnostics, error.unchecked), err=True)
            return 2
        if "COSTMODEL_TRACEBACK" in os.environ:
            raise
        click.echo(
            f"error: {type(error).__name__} inside costmodel: a fault of the program, not of the input\n"
            " = COSTMODEL_TRACEBACK=1 shows where",
            err=True,
        )
        return 70


def _stop_writing() -> None:
    """Whoever read us has gone, or there is no room: Python would complain once more when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
