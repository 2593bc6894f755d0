"""Tables and pages for a notebook: plain HTML, which takes its colours and fonts from what it stands in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from costmodel.render.page import Counted, Heading, Page, Rows, Words


def table(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "") -> str:
    """A table of texts; one between `$` is a formula, which a notebook sets.

    >>> table(["a"], [["1 < 2"]])
    '<table><thead><tr><th>a</th></tr></thead><tbody><tr><td>1 &lt; 2</td></tr></tbody></table>'
    """
    head = "".join(f"<th>{escape(cell)}</th>" for cell in header)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    said = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f"<table>{said}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def page_html(page: Page) -> str:
    """What a page shows, as HTML.

    >>> page = Page()
    >>> page.text("a < b")
    >>> page_html(page)
    '<div class="costmodel"><p>a &lt; b</p></div>'
    """
    return f'<div class="costmodel">{"".join(_blocks(page))}</div>'


def _blocks(page: Page) -> Iterator[str]:
    for block in page.blocks():
        match block:
            case Words():
                said = _text(block.text.plain)
                yield f"<p><strong>{said}</strong></p>" if block.bold else f"<p>{said}</p>"
            case Heading():
                right = f" <small>{_text(block.right)}</small>" if block.right else ""
                yield f"<p><strong>{_text(block.text)}</strong>{right}</p>"
            case Rows():
                yield _rows(block)
            case Counted():
                yield f"<p><small>Counted: {_text(block.words)}</small></p>"


def _rows(block: Rows) -> str:
    def line(cells: Sequence[object], tag: str) -> str:
        aligned = ((_ALIGNED[block.justify[i]], _text(str(cells[i]))) for i in block.used)
        return "<tr>" + "".join(f'<{tag} style="text-align:{side}">{said}</{tag}>' for side, said in aligned) + "</tr>"

    head = f"<thead>{line(block.header, 'th')}</thead>" if block.header is not None else ""
    body = "".join(line(row, "td") for row in block.rows)
    return scrolled(f"<table>{head}<tbody>{body}</tbody></table>")


def scrolled(html: str) -> str:
    """What may be wider than the page, and is then moved sideways by itself."""
    return f'<div style="overflow-x:auto">{html}</div>'


_ALIGNED = {"l": "left", "r": "right"}


def _text(text: str) -> str:
    """Text as it is, spaces in front of it and in a row too."""
    return escape(text.strip("\n").rstrip()).replace("  ", "\u00a0 ")
