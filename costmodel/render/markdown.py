r"""Markdown with formulas that CommonMark leaves alone, and that KaTeX and MathJax set, on GitHub too.

A backslash before punctuation is taken away there, and a `_` that stands behind punctuation opens emphasis: so lines
end in `\cr`, factors stand side by side, and every subscript follows a letter or digit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from costmodel.render.latex import Equation, aligned
from costmodel.render.page import Counted, Heading, Page, Rows, Words


def math(latex: str) -> str:
    r"""A formula of `render.latex` for Markdown.

    >>> math(r"2 \, d \cdot \text{num\_heads}")
    '2 d \\cdot \\text{num heads}'
    """
    return re.sub(r" ?\\, ?", " ", latex).replace(r"\_", " ")


_FACTORS = re.compile(r"\\text\{[^{}]*\}|(?<=[A-Za-z0-9)}]) (?=[A-Za-z0-9]|\\(?:text|t?frac|min|max|ln)\b)")


def spaced(math: str) -> str:
    r"""A formula of `math` with the thin spaces between factors that Markdown takes away.

    >>> spaced(r"2 d \cdot \text{num heads} V")
    '2 \\, d \\cdot \\text{num heads} \\, V'
    """

    def space(match: re.Match[str]) -> str:
        before = match.string[: match.start()]
        return match[0] if match[0] != " " or re.search(r"\\[A-Za-z]+$", before) else r" \, "

    return _FACTORS.sub(space, math)


def display(equations: Iterable[Equation]) -> str:
    """A display of aligned equations."""
    lines = " \\cr\n".join(math(line) for line in aligned(equations))
    return f"$$\n\\begin{{aligned}}\n{lines}\n\\end{{aligned}}\n$$"


def plain_text(text: str) -> str:
    r"""Any text so that it shows as it is: what Markdown, HTML or a setter of formulas would take for its own.

    >>> plain_text("a_b <c> $1 | 2$")
    'a\\_b &lt;c&gt; &#36;1 \\| 2&#36;'
    """
    line = re.sub(r"[^\S ]+|[\x00-\x1f\x7f]", " ", text)
    line = line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("$", "&#36;")
    return re.sub(r"([\\`*_{}\[\]|~]|(?<!&)#)", r"\\\1", line)


def page_markdown(page: Page) -> str:
    """What a page shows, as Markdown: its tables as tables, its headings as words in bold.

    >>> page = Page()
    >>> page.text("a < b", style="bold")
    >>> page_markdown(page)
    '**a &lt; b**\\n'
    """
    return "\n\n".join(_blocks(page)) + "\n"


def _blocks(page: Page) -> Iterator[str]:
    for block in page.blocks():
        match block:
            case Words():
                yield f"**{_shown(block.text.plain)}**" if block.bold else _paragraph(block.text.plain)
            case Heading():
                yield f"**{_shown(block.text)}**" + (f" {_shown(block.right)}" if block.right else "")
            case Rows():
                yield "\n".join(_rows(block))
            case Counted():
                yield f"*Counted: {plain_text(block.words)}.*"


def _rows(block: Rows) -> Iterator[str]:
    def line(cells: Sequence[object]) -> str:
        return f"| {' | '.join(_cell(str(cells[i])) for i in block.used)} |"

    yield line(block.header or ("",) * len(block.justify))
    yield f"| {' | '.join({'l': ':--', 'r': '--:'}[block.justify[i]] for i in block.used)} |"
    for row in block.rows:
        yield line(row)


def _cell(text: str) -> str:
    """Text as it is; spaces in front of it, which show how deep it lies, are kept."""
    inner = text.strip()
    return "&nbsp;" * (len(text.rstrip()) - len(inner)) + plain_text(inner).replace("  ", "&nbsp; ")


def _shown(text: str) -> str:
    return plain_text(text).strip()


def _paragraph(text: str) -> str:
    """Text that begins no list, heading or quotation."""
    said = re.sub(r"^([-+>=])(?= |$)", r"\\\1", _shown(text))
    return re.sub(r"^([0-9]+)([.)])(?= |$)", r"\1\\\2", said)
