"""What objects show in a notebook: through IPython, in every form that they have, and in a browser."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from IPython.core.formatters import DisplayFormatter

import costmodel as cm

from .browser import framed, opened
from .typesetting import katex_faults

HERE: dict[str, Any] = {"batch_size": 2, "seq_len": 4096}
OBJECTS: dict[str, tuple[Callable[[cm.Model], Any], set[str]]] = {
    "model": (lambda m: m, {"text/html", "text/latex"}),
    "cost": (lambda m: m.cost(device="h100-nvl"), {"text/html", "text/latex"}),
    "crossover": (lambda m: m.crossover("h100-nvl", 4096), {"text/html", "text/latex"}),
    "figures": (lambda m: m.cost(device="h100-nvl").evaluate(**HERE), {"text/html"}),
    "check": (lambda m: m.check(), {"text/html"}),
    "sensitivity": (lambda m: m.sensitivity("latency", "h100-nvl", **HERE), {"text/html"}),
    "comparison": (lambda m: cm.compare(m, m.set(num_kv_heads=2), device="h100-nvl", **HERE), {"text/html"}),
    "sweep": (lambda m: m.sweep("h100-nvl", batch_size=range(1, 65), seq_len=4096), {"text/html"}),
    "search": (
        lambda m: m.search("h100-nvl", maximize="throughput", batch_size=range(1, 65), seq_len=[1024, 4096]),
        {"text/html"},
    ),
    "solution": (
        lambda m: m.solve("latency <= 20 ms", unknown="batch_size", device="h100-nvl", seq_len=4096),
        {"text/html"},
    ),
    "picture": (lambda m: m.plot("memory", "h100-nvl", seq_len=4096), {"image/svg+xml"}),
    "report": (lambda m: m.report("h100-nvl", seq_len=4096), {"text/html"}),
}


@cache
def shown(name: str) -> Any:
    return OBJECTS[name][0](cm.load("llama-3.1:8b"))


@pytest.mark.parametrize("name", OBJECTS)
def test_ipython_is_given_every_form(name: str) -> None:
    formatter: Any = DisplayFormatter()
    found, _ = formatter.format(shown(name))
    assert found.keys() == {"text/plain", *OBJECTS[name][1]}
    assert found["text/plain"] == repr(shown(name))
    assert found["text/plain"].startswith("<") and "\n" not in found["text/plain"]
    assert all(text.strip() for text in found.values())


def test_only_the_forms_that_are_asked_for_are_made() -> None:
    bundle = shown("cost")._repr_mimebundle_
    assert bundle(include=["text/latex", "image/png"]).keys() == {"text/latex"}
    assert bundle(exclude=["text/html"]).keys() == {"text/plain", "text/latex"}


class _Balance(HTMLParser):
    """The tags that are open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag != "br":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        return

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", [name for name, (_, forms) in OBJECTS.items() if "text/html" in forms])
def test_html_is_whole(name: str) -> None:
    reader = _Balance()
    reader.feed(shown(name)._repr_html_())
    reader.close()
    assert reader.open == []


def test_a_page_is_the_page_of_the_terminal() -> None:
    html = shown("crossover")._repr_html_()
    assert "Run batch 145, the largest that fits" in html and str(shown("crossover")).split("\n")[1] in html
    assert html.count("<table>") == 2


def test_a_title_is_shown_as_it_is() -> None:
    model = cm.parse('model m "<script>1</script>"\ndim width = 4 "a & <b>"\n' + GRAPH)
    for text in (model._repr_html_(), model.cost()._repr_html_(), model.check()._repr_html_()):
        assert "<script>" not in text and "<b>" not in text


GRAPH = "graph forward(x[batch_size, new_tokens, width]) {\n weight W[width -> width]\n return matmul(x, W)\n}"


@pytest.mark.needs("katex")
def test_katex_sets_latex() -> None:
    texts = [shown(name)._repr_latex_() for name, (_, forms) in OBJECTS.items() if "text/latex" in forms]
    assert katex_faults([(text.strip("$"), True) for text in texts]) == []


def test_pictures_and_reports_are_saved_whole(tmp_path: Path) -> None:
    picture, report = shown("picture"), shown("report")
    for name, begins in (("a.svg", b"<?xml"), ("a.png", b"\x89PNG"), ("a.html", b"<!doctype html>")):
        picture.save(tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(begins)
    report.save(str(tmp_path / "report.html"))
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == report.html
    with pytest.raises(cm.SpecError, match="there is such a file already"):
        report.save(tmp_path / "report.html")
    report.save(tmp_path / "report.html", overwrite=True)
    with pytest.raises(cm.SpecError, match="the ending says which format"):
        picture.save(tmp_path / "a.pdf")
    with pytest.raises(cm.SpecError, match="no such file or directory"):
        picture.save(tmp_path / "none" / "a.svg")
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda m: m.plot("pie"), "there is no kind of picture `pie`"),
        (lambda m: m.plot("roofline"), "needs a device"),
        (lambda m: m.search("h100-nvl", batch_size=[1, 2]), "the least or the greatest of one quantity"),
        (lambda m: m.search("h100-nvl", maximize="speed", batch_size=[1, 2]), "there is no quantity `speed`"),
        (lambda m: m.solve("latency < 1 ms", unknown="batch"), "there is no dim `batch` to solve for"),
        (lambda m: m.solve(unknown="batch_size", maximize="a", minimize="b"), "exclude each other"),
        (lambda m: m.report(["h100-nvl"] * 7), "at most 6"),
    ],
)
def test_what_cannot_be_asked_is_said(ask: Callable[[cm.Model], Any], said: str) -> None:
    with pytest.raises(cm.SpecError) as error:
        ask(cm.load("llama-3.1:8b"))
    assert said in str(error.value)


@pytest.mark.needs("chromium")
@pytest.mark.parametrize("name", ["model", "cost", "crossover", "figures", "comparison"])
@pytest.mark.parametrize("width", [1000, 380])
def test_a_browser_shows_it_without_sideways_scroll(name: str, width: int, tmp_path: Path) -> None:
    script = """
        const formulas = [...page.querySelectorAll("math")].filter(m => m.getBoundingClientRect().height < 5);
        document.title = [page.documentElement.scrollWidth <= frame.clientWidth, formulas.length].join(" ");
    """
    title, console = opened(framed(shown(name)._repr_html_(), script, width), tmp_path)
    assert (title, console) == ("true 0", "")
