"""The report: all of it there, nothing fetched, nothing that a title could inject, and at work in a browser."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from costmodel.cli.main import run
from costmodel.compile import Run, compile_spec
from costmodel.device import find_device
from costmodel.quantities import Quantities
from costmodel.quantity_names import QUANTITIES
from costmodel.render.formulas import Formulas
from costmodel.render.latex import latex
from costmodel.render.mathml import display, mathml
from costmodel.render.report import Entry, Report

from .browser import framed, opened, requested
from .conftest import Done

Cli = Callable[..., Done]


def entry(spec: str, device: str | None = "h100-nvl", context: int | None = 8192, phase: str = "decode") -> Entry:
    run_ = Run(phase=phase)
    compiled = compile_spec(spec)
    quantities = Quantities(compiled.table(run_), find_device(device) if device else None)
    return Entry(compiled, run_, quantities, context, None, None)


@cache
def llama() -> str:
    return Report([entry("llama-3.1:8b")]).html()


class Reader(HTMLParser):
    """What a page shows as text, and what it would fetch."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.scripts = 0
        self.text: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        wanted = ("src", "href", "xlink:href", "data", "action", "srcset", "poster")
        self.fetched += [f"{tag} {k}={v}" for k, v in attrs if k in wanted and v and not v.startswith("#")]
        self.fetched += [tag for _ in (1,) if tag in ("link", "base", "object", "embed", "iframe")]

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def test_verdict_reasons_and_numbers_are_those_of_the_terminal(cli: Cli) -> None:
    there = " ".join(cli("crossover", "llama-3.1:8b", "--device", "h100-nvl", "--seq-len", "8192").out.split())
    words = Reader(llama()).words
    verdict = re.search(r"compute-bound\. Run batch 72, .*? ms a token\.", there)
    assert verdict is not None
    assert f"Never {verdict[0]}" in words
    why = there.partition("Why ")[2].partition(" Numbers")[0]
    assert why in words
    for figure in ("3,007 tokens/s", "−16.3278", "544.70 tokens", "630.1 MB", "--set dtype.cache=fp8"):
        assert figure in there
        assert figure in words
    assert "93.37 GB of 94 GB" in words


def test_every_part_is_there() -> None:
    headings = re.findall(r"<(?:h2|summary)>(.*?)(?: <span|</)", llama())
    assert headings == [
        "Why",
        "What would change it",
        "Numbers",
        "Where it turns compute-bound",
        "Formulas",
        "Where the time goes",
        "Every block and operation",
        "Memory",
        "Every quantity, decode, batch 72 at 8,192 tokens",
        "What was counted",
        "specs/models/llama-3.1.arch",
        "specs/blocks/attention.arch",
        "specs/blocks/feed_forward.arch",
    ]
    assert llama().count('<figure class="picture"') == 10
    assert len(llama().encode()) < 2_500_000


def test_a_page_fetches_nothing_and_has_each_id_once() -> None:
    reader = Reader(llama())
    assert (reader.fetched, reader.scripts) == ([], 1)
    assert "@import" not in llama()
    assert re.findall(r"url\((?!#)", llama()) == []
    ids = re.findall(r'\bid="([^"]*)"', llama())
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"url\(#([^)]*)\)", llama())) <= set(ids)
    assert set(re.findall(r'href="#([^"]*)"', llama())) <= set(ids)


HOSTILE = """
model m "</title><script>alert(1)</script>"
dim d = 64 as "d"
graph forward(x[batch_size, new_tokens, d]) {
    weight W[d -> d]  # </pre><script>alert(2)</script>
    k = cache(matmul(x, W))
    return attention(reshape(x, [1, d]), reshape(k, [1, d]), reshape(k, [1, d]))
}
device mine "<img src=x onerror=alert(3)>" { memory = 1 GB; bandwidth = 1 TB/s; peak bf16 = 100 TFLOP/s }
"""


def test_titles_and_comments_stay_text(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("m.arch").write_text(HOSTILE, encoding="utf-8")
    done = cli("report", "m.arch", "--device", "mine", "--seq-len", "128", "-o", "m.html")
    assert (done.status, done.err) == (0, "")
    page = Path("m.html").read_text(encoding="utf-8")
    reader = Reader(page)
    assert (reader.fetched, reader.scripts) == ([], 1)
    assert "<script>alert" not in page
    assert "<img" not in page
    assert "</title><script>alert(1)</script>" in reader.words
    assert "# </pre><script>alert(2)</script>" in reader.words


def test_several_stand_side_by_side(cli: Cli, tmp_path: Path) -> None:
    target = tmp_path / "x.html"
    arguments = ("report", "llama-3.1:8b", "gpt-2", "--device", "h100-nvl,a10", "--seq-len", "1024", "-o", str(target))
    assert cli(*arguments).status == 0
    reader = Reader(target.read_text(encoding="utf-8"))
    for label in ("llama-3.1:8b h100-nvl", "llama-3.1:8b a10", "gpt-2 h100-nvl", "gpt-2 a10"):
        assert label in reader.words
    assert "latency by context:" in reader.words
    assert reader.fetched == []


@pytest.mark.parametrize(
    ("spec", "device", "context", "phase"),
    [
        ("mamba-2:2.7b", "h100-sxm", None, "decode"),
        ("whisper:large-v3", "h100-sxm", 448, "prefill"),
        ("mixtral:8x7b", "h200-sxm", 256, "decode"),
        ("deepseek-v3", "h200-sxm", 4096, "decode"),
        ("bert", None, 512, "prefill"),
    ],
)
def test_each_kind_of_model_has_a_page(spec: str, device: str | None, context: int | None, phase: str) -> None:
    page = Report([entry(spec, device, context, phase)]).html()
    assert Reader(page).fetched == []
    for formula in re.findall(r"<math.*?</math>", page):
        ElementTree.fromstring(formula)


def test_several_specs_stand_in_one_picture() -> None:
    page = Report([entry("llama-3.1:8b"), entry("gemma-2:9b"), entry("mamba-2", context=None)]).html()
    assert page.count("mamba-2 gives the most: 11,141 tokens/s at batch 521") >= 2
    text = "".join(Reader(page).text)
    assert text.count("throughput, tokens/s") == 2  # once for a wide page, once for a narrow one
    for said in ("fits 72", "fits 35", "fits 521"):
        assert said in text


MESSAGES = [
    (("report", "llama-3.1:8b"), "-o says where the page goes"),
    (("report", "llama-3.1:8b", "-o", "x.pdf"), "a file that ends in .html"),
    (("report", "llama-3.1:8b", "-o", "nowhere/x.html"), "there is no folder `nowhere`"),
    (("report", "llama-3.1:8b", "--seq-len", "0", "-o", "x.html"), "a whole number, 1 or more"),
    (("report", "llama-3.1:8b", "--device", "a10,t4,l4,l40s,h20,b200,b300", "-o", "x.html"), "7 columns do not fit"),
]


@pytest.mark.parametrize(("arguments", "message"), MESSAGES)
def test_bad_input_gets_a_message(
    arguments: tuple[str, ...], message: str, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = cli(*arguments)
    assert done.status == 2
    assert message in done.err
    assert list(tmp_path.iterdir()) == []


# --- formulas


@pytest.mark.parametrize(
    ("tex", "parts"),
    [
        (r"d_{\text{model}}^2", "<msubsup><mi>d</mi><mtext>model</mtext><mn>2</mn></msubsup>"),
        (r"15{,}009 \, s", '<mn>15,009</mn><mspace width="0.17em"/><mi>s</mi>'),
        (r"\frac{1}{s}", "<mfrac><mn>1</mn><mi>s</mi></mfrac>"),
        (r"b^{\ast} \le -2", "<msup><mi>b</mi><mo>∗</mo></msup><mo>≤</mo><mo>−</mo><mn>2</mn>"),
        (r"\bigl\lfloor x \bigr\rfloor", "<mo>⌊</mo><mi>x</mi><mo>⌋</mo>"),
        (r"\mathop{\text{attn}}\nolimits_2", "<msub><mtext>attn</mtext><mn>2</mn></msub>"),
        (r"\sum_{i = 1}^{n} i", "<munderover><mo>∑</mo>"),
        (r"\hat h'", '<msup><mover accent="true"><mi>h</mi><mo>^</mo></mover><mo>′</mo></msup>'),
        (r"\text{a\_b < c}", "<mtext>a_b &lt; c</mtext>"),
        (r"x < y", "<mo>&lt;</mo>"),
    ],
)
def test_mathml(tex: str, parts: str) -> None:
    shown = mathml(tex)
    ElementTree.fromstring(shown)
    assert parts in shown


def test_what_is_never_written_is_refused() -> None:
    with pytest.raises(ValueError, match="none of what is written"):
        mathml(r"\input{x}")


@pytest.mark.parametrize("spec", ["deepseek-v3", "gemma-3:4b", "mamba-2:2.7b", "whisper:large-v3", "rwkv-4"])
def test_every_formula_has_its_mathml(spec: str) -> None:
    """Each number and each name of the LaTeX stands in it."""
    of = entry(spec, "h100-sxm", None)
    names = tuple(
        name for name, q in QUANTITIES.items() if not q.request and name not in ("crossover", "cost_per_million_tokens")
    )
    found = Formulas(of.compiled, of.quantities, names, {})
    for name, expr in found.exprs.items():
        tex = latex(expr, found.symbols)
        root = ElementTree.fromstring(mathml(tex))
        assert re.findall(r"\d[\d,]*", tex.replace("{,}", ",")) == [
            number for element in root.iter() for number in re.findall(r"\d[\d,]*", element.text or "")
        ], name
        ElementTree.fromstring(display(found.equations(name), 58))


# --- in a browser


@pytest.mark.needs("chromium")
def test_no_request_leaves_the_page(tmp_path: Path) -> None:
    """Nor would one unseen: with a picture and a script from elsewhere, and its policy lifted, it asks for both."""
    assert requested(llama(), tmp_path) == []
    from_elsewhere = '<img src="http://example.com/a.png">' + '<script src="http://example.com/a.js"></script>'
    open_ = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", llama())
    urls = requested(open_.replace("<body>", f"<body>{from_elsewhere}"), tmp_path)
    assert urls == ["http://example.com/a.js", "http://example.com/a.png"]
    assert requested(llama().replace("<body>", f"<body>{from_elsewhere}"), tmp_path) == []


LOOK = """
  const wide = page.documentElement.scrollWidth;
  const shown = [...page.querySelectorAll("figure.picture")].filter(f => f.offsetWidth > 0);
  const svg = shown[0].querySelector("svg"), box = svg.getBoundingClientRect();
  svg.dispatchEvent(new frame.contentWindow.PointerEvent("pointermove",
    { clientX: box.left + 0.5 * box.width, clientY: box.top + 0.6 * box.height }));
  const color = (element, what) => frame.contentWindow.getComputedStyle(element)[what];
  const math = [...page.querySelectorAll("math")].filter(m => m.getBoundingClientRect().height > 8).length;
  document.title = JSON.stringify({ wide, figures: shown.length, maths: math,
    reading: shown[0].querySelector(".reading").textContent,
    ink: color(page.body, "color"), paper: color(page.body, "backgroundColor"),
    title: color(svg.querySelector("text"), "fill") });
"""


def luminance(color: str) -> float:
    """Relative luminance of `rgb(r, g, b)`, as WCAG has it."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", color)[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.needs("chromium")
@pytest.mark.parametrize(("width", "dark"), [(380, False), (1000, True)])
def test_a_page_works_in_a_browser(width: int, dark: bool, tmp_path: Path) -> None:
    title, console = opened(framed(llama(), LOOK, width), tmp_path, dark)
    seen = json.loads(title)
    assert console == ""
    assert seen["wide"] <= width
    assert seen["figures"] == 5
    assert seen["maths"] == 5
    assert re.match(r"batch \d+", seen["reading"])
    assert "tokens/s" in seen["reading"]
    assert (luminance(seen["paper"]) < 0.1) is dark
    assert contrast(seen["ink"], seen["paper"]) > 7
    assert contrast(seen["title"], seen["paper"]) > 4.5


def test_a_page_is_written_once(tmp_path: Path) -> None:
    target = tmp_path / "x.html"
    arguments = ["report", "gpt-2", "--seq-len", "512", "-o", str(target)]
    assert run(arguments) == 0
    first = target.read_bytes()
    assert run(arguments) == 2
    assert run([*arguments, "--overwrite"]) == 0
    assert target.read_bytes() == first
