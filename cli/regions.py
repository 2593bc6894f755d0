"""The regions of a document that answers stand in, and the answers of a marker's command as Markdown."""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass

import click

from costmodel.names import listed, near_help
from costmodel.source import Diagnostic, Source, Span, SpecError

from .main import group

# the commands that answer and write nothing, and the language of what they print; those of _PAGES take --markdown
_PAGES = ("check", "compare", "crossover", "evaluate", "explain", "list", "search", "sensitivity", "solve")
COMMANDS = {"formula": "markdown", "latex": "markdown", "graph": "mermaid", **dict.fromkeys(_PAGES, "markdown")}
_WRITES = ("-o", "--output", "--overwrite")

_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n|$)")
_FENCE = re.compile(r"\ufeff? {0,3}(`{3,}|~{3,})")
_OPENING = re.compile(r"(\ufeff?[ \t]*)<!--[ \t]*costmodel:(.*)")
_WITHOUT_COLON = re.compile(rf"[ \t]*<!--[ \t]*(costmodel[ \t]+(?:{'|'.join(COMMANDS)})\b.*?)[ \t]*(?:-->|$)")
_CLOSING = re.compile(r"[ \t]*<!--[ \t]*/costmodel[ \t]*-->[ \t]*")


@dataclass(frozen=True)
class Region:
    """What stands between two markers; `command` is the opening one's, `level` that of the heading above it."""

    command: Span
    indent: str
    line_end: str
    start: int
    end: int
    level: int


def with_answers(source: Source) -> str:
    """The text with every region made anew.

    Raises:
        SpecError: a marker has no end, or its command no answer.
    """
    faults: list[Diagnostic] = []
    parts, at = [], 0
    for region in regions(source):
        try:
            body = answered(shlex.split(region.command.text)).markdown(region.level)
        except ValueError:
            faults.append(Diagnostic("marker", "a quote of this marker is not closed", region.command))
            continue
        except SpecError as error:
            faults.append(Diagnostic("marker", "this marker's command has no answer", region.command))
            faults += error.diagnostics
            continue
        lines = ["", *body.rstrip("\n").split("\n"), ""]
        indented = (f"{region.indent}{line}".rstrip(" \t") + region.line_end for line in lines)
        parts += [source.text[at : region.start], *indented]
        at = region.end
    if faults:
        raise SpecError(faults)
    return "".join([*parts, source.text[at:]])


def regions(source: Source) -> Iterator[Region]:
    """The regions of a document, not those that stand in its code.

    Raises:
        SpecError: a marker has no end, or there is one without a beginning.
    """
    fence, level = "", 0
    open_: tuple[Span, str, str, int] | None = None
    for match in _LINE.finditer(source.text):
        line = match[0].rstrip("\r\n")
        if not match[0]:
            break
        opening = _OPENING.match(line)
        if open_ is not None:
            if _CLOSING.fullmatch(line):
                yield Region(*open_[:3], open_[3], match.start(), level)
                open_ = None
            elif opening:
                raise _without_end(open_[0])
            continue
        fence = fence_behind(fence, line)
        if fence:
            continue
        heading = re.match(r" {0,3}(#{1,6})[ \t]", line)
        level = len(heading[1]) if heading else level
        if _CLOSING.fullmatch(line):
            span = source.span(match.start(), match.start() + len(line))
            raise SpecError(Diagnostic("marker", "this ends a region that nothing begins", span))
        if missed := _WITHOUT_COLON.match(line):
            span = source.span(match.start() + missed.start(1), match.start() + missed.end(1))
            help = f"<!-- costmodel: {missed[1].removeprefix('costmodel').strip()} -->"
            raise SpecError(Diagnostic("marker", "a marker has a colon behind `costmodel`", span, help=help))
        if opening:
            words, closed, rest = opening[2].partition("-->")
            start = match.start() + opening.start(2)
            span = source.span(start + len(words) - len(words.lstrip()), start + len(words.rstrip()))
            if not closed or rest.strip():
                raise SpecError(Diagnostic("marker", "a marker is a comment on a line of its own", span))
            end = match[0][len(line) :]
            open_ = (span, opening[1].removeprefix("\ufeff"), end, match.end())
    if open_ is not None:
        raise _without_end(open_[0])


def fence_behind(fence: str, line: str) -> str:
    """The fence of the code that the next line stands in, if it does."""
    found = _FENCE.match(line)
    if not fence:
        return found[1] if found and not (found[1][0] == "`" and "`" in line[found.end() :]) else ""
    closes = found and found[1].startswith(fence) and not line[found.end() :].strip()
    return "" if closes else fence


def _without_end(span: Span) -> SpecError:
    return SpecError(Diagnostic("marker", "this marker has no end", span, help="<!-- /costmodel -->"))


@dataclass(frozen=True)
class Answer:
    """What a command printed, and in which language that is."""

    language: str
    text: str

    def markdown(self, level: int = 0) -> str:
        """As Markdown under a heading of this level."""
        if self.language == "markdown":
            return re.sub(r"^#+(?= )", lambda mark: "#" * min(6, len(mark[0]) + level), self.text, flags=re.M)
        fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`+", self.text)), default=0))
        return f"{fence}{self.language}\n{self.text}{fence}\n"


def answered(words: Sequence[str]) -> Answer:
    """What a command answers.

    Raises:
        SpecError: it is none that may stand in a document, or its options are wrong.
    """
    name = words[0] if words else ""
    if name not in COMMANDS:
        facts = (f"{listed(COMMANDS, len(COMMANDS))} may stand there",)
        message = f"`{name}` is no command for a document" if name else "there is no command"
        raise SpecError(Diagnostic("marker", message, facts=facts, help=near_help(name, COMMANDS)))
    for word in words:
        if word.startswith("-o") or word.partition("=")[0] in _WRITES:
            raise SpecError(Diagnostic("marker", f"`{word}` writes a file, and a document's command only answers"))
    language = COMMANDS[name]
    given = _option(words, "--format")
    if "--json" in words or given == "json":
        language = "json"
    elif name in _PAGES:
        language = given or language
        words = [*_without_format(words), *(["--markdown"] if language == "markdown" else [])]
        if language not in ("markdown", "text"):
            help = near_help(language, ("markdown", "text"))
            raise SpecError(Diagnostic("marker", f"--format takes markdown or text here, not `{language}`", help=help))
    elif given is not None:
        language = given
    else:
        words = [*words, "--format", language]
    text = _printed(words).strip("\n")
    if language == "markdown":
        text = re.sub(r"\A<!--.*?-->\n+", "", text)
    return Answer(language, text + "\n")


def _option(words: Sequence[str], option: str) -> str | None:
    for i, word in enumerate(words):
        if word == option and i + 1 < len(words):
            return words[i + 1]
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return None


def _without_format(words: Sequence[str]) -> list[str]:
    kept: list[str] = []
    for i, word in enumerate(words):
        if word != "--format" and not word.startswith("--format=") and words[i - 1 : i] != ["--format"]:
            kept.append(word)
    return kept


def _printed(words: Sequence[str]) -> str:
    out = io.StringIO()
    try:
        with redirect_stdout(out), group.make_context("costmodel", list(words)) as context:
            group.invoke(context)
    except click.exceptions.Exit:
        pass
    except click.ClickException as error:
        raise SpecError(Diagnostic("usage", error.format_message().rstrip("."))) from None
    return out.getvalue()
