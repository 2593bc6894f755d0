"""Pictures: marks at the places that the solvers prove, labels that neither touch nor are cut off, pages that work."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from itertools import combinations
from math import cos, radians, sin
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from costmodel.compile import Run, compile_spec
from costmodel.device import find_device
from costmodel.plot.draw import NARROW, WIDTH, Sheet, measured, svg
from costmodel.plot.kinds import KINDS, NEED_DEVICE
from costmodel.plot.page import html
from costmodel.plot.picture import Along, Area, Cells, Curve, Dot, Edge, Note, Picture, even
from costmodel.plot.sampling import function
from costmodel.plot.subject import CONTEXTS, Subject
from costmodel.quantities import Quantities
from costmodel.symbols import symbol

from .browser import framed, opened
from .conftest import Done
from .typesetting import node

Cli = Callable[..., Done]


def picture(
    kind: str,
    spec: str,
    devices: str = "h100-nvl",
    contexts: tuple[int, ...] = CONTEXTS,
    batches: tuple[int, ...] = (),
    axes: dict[str, tuple[int, int]] | None = None,
    **how: Any,
) -> Picture:
    timing = how.pop("timing", "overlap")
    table = compile_spec(spec).table(Run(**how))
    quantities = tuple(Quantities(table, find_device(name) if name else None, timing) for name in devices.split(","))
    return KINDS[kind](Subject(compile_spec(spec), quantities, contexts, batches, axes or {}))


def dots(of: Picture, form: str) -> list[tuple[float, float]]:
    return [(mark.x, mark.y) for mark in of.marks if isinstance(mark, Dot) and mark.form == form]


def notes(of: Picture) -> list[str]:
    return [mark.text for mark in of.marks if isinstance(mark, Note | Edge | Along)]


# --- marks stand where the solvers say

EXACT = 1e-12


def test_throughput_marks_crossover_limit_and_ceiling() -> None:
    """docs: Llama-3.1-8B at 256 tokens crosses at 5,460,028,705 / (23,818,496 − 43,728 · 256)."""
    of = picture("throughput", "llama-3.1:8b", contexts=(256,))
    crossing = 5_460_028_705 / (23_818_496 - 43_728 * 256)
    peak, flops = 835.5e12, 15_009_316_864 + 524_288 * 256
    assert dots(of, "open") == [pytest.approx((crossing, peak / flops), rel=EXACT)]
    assert dots(of, "bar") == [pytest.approx((2322, peak / flops), rel=EXACT)]
    assert {"crossover\nbatch 432.5", "fits 2,322", "memory-bound", "compute-bound"} <= set(notes(of))
    assert of.title == "Throughput stops growing at batch 432.5, at 55,172 tokens/s"
    dashed = [m.points for m in of.marks if isinstance(m, Curve) and m.style == "dashed"]
    assert [start[1] for start, end in dashed if start[1] == end[1]] == [pytest.approx(peak / flops, rel=EXACT)]
    shared = next(m for m in of.marks if isinstance(m, Along))
    assert shared.text == "only shared bytes read: 242.8 · batch"
    assert shared.start == pytest.approx((1, 3.9e12 / 16_060_522_496), rel=EXACT)
    ends = [m.points[0][0] for m in of.marks if isinstance(m, Area)]
    assert ends == [1.0, pytest.approx(crossing, rel=EXACT)]


def test_lines_end_where_memory_ends_and_go_on_dotted() -> None:
    of = picture("throughput", "llama-3.1:8b", contexts=(8192,))
    curves = [m for m in of.marks if isinstance(m, Curve)]
    solid, dotted = ([m for m in curves if m.style == style] for style in ("solid", "dotted"))
    assert [m.points[-1][0] for m in solid] == [72.0]
    assert [m.points[0][0] for m in dotted] == [72.0]
    assert "at most 3,632 tokens/s\n= bandwidth / bytes a token" in notes(of)


def test_the_kink_is_a_point_of_the_curve() -> None:
    of = picture("latency", "llama-3.1:8b", contexts=(256,))
    crossing = 5_460_028_705 / (23_818_496 - 43_728 * 256)
    xs = [x for m in of.marks if isinstance(m, Curve) for x, _ in m.points]
    assert any(x == pytest.approx(crossing, rel=EXACT) for x in xs)


def test_regime_has_the_critical_context_and_the_memory_limit() -> None:
    of = picture("regime", "llama-3.1:8b", contexts=(256, 8192))
    critical = 1_488_656 / 2_733
    lines = [m.points for m in of.marks if isinstance(m, Curve)]
    assert any(points[0][0] == points[1][0] == pytest.approx(critical, rel=EXACT) for points in lines)
    limit = next(m.points for m in of.marks if isinstance(m, Curve) and m.style == "solid")
    for context, batch in limit:
        assert batch == pytest.approx((94e9 - 16_060_522_496) / (131_072 * context), rel=EXACT)
    assert dots(of, "open")[0] == pytest.approx((256, 5_460_028_705 / (23_818_496 - 43_728 * 256)), rel=EXACT)
    assert {"256 tokens:\ncrosses at 432.5", "8,192 tokens:\n72 fit, never crosses"} <= set(notes(of))
    assert of.title == "Only contexts under 544.7 tokens can be compute-bound"


def test_regime_shades_by_the_sign_of_the_balance() -> None:
    of = picture("regime", "llama-3.1:8b", contexts=(256,))
    cells = next(m for m in of.marks if isinstance(m, Cells))
    for i in range(0, len(cells.y), 17):
        for j in range(0, len(cells.x), 13):
            b, s = cells.y[i], cells.x[j]
            computes = b * (15_009_316_864 + 524_288 * s) / 835.5 > (16_060_522_496 + 131_072 * b * s) / 3.9
            assert (cells.values[i][j] > 0) is computes


def test_memory_marks_what_fits_on_each_device() -> None:
    of = picture("memory", "llama-3.1:8b", "h100-nvl,h200-sxm", contexts=(8192,))
    held = [16.060522496 + 1.073741824 * batch for batch in (72, 116)]
    assert dots(of, "open") == [pytest.approx((72, held[0]), rel=EXACT), pytest.approx((116, held[1]), rel=EXACT)]
    assert {"weights 16.06 GB", "cache\n1.074 GB a sequence", "H100 NVL, 94 GB\nfits 72"} <= set(notes(of))


def test_memory_along_the_context_has_the_window_as_a_kink() -> None:
    """Gemma 3 keeps 1,024 tokens in five of six layers."""
    of = picture("memory", "gemma-3:4b", "h100-sxm", batches=(32,))
    top = next(m.points for m in of.marks if isinstance(m, Curve))
    assert any(x == 1024 for x, _ in top)


def test_roofline_marks_ridge_rails_and_operations() -> None:
    of = picture("roofline", "llama-3.1:8b", contexts=(8192,), batches=(32,))
    ridge = 835.5 / 3.9
    assert any(m.points[0][0] == pytest.approx(ridge, rel=EXACT) for m in of.marks if isinstance(m, Curve))
    flops, moved = 19_304_284_160 * 32, 16_060_522_496 + 1_073_741_824 * 32
    assert dots(of, "diamond") == [pytest.approx((flops / moved, flops / moved * 3.9), rel=EXACT)]
    groups = [m for m in of.marks if isinstance(m, Dot) and m.form == "open" and m.size > 6]
    assert [round(m.x, 6) for m in groups] == [4, 32]
    assert any("attention" in words and "4.00 FLOP/B" in words for words in notes(of))
    assert "limit 18.0" in notes(of)


def test_breakdown_shares_add_up() -> None:
    of = picture("breakdown", "llama-3.1:8b", contexts=(8192,), batches=(32,))
    shares = [float(m.title.split(": ")[1].split("%")[0]) for m in of.marks if isinstance(m, Area) and "GB" in m.title]
    assert sum(shares) == pytest.approx(100, abs=0.5)
    assert of.title.startswith("Attention takes ")


def test_a_picture_has_the_same_bytes_each_time() -> None:
    of = picture("throughput", "llama-3.1:8b")
    assert svg(of) == svg(picture("throughput", "llama-3.1:8b"))


def test_text_is_text_and_titles_are_escaped() -> None:
    of = picture("throughput", "llama-3.1:8b")
    hostile = replace(of, title='</title><script>alert("$x^2$")</script>', subtitle="a & b < c")
    root = ElementTree.fromstring(svg(hostile).svg)
    texts = ["".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert '</title><script>alert("$x^2$")</script>' in texts
    assert {"a & b < c", "batch size", "fits 2,322"} <= set(texts)
    assert list(root.iter("{http://www.w3.org/2000/svg}script")) == []
    assert html(hostile).count("<script>") == 1


# --- labels neither touch nor are cut off

# dense, windows, experts, latent attention, state, state with attention, encoder and decoder, an encoder alone
MODELS = [
    ("llama-3.1:8b", "h100-nvl", {}),
    ("gemma-2:9b", "h100-sxm", {}),
    ("mixtral:8x7b", "h200-sxm", {}),
    ("deepseek-v2", "h200-sxm", {}),
    ("mamba-2:2.7b", "h100-sxm", {}),
    ("jamba", "h200-sxm", {"fidelity": "traffic"}),
    ("whisper:large-v3", "h100-sxm", {"phase": "prefill"}),
    ("bert", "a10", {"phase": "prefill"}),
    ("llama-3.1:70b", "h100-nvl,h200-sxm,b200", {}),
    ("gpt-2", "rtx-4090", {"timing": "per_op", "fidelity": "traffic"}),
]
SEVERAL = {"regime", "breakdown"}


def grid() -> Iterator[Any]:
    for spec, devices, how in MODELS:
        for kind in KINDS:
            if "," in devices and kind in SEVERAL:
                continue
            if kind == "regime" and spec == "mamba-2:2.7b":
                continue
            yield pytest.param(kind, spec, devices, how, id=f"{kind}-{spec}")


Box = tuple[float, float, float, float]


def pieces(text: Any, renderer: Any) -> list[Box]:
    """The boxes that a text covers: one for each stretch of a turned one, each a little smaller than the ink."""
    turned = text.get_rotation()
    extent = text.get_window_extent(renderer)
    if turned % 90 == 0:
        return [(extent.x0 + 1, extent.y0 + 1, extent.x1 - 1, extent.y1 - 1)]
    text.set_rotation(0)
    flat = text.get_window_extent(renderer)
    text.set_rotation(turned)
    x, y, half = (extent.x0 + extent.x1) / 2, (extent.y0 + extent.y1) / 2, flat.height * 0.3
    steps = max(2, int(flat.width / flat.height))
    along = [flat.width * (k / steps - 0.5) for k in range(steps + 1)]
    spots = [(x + d * cos(radians(turned)), y + d * sin(radians(turned))) for d in along]
    return [(sx - half, sy - half, sx + half, sy + half) for sx, sy in spots]


def shown_texts(sheet: Sheet) -> list[Any]:
    axes = sheet.axes
    ticks = [label for axis in (axes.xaxis, axes.yaxis) for label in axis.get_ticklabels() if label.get_text()]
    names = [label for label in (axes.xaxis.label, axes.yaxis.label) if label.get_text()]
    return [*sheet.texts, *ticks, *names]


def faults(of: Picture, width: int) -> list[str]:
    """Texts that are cut off, and pairs that touch."""
    with measured(of, width) as sheet:
        wide, high = (100 * inches for inches in sheet.figure.get_size_inches())
        boxes = [(text.get_text(), pieces(text, sheet.renderer)) for text in shown_texts(sheet)]
    found = []
    for text, parts in boxes:
        if any(x0 < -1 or y0 < -1 or x1 > wide + 1 or y1 > high + 1 for x0, y0, x1, y1 in parts):
            found.append(f"cut off: {text!r}")
    for (a, mine), (b, others) in combinations(boxes, 2):
        if any(p[0] < q[2] and q[0] < p[2] and p[1] < q[3] and q[1] < p[3] for p in mine for q in others):
            found.append(f"touch: {a!r} and {b!r}")
    return found


def test_faults_are_found() -> None:
    of = picture("throughput", "llama-3.1:8b")
    x, y = of.x.at(0.5), of.y.at(0.5)
    one, other = (Note(x, y, word, sides=("e",), pinned=True) for word in ("one", "other"))
    far = Note(of.x.high, y, "a long way out", sides=("e",), pinned=True, distance=150)
    found = faults(replace(of, marks=(*of.marks, one, other, far)), 800)
    assert "touch: 'one' and 'other'" in found
    assert "cut off: 'a long way out'" in found


@pytest.mark.parametrize(("kind", "spec", "devices", "how"), list(grid()))
def test_labels_neither_touch_nor_are_cut_off(kind: str, spec: str, devices: str, how: dict[str, Any]) -> None:
    contexts = (2048,) if kind == "breakdown" or "," in devices else CONTEXTS
    of = picture(kind, spec, devices, contexts, **how)
    assert faults(of, WIDTH) == []
    assert faults(of, NARROW) == []


def test_ticks_are_round_wherever_an_axis_begins() -> None:
    assert [label for _, label in even("", 1.0, 64.0).ticks] == ["10", "20", "30", "40", "50", "60"]
    assert [label for _, label in even("", 1024.0, 65536.0).ticks][:2] == ["10k", "20k"]
    assert [value for value, _ in even("", 0.0, 0.21).ticks] == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])


# --- the command


def test_each_format_is_written(cli: Cli, tmp_path: Path) -> None:
    for ending, start in (("svg", b"<?xml"), ("png", b"\x89PNG"), ("html", b"<!doctype html>")):
        target = tmp_path / f"x.{ending}"
        done = cli("plot", "llama-3.1:8b", "--device", "h100-nvl", "-o", str(target))
        assert (done.status, done.out, done.err) == (0, "", "")
        assert target.read_bytes().startswith(start)


LLAMA = ("plot", "llama-3.1:8b", "--device", "h100-nvl")
MESSAGES = [
    ((*LLAMA,), "-o says where the picture goes"),
    ((*LLAMA, "-o", "x.pdf"), "the ending says which format, .svg, .png or .html, and `.pdf` is none"),
    ((*LLAMA, "-o", "x"), "and there is none"),
    ((*LLAMA, "-o", "x.sgv"), "`.svg` is near"),
    ((*LLAMA, "-o", "nowhere/x.svg"), "there is no folder `nowhere`"),
    ((*LLAMA, "-o", "there.svg"), "there is such a file already"),
    ((*LLAMA, "--kind", "roofine", "-o", "x.svg"), "`roofline` is near"),
    (("plot", "llama-3.1:8b", "-o", "x.svg"), "a picture of throughput needs a device"),
    (("plot", "llama-3.1:8b", "--kind", "regime", "--device", "h100-nvl,a10", "-o", "x.svg"), "one device is needed"),
    (("plot", "mamba-2:2.7b", "--kind", "regime", "--device", "a10", "-o", "x.svg"), "nothing here depends on seq_len"),
    ((*LLAMA, "--seq-len", "1,2,3,4,5,6,7", "-o", "x.svg"), "7 curves are more than can be told apart: at most 6"),
    ((*LLAMA, "--seq-len", "1:10:1", "-o", "x.svg"), "10 curves are more"),
    ((*LLAMA, "--seq-len", "1:", "-o", "x.svg"), "--seq-len takes FIRST:LAST, FIRST:LAST:STEP"),
    ((*LLAMA, "--seq-len", "8:1", "-o", "x.svg"), "--seq-len is reversed: `8:1` ends below"),
    ((*LLAMA, "--seq-len", "8:64:*1", "-o", "x.svg"), "--seq-len has a factor of 1: more than 1 is needed"),
    ((*LLAMA, "--seq-len", "1:1e14:1", "-o", "x.svg"), "values, more than a picture can show"),
    ((*LLAMA, "--seq-len", "none", "-o", "x.svg"), "--seq-len takes numbers, not `none`"),
    ((*LLAMA, "--free", "num_layers", "-o", "x.svg"), "a picture needs figures, and `num_layers` has none"),
    ((*LLAMA, "--seq-len", "64:8192", "-o", "x.svg"), "a picture of throughput has no axis of contexts"),
    ((*LLAMA, "--batch-size", "1:1e300", "-o", "x.svg"), "at most 1,000,000,000,000,000 is possible"),
    ((*LLAMA, "--batch-size", "0:64", "-o", "x.svg"), "batch_size is 0: a whole number, 1 or more, is needed"),
    ((*LLAMA, "--batch-size", "8:8", "-o", "x.svg"), "an axis has two ends"),
    ((*LLAMA, "--batch-size", "32", "-o", "x.svg"), "the batch size is the axis, which has two ends"),
    ((*LLAMA, "--kind", "roofline", "--batch-size", "1:9", "-o", "x.svg"), "roofline is of one batch size"),
    ((*LLAMA, "--kind", "roofline", "--batch-size", "1,9", "-o", "x.svg"), "and --batch-size has 2"),
    ((*LLAMA, "--kind", "memory", "--batch-size", "1", "--seq-len", "9", "-o", "x.svg"), "both are fixed here"),
    ((*LLAMA, "--kind", "regime", "--budget", "1e-9", "-o", "x.svg"), "the time given by --budget is spent"),
    ((*LLAMA, "--kind", "breakdown", "--seq-len", "1,2", "-o", "x.svg"), "one context is needed here"),
]


@pytest.mark.parametrize(("arguments", "message"), MESSAGES, ids=[message[:40] for _, message in MESSAGES])
def test_bad_input_gets_a_message_and_leaves_no_file(
    arguments: tuple[str, ...], message: str, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.svg").write_text("mine", encoding="utf-8")
    done = cli(*arguments)
    assert done.status == 2
    assert message in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["there.svg"]
    assert Path("there.svg").read_text(encoding="utf-8") == "mine"


def test_a_full_disk_leaves_no_half_a_file(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("costmodel.files.os.fsync", full)
    done = cli(*LLAMA, "-o", str(tmp_path / "x.svg"))
    assert (done.status, list(tmp_path.iterdir())) == (2, [])
    assert "no space left on device" in " ".join(done.err.split())


def test_without_matplotlib_a_message_says_what_to_install(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    done = cli(*LLAMA, "-o", str(tmp_path / "x.svg"))
    assert done.status == 2
    assert "pip install 'costmodel[plot]'" in done.err


def test_only_a_picture_imports_matplotlib() -> None:
    program = "import sys, costmodel.cli.plot; sys.exit('matplotlib' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_devices_are_needed_where_the_kinds_say(cli: Cli, tmp_path: Path) -> None:
    for kind in KINDS:
        done = cli("plot", "llama-3.1:8b", "--kind", kind, "-o", str(tmp_path / f"{kind}.svg"))
        assert done.status == (2 if kind in NEED_DEVICE else 0), done.err


# --- pages


class Requests(HTMLParser):
    """What a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [
            f"{tag} {key}={value}"
            for key, value in attrs
            if key in ("src", "href", "xlink:href", "data") and value and not value.startswith("#")
        ]


@cache
def page(kind: str) -> str:
    return html(picture(kind, "llama-3.1:8b", contexts=(2048,)))


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_asks_for_nothing(kind: str) -> None:
    reader = Requests()
    reader.feed(page(kind))
    assert reader.found == []
    assert "@import" not in page(kind)
    ids = re.findall(r'\bid="([^"]*)"', page(kind))
    assert len(ids) == len(set(ids))
    assert all(name == "p" or name.startswith("p-") for name in ids)
    assert {f"p-{name}" for name in re.findall(r"url\(#p-([^)]*)\)", page(kind))} <= set(ids)


@pytest.mark.needs("node")
@pytest.mark.parametrize("kind", ["throughput", "regime", "memory", "roofline"])
def test_the_pointer_evaluates_the_closed_forms(kind: str) -> None:
    """The page's own functions, at whole places, against the same forms in Python."""
    of = picture(kind, "mixtral:8x7b", "h200-sxm", contexts=(2048,))
    call = re.search(r"^hover\(\"p\", (\{.*\})\);", html(of), flags=re.DOTALL | re.MULTILINE)
    assert call is not None
    places = [[256, 17]] if len(of.unknowns) == 2 else [[1], [17], [433]]
    script = f"""
        const data = {call[1]};
        const places = JSON.parse(require('fs').readFileSync(0, 'utf8'));
        console.log(JSON.stringify(places.map(p => data.readings.map(r => r.values.map(v => v[1](...p))))));
    """
    there = json.loads(node(script, places))
    for place, readings in zip(places, there, strict=True):
        values = dict(zip(map(symbol, of.unknowns), map(float, place), strict=True))
        for reading, shown in zip(of.readings, readings, strict=True):
            assert shown == pytest.approx([function(expr)(values) for _, expr, _ in reading.values], rel=1e-12)


LOOK = """
  const svg = page.querySelector("svg"), box = svg.getBoundingClientRect();
  svg.dispatchEvent(new frame.contentWindow.PointerEvent("pointermove",
    { clientX: box.left + 0.4 * box.width, clientY: box.top + 0.5 * box.height }));
  document.title = page.querySelector(".reading").textContent + "|" + page.documentElement.scrollWidth;
"""


@pytest.mark.needs("chromium")
@pytest.mark.parametrize("kind", ["throughput", "regime"])
def test_a_page_works_in_a_browser(kind: str, tmp_path: Path) -> None:
    title, console = opened(framed(page(kind), LOOK, 380), tmp_path)
    words, _, width = title.rpartition("|")
    assert console == ""
    assert re.search(r"(batch|context) [\d,]+", words)
    assert "-bound" in words
    assert int(width) <= 380
