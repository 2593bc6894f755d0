"""Exponential polynomials Σ p_q(x)·q^(rate·x) with rational q and p_q, on x > 0, and their roots, proved.

What a cost is in one unknown once all else is a figure (`E·(1 − (1 − k/E)^x)` is E − E·q^x). No SymPy inside.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from math import gcd, isqrt
from typing import Any

from mpmath import iv, mp

from costmodel.solve.budget import Unsolvable, look_at_time

Poly = tuple[Fraction, ...]
"""Coefficients from the constant up, without leading zeros."""

_Terms = list[tuple[Fraction, list[Any]]]
_EXACT_BITS = 1 << 19
_MOST_BITS = 1 << 22


def _trim(coefficients: Sequence[Fraction]) -> Poly:
    end = len(coefficients)
    while end and coefficients[end - 1] == 0:
        end -= 1
    return tuple(coefficients[:end])


def _add(a: Poly, b: Poly) -> Poly:
    if len(a) < len(b):
        a, b = b, a
    return _trim([*(x + y for x, y in zip(a, b, strict=False)), *a[len(b) :]])


def _mul(a: Poly, b: Poly) -> Poly:
    if not a or not b:
        return ()
    out = [Fraction(0)] * (len(a) + len(b) - 1)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            out[i + j] += x * y
    return _trim(out)


@dataclass(frozen=True)
class ExpPoly:
    """Σ p_q(x)·q^(rate·x); `terms` maps each base q > 0 to its polynomial. Base 1 is the plain polynomial.

    The rate keeps bases short: of a pass over many tokens a batch, q^(tokens·x), q alone is held.
    """

    terms: Mapping[Fraction, Poly]
    rate: Fraction = Fraction(1)

    @classmethod
    def of(cls, terms: Mapping[Fraction, Sequence[Fraction]], rate: Fraction = Fraction(1)) -> ExpPoly:
        trimmed = {base: _trim(poly) for base, poly in terms.items()}
        kept = {base: poly for base, poly in trimmed.items() if poly}
        return cls(kept, rate if kept.keys() - {1} else Fraction(1))

    @classmethod
    def constant(cls, value: Fraction | int) -> ExpPoly:
        return cls.of({Fraction(1): (Fraction(value),)})

    @classmethod
    def unknown(cls) -> ExpPoly:
        return cls.of({Fraction(1): (Fraction(0), Fraction(1))})

    def _together(self, other: ExpPoly) -> tuple[Mapping[Fraction, Poly], Mapping[Fraction, Poly], Fraction]:
        """The terms of both at one rate."""
        if self.rate == other.rate or other.is_polynomial:
            return self.terms, other.terms, self.rate
        if self.is_polynomial:
            return self.terms, other.terms, other.rate
        a, b = self.rate, other.rate
        rate = Fraction(gcd(a.numerator * b.denominator, b.numerator * a.denominator), a.denominator * b.denominator)
        return self._at_rate(rate), other._at_rate(rate), rate

    def _at_rate(self, rate: Fraction) -> Mapping[Fraction, Poly]:
        times = (self.rate / rate).numerator
        if max(_bits(base) for base in self.terms) * times > _MOST_BITS:
            raise Unsolvable("two powers whose exponents grow at rates too far apart")
        return {base**times: poly for base, poly in self.terms.items()}

    @cached_property
    def _unit(self) -> ExpPoly:
        """The same in y = rate·x, which has the rate 1."""
        scaled = {q: tuple(c / self.rate**i for i, c in enumerate(poly)) for q, poly in self.terms.items()}
        return ExpPoly(scaled)

    def __add__(self, other: ExpPoly) -> ExpPoly:
        mine, others, rate = self._together(other)
        terms = dict(mine)
        for base, poly in others.items():
            terms[base] = _add(terms.get(base, ()), poly)
        return ExpPoly.of(terms, rate)

    def __neg__(self) -> ExpPoly:
        return self.scaled(Fraction(-1))

    def __sub__(self, other: ExpPoly) -> ExpPoly:
        return self + -other

    def __mul__(self, other: ExpPoly) -> ExpPoly:
        mine, others, rate = self._together(other)
        terms: dict[Fraction, Poly] = {}
        for q, a in mine.items():
            for r, b in others.items():
                terms[q * r] = _add(terms.get(q * r, ()), _mul(a, b))
        return ExpPoly.of(terms, rate)

    def scaled(self, factor: Fraction) -> ExpPoly:
        return ExpPoly.of({base: tuple(c * factor for c in poly) for base, poly in self.terms.items()}, self.rate)

    @property
    def is_zero(self) -> bool:
        return not self.terms

    @property
    def is_polynomial(self) -> bool:
        return not self.terms or set(self.terms) == {Fraction(1)}

    @property
    def polynomial(self) -> Poly:
        """The coefficients at base 1."""
        return self.terms.get(Fraction(1), ())

    @property
    def exponentials(self) -> dict[Fraction, Poly]:
        return {base: poly for base, poly in self.terms.items() if base != 1}

    def coefficient(self, power: int) -> Fraction:
        """Of x^power at base 1."""
        return self.polynomial[power] if power < len(self.polynomial) else Fraction(0)

    def derivative(self) -> ExpPoly:
        """f', with the logarithms of its bases to 60 digits."""
        terms: dict[Fraction, list[Fraction]] = {}
        for base, poly in self.terms.items():
            slope = [*(i * c for i, c in enumerate(poly) if i), Fraction(0)]
            growth = Fraction(0)
            if base != 1:
                with mp.workdps(60):
                    growth = self.rate * _fraction(mp.log(base.numerator) - mp.log(base.denominator))
            terms[base] = [growth * c + d for c, d in zip(poly, slope, strict=True)]
        return ExpPoly.of(terms, self.rate)

    def mirrored(self) -> ExpPoly:
        """f(−x)."""
        return ExpPoly.of(
            {1 / q: tuple(c if i % 2 == 0 else -c for i, c in enumerate(p)) for q, p in self.terms.items()}, self.rate
        )

    def _exact(self, x: Fraction) -> Fraction | None:
        """The value at x where it is a rational that can be held."""
        total = Fraction(0)
        power = self.rate * x
        for base, poly in self.terms.items():
            value = _horner(poly, x)
            if base != 1:
                if power.denominator != 1 or _bits(base) * abs(power) > _EXACT_BITS:
                    return None
                value *= base**power.numerator
            total += value
        return total

    def sign(self, x: Fraction) -> int:
        """The sign of f(x), x > 0: exact for whole x, else by intervals; 0 also where 4,000 digits do not tell."""
        look_at_time()
        exact = self._exact(x)
        if exact is not None:
            return (exact > 0) - (exact < 0)
        # divided by its greatest exponential, f has a rational leading part, which counts only where it is not zero
        terms = dict(self.terms)
        while terms:
            base = max(terms)
            if _horner(terms[base], x) != 0:
                return ExpPoly({q / base: poly for q, poly in terms.items()}, self.rate)._sign_by_intervals(x)
            del terms[base]
        return 0

    def _sign_by_intervals(self, x: Fraction) -> int:
        for digits in (40, 200, 1000, 4000):
            value = self._interval(x, digits)
            if value.a > 0:
                return 1
            if value.b < 0:
                return -1
        return 0

    def _interval(self, x: Fraction, digits: int) -> iv.mpf:
        before, iv.dps = iv.dps, digits
        try:
            return _over(self._unit._intervals(), _iv(self.rate * x))
        finally:
            iv.dps = before

    def _intervals(self) -> _Terms:
        return [(base, [_iv(c) for c in poly]) for base, poly in self.terms.items()]

    def value(self, x: Fraction) -> Fraction:
        """f(x), to 30 digits where it is irrational."""
        exact = self._exact(x)
        return exact if exact is not None else _middle(self._interval(x, 60))

    @property
    def leading(self) -> tuple[tuple[Fraction, int], Fraction]:
        """What outgrows the rest: its base and its power of x, and its coefficient. Not of the zero function."""
        base = max(self.terms)
        return (base, len(self.terms[base])), self.terms[base][-1]

    def sign_at_infinity(self) -> int:
        """The sign of f(x) for all large x."""
        if self.is_zero:
            return 0
        _, coefficient = self.leading
        return (coefficient > 0) - (coefficient < 0)

    @cached_property
    def roots(self) -> tuple[Root, ...]:
        """Every root x > 0, ascending. Empty for the zero function."""
        if self.rate == 1:
            return tuple(_roots(self))
        return tuple(Root(self, r.low / self.rate, r.high / self.rate, r.upward) for r in self._unit.roots)


def _bits(base: Fraction) -> int:
    return max(base.numerator.bit_length(), base.denominator.bit_length())


def _horner(poly: Poly, x: Fraction) -> Fraction:
    value = Fraction(0)
    for coefficient in reversed(poly):
        value = value * x + coefficient
    return value


def _iv(value: Fraction) -> iv.mpf:
    return iv.mpf(value.numerator) / iv.mpf(value.denominator)


def _fraction(value: mp.mpf) -> Fraction:
    sign, mantissa, exponent, _ = mp.mpf(value)._mpf_
    mantissa = -int(mantissa) if sign else int(mantissa)
    return Fraction(mantissa << exponent) if exponent >= 0 else Fraction(mantissa, 1 << -exponent)


def _middle(value: iv.mpf) -> Fraction:
    return (_fraction(value.a) + _fraction(value.b)) / 2


@dataclass(frozen=True)
class Root:
    """A root with the interval [low, high] that holds it and no other; low = high where it is rational and known.

    `upward` says whether f goes from negative to positive there, False from positive to negative; None where it only
    touches zero, or where 4,000 digits do not tell.
    """

    function: ExpPoly
    low: Fraction
    high: Fraction
    upward: bool | None

    @property
    def value(self) -> Fraction:
        """The root, to better than 1e-25 relative."""
        return (self.low + self.high) / 2

    def against(self, x: Fraction) -> int:
        """The sign of root − x, decided by the function's exact sign at x and not by the root's decimals."""
        if self.low == self.high:
            return (self.low > x) - (self.low < x)
        # the ends of a bracket are no roots
        if x <= self.low or x >= self.high:
            return 1 if x <= self.low else -1
        sign = self.function.sign(x)
        if sign == 0 or self.upward is None:
            return 0
        return 1 if sign == (-1 if self.upward else 1) else -1

    @property
    def ceiling(self) -> int:
        """The least whole number that is not below the root."""
        whole = -(-self.low.numerator // self.low.denominator)
        return whole + 1 if self.against(Fraction(whole)) > 0 else whole


# --- isolation

_WIDTH = Fraction(1, 10**30)
_BLUR = Fraction(1, 10**40)


def _roots(f: ExpPoly) -> list[Root]:
    if f.is_zero:
        return []
    if f.is_polynomial and len(f.polynomial) <= 3:
        return _quadratic(f)
    fast = _convex(f)
    return fast if fast is not None else _by_rolle(f)


def _quadratic(f: ExpPoly) -> list[Root]:
    """Roots of a polynomial of degree 2 at most, rational ones exactly."""
    c, b, a = (f.coefficient(i) for i in range(3))
    if a == 0:
        return [Root(f, -c / b, -c / b, b > 0)] if b and -c / b > 0 else []
    discriminant = b * b - 4 * a * c
    if discriminant < 0:
        return []
    if discriminant == 0:
        x = -b / (2 * a)
        return [Root(f, x, x, None)] if x > 0 else []
    low, high = _square_root(discriminant)
    found = []
    for sign in (-1, 1):
        # f' is ±√discriminant at the two roots
        ends = sorted((-b + sign * root) / (2 * a) for root in (low, high))
        if ends[0] > 0:
            found.append(Root(f, ends[0], ends[1], sign > 0))
    return sorted(found, key=lambda root: root.value)


def _square_root(value: Fraction) -> tuple[Fraction, Fraction]:
    """Bounds of a square root, equal where it is rational."""
    n, d = value.numerator, value.denominator
    a, b = isqrt(n), isqrt(d)
    if a * a == n and b * b == d:
        root = Fraction(a, b)
        return root, root
    scale = 10 ** (60 + len(str(d)))
    root_scaled = isqrt(n * scale * scale // d)
    return Fraction(root_scaled, scale), Fraction(root_scaled + 1, scale)


def _convex(f: ExpPoly) -> list[Root] | None:
    """The root of a + h·x + Σ d·q^x with every d > 0 and f(0) < 0: at most one, and one iff f is positive at infinity.

    Proof: f'' = Σ d·(ln q)²·q^x > 0, so f is strictly convex; from below zero it crosses at most once, upward. With
    q < 1 and h > 0 it does so in [−f(0)/h, −a/h], for 0 < q^x < 1. None where f is not of this form.
    """
    if len(f.polynomial) > 2 or any(len(p) > 1 or p[0] <= 0 for p in f.exponentials.values()):
        return None
    slope, constant = f.coefficient(1), f.coefficient(0)
    start = constant + sum((p[0] for p in f.exponentials.values()), Fraction(0))
    if start >= 0:
        return None
    if f.sign_at_infinity() <= 0:
        return []
    if slope > 0 and all(q < 1 for q in f.exponentials):
        return [_narrowed(f, -start / slope, -constant / slope, upward=True)]
    low, high = Fraction(0), Fraction(1)
    while f.sign(high) < 0:
        low, high = high, 2 * high
    return [_narrowed(f, low, high, upward=True)]


def _narrowed(f: ExpPoly, low: Fraction, high: Fraction, upward: bool) -> Root:
    """The root in a bracket whose ends have different signs, narrowed to 1e-30: Newton's guess, then proof by signs."""
    if f.sign(low) == 0:
        return Root(f, low, low, upward)
    if f.sign(high) == 0:
        return Root(f, high, high, upward)
    below = -1 if upward else 1
    guess = _newton(f, low, high)
    if guess is not None:
        width = max(abs(guess) * _WIDTH, Fraction(1, 10**60))
        a, b = max(guess - width, low), min(guess + width, high)
        if f.sign(a) == below and f.sign(b) == -below:
            return Root(f, a, b, upward)
    while high - low > max(abs(low), Fraction(1, 10**30)) * _WIDTH:
        middle = _simpler((low + high) / 2, high - low)
        sign = f.sign(middle)
        if sign == 0:
            return Root(f, middle, middle, upward)
        if sign == below:
            low = middle
        else:
            high = middle
    return Root(f, low, high, upward)


def _simpler(x: Fraction, width: Fraction) -> Fraction:
    """A number near x, far closer than the width, with a short denominator, so that bisection stays cheap."""
    bits = max(0, width.denominator.bit_length() - width.numerator.bit_length() + 8)
    return Fraction(round(x * (1 << bits)), 1 << bits)


def _newton(f: ExpPoly, low: Fraction, high: Fraction) -> Fraction | None:
    """A guess at the root to some 40 digits; no proof."""
    with mp.workdps(45):
        terms = [
            (mp.log(q.numerator) - mp.log(q.denominator), [mp.mpf(c.numerator) / c.denominator for c in p])
            for q, p in f.terms.items()
        ]
        x = mp.mpf(high.numerator) / high.denominator
        bottom = mp.mpf(low.numerator) / low.denominator
        for _ in range(200):
            value = slope = mp.mpf(0)
            for rate, poly in terms:
                p = d = mp.mpf(0)
                for c in reversed(poly):
                    d = d * x + p
                    p = p * x + c
                e = mp.exp(rate * x) if rate else mp.mpf(1)
                value += p * e
                slope += (d + rate * p) * e
            if slope == 0:
                return None
            step = value / slope
            x -= step
            if not bottom / 2 <= x <= 2 * mp.mpf(high.numerator) / high.denominator:
                return None
            if abs(step) <= abs(x) * mp.mpf(10) ** -42:
                return _fraction(x)
    return None


# --- the general case: Rolle's theorem

_DIGITS = 60


def _by_rolle(f: ExpPoly) -> list[Root]:
    """Roots of any exponential polynomial.

    Zeros of (f·e^(−λx))' separate those of f; choosing λ as the rate whose polynomial has the lowest degree, each step
    lowers that degree by one, so it ends. Between neighbours f·e^(−λx) is monotone: one root where the signs differ.
    """
    before, iv.dps = iv.dps, _DIGITS
    try:
        bound = _bound(f)
        separators = _separators(f._intervals(), bound)
    finally:
        iv.dps = before
    points = [Fraction(0), *separators, bound]
    roots: list[Root] = []
    signs = [_sign_from_right(f), *(0 if _holds_zero(f, x) else f.sign(x) for x in separators), f.sign(bound)]
    for i in range(len(points) - 1):
        if signs[i] and signs[i + 1] and signs[i] != signs[i + 1]:
            low = points[i] or _positive_start(f, points[i + 1], signs[i])
            roots.append(_narrowed(f, low, points[i + 1], upward=signs[i] < 0))
        if i > 0 and signs[i] == 0:
            roots.append(_touching(f, points[i], signs, i))
    return sorted({(r.low, r.high): r for r in roots}.values(), key=lambda r: r.value)


def _touching(f: ExpPoly, x: Fraction, signs: list[int], i: int) -> Root:
    """A separator at which f is zero, or cannot be told from it: it crosses where the signs on its sides differ."""
    before = next((s for s in reversed(signs[:i]) if s), 0)
    behind = next((s for s in signs[i + 1 :] if s), 0)
    width = x * _WIDTH
    crosses = before and behind and before != behind
    return Root(f, x - width, x + width, behind > 0 if crosses else None)


def _holds_zero(f: ExpPoly, x: Fraction) -> bool:
    """Whether f, over the bracket of a separator, cannot be told from zero: there may be a double root."""
    before, iv.dps = iv.dps, _DIGITS
    try:
        at = iv.mpf([_iv(x * (1 - _BLUR)).a, _iv(x * (1 + _BLUR)).b])
        total = _over(f._intervals(), at)
        return bool(total.a <= 0 <= total.b)
    finally:
        iv.dps = before


def _sign_from_right(f: ExpPoly) -> int:
    """The sign of f just right of 0, from the first derivative there that is not zero."""
    tiny = Fraction(1, 10**40)
    exact = sum((p[0] for p in f.terms.values()), Fraction(0))
    return (exact > 0) - (exact < 0) if exact else f.sign(tiny)


def _positive_start(f: ExpPoly, end: Fraction, sign: int) -> Fraction:
    """A point near 0 at which f still has its sign there."""
    x = min(end, Fraction(1)) / 2
    while f.sign(x) != sign and x > Fraction(1, 10**60):
        x /= 16
    return x


def _bound(f: ExpPoly) -> Fraction:
    """Beyond this f has no root: its leading term outweighs the others, found by doubling and then held to be so."""
    leading = max(f.terms)
    x = Fraction(1)
    top = f.terms[leading]
    for _ in range(2000):
        x *= 2
        power = len(top) - 1
        main = abs(top[-1])
        with mp.workdps(40):
            weight = mp.mpf(0)
            at = mp.mpf(x.numerator)
            for base, poly in f.terms.items():
                rate = (
                    mp.log(base.numerator)
                    - mp.log(base.denominator)
                    - mp.log(leading.numerator)
                    + mp.log(leading.denominator)
                )
                for i, c in enumerate(poly):
                    if base == leading and i == power:
                        continue
                    # each ratio falls from its maximum on, which lies at (i − power)/−rate
                    if rate < 0 and at < (i - power) / -rate:
                        weight = mp.inf
                    weight += abs(mp.mpf(c.numerator) / c.denominator) * at ** (i - power) * mp.exp(rate * at)
            if weight * 2 < mp.mpf(main.numerator) / main.denominator:
                return x
    return x


def _separators(terms: _Terms, bound: Fraction) -> list[Fraction]:
    """Points between which the function is monotone once divided by one of its exponentials."""
    terms = [(base, poly) for base, poly in terms if poly]
    if len(terms) == 1 and len(terms[0][1]) == 1:
        return []
    base, _ = min(terms, key=lambda term: (len(term[1]), term[0] != 1))
    derived: _Terms = []
    for other, poly in terms:
        ratio = other / base
        slope = [_iv(Fraction(i)) * c for i, c in enumerate(poly)][1:]
        if ratio != 1:
            rate = iv.log(_iv(ratio))
            slope = [rate * c + (slope[i] if i < len(slope) else iv.mpf(0)) for i, c in enumerate(poly)]
        derived.append((ratio, slope))
    derived = [(ratio, poly) for ratio, poly in derived if poly]
    if not derived:
        return []
    inner = _separators(derived, bound)
    points = [Fraction(0), *inner, bound]
    found = []
    for low, high in pairwise(points):
        root = _bisected(derived, low, high)
        if root is not None:
            found.append(root)
    # a separator of the derivative at which it is zero without a change of sign separates nothing, but may touch
    return sorted({*found, *(x for x in inner if _contains_zero(derived, x))})


def _over(terms: _Terms, at: iv.mpf) -> iv.mpf:
    """Σ p(x)·q^x over an interval of x."""
    look_at_time()
    total = iv.mpf(0)
    for base, poly in terms:
        value = iv.mpf(0)
        for c in reversed(poly):
            value = value * at + c
        total += value if base == 1 else value * iv.exp(iv.log(_iv(base)) * at)
    return total


def _contains_zero(terms: _Terms, x: Fraction) -> bool:
    value = _over(terms, _iv(x))
    return bool(value.a <= 0 <= value.b)


def _bisected(terms: _Terms, low: Fraction, high: Fraction) -> Fraction | None:
    start, end = _over(terms, _iv(low)), _over(terms, _iv(high))
    if not ((start.b < 0 < end.a) or (end.b < 0 < start.a)):
        return None
    rising = bool(start.b < 0)
    while high - low > max(abs(low), Fraction(1, 10**40)) * Fraction(1, 10**45):
        middle = _simpler((low + high) / 2, high - low)
        value = _over(terms, _iv(middle))
        if value.a <= 0 <= value.b:
            return middle
        if bool(value.b < 0) == rising:
            low = middle
        else:
            high = middle
    return (low + high) / 2
