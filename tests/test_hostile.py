"""Titles and words of a user that another language would take for its own: they show as they are, in every format."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

import costmodel as cm
from costmodel.compile import Run
from costmodel.render.derivation import Derivation
from costmodel.render.document import Document
from costmodel.render.drawing import dot, mermaid
from costmodel.render.html import page_html, table
from costmodel.render.latex import escape
from costmodel.render.markdown import page_markdown
from costmodel.render.notation import Notation
from costmodel.render.page import Page

from .typesetting import formulas, latex_faults, markdown_faults

HOSTILE = settings(derandomize=True, database=None, deadline=None, max_examples=60)
PIECES = [
    "_",
    "%",
    "#",
    "&",
    "<",
    ">",
    "\\",
    "'",
    "$",
    "{",
    "}",
    "~",
    "^",
    "`",
    "*",
    "[x](y)",
    "|",
    "!",
    "é",
    "漢",
    " ",
]
PIECES += [" ", "<script>", "</h1>", "-->", "&amp;", r"\input{x}", r"\end{document}", "$$x$$", "a", "1. ", "# "]
WORDS = st.lists(st.sampled_from(PIECES), min_size=1, max_size=8).map("".join).filter(str.strip)


def model(words: str) -> cm.Model:
    """A model whose title and whose dim's meaning are these words."""
    return cm.parse(
        f'model m "{words}"\ndim width = 4 "{words}"\ngraph forward(x[batch_size, new_tokens, width]) {{\n'
        "    weight W[width -> width]\n    return matmul(x, W)\n}"
    )


def document(words: str) -> Document:
    found = model(words)
    return Derivation(
        Notation(found.compiled, {}), Run(), found.cost().quantities, None, f"costmodel {words}"
    ).document()


def shown(words: str) -> str:
    return re.sub(r"\s+", " ", words).strip()


def quoted(words: str) -> str:
    """Words as a spec's string may hold them."""
    return words.replace("\\", "\\\\").replace('"', "")


@HOSTILE
@given(WORDS)
def test_markdown_shows_words_as_they_are(words: str) -> None:
    text = document(quoted(words)).markdown()
    title = model(quoted(words)).title
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    kinds = [child.type for token in tokens for child in token.children or []]
    assert {*kinds} <= {"text", "code_inline", "strong_open", "strong_close", "softbreak", "text_special"}
    heading = next(tokens[i + 1] for i, token in enumerate(tokens) if token.type == "heading_open")
    said = "".join(child.content for child in heading.children or [])
    assert shown(said) == shown(f"The cost of {title}")
    assert sum(token.type == "html_block" for token in tokens) == 1
    assert markdown_faults(text) == []
    assert all("script" not in formula for formula, _ in formulas(text))


class _Cells(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.texts.append("")

    def handle_data(self, data: str) -> None:
        self.texts[-1] += data


@HOSTILE
@given(WORDS)
def test_html_shows_words_as_they_are(words: str) -> None:
    parser = _Cells()
    parser.feed(table([words], [[words]], words))
    parser.close()
    assert parser.tags == ["table", "caption", "thead", "tr", "th", "tbody", "tr", "td"]
    assert [text for text in parser.texts if text] == [words] * 3


def page(words: str) -> Page:
    found = Page()
    found.text(words, style="bold")
    found.text(words)
    found.heading(words)
    found.spread(words, words, name=words)
    found.table([(words, words)], "lr", header=(words, words))
    return found


@HOSTILE
@given(WORDS)
def test_pages_show_words_as_they_are(words: str) -> None:
    parser = _Cells()
    parser.feed(page_html(page(words)))
    parser.close()
    table_ = ["table", "tbody", "tr", "td", "td", "td"]
    with_header = ["table", "thead", "tr", "th", "th", "tbody", "tr", "td", "td"]
    assert parser.tags == ["div", "p", "strong", "p", "p", "strong", "div", *table_, "div", *with_header]
    assert {shown(text) for text in parser.texts if text} == {shown(words)}
    tokens = MarkdownIt("commonmark").enable("table").parse(page_markdown(page(words)))
    kinds = {child.type for token in tokens for child in token.children or []}
    assert kinds <= {"text", "strong_open", "strong_close", "text_special"}
    assert [t.type for t in tokens if t.type.endswith("_open")].count("td_open") == 5
    cells = [token for token in tokens if token.type == "inline" and token.content]
    assert {shown("".join(child.content for child in token.children or [])) for token in cells} == {shown(words)}


@HOSTILE
@given(WORDS)
def test_graphs_quote_words(words: str) -> None:
    found = model(quoted(words))
    flow = found.compiled.dataflow(Run())
    plain = re.sub(r'"(?:[^"\\]|\\.)*"', '""', dot(flow, found.title))
    assert re.fullmatch(r'[\w\s{}\[\]="",;>.-]*', plain), plain
    assert "<script" not in mermaid(flow, found.title).partition("---\n")[2].partition("---\n")[2]


@pytest.mark.needs("pdflatex")
def test_latex_shows_words_as_they_are(tmp_path: Path) -> None:
    examples = [" ".join(PIECES[i:] + PIECES[:i]) for i in range(0, len(PIECES), 3)]
    body = "\n\n".join(map(escape, [*PIECES, *examples]))
    preamble = r"\documentclass{article}\usepackage[T1]{fontenc}\usepackage[utf8]{inputenc}\usepackage{amsmath}\sloppy"
    assert latex_faults(rf"{preamble}\begin{{document}}{body}\end{{document}}", tmp_path) == []
    whole = document(quoted(" ".join(PIECES))).standalone()
    assert latex_faults(whole, tmp_path, "whole") == []
