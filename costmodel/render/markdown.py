r"""Markdown with formulas that CommonMark leaves alone, and that KaTeX and MathJax set, on GitHub too.

A backslash before punctuation is taken away there, and a `_` that stands behind punctuation opens emphasis: so lines
end in `\cr`, factors stand side by side, and every subscript follows a letter or digit.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from costmodel.render.latex import Equation, aligned


def math(latex: str) -> str:
    r"""A formula of `render.latex` for Markdown.

    >>> math(r"2 \, d \cdot \text{num\_heads}")
    '2 d \\cdot \\text{num heads}'
    """
    return re.sub(r" ?\\, ?", " ", latex).replace(r"\_", " ")


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
