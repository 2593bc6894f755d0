r"""Formulas as MathML, which a browser sets without help: the LaTeX that answers are written in, and nothing beyond it.

The same lines as in a document, so that page and paper say the same. What is read is what `render.latex`,
`latex_symbol` and a derivation can write; anything else is a ValueError, and of theirs a fault of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from html import escape

from costmodel.latex_symbol import ACCENTS, FONTS, GREEK
from costmodel.render.latex import Equation, aligned

_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|[0-9](?:[0-9.]|\{,\}(?=[0-9]))*|[A-Za-z]|\S")
_LETTERS = "αβγδεϵζηθϑικλμνξπϖρϱσςτυφϕχψωΓΔΘΛΞΠΣΥΦΨΩ"
_NAMES = (
    "alpha beta gamma delta varepsilon epsilon zeta eta theta vartheta iota kappa lambda mu nu xi pi varpi rho varrho"
    " sigma varsigma tau upsilon varphi phi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"
).split()
_GREEK = dict(zip(_NAMES, _LETTERS, strict=True))
assert set(_GREEK) == GREEK
_OPERATORS = {
    r"\cdot": "⋅",
    r"\le": "≤",
    r"\ge": "≥",
    r"\ne": "≠",
    r"\approx": "≈",
    r"\lceil": "⌈",
    r"\rceil": "⌉",
    r"\lfloor": "⌊",
    r"\rfloor": "⌋",
    r"\bmod": "mod",
    r"\top": "⊤",
    r"\times": "×",
    r"\Longrightarrow": "⟹",
    r"\Longleftrightarrow": "⟺",
    "-": "−",
    "<": "&lt;",
    ">": "&gt;",
}
_WORDS = {r"\min": "min", r"\max": "max", r"\ln": "ln"}
_SPACES = {r"\,": "0.17em", r"\quad": "1em", r"\qquad": "2em"}
_SIZES = frozenset(r"\bigl \bigr \Bigl \Bigr \biggl \biggr".split())
_ACCENTS = {"hat": "^", "tilde": "~", "bar": "¯"}
assert set(_ACCENTS) == ACCENTS
_VARIANTS = {"mathbf": "bold", "mathcal": "script"}
_BLANK = '<mspace width="{}"/>'


def mathml(latex: str, display: bool = False) -> str:
    r"""A formula on one line.

    >>> mathml(r"\frac{1}{2} \, b")
    '<math><mfrac><mn>1</mn><mn>2</mn></mfrac><mspace width="0.17em"/><mi>b</mi></math>'
    """
    shown = ' display="block"' if display else ""
    return f"<math{shown}>{''.join(_Reader(latex).row())}</math>"


def display(equations: Iterable[Equation], room: float) -> str:
    """Equations as an aligned display, in lines that are no wider than the room, in digits."""
    return _rows(aligned(equations, room))


def displayed(latex: str) -> str:
    r"""A display as `render.markdown` writes it, aligned or on one line.

    >>> displayed(r"b")
    '<math display="block"><mi>b</mi></math>'
    """
    lines = _ALIGNED.fullmatch(latex.strip())
    return mathml(latex.strip(), display=True) if lines is None else _rows(re.split(r"\\\\|\\cr\b", lines[1]))


_ALIGNED = re.compile(r"\\begin\{aligned\}(.+)\\end\{aligned\}", re.S)


def _rows(lines: Iterable[str]) -> str:
    rows = []
    for line in lines:
        left, _, right = line.partition("&")
        sides = (("right", left), ("left", right))
        cells = (f'<mtd style="text-align:{to}">{"".join(_Reader(side).row())}</mtd>' for to, side in sides)
        rows.append(f"<mtr>{''.join(cells)}</mtr>")
    return f'<math display="block"><mtable>{"".join(rows)}</mtable></math>'


class _Reader:
    """Tokens from left to right; a row is a list of elements."""

    def __init__(self, latex: str) -> None:
        self.latex = latex
        self.at = 0

    def _next(self) -> str | None:
        match = _TOKEN.search(self.latex, self.at)
        return None if match is None else match[0]

    def _take(self) -> str:
        match = _TOKEN.search(self.latex, self.at)
        if match is None:
            raise ValueError(f"{self.latex!r} ends too early")
        self.at = match.end()
        return match[0]

    def row(self) -> list[str]:
        """The elements up to a closing brace, or the end."""
        found: list[str] = []
        while (token := self._next()) not in (None, "}"):
            if token in ("_", "^", "'"):
                found.append(self._scripts(found.pop() if found else "<mrow></mrow>"))
            else:
                found += self._element()
        return found

    def _group(self) -> str:
        """A braced group, or the one element that stands in its place."""
        if self._next() != "{":
            return "".join(self._element())
        self._take()
        inner = self.row()
        self._take()
        return inner[0] if len(inner) == 1 else f"<mrow>{''.join(inner)}</mrow>"

    def _text(self) -> str:
        """What stands in braces, to the letter."""
        opening = self.latex.index("{", self.at)
        depth, end = 1, opening + 1
        while depth:
            step = 2 if self.latex[end] == "\\" else 1
            depth += {"{": 1, "}": -1}.get(self.latex[end], 0) if step == 1 else 0
            end += step
        self.at = end
        return re.sub(r"\\(?:text\w+\{\}|(.))", lambda found: found[1] or "", self.latex[opening + 1 : end - 1])

    def _scripts(self, base: str) -> str:
        below = above = ""
        primes = 0
        while (token := self._next()) in ("_", "^", "'"):
            self._take()
            if token == "_":
                below = self._group()
            elif token == "^":
                above = self._group()
            else:
                primes += 1
        if primes:
            prime = f"<mo>{'′' * primes}</mo>"
            above = f"<mrow>{prime}{above}</mrow>" if above else prime
        both = "munderover" if base == "<mo>∑</mo>" else "msubsup"
        if below and above:
            return f"<{both}>{base}{below}{above}</{both}>"
        return f"<msub>{base}{below}</msub>" if below else f"<msup>{base}{above}</msup>"

    def _element(self) -> list[str]:
        token = self._take()
        name = token[1:] if token[0] == "\\" and token[1:].isalpha() else ""
        if token in _SIZES or token == r"\nolimits":
            return []
        if token in _SPACES:
            return [_BLANK.format(_SPACES[token])]
        if token in (r"\frac", r"\tfrac"):
            over, under = self._group(), self._group()
            small = "" if token == r"\frac" else ' displaystyle="false"'
            return [f"<mfrac{small}>{over}{under}</mfrac>"]
        if token == r"\sqrt":
            return [f"<msqrt>{self._group()}</msqrt>"]
        if token == r"\sum":
            return ["<mo>∑</mo>"]
        if name in ("text", "operatorname"):
            return [_words(self._text())]
        if name == "mathop":
            return [self._group()]
        if name in FONTS:
            variant = _VARIANTS.get(name, "")
            style = {"bold": ' style="font-weight:bold"', "script": ' style="font-style:italic"'}.get(variant, "")
            return [f'<mi mathvariant="normal"{style}>{escape(self._text())}</mi>']
        if name in ACCENTS:
            return [f'<mover accent="true">{self._group()}<mo>{_ACCENTS[name]}</mo></mover>']
        if name in _GREEK:
            return [f"<mi>{_GREEK[name]}</mi>"]
        if token in _WORDS:
            return [f"<mi>{_WORDS[token]}</mi>"]
        if token == r"\infty":
            return ["<mn>∞</mn>"]
        if token == r"\ast":
            return ["<mo>∗</mo>"]
        if token == "{":
            self.at -= 1
            return [self._group()]
        if token[0].isdigit():
            return [f"<mn>{token.replace('{,}', ',')}</mn>"]
        if token.isalpha():
            return [f"<mi>{token}</mi>"]
        if token in _OPERATORS or token in "+=(),/":
            return [f"<mo{_manner(token)}>{_OPERATORS.get(token, token)}</mo>"]
        raise ValueError(f"{token!r} in {self.latex!r} is none of what is written here")


def _manner(token: str) -> str:
    """Brackets keep the size of the line; a slash stands close to what it divides."""
    return ' stretchy="false"' if token in "()" else ' lspace="0" rspace="0"' if token == "/" else ""


def _words(text: str) -> str:
    """Words keep the spaces at their ends, which a browser would drop."""
    return f"<mtext>{escape(re.sub('^ | $', chr(0xA0), text))}</mtext>"
