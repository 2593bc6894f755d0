"""Two times held against each other as a form in the batch size, and the crossover in closed form.

With C(b) and M(b) the two times, g = C − M. Dense costs are linear in b, so g = h·b − n and b* = n/h. A group of
experts adds −d·(1 − q^b), and Lambert's W gives the root.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property, lru_cache

from sympy import Add, Expr, LambertW, Mul, Pow, log

from costmodel.symbols import ONE, batch_size, content, expanded, is_number, lowest_terms, sign, total

Group = tuple[Expr, Expr, Expr]
"""d, q and a rate: one of experts, of which a batch reads d·(1 − q^(rate·b))."""
_MOST_RATE = 64


@dataclass(frozen=True)
class Parts:
    """A cost as constant + slope·b + Σ d·q^(rate·b)."""

    constant: Expr
    slope: Expr
    groups: tuple[Group, ...]


@lru_cache(maxsize=1024)
def parts(expr: Expr) -> Parts | None:
    """What a cost is made of in the batch size; None where that stands in another place."""
    constants, slopes = [], []
    powers: dict[tuple[Expr, Expr], list[Expr]] = {}
    for term in Add.make_args(expanded(expr)):
        if batch_size not in term.free_symbols:
            constants.append(term)
            continue
        inside = [f for f in Mul.make_args(term) if batch_size in f.free_symbols]
        if len(inside) != 1:
            return None
        rest = term / inside[0]
        if inside[0] == batch_size:
            slopes.append(rest)
            continue
        key = _power(inside[0])
        if key is None:
            return None
        powers.setdefault(_same(key, powers), []).append(rest)
    return Parts(total(constants), total(slopes), tuple((total(d), q, rate) for (q, rate), d in powers.items()))


def _power(factor: Expr) -> tuple[Expr, Expr] | None:
    """Base and rate of q^(rate·b)."""
    if not isinstance(factor, Pow) or batch_size in factor.base.free_symbols:
        return None
    rate = factor.exp / batch_size
    return None if batch_size in rate.free_symbols else (factor.base, rate)


def _same(key: tuple[Expr, Expr], known: Iterable[tuple[Expr, Expr]]) -> tuple[Expr, Expr]:
    """The power among those known that this one is, (3/4)^(2·b) and (9/16)^b being one."""
    return next((other for other in known if _canonical(other) == _canonical(key)), key)


def _canonical(key: tuple[Expr, Expr]) -> tuple[Expr, Expr]:
    q, rate = key
    small = is_number(q) and rate.is_Integer and abs(rate) <= _MOST_RATE
    return (q**rate, ONE) if small else key


@dataclass(frozen=True)
class Form:
    """h·b − n − Σ d·(1 − q^(rate·b)), which has the sign of compute time less memory time."""

    n: Expr
    h: Expr
    groups: tuple[Group, ...]

    @property
    def coefficients(self) -> tuple[Expr, ...]:
        """All that does not hold the batch size."""
        return (self.n, self.h, *(expr for group in self.groups for expr in group))

    def map(self, change: Callable[[Expr], Expr]) -> Form:
        """The form with each coefficient changed, and common factors of their numbers taken out."""
        groups = tuple((expanded(change(d)), change(q), change(rate)) for d, q, rate in self.groups)
        return _reduced(expanded(change(self.n)), expanded(change(self.h)), groups)

    @cached_property
    def closed(self) -> Expr | None:
        """b* in closed form: n/h, with one group of experts by Lambert's W; None with several.

        With B = (n + d)/h and z = (d/h)·ln q·q^B, b* = B − W(z)/ln q. The greater of two roots.
        """
        if self.h == 0:
            return self._without_slope()
        if not self.groups:
            return lowest_terms(self.n, self.h)
        return self._lambert(0) if len(self.groups) == 1 else None

    @cached_property
    def lower(self) -> Expr | None:
        """The lesser of two roots, by the other branch of Lambert's W: where n < 0 < h there are two, or none."""
        two = len(self.groups) == 1 and sign(self.n) == -1 and sign(self.h) != -1 and self.h != 0
        return self._lambert(-1) if two else None

    def _lambert(self, branch: int) -> Expr:
        ((d, q, rate),) = self.groups
        slope, top = rate * log(q), lowest_terms(self.n + d, self.h)
        # SymPy would work out a power of numbers, however many digits that has
        open_ = not (is_number(q) and is_number(rate * top))
        power = Pow(q, rate * top, evaluate=open_)
        z = Mul(lowest_terms(d, self.h), slope, power, evaluate=open_)
        return top - LambertW(z, *([branch] if branch else []), evaluate=False) / slope

    def _without_slope(self) -> Expr | None:
        """Where q^(rate·b) = 1 + n/d alone is to be solved."""
        if len(self.groups) != 1 or sign(self.n) != -1:
            return None
        ((d, q, rate),) = self.groups
        return log(lowest_terms(d + self.n, d)) / (rate * log(q))


def form(compute: Expr, memory: Expr) -> Form | None:
    """The two times as a form in the batch size; None where they have another shape."""
    of_compute, of_memory = parts(compute), parts(memory)
    if of_compute is None or of_memory is None or of_compute.groups:
        return None
    groups = tuple((-d, q, rate) for d, q, rate in of_memory.groups)
    read_at_most = of_memory.constant - total(d for d, _, _ in groups)
    n, h = expanded(read_at_most - of_compute.constant), expanded(of_compute.slope - of_memory.slope)
    return _reduced(n, h, groups)


def _reduced(n: Expr, h: Expr, groups: tuple[Group, ...]) -> Form:
    """A form whose coefficients have whole numbers without a common divisor."""
    scale = content([n, h, *(d for d, _, _ in groups)])
    if scale == 1:
        return Form(n, h, groups)
    return Form(n * scale, h * scale, tuple((d * scale, q, rate) for d, q, rate in groups))
