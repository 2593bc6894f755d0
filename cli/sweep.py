"""`costmodel sweep`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from costmodel.names import near_help
from costmodel.quantity_names import QUANTITIES
from costmodel.render.sweep import bytes_said, span_said
from costmodel.sweep.ranges import OF_DEVICE, Axis, axis

from .common import compiled, fraction_option, library_for, refuse, run_of, whole
from .options import MODEL, REQUEST, options

if TYPE_CHECKING:
    from costmodel.sweep.plan import Pick, Plan, Question

_ASKED_BEYOND = 10**9
_WORKLOAD = ("new_tokens", "batch_size", "seq_len", "prompt_len", "output_len", "drafts", "acceptance_rate")


@click.command("sweep")
@click.argument("specs", nargs=-1, required=True, metavar="SPEC...")
@click.option("-o", "--output", required=True, metavar="FILE", help="Where to: FILE.parquet or FILE.csv.")
@click.option("--device", metavar="NAMES", help="Devices, with commas between.")
@click.option("--batch-size", metavar="RANGE", help="1:512, 0:4096:128 (step), 1024:131072:*2 (geometric), or 1,8,64.")
@click.option("--seq-len", metavar="RANGE", help="Context lengths, likewise.")
@click.option(
    "--vary",
    multiple=True,
    metavar="NAME=RANGE",
    help="A dim, a dtype (dtype.cache=bf16,fp8), or a figure of the device (device.bandwidth='2 TB/s, 4 TB/s').",
)
@click.option(
    "--of", "wanted", multiple=True, metavar="QUANTITY", help="Again and again.  [default: all that have a figure]"
)
@click.option(
    "--where", multiple=True, metavar="CONDITION", help="Keep rows of which this holds; `and` between several."
)
@click.option("--top", metavar="N", help="Keep the N best rows, by --by.")
@click.option("--by", metavar="QUANTITY", help="What --top is by; `:min` or `:max` behind it says which is best.")
@click.option("--pareto", metavar="QUANTITIES", help="Keep rows that no other beats: throughput,latency.")
@options([name for name in MODEL if name not in ("free", "new-tokens")])
@click.option("--new-tokens", metavar="RANGE", help="New tokens a sequence, in the phase's place.")
@options("timing", "memory-fraction", "count", REQUEST)
@click.option("--resume", is_flag=True, help="Go on with a sweep that was stopped.")
@click.option("--overwrite", is_flag=True, help="Write over a file that is there.")
@click.option("--engine", default="local", show_default=True, metavar="WHERE", help="local, or dask://HOST:PORT.")
@click.option("--chunk", metavar="ROWS", help="Rows computed and kept at once.  [default: 2^20; 2^18 of many columns]")
@click.option("--yes", is_flag=True, help="Do not ask whether a very large sweep is meant.")
def command(specs: tuple[str, ...], output: str, **given: Any) -> None:
    """Quantities over a grid of anything: batch sizes, contexts, dims, dtypes, devices and their figures, of one spec
    or several. Written in parts, so that a sweep that was stopped goes on with --resume.

    \b
    costmodel sweep llama-3.1:8b --device h100-sxm,h200-sxm --batch-size 1:512 --seq-len 1024:131072:*2 \\
        --where 'memory <= device.memory and latency <= 20 ms' -o llama.parquet
    costmodel sweep llama-3.1:8b --device h100-sxm --vary num_kv_heads=1,2,4,8 --batch-size 1:256 --seq-len 8192 \\
        --of throughput --of latency --pareto throughput,latency -o front.csv
    """
    if not output:
        raise refuse("-o takes the name of a file, and this is empty")
    with library_for("a sweep"):
        from costmodel.sweep.plan import plan
        from costmodel.sweep.run import write

    found = plan(question(specs, given))
    for note in found.notes:
        click.echo(f"note: {note}", err=True)
    if not given["yes"] and not given["resume"]:
        _ask(found)
    with progress(found.points) as step:
        written = write(
            found, Path(output), resume=given["resume"], overwrite=given["overwrite"], engine=given["engine"], step=step
        )
    if written is None:
        click.echo(f"{output} is whole already: there is nothing to resume")
        return
    for line in written.odd:
        click.echo(f"warning: {line}", err=True)
    again = f", {written.resumed:,} parts of them done before" if written.resumed else ""
    kept = (
        f"{written.rows:,} of {written.points:,} points"
        if written.rows != written.points
        else f"{written.rows:,} points"
    )
    rate = f"{written.points / written.seconds:,.0f} a second" if not written.resumed else ""
    click.echo(f"{output}: {kept} in {span_said(written.seconds)}{again}" + (f", {rate}" if rate else ""))


def question(specs: tuple[str, ...], given: Mapping[str, Any]) -> Question:
    """The question that the options ask."""
    from costmodel.sweep.plan import Question, Varied, conditions_of

    axes: list[Axis] = []
    varied: list[Varied] = []
    devices = _names(given["device"], "--device")
    for text in given["vary"]:
        name, equals, values = (part.strip() for part in text.partition("="))
        if not equals or not name or not values:
            raise refuse(f"--vary takes NAME=RANGE, not `{text}`", "--vary num_kv_heads=1,2,4,8")
        if name == "device":
            if devices:
                raise refuse("devices are given twice: by --device and by --vary")
            devices = _names(values, "--vary device")
        elif name in OF_DEVICE or name in _WORKLOAD:
            axes.append(axis(name, values, f"--vary {name}"))
        elif name.startswith("device."):
            raise refuse(f"a device's `{name.removeprefix('device.')}` does not vary", near_help(name, OF_DEVICE))
        elif name.startswith("dtype."):
            varied.append(Varied(name, tuple(_names(values, f"--vary {name}"))))
        else:
            found = axis(name, values, f"--vary {name}")
            varied.append(Varied(name, tuple(str(value) for value in found.figures)))
    for name in _WORKLOAD:
        text = given.get(name)
        if text is not None:
            axes.append(axis(name, text, f"--{name.replace('_', '-')}"))
    return Question(
        tuple(compiled(spec, given) for spec in specs),
        tuple(devices),
        run_of({**given, "new_tokens": None}),
        given["timing"],
        fraction_option("memory-fraction", given["memory_fraction"]),
        whole("count", given["count"]) or 1,
        tuple(varied),
        tuple(axes),
        tuple(given["wanted"]),
        conditions_of(given["where"]),
        pick_of(given),
        whole("chunk", given.get("chunk"), most=1 << 24),
    )


def _names(text: str | None, option: str) -> list[str]:
    if text is None:
        return []
    found = [part.strip() for part in text.split(",")]
    if not all(found):
        raise refuse(f"{option} takes names with commas between, not `{text}`")
    if len(set(found)) < len(found):
        raise refuse(f"{option} names {next(n for n in found if found.count(n) > 1)} twice")
    return found


def pick_of(given: Mapping[str, Any]) -> Pick | None:
    """What --top, --by and --pareto say."""
    from costmodel.sweep.plan import Pick

    top, by, pareto = given["top"], given["by"], given["pareto"]
    if pareto is not None:
        if top is not None or by is not None:
            raise refuse("--pareto and --top exclude each other")
        return Pick(tuple(_better(name, "--pareto") for name in _names(pareto, "--pareto")))
    if (top is None) != (by is None):
        raise refuse("--top and --by go together", "--top 100 --by throughput")
    return None if top is None else Pick((_better(by, "--by"),), whole("top", top, most=1 << 22))


def _better(text: str, option: str) -> tuple[str, bool]:
    """A quantity, and whether more of it is better, as it is or as `:min` or `:max` says."""
    from costmodel.sweep.plan import GREATEST

    name, colon, way = text.partition(":")
    if colon and way not in ("min", "max"):
        raise refuse(f"{option} takes a quantity, with `:min` or `:max` behind it or without, not `{text}`")
    if name not in QUANTITIES:
        raise refuse(f"{option}: there is no quantity `{name}`", near_help(name, QUANTITIES))
    return name, way == "max" if colon else name in GREATEST


def _ask(plan: Plan) -> None:
    """Whether a very large sweep is meant, with what it would take."""
    from costmodel.sweep.run import estimate

    if plan.points <= _ASKED_BEYOND:
        return
    found = estimate(plan)
    size = bytes_said(found.bytes)
    what = f"{found.points:,} points would take about {span_said(found.seconds)} and about {size}"
    if not sys.stdin.isatty():
        raise refuse(what, "--yes runs it all the same")
    click.confirm(f"{what}. Go on?", abort=True, err=True)


@contextmanager
def progress(points: int) -> Iterator[Callable[[str, int, int], None] | None]:
    """A bar on stderr with rate and time left, where that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}

        def step(stage: str, done: int, of: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=of, rate="")
            bar.advance(tasks[stage], done)
            speed = next(task.speed for task in bar.tasks if task.id == tasks[stage])
            if speed:
                bar.update(tasks[stage], rate=f"{speed * points / of:,.0f} points/s")

        yield step
