"""Expressions as a person would write them: a small tree in a stable, human order, which every format prints.

Terms go from constant to highest degree, first that in the workload's symbols; factors by a given order of names
(batch, layers, tokens, widths); a workload symbol common to all terms stands before a bracket; `d − d·q^x` is
d·(1 − q^x).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from sympy import Add, Expr, Integer, Mul, Pow, Rational, S, Symbol, UnevaluatedExpr
from sympy import Sum as SympySum
from sympy.core.relational import Relational
from sympy.logic.boolalg import And, BooleanFalse, BooleanTrue, Or

# --- the tree


@dataclass(frozen=True, slots=True)
class Num:
    value: Fraction


@dataclass(frozen=True, slots=True)
class Sym:
    name: str


@dataclass(frozen=True, slots=True)
class Sum:
    """Terms, each with whether it is subtracted."""

    terms: tuple[tuple[bool, Tree], ...]


@dataclass(frozen=True, slots=True)
class Prod:
    factors: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Frac:
    over: Tree
    under: Tree


@dataclass(frozen=True, slots=True)
class Power:
    base: Tree
    exponent: Tree


@dataclass(frozen=True, slots=True)
class Func:
    """`min`, `max`, `ceil`, `floor`, `mod`, `W` (Lambert's), `log`, `sqrt`."""

    name: str
    arguments: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """The sum of a body over whole numbers from one to another."""

    body: Tree
    index: str
    low: Tree
    high: Tree


@dataclass(frozen=True, slots=True)
class Relation:
    left: Tree
    symbol: str
    right: Tree


@dataclass(frozen=True, slots=True)
class Truth:
    value: bool


@dataclass(frozen=True, slots=True)
class Several:
    """Conditions joined by `and` or `or`."""

    word: str
    parts: tuple[Tree, ...]


Tree = Num | Sym | Sum | Prod | Frac | Power | Func | Series | Relation | Truth | Several

FIRST = ("batch_size", "new_tokens", "seq_len")


def order_of(names: Sequence[str]) -> dict[str, int]:
    """A rank a name: the given order."""
    return {name: i for i, name in enumerate(dict.fromkeys(names))}


_DEFAULT = order_of(FIRST)


def tree(expr: Expr, order: Mapping[str, int] = _DEFAULT) -> Tree:
    """A SymPy expression as a tree in human order."""
    return _Maker(order).make(expr)


class _Maker:
    def __init__(self, order: Mapping[str, int]) -> None:
        self.order = order

    def rank(self, symbol: Symbol) -> tuple[int, str]:
        return (self.order.get(symbol.name, len(self.order)), symbol.name)

    def make(self, expr: Expr) -> Tree:
        if isinstance(expr, Relational):
            return Relation(self.make(expr.lhs), expr.rel_op, self.make(expr.rhs))
        if isinstance(expr, BooleanTrue | BooleanFalse | bool):
            return Truth(bool(expr))
        if isinstance(expr, And | Or):
            parts = sorted(expr.args, key=lambda part: (_side(part, isinstance(expr, And)), part.sort_key()))
            return Several("and" if isinstance(expr, And) else "or", tuple(self.make(part) for part in parts))
        if isinstance(expr, SympySum):
            ((index, low, high),) = expr.limits
            return Series(self.make(expr.function), index.name, self.make(low), self.make(high))
        if isinstance(expr, Rational):
            return Num(Fraction(int(expr.p), int(expr.q)))
        if isinstance(expr, Symbol):
            return Sym(expr.name)
        if isinstance(expr, UnevaluatedExpr):
            return self.make(expr.args[0])
        if isinstance(expr, Add):
            return self._sum(expr)
        if isinstance(expr, Mul):
            return self._product(expr)
        if isinstance(expr, Pow):
            if isinstance(expr.exp, Rational) and expr.exp < 0:
                return Frac(Num(Fraction(1)), self.make(1 / expr))
            if expr.exp == S.Half:
                return Func("sqrt", (self.make(expr.base),))
            if isinstance(expr.base, Integer) and expr.base > 1 and expr.exp.could_extract_minus_sign():
                return Power(Num(Fraction(1, int(expr.base))), self.make(-expr.exp))
            return Power(self.make(expr.base), self.make(expr.exp))
        name = {
            "Min": "min",
            "Max": "max",
            "ceiling": "ceil",
            "floor": "floor",
            "Mod": "mod",
            "LambertW": "W",
            "log": "log",
        }.get(expr.func.__name__, expr.func.__name__)
        arguments = sorted(expr.args, key=self._term_key, reverse=True) if name in ("min", "max") else expr.args
        return Func(name, tuple(self.make(argument) for argument in arguments))

    def _product(self, expr: Expr) -> Tree:
        over, under = _over_and_under(expr)
        if under != 1:
            top = self.make(over)
            if isinstance(top, Sum) and top.terms[0][0] and len(top.terms) == 1:
                return Sum(((True, Frac(top.terms[0][1], self.make(under))),))
            return Frac(top, self.make(under))
        coefficient, rest = expr.as_coeff_Mul()
        if coefficient < 0:
            return Sum(((True, self.make(-expr)),))
        factors = sorted(Mul.make_args(rest), key=self._factor_key)
        trees = [self.make(factor) for factor in factors]
        if coefficient != 1:
            trees.insert(0, self.make(coefficient))
        return Prod(tuple(trees)) if len(trees) > 1 else trees[0]

    def _factor_key(self, factor: Expr) -> tuple[object, ...]:
        if isinstance(factor, Symbol):
            return (0, self.rank(factor))
        if isinstance(factor, Pow) and isinstance(factor.base, Symbol) and isinstance(factor.exp, Integer):
            return (0, self.rank(factor.base))
        symbols = sorted(self.rank(s) for s in factor.free_symbols)
        return (1, symbols[0] if symbols else (0, ""), str(factor))

    def _term_key(self, term: Expr) -> tuple[object, ...]:
        """Constants, then exponentials, then by the degree in the workload, the whole degree, and the names in it."""
        if not term.free_symbols:
            return (0, 0, 0, (), "")
        if any(power.exp.free_symbols for power in term.atoms(Pow)):
            return (1, 0, 0, (), str(term))
        powers: list[tuple[int, str]] = []
        degree = of_workload = 0
        for factor in Mul.make_args(term):
            base, exponent = factor.as_base_exp()
            if isinstance(base, Symbol) and isinstance(exponent, Integer):
                names, each = [self.rank(base)], int(exponent)
            elif factor.free_symbols:
                names, each = sorted(self.rank(s) for s in factor.free_symbols), 1
            else:
                continue
            degree += each
            of_workload += each if any(name in FIRST for _, name in names) else 0
            powers.extend(names)
        return (2, of_workload, degree, tuple(sorted(powers)), str(term))

    def _sum(self, expr: Expr) -> Tree:
        terms = list(Add.make_args(expr))
        common = _common_symbols(terms)
        if common != 1:
            return Prod((*self._factors(common), self._plain_sum([term / common for term in terms])))
        return self._plain_sum(terms)

    def _factors(self, monomial: Expr) -> tuple[Tree, ...]:
        return tuple(self.make(factor) for factor in sorted(Mul.make_args(monomial), key=self._factor_key))

    def _plain_sum(self, terms: list[Expr]) -> Tree:
        plain, growing = _grouped_exponentials(terms)
        ordered = sorted(plain, key=self._term_key)
        if ordered and _negative(ordered[0]):
            first = next((i for i, term in enumerate(ordered) if not _negative(term)), 0)
            ordered.insert(0, ordered.pop(first))
        parts = [(_negative(t), self.make(-t if _negative(t) else t)) for t in ordered]
        constants = sum(1 for term in ordered if not term.free_symbols)
        groups = []
        for scale, power in growing:
            bracket = Sum(((False, Num(Fraction(1))), (True, self.make(power))))
            factors = () if scale == 1 else (self.make(scale),)
            flat = factors[0].factors if factors and isinstance(factors[0], Prod) else factors
            groups.append((False, Prod((*flat, bracket))))
        parts[constants:constants] = groups
        return Sum(tuple(parts)) if len(parts) > 1 or parts[0][0] else parts[0][1]


def _over_and_under(product: Expr) -> tuple[Expr, Expr]:
    """Numerator and denominator, a power of a fraction left whole: (3/4)^x is not 3^x / 4^x."""
    over, under = [], []
    for factor in Mul.make_args(product):
        if isinstance(factor, Rational):
            over.append(Integer(factor.p))
            under.append(Integer(factor.q))
        elif isinstance(factor, Pow) and factor.exp.is_number and factor.exp.is_negative:
            under.append(1 / factor)
        else:
            over.append(factor)
    return Mul(*over), Mul(*under)


def _side(part: Expr, both: bool) -> int:
    """What bounds from below stands first where all must hold, and last where one is enough."""
    above = isinstance(part, Relational) and part.rel_op in (">", ">=")
    return int(above != both)


def _negative(term: Expr) -> bool:
    return bool(term.as_coeff_Mul()[0] < 0)


def _grouped_exponentials(terms: list[Expr]) -> tuple[list[Expr], list[tuple[Expr, Expr]]]:
    """`A + d − d·q^x` as `A` and `d·(1 − q^x)`: what is read of experts grows from nothing to all."""
    falling = []
    for term in terms:
        powers = [f for f in Mul.make_args(term) if isinstance(f, Pow) and f.exp.free_symbols]
        if _negative(term) and len(powers) == 1:
            falling.append((term, -term / powers[0], powers[0]))
    rest = Add(*(t for t in terms if not any(t is f for f, _, _ in falling)), *(-scale for _, scale, _ in falling))
    plain = [] if rest == 0 else list(Add.make_args(rest))
    if not falling or any(_negative(term) for term in plain) or (not plain and falling[0][1] == 1):
        return terms, []
    return plain, [(scale, power) for _, scale, power in falling]


def _common_symbols(terms: list[Expr]) -> Expr:
    """The monomial of workload symbols that divides every term; dims stay in their products."""
    if len(terms) < 2:
        return S.One
    common: dict[Symbol, int] | None = None
    for term in terms:
        powers: dict[Symbol, int] = {}
        for factor in Mul.make_args(term):
            base, exponent = factor.as_base_exp()
            if isinstance(base, Symbol) and base.name in FIRST and isinstance(exponent, Integer) and exponent > 0:
                powers[base] = powers.get(base, 0) + int(exponent)
        common = powers if common is None else {s: min(n, powers[s]) for s, n in common.items() if s in powers}
        if not common:
            return S.One
    assert common is not None
    return Mul(*(symbol**power for symbol, power in common.items()))


def grouped(expr: Expr, order: Mapping[str, int] = _DEFAULT) -> Expr:
    """A sum whose terms share all factors but a dim, put together: `4·d·h·e + 4·d·g·e` is 4·d·e·(h + g).

    The factors that most terms share go first; no term is taken apart, so a further term changes one group only.
    """
    terms = list(Add.make_args(expr))
    shared: dict[Expr, list[tuple[int, Symbol]]] = {}
    for i, term in enumerate(terms):
        rest = term.as_coeff_Mul()[1]
        for factor in Mul.make_args(rest):
            if isinstance(factor, Symbol) and factor.name not in FIRST and rest != factor:
                shared.setdefault(term / factor, []).append((i, factor))

    def rank(common: Expr) -> tuple[object, ...]:
        names = sorted((order.get(s.name, len(order)), s.name) for s in common.free_symbols)
        return (-len(shared[common]), -len(names), names)

    found, taken = [], set[int]()
    for common in sorted((c for c, members in shared.items() if len(members) > 1), key=rank):
        left = [(i, factor) for i, factor in shared[common] if i not in taken]
        if len(left) > 1:
            taken |= {i for i, _ in left}
            found.append(common * Add(*(factor for _, factor in left)))
    return Add(*(term for i, term in enumerate(terms) if i not in taken), *found)


# --- plain text

_RELATIONS = {"<=": "≤", ">=": "≥", "==": "=", "!=": "≠"}


def text(value: Expr | Tree, order: Mapping[str, int] = _DEFAULT, name: Callable[[str], str] = str) -> str:
    """An expression on one line: `batch_size · (15,009,316,864 + 524,288 · seq_len)`."""
    node = tree(value, order) if isinstance(value, Expr) or not isinstance(value, Tree) else value
    return _text(node, name)


def number(value: Fraction | int) -> str:
    """An exact number, thousands separated; a fraction as `a/b`."""
    value = Fraction(value)
    if value.denominator == 1:
        return f"{value.numerator:,}".replace("-", "−")
    return f"{value.numerator:,}/{value.denominator:,}".replace("-", "−")


def _text(node: Tree, name: Callable[[str], str]) -> str:
    match node:
        case Num():
            return number(node.value)
        case Sym():
            return name(node.name)
        case Sum():
            first_negative, first = node.terms[0]
            out = ("−" if first_negative else "") + _inside_sum(first, name)
            for negative, term in node.terms[1:]:
                out += (" − " if negative else " + ") + _inside_sum(term, name)
            return out
        case Prod():
            return " · ".join(_inside_product(factor, name) for factor in node.factors)
        case Frac():
            over = _inside_product(node.over, name) if isinstance(node.over, Sum) else _text(node.over, name)
            under = _text(node.under, name)
            if isinstance(node.under, Sum | Prod | Frac) or (
                isinstance(node.under, Num) and node.under.value.denominator != 1
            ):
                under = f"({under})"
            return f"{over} / {under}"
        case Power():
            return f"{_inside_power(node.base, name)}^{_inside_power(node.exponent, name)}"
        case Func(name="W"):
            index = "" if len(node.arguments) == 1 else f"_{_text(node.arguments[1], name)}"
            return f"W{index}({_text(node.arguments[0], name)})"
        case Func():
            return f"{node.name}({', '.join(_text(argument, name) for argument in node.arguments)})"
        case Series():
            low, high = _text(node.low, name), _text(node.high, name)
            return f"sum({_text(node.body, name)}, {name(node.index)} = {low} … {high})"
        case Relation():
            return f"{_text(node.left, name)} {_RELATIONS.get(node.symbol, node.symbol)} {_text(node.right, name)}"
        case Truth():
            return "always" if node.value else "never"
        case Several():
            return f" {node.word} ".join(_text(part, name) for part in node.parts)


def _inside_sum(node: Tree, name: Callable[[str], str]) -> str:
    return f"({_text(node, name)})" if isinstance(node, Sum) else _text(node, name)


def _inside_product(node: Tree, name: Callable[[str], str]) -> str:
    if isinstance(node, Sum) or (isinstance(node, Num) and node.value.denominator != 1):
        return f"({_text(node, name)})"
    return _text(node, name)


def _inside_power(node: Tree, name: Callable[[str], str]) -> str:
    simple = isinstance(node, Sym | Func) or (isinstance(node, Num) and node.value.denominator == 1)
    return _text(node, name) if simple else f"({_text(node, name)})"
