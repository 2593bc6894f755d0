r"""Formulas in LaTeX, as an author would write them; only amsmath is needed.

What is made here is also right in KaTeX and MathJax. `\,` and `\_` do not survive Markdown, and `render.markdown` takes
them out; every subscript stands behind a letter or digit, which Markdown leaves alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from sympy import Expr
from sympy.logic.boolalg import Boolean

from costmodel.algebra import Frac, Func, Num, Power, Prod, Relation, Series, Several, Sum, Sym, Tree, Truth, tree

BUILT_IN = {
    "batch_size": "b",
    "seq_len": "s",
    "new_tokens": "t",
    "dtype.weights": r"\beta_w",
    "dtype.matrices": r"\beta_m",
    "dtype.experts": r"\beta_E",
    "dtype.cache": r"\beta_c",
    "dtype.activations": r"\beta_a",
}
# how much of a line a formula may take, in digits
ROOM = 63


@dataclass(frozen=True)
class Symbols:
    """How dims are written: by the symbols that the spec gives them, or by their names."""

    short: Mapping[str, str]
    order: Mapping[str, int]

    def __call__(self, name: str) -> str:
        if name in self.short:
            return self.short[name]
        return BUILT_IN.get(name) or rf"\text{{{escape(name)}}}"

    def also(self, names: Mapping[str, str]) -> Symbols:
        """With these names too."""
        return Symbols({**self.short, **names}, self.order)


_SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "^": r"\textasciicircum{}",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "%": r"\%",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "`": r"\`{}",
    "–": "--",
    "−": "$-$",
    "×": r"$\times$",
    "·": r"$\cdot$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "∞": r"$\infty$",
    "→": r"$\to$",
    "…": r"\dots{}",
    "µ": r"$\mu$",
    "°": r"\textdegree{}",
    "⁹": "$^9$",
}


def escape(text: str) -> str:
    r"""Plain text for LaTeX's text mode; a character that its fonts may lack is named by its number.

    >>> escape("num_heads, 100 %")
    'num\\_heads, 100 \\%'
    """
    return "".join(_SPECIAL.get(c) or (c if c in _IN_FONTS else f"[U+{ord(c):04X}]") for c in text)


_IN_FONTS = frozenset(map(chr, range(32, 127))) | frozenset(
    "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝßàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿŁłŒœŠšŽž"
)


def latex(expr: Expr | Boolean, symbols: Symbols) -> str:
    r"""An expression in LaTeX.

    Example:
        `batch_size * (15009316864 + 524288*seq_len)` is `b \cdot (15{,}009{,}316{,}864 + 524{,}288 \, s)`.
    """
    return latex_tree(tree(expr, symbols.order), symbols)


def latex_tree(node: Tree, symbols: Callable[[str], str]) -> str:
    """The same of a tree that was put together by hand."""
    return _Writer(symbols).write(node)


def inline(node: Tree, symbols: Callable[[str], str]) -> str:
    """The same for a line of text: fractions as a/b."""
    return _Writer(symbols, slashed=True).write(node)


def lettered(letter: str) -> str:
    """A quantity's letter, as `quantity_names` has it."""
    return letter.replace("*", r"{\ast}")


def number(value: Fraction) -> str:
    """An exact number, thousands separated."""
    sign = "-" if value < 0 else ""
    if value.denominator == 1:
        return sign + _whole(value.numerator)
    return rf"{sign}\frac{{{_whole(value.numerator)}}}{{{_whole(value.denominator)}}}"


def _whole(value: int) -> str:
    return f"{abs(value):,}".replace(",", "{,}")


_RELATIONS = {"<=": r"\le", ">=": r"\ge", "==": "=", "!=": r"\ne"}


@dataclass(frozen=True)
class _Writer:
    """`small` is inside a bracket, where a fraction must not stand taller than it; `slashed` has none at all."""

    name: Callable[[str], str]
    small: bool = False
    slashed: bool = False

    def write(self, node: Tree) -> str:
        match node:
            case Num():
                return self._number(node.value)
            case Sym():
                return self.name(node.name)
            case Sum():
                negative, first = node.terms[0]
                out = ("-" if negative else "") + self._term(first)
                for negative, term in node.terms[1:]:
                    out += (" - " if negative else " + ") + self._term(term)
                return out
            case Prod():
                return self._product(node)
            case Frac():
                return self._fraction(node)
            case Power():
                return self._power(node)
            case Func():
                return self._function(node)
            case Series():
                low, high = self.write(node.low), self.write(node.high)
                return rf"\sum_{{{self.name(node.index)} = {low}}}^{{{high}}} {self._term(node.body)}"
            case Relation():
                relation = _RELATIONS.get(node.symbol, node.symbol)
                return f"{self.write(node.left)} {relation} {self.write(node.right)}"
            case Truth():
                return r"\text{always}" if node.value else r"\text{never}"
            case Several():
                return rf" \text{{ {node.word} }} ".join(self.write(part) for part in node.parts)

    @property
    def _inner(self) -> _Writer:
        return _Writer(self.name, True, self.slashed)

    def _bracketed(self, node: Tree) -> str:
        return _wrapped("(", self._inner.write(node), ")")

    def _term(self, node: Tree) -> str:
        return self._bracketed(node) if isinstance(node, Sum) else self.write(node)

    def _number(self, value: Fraction) -> str:
        if value.denominator == 1 or not (self.small or self.slashed):
            return number(value)
        return self._over(Num(value), _whole(value.numerator), _whole(value.denominator), value < 0)

    def _fraction(self, node: Frac) -> str:
        over, under = self.write(node.over), self.write(node.under)
        if self.small or self.slashed:
            return self._over(node, over, under, False)
        if max(width(over), width(under)) < _WIDEST_FRACTION:
            return rf"\frac{{{over}}}{{{under}}}"
        return _Writer(self.name, slashed=True)._over(node, over, under, False)

    def _over(self, node: Tree, over: str, under: str, negative: bool) -> str:
        sign, widest = "-" if negative else "", max(width(over), width(under))
        if not self.slashed and widest < _WIDEST_FRACTION:
            return rf"{sign}\{'frac' if widest > 12 else 'tfrac'}{{{over}}}{{{under}}}"
        if isinstance(node, Frac):
            over = _wrapped("(", over, ")") if isinstance(node.over, Sum) else over
            under = _wrapped("(", under, ")") if isinstance(node.under, Sum | Prod | Frac) else under
        return f"{sign}{over}/{under}"

    def _power(self, node: Power) -> str:
        exponent = _Writer(self.name, slashed=True).write(node.exponent)
        base = _Writer(self.name, slashed=True).write(node.base)
        whole = isinstance(node.base, Num) and node.base.value.denominator == 1 and node.base.value >= 0
        if not whole and not (isinstance(node.base, Sym) and "^" not in base and "'" not in base):
            base = f"({base})"
        return f"{base}^{{{exponent}}}" if len(exponent) > 1 else f"{base}^{exponent}"

    def _product(self, node: Prod) -> str:
        r"""Factors side by side, `\cdot` where they would run together: at a bracket, a number, a word."""
        out, before = "", ""
        for factor in node.factors:
            if isinstance(factor, Sum):
                piece = self._bracketed(factor)
            elif isinstance(factor, Frac | Num) and len(node.factors) > 1:
                piece = self._inner.write(factor)
            else:
                piece = self.write(factor)
            if isinstance(factor, Frac) and self.slashed and out:
                piece = f"({piece})"
            joint = ""
            if out:
                apart = isinstance(factor, Sum | Num | Frac) or (
                    isinstance(factor, Power) and not isinstance(factor.base, Sym)
                )
                apart = apart or piece.startswith(r"\text{") or before.startswith(r"\text{") or before[-1:] == ")"
                joint = r" \cdot " if apart else r" \, "
            out += joint + piece
            before = piece
        return out

    def _function(self, node: Func) -> str:
        arguments = [self._inner.write(argument) for argument in node.arguments]
        match node.name:
            case "min" | "max":
                return rf"\{node.name}{_wrapped('(', ', '.join(arguments), ')')}"
            case "ceil":
                return _wrapped(r"\lceil ", arguments[0], r" \rceil")
            case "floor":
                return _wrapped(r"\lfloor ", arguments[0], r" \rfloor")
            case "sqrt":
                return rf"\sqrt{{{arguments[0]}}}"
            case "log":
                return rf"\ln{_wrapped('(', arguments[0], ')')}"
            case "W":
                index = arguments[1] if len(arguments) > 1 else "0"
                return rf"W_{f'{{{index}}}' if len(index) > 1 else index}{_wrapped('(', arguments[0], ')')}"
            case "mod":
                return rf"({arguments[0]} \bmod {arguments[1]})"
        return rf"\operatorname{{{node.name}}}({', '.join(arguments)})"


def _wrapped(opening: str, body: str, closing: str) -> str:
    """A bracket as tall as what is in it; one that stretches would keep the line from being broken inside."""
    size = "bigg" if r"\frac" in body or r"\bigg" in body else "big" if r"\tfrac" in body or r"\big" in body else ""
    if size:
        body = body.replace(r"\tfrac", r"\frac") if size == "bigg" else body
        return rf"\{size}l{opening.strip()} {body} \{size}r{closing.strip()}"
    return f"{opening}{body}{closing}"


# a fraction that is wider is written with a slash, so that it can be broken
_WIDEST_FRACTION = 46


# --- lines


@dataclass(frozen=True)
class Equation:
    """A left side and what it equals, one after the other; a side may begin with a relation of its own."""

    left: str
    sides: tuple[str, ...]


def equation(left: str, *sides: str) -> Equation:
    """An equation, sides that say the same once."""
    return Equation(left, tuple(dict.fromkeys(sides)))


def aligned(equations: Iterable[Equation], room: float = ROOM) -> list[str]:
    """The lines of an aligned display: none wider than the room, left sides with it, if it can be broken to fit.

    A line is broken before an `=`, a `+` or a `-`, or behind a comma. The room is counted in digits.
    """
    equations = list(equations)
    margin = max((width(e.left) for e in equations), default=0)
    lines: list[str] = []
    for e in equations:
        left = e.left
        at: float = 0
        for side in e.sides:
            said = side if side.startswith(_JOINTS) else f"= {side}"
            if at and margin + at + width(said) <= room:
                lines[-1] += f" {said}"
                at += width(said)
                continue
            pieces = broken(said, room - margin)
            lines.append(f"{left} &{pieces[0]}" if left else f"&{pieces[0]}")
            lines += [rf"&\quad {{}}{piece}" for piece in pieces[1:]]
            at = width(pieces[-1]) if len(pieces) == 1 else room
            left = ""
    return lines


_JOINTS = ("=", "<", ">", r"\le ", r"\ge ", r"\approx ", r"\quad", r"\Longleftrightarrow")


def broken(math: str, room: float) -> list[str]:
    """A formula in pieces that fit, cut at `+`, `-` and commas inside as few brackets as can be, or else at factors."""
    if width(math) <= room:
        return [math]
    pieces = [math]
    for depth in range(5):
        if any(width(piece) > room for piece in pieces):
            pieces = _split(math, depth)
    pieces = [part for piece in pieces for part in ([piece] if width(piece) <= room else _factors(piece))]
    lines = [pieces[0]]
    for piece in pieces[1:]:
        if width(lines[-1]) + width(piece) + 1 <= room - (2 if len(lines) > 1 else 0):
            lines[-1] += f" {piece}"
        else:
            lines.append(piece)
    return lines


def _factors(math: str) -> list[str]:
    r"""A term cut before each `\cdot` and each slash, not inside braces."""
    pieces, start, braces = [], 0, 0
    for match in re.finditer(r"\\.|[{}]| \\cdot |/", math):
        braces += (match[0] == "{") - (match[0] == "}")
        if not braces and match[0] in ("/", r" \cdot "):
            pieces.append(math[start : match.start()])
            start = match.start() + match[0].startswith(" ")
    return [*pieces, math[start:]]


def _split(math: str, deepest: int) -> list[str]:
    """Cut before each `+` and `-`, and behind each comma, inside so many long brackets at most, not inside braces."""
    pieces, start, brackets, braces, whole = [], 0, 0, 0, 0
    for match in re.finditer(r"\\[A-Za-z]+|\\.|[{}()]| [+-] |, ", math):
        token = match[0]
        if match.start() < whole:
            continue
        if token in "{}":
            braces += 1 if token == "{" else -1
        elif braces:
            continue
        elif token in _OPENING:
            end = _closing(math, match.start())
            if width(math[match.start() : end]) < _LONG:
                whole = end
            brackets += 0 if whole == end else 1
        elif token in _CLOSING:
            brackets -= 1
        elif token[0] in " ," and brackets <= deepest:
            end = match.start() + (token[0] == ",")
            pieces.append(math[start:end])
            start = end + 1
    return [*pieces, math[start:]]


# brackets that are wider may be broken
_LONG = 34


_OPENING, _CLOSING = ("(", r"\lfloor", r"\lceil"), (")", r"\rfloor", r"\rceil")


def _closing(math: str, opening: int) -> int:
    """Behind the bracket that closes the one that opens here."""
    depth = 0
    for match in re.compile(r"\\[A-Za-z]+|[()]").finditer(math, opening):
        depth += (match[0] in _OPENING) - (match[0] in _CLOSING)
        if depth == 0:
            return match.end()
    return len(math)


_WIDTHS = {
    r"\cdot": 1.6,
    r"\times": 2.4,
    r"\,": 0.35,
    r"\quad": 2.0,
    r"\qquad": 4.0,
    r"\Longrightarrow": 5.0,
    r"\Longleftrightarrow": 5.0,
    **dict.fromkeys((r"\bigl", r"\bigr", r"\biggl", r"\biggr"), 0.3),
    r"\lceil": 0.9,
    r"\rceil": 0.9,
    r"\lfloor": 0.9,
    r"\rfloor": 0.9,
    r"\infty": 2.0,
    "=": 2.7,
    "+": 2.5,
    "-": 2.5,
    "<": 2.7,
    ">": 2.7,
    r"\le": 2.7,
    r"\ge": 2.7,
    r"\approx": 2.7,
    "(": 0.8,
    ")": 0.8,
    ",": 0.9,
    "/": 1.0,
    "'": 0.6,
    "&": 0.0,
    " ": 0.0,
}
_WIDE = re.compile(r"\\[A-Za-z]+|\\.|.")


def width(math: str) -> float:
    r"""About how wide a formula is set, in digits.

    >>> round(width(r"2 \, d"), 2)
    2.55
    """
    return _width(_WIDE.findall(math.replace("{,}", "\N{BULLET}")), 0)[0]


def _width(tokens: Sequence[str], at: int) -> tuple[float, int]:
    """The width up to a closing brace, and where that is."""
    wide = 0.0
    while at < len(tokens) and tokens[at] != "}":
        token = tokens[at]
        if token in ("_", "^"):
            inner, at = _group(tokens, at + 1)
            wide += 0.75 * inner
        elif token in (r"\frac", r"\tfrac"):
            over, at = _group(tokens, at + 1)
            under, at = _group(tokens, at)
            wide += (0.75 if token == r"\tfrac" else 1.0) * max(over, under) + 0.5
        elif token == r"\text" or token in (r"\mathrm", r"\operatorname"):
            end = tokens.index("}", at)
            wide += sum(1.05 if t != " " else 0.66 for t in tokens[at + 2 : end])
            at = end + 1
        elif token == "{":
            inner, at = _group(tokens, at)
            wide += inner
        else:
            wide += _WIDTHS.get(token, _letter(token))
            at += 1
    return wide, at


def _group(tokens: Sequence[str], at: int) -> tuple[float, int]:
    """The width of one token or a braced group, and where the next begins."""
    while at < len(tokens) and tokens[at] == " ":
        at += 1
    if at < len(tokens) and tokens[at] == "{":
        inner, end = _width(tokens, at + 1)
        return inner, end + 1
    return (_WIDTHS.get(tokens[at], _letter(tokens[at])) if at < len(tokens) else 0.0), at + 1


def _letter(token: str) -> float:
    if token == "\N{BULLET}":
        return 0.56
    if token.startswith("\\"):
        return 1.15 if len(token) > 5 or token in _GREEK_SHORT else len(token) - 1.0
    return 1.0 if token.isdigit() or token == "." else 1.2


_GREEK_SHORT = frozenset("\\pi \\mu \\nu \\xi \\tau \\eta \\rho \\phi \\chi \\psi \\beta \\zeta \\iota".split())
