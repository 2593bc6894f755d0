"""From options to answers: figures checked, specs and devices found, output written."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from sympy import Symbol

from costmodel.compile import Compiled, Run, compile_spec, with_free, with_sets
from costmodel.device import Device, find_device
from costmodel.figures import exact_number
from costmodel.files import write_whole
from costmodel.names import listed
from costmodel.quantities import Quantities
from costmodel.render.diagnostics import render, visible
from costmodel.render.markdown import page_markdown
from costmodel.render.page import WIDTH, Page
from costmodel.source import Diagnostic, SpecError
from costmodel.symbols import acceptance_rate, batch_size, drafts, output_len, prompt_len, seq_len
from costmodel.unused import unused

MOST_WORKLOAD = 10**15
MOST_DEVICES = 10**6


def refuse(message: str, help: str = "") -> SpecError:
    """What is wrong with an option."""
    return SpecError(Diagnostic("argument", message, help=help))


def whole(option: str, text: str | None, most: int = MOST_WORKLOAD) -> int | None:
    """A whole number of 1 or more, `8_192` and `1e5` too; None where the option is left out."""
    if text is None:
        return None
    value = exact_number(text)
    if value is None:
        raise refuse(f"--{option} takes a whole number, not `{visible(text)}`")
    if value.denominator != 1 or value < 1:
        raise refuse(f"--{option} is {text}: a whole number, 1 or more, is needed")
    if value > most:
        raise refuse(f"--{option} is {text}: at most {most:,} is possible")
    return value.numerator


def point(options: Mapping[str, Any]) -> dict[Symbol, Fraction]:
    """The workload's figures."""
    found: dict[Symbol, Fraction] = {}
    for symbol in (batch_size, seq_len, prompt_len, output_len, drafts):
        value = whole(symbol.name.replace("_", "-"), options.get(symbol.name))
        if value is not None:
            found[symbol] = Fraction(value)
    rate = options.get("acceptance_rate")
    if rate is not None:
        found[acceptance_rate] = fraction_option("acceptance-rate", rate, most=1)
    return found


def fraction_option(option: str, text: str, most: int = 1000) -> Fraction:
    """A number above 0 and not above `most`: `0.9`, `9/10`."""
    value = exact_number(text)
    if value is None:
        raise refuse(f"--{option} takes a number, not `{visible(text)}`")
    if not 0 < value <= most:
        raise refuse(f"--{option} is {text}: more than 0 and at most {most:,} is needed")
    return value


def compiled(spec: str, options: Mapping[str, Any]) -> Compiled:
    """The spec with what --set and --free say."""
    found = compile_spec(spec)
    found = with_sets(found, options.get("sets", ()))
    free = options.get("free", ())
    if "all" in free:
        _say_what_stays(found, free)
    return with_free(found, free)


def _say_what_stays(spec: Compiled, free: Sequence[str]) -> None:
    read = spec.plain & spec.read_by_if
    stay = [name for name in spec.program.dims if name in read and name not in free]
    if stay:
        what = f"`--free all` leaves {listed(stay)}, which an `if` reads"
        click.echo(render([Diagnostic("free", what, severity="warning")]), err=True)


def run_of(options: Mapping[str, Any]) -> Run:
    return Run(
        options.get("phase", "decode"),
        options.get("graph"),
        options.get("fidelity", "cache"),
        options.get("masked", "full"),
        options.get("fusion", "elementwise"),
        whole("new-tokens", options.get("new_tokens")),
    )


def device_of(spec: Compiled, options: Mapping[str, Any], needed: bool = False) -> Device | None:
    name = options.get("device")
    count = whole("count", options.get("count"), most=MOST_DEVICES)
    if name is None:
        if needed:
            raise refuse("a device is needed", "--device h100-sxm; `costmodel list devices` shows what is shipped")
        return None
    return find_device(name, spec.program).times(count or 1)


def quantities_of(spec: Compiled, options: Mapping[str, Any], device: Device | None) -> Quantities:
    table = spec.table(run_of(options))
    for diagnostic in unused(table.dataflow):
        click.echo(render([diagnostic]), err=True)
    found = Quantities(
        table,
        device,
        options.get("timing", "overlap"),
        fraction_option("memory-fraction", options.get("memory_fraction", "1")),
        spec.in_phase(run_of(options)),
    )
    found.check_point(point(options))
    return found


def command_line(*without: str) -> str:
    """The command line that was given, without these options and where its answer was written."""
    context = click.get_current_context()
    words = [context.command_path]
    for param in context.command.params:
        if param.name in ("output", "overwrite", *without) or not param.expose_value:
            continue
        if context.get_parameter_source(param.name or "") is not ParameterSource.COMMANDLINE:
            continue
        value = context.params[param.name or ""]
        for one in value if isinstance(value, tuple) else (value,):
            option = [max(param.opts, key=len)] if isinstance(param, click.Option) else []
            words += option if one is True else [*option, shlex.quote(str(one))]
    return " ".join(words)


@contextmanager
def library_for(what: str) -> Iterator[None]:
    """What is imported within is an extra; where it is missing, which is said."""
    try:
        yield
    except ModuleNotFoundError as error:
        name = str(error.name).partition(".")[0]
        if name not in ("numpy", "pyarrow"):
            raise
        raise refuse(f"{what} needs {name}, which is not installed", "pip install 'costmodel[sweep]'") from None


# --- output


def width() -> int:
    """How wide a page is: as the terminal, and as wide as any where it is to be Markdown."""
    if click.get_current_context().params.get("as_markdown"):
        return WIDTH
    return min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns) if sys.stdout.isatty() else WIDTH


def _ascii_only() -> bool:
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower()
    return "utf" not in encoding


def emit_page(page: Page, options: Mapping[str, Any]) -> None:
    if options.get("as_markdown"):
        emit(page_markdown(page), options)
        return
    to_file = options.get("output") is not None
    color = sys.stdout.isatty() and not to_file and "NO_COLOR" not in os.environ
    emit(page.show(color=color, ascii_only=_ascii_only() and not to_file), options)


def emit_json(value: Any, options: Mapping[str, Any]) -> None:
    if options.get("as_markdown"):
        raise refuse("--json and --markdown are two forms of one answer", "one of them")
    emit(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", options)


def emit(text: str, options: Mapping[str, Any]) -> None:
    """Print, or write to the file of -o."""
    # the name of a file need not be text
    text = text.encode("utf-8", "backslashreplace").decode("utf-8")
    target = options.get("output")
    if target is None:
        if _ascii_only():
            text = text.encode(sys.stdout.encoding or "ascii", "replace").decode(sys.stdout.encoding or "ascii")
        click.echo(text, nl=False)
        return
    if not target:
        raise refuse("-o takes the name of a file, and this is empty")
    write(Path(target), text.encode(), bool(options.get("overwrite")))


def write(path: Path, data: bytes, overwrite: bool) -> None:
    """The whole file or nothing; never over one that is there unless told so."""
    named = f"-o {_shortened(str(path))}"
    if os.path.isdir(path):
        raise refuse(f"{named}: this is a folder, not a file")
    if not os.path.isdir(path.parent):
        raise refuse(f"{named}: there is no folder `{_shortened(str(path.parent))}`")
    if os.path.exists(path) and not overwrite:
        raise refuse(f"{named}: there is such a file already", "--overwrite writes over it")
    try:
        write_whole(path, data, overwrite)
    except FileExistsError:
        raise refuse(f"{named}: there is such a file already", "--overwrite writes over it") from None
    except OSError as error:
        raise refuse(f"{named}: {(error.strerror or 'cannot be written').lower()}") from None


def _shortened(name: str) -> str:
    """A name of which both ends can be read, so that what is wrong with it can be read too."""
    return name if len(name) <= 90 else f"{name[:44]}…{name[-44:]}"
