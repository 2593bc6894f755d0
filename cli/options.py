"""Options that several commands share: same words, same meaning."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import click

from costmodel.names import near_help, prose
from costmodel.source import Diagnostic, SpecError

Command = TypeVar("Command", bound=Callable[..., Any])


class OneOf(click.Choice[str]):
    """One of a few words; of a misspelt one the nearest is said."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in self.choices:
            option = param.opts[0] if isinstance(param, click.Option) else "this command"
            message = f"{option} takes {prose(list(self.choices), 'or')}, not `{value}`"
            raise SpecError(Diagnostic("unknown-name", message, help=near_help(str(value), self.choices)))
        return str(value)


PHASE_HELP = "How the graph is run: decode, prefill, or a phase of the spec."

_OPTIONS: dict[str, Callable[[Any], Any]] = {
    "device": click.option(
        "--device", metavar="NAME", help="A shipped device, a file that declares one, or FILE:NAME."
    ),
    "phase": click.option("--phase", default="decode", show_default=True, metavar="NAME", help=PHASE_HELP),
    "graph": click.option("--graph", metavar="NAME", help="Which graph of the spec.  [default: forward]"),
    "fidelity": click.option(
        "--fidelity",
        type=OneOf(["params", "cache", "traffic"]),
        default="cache",
        show_default=True,
        help="How finely costs are counted.",
    ),
    "timing": click.option(
        "--timing",
        type=OneOf(["overlap", "serial", "per_op"]),
        default="overlap",
        show_default=True,
        help="How compute and memory time add up.",
    ),
    "batch-size": click.option("--batch-size", metavar="N", help="Sequences at once; left out, it stays a symbol."),
    "seq-len": click.option("--seq-len", metavar="N", help="Context length with the new tokens in it."),
    "new-tokens": click.option("--new-tokens", metavar="N", help="New tokens a sequence, in the phase's place."),
    "set": click.option(
        "--set", "sets", multiple=True, metavar="DIM=EXPR", help="Another value for a dim, or dtype.ROLE=TYPE."
    ),
    "free": click.option("--free", multiple=True, metavar="DIM", help="Forget a dim's value; `all` forgets every one."),
    "masked": click.option(
        "--masked",
        type=OneOf(["full", "exact"]),
        default="full",
        show_default=True,
        help="Attention pairs: the full rectangle, or those that mask and window keep.",
    ),
    "fusion": click.option(
        "--fusion",
        type=OneOf(["elementwise", "none"]),
        default="elementwise",
        show_default=True,
        help="What fidelity traffic takes to be fused.",
    ),
    "memory-fraction": click.option(
        "--memory-fraction", default="1", metavar="X", show_default=True, help="How much of the memory may be used."
    ),
    "count": click.option("--count", default="1", metavar="N", help="So many devices as one, communication left out."),
    "prompt-len": click.option("--prompt-len", metavar="N", help="Tokens of a request's prompt."),
    "output-len": click.option("--output-len", metavar="N", help="Tokens that a request gives, the prefill's first."),
    "acceptance-rate": click.option("--acceptance-rate", metavar="X", help="How likely a drafted token is accepted."),
    "drafts": click.option("--drafts", metavar="N", help="Tokens drafted a step."),
    "budget": click.option(
        "--budget", default="10", metavar="SECONDS", show_default=True, help="How long a solve may take."
    ),
    "names": click.option(
        "--names",
        type=OneOf(["short", "long"]),
        help="Symbols of the spec, or names, in formulas.  [default: short where every dim has one]",
    ),
    "json": click.option("--json", "as_json", is_flag=True, help="For programs."),
    "markdown": click.option("--markdown", "as_markdown", is_flag=True, help="As Markdown, for a document."),
    "output": click.option("-o", "--output", metavar="FILE", help="Write there: the whole file or nothing."),
    "no-cache": click.option(
        "--no-cache", is_flag=True, expose_value=False, help="Neither keep the answer nor take a kept one."
    ),
    "overwrite": click.option("--overwrite", is_flag=True, help="Write over a file that is there."),
}

MODEL = ("phase", "graph", "fidelity", "new-tokens", "set", "free", "masked", "fusion")
POINT = ("batch-size", "seq-len")
REQUEST = ("prompt-len", "output-len", "acceptance-rate", "drafts")
DEVICE = ("device", "timing", "memory-fraction", "count")
FILE = ("output", "overwrite", "no-cache")
OUTPUT = ("json", *FILE)
PAGE = ("json", "markdown", *FILE)


def options(*groups: str | Iterable[str]) -> Callable[[Command], Command]:
    """Several shared options at once."""
    names = [name for group in groups for name in ((group,) if isinstance(group, str) else group)]

    def add(command: Command) -> Command:
        for name in reversed(names):
            command = _OPTIONS[name](command)
        return command

    return add
