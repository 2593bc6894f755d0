"""`costmodel plot`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from costmodel.device import find_device
from costmodel.names import prose
from costmodel.plot.files import FORMATS, check_ending, drawn
from costmodel.plot.grid import grid
from costmodel.plot.kinds import KINDS, NEED_DEVICE, contexts_of
from costmodel.plot.picture import Picture
from costmodel.plot.subject import Subject
from costmodel.solve.budget import Unsolvable, budget
from costmodel.sweep.ranges import axis

from .common import (
    MOST_DEVICES,
    MOST_WORKLOAD,
    compiled,
    fraction_option,
    library_for,
    quantities_of,
    refuse,
    whole,
    write,
)
from .options import DEVICE, MODEL, OneOf, options

SWEPT = (".parquet", ".csv")
_OF_A_SWEEP = ("x", "y", "by", "only")
_MOST_LISTED = 1_000
_WITH_CONTEXT_AXIS = frozenset({"regime", "memory"})
_WITH_BATCH_AXIS = frozenset({"throughput", "latency", "regime", "memory"})
_AT_ONE_BATCH = frozenset({"roofline", "breakdown", "memory"})


@click.command("plot")
@click.argument("spec")
@click.option("--kind", type=OneOf(tuple(KINDS)), default="throughput", show_default=True, help="Of what.")
@options(DEVICE)
@click.option("--batch-size", metavar="RANGE", help="A batch size, or the ends of its axis: 1:4096.")
@click.option("--seq-len", metavar="RANGE", help="Contexts, a curve each: 256,2048,8192; in `regime` also 64:131072.")
@click.option("--x", metavar="NAME", help="Of a sweep's file: along what.  [default: batch_size, if it varies]")
@click.option("--y", metavar="QUANTITY", help="Of a sweep's file: what.  [default: throughput, if it is there]")
@click.option("--by", metavar="NAMES", help="Of a sweep's file: a line for each.  [default: all else that varies]")
@click.option("--only", multiple=True, metavar="NAME=VALUE", help="Of a sweep's file: rows of which this holds.")
@options(MODEL, "budget", "output", "overwrite")
def command(spec: str, kind: str, **given: Any) -> None:
    """A picture, drawn from the closed forms: kinks, asymptotes and limits are exact. The file's name says which
    format: FILE.svg, FILE.png, or FILE.html, which shows the figures where the pointer is.

    \b
    costmodel plot llama-3.1:8b --device h100-nvl --seq-len 256,2048,8192 -o throughput.svg
    costmodel plot mixtral:8x7b --kind roofline --device h200-sxm --seq-len 1024 --batch-size 32 -o roofline.svg
    costmodel plot gemma-2:9b --kind memory --device h100-sxm,h200-sxm --seq-len 8192 -o memory.html

    A file that `sweep` wrote is drawn too: a quantity along what varied.

    \b
    costmodel sweep llama-3.1:8b --device h100-nvl,h200-sxm --batch-size 1:64 --seq-len 1024:8192:*8 -o grid.parquet
    costmodel plot grid.parquet --y latency --only seq_len=8192 -o grid.svg
    """
    path = _path(given["output"])
    if Path(spec).suffix.lower() in SWEPT:
        write(path, drawn(_swept(Path(spec), given), path), bool(given["overwrite"]))
        return
    for option in _OF_A_SWEEP:
        if given[option]:
            raise refuse(f"--{option} is for a file that `sweep` wrote, {prose(SWEPT, 'or')}")
    if given["device"] is None and kind in NEED_DEVICE:
        raise refuse(f"a picture of {kind} needs a device", "--device h100-sxm")
    seconds = float(fraction_option("budget", given["budget"], most=10**6))
    subject = _subject(spec, kind, given)
    try:
        with budget(seconds):
            picture = KINDS[kind](subject)
    except Unsolvable as reason:
        raise refuse(f"there is no picture of {kind} here: {reason}") from None
    write(path, drawn(picture, path), bool(given["overwrite"]))


def _path(output: str | None) -> Path:
    if not output:
        raise refuse("-o says where the picture goes", f"-o FILE{FORMATS[0]}, FILE{FORMATS[1]} or FILE{FORMATS[2]}")
    check_ending(Path(output))
    return Path(output)


def _swept(path: Path, given: Mapping[str, Any]) -> Picture:
    context = click.get_current_context()
    for param in context.command.params:
        name = param.name or ""
        if name in ("spec", "output", "overwrite", *_OF_A_SWEEP) or not param.expose_value:
            continue
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            raise refuse(f"{max(param.opts, key=len)} is for a spec: a sweep is drawn as it was computed")
    with library_for("a sweep's file"):
        from costmodel.sweep.curves import curves
        from costmodel.sweep.plan import GREATEST

    by = [name.strip() for name in given["by"].split(",")] if given["by"] is not None else None
    found = curves(path, given["x"], given["y"], by, given["only"])
    return grid(found, found.y in GREATEST)


def _subject(spec: str, kind: str, given: Mapping[str, Any]) -> Subject:
    contexts, batches = (_range(option, given[option.replace("-", "_")]) for option in ("seq-len", "batch-size"))
    _check_ranges(kind, contexts, batches)
    model = compiled(spec, given)
    names = [name.strip() for name in given["device"].split(",")] if given["device"] is not None else []
    count = whole("count", given["count"], most=MOST_DEVICES) or 1
    devices = [find_device(name, model.program).times(count) for name in names]
    plain = {**given, "seq_len": None, "batch_size": None}
    first = quantities_of(model, plain, devices[0] if devices else None)
    several = (first, *(replace(first, device=device) for device in devices[1:]))
    shown = contexts_of(kind, contexts.values, len(devices))
    return Subject(model, several, shown, batches.values, _axes(contexts, batches))


@dataclass(frozen=True)
class Range:
    """Values that are listed or stepped through, or the two ends of an axis, `1:512`."""

    values: tuple[int, ...] = ()
    ends: tuple[int, int] | None = None


def _range(option: str, text: str | None) -> Range:
    if text is None:
        return Range()
    found = axis(option.replace("-", "_"), text, f"--{option}")
    if found.most > MOST_WORKLOAD:
        raise refuse(f"--{option} is {text}: at most {MOST_WORKLOAD:,} is possible")
    least, most = int(found.least), int(found.most)
    if "," not in text and text.count(":") == 1:
        if least == most:
            raise refuse(f"--{option} is {text}, and an axis has two ends")
        return Range(ends=(least, most))
    if len(found) > _MOST_LISTED:
        raise refuse(f"--{option} lists {len(found):,} values, more than a picture can show")
    return Range(tuple(map(int, found.figures)))


def _check_ranges(kind: str, contexts: Range, batches: Range) -> None:
    """Nothing that was asked for is passed over: an axis that there is not, a batch size where that is the axis."""
    if contexts.ends is not None and kind not in _WITH_CONTEXT_AXIS:
        message = f"a picture of {kind} has no axis of contexts: --seq-len lists those of its curves"
        raise refuse(message, "--seq-len 256,2048,8192")
    if batches.ends is not None and kind not in _WITH_BATCH_AXIS:
        raise refuse(f"a picture of {kind} is of one batch size", "--batch-size 32")
    if batches.values and kind not in _AT_ONE_BATCH:
        raise refuse(f"in a picture of {kind} the batch size is the axis, which has two ends", "--batch-size 1:512")
    if len(batches.values) > 1:
        raise refuse(f"a picture of {kind} is of one batch size, and --batch-size has {len(batches.values):,}")
    if kind == "memory" and batches.values and contexts.values:
        raise refuse("memory is drawn against the batch size or the context, and both are fixed here")


def _axes(contexts: Range, batches: Range) -> dict[str, tuple[int, int]]:
    named = {"seq_len": contexts.ends, "batch_size": batches.ends}
    return {name: ends for name, ends in named.items() if ends is not None}
