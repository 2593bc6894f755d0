"""How what a user holds shows itself in a notebook: as text, HTML, LaTeX or a picture, whichever can be shown."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection
from html import escape

from costmodel.algebra import text
from costmodel.compile import Compiled
from costmodel.figures import as_figure
from costmodel.render.html import page_html, scrolled
from costmodel.render.latex import latex
from costmodel.render.mathml import mathml
from costmodel.render.numbers import plain
from costmodel.render.page import WIDTH, Page
from costmodel.render.words import order, symbols
from costmodel.symbols import WORKLOAD, is_number, symbol

_FORMS = {"text/html": "_repr_html_", "text/latex": "_repr_latex_", "image/svg+xml": "_repr_svg_"}


class Shown:
    """What has some of `_repr_html_`, `_repr_latex_` and `_repr_svg_`; a notebook asks for them all at once."""

    def _repr_mimebundle_(
        self, include: Collection[str] | None = None, exclude: Collection[str] | None = None
    ) -> dict[str, str]:
        found = {}
        for form, method in {"text/plain": "__repr__", **_FORMS}.items():
            wanted = (include is None or form in include) and form not in (exclude or ())
            text = getattr(self, method)() if wanted and hasattr(self, method) else None
            if text is not None:
                found[form] = text
        return found


class Paged(Shown):
    """An answer that a terminal shows as a page; printed, and in a notebook, it is that page."""

    @abstractmethod
    def page(self, width: int) -> Page:
        """What the answer shows in a terminal of this width."""

    def __str__(self) -> str:
        return self.page(WIDTH).show()

    def _repr_html_(self) -> str:
        return page_html(self.page(WIDTH))


def model_html(compiled: Compiled) -> str:
    """A model's dims: symbol, name, value, and what each is."""
    environment, names = compiled.environment, symbols(compiled, None)
    rows = []
    for name, dim in compiled.program.dims.items():
        if name in WORKLOAD:
            continue
        value = environment.value(symbol(name))
        shown = "free" if value == symbol(name) else text(value, order(compiled))
        if is_number(value):
            shown = plain(as_figure(value))
        cells = (
            mathml(latex(symbol(name), names)),
            f"<code>{escape(name)}</code>",
            escape(shown),
            escape(dim.doc or ""),
        )
        sides = ("left", "left", "right", "left")
        rows.append("".join(f'<td style="text-align:{s}">{c}</td>' for s, c in zip(sides, cells, strict=True)))
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    return (
        f'<div class="costmodel"><p><strong>{escape(compiled.title)}</strong> <code>{escape(compiled.name)}</code></p>'
        f"{scrolled(f'<table><tbody>{body}</tbody></table>')}</div>"
    )
