"""Roots of exponential polynomials, proved: against dense sampling in many digits, and planted ones."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

import mpmath
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sympy import Expr, Max, Min

from costmodel.solve.exppoly import ExpPoly
from costmodel.solve.piecewise import Piecewise, fold
from costmodel.symbols import rational, symbol, total

settings.register_profile(
    "roots",
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
Terms = dict[Fraction, tuple[Fraction, ...]]
x = symbol("x")


def mpf(value: Fraction) -> mpmath.mpf:
    return mpmath.mpf(value.numerator) / value.denominator


def value(terms: Terms, at: mpmath.mpf, rate: Fraction = Fraction(1)) -> mpmath.mpf:
    total = mpmath.mpf(0)
    for q, poly in terms.items():
        total += mpmath.polyval([mpf(c) for c in reversed(poly)], at) * mpmath.power(mpf(q), mpf(rate) * at)
    return total


# --- random ones


@st.composite
def exponential_polynomials(draw: st.DrawFn) -> Terms:
    """One to four groups, each a polynomial of degree 3 at most; some bases near 1, some above."""
    whole = st.integers(-100, 100).map(Fraction)
    coefficients = st.one_of(whole, whole, st.builds(lambda c, e: c * Fraction(10) ** e, whole, st.integers(-3, 6)))
    near = st.builds(lambda d, k: Fraction(d, d + k), st.integers(1, 64), st.integers(1, 9))
    bases = st.one_of(st.just(Fraction(1)), near, near, st.fractions(Fraction(1, 9), 9, max_denominator=9))
    groups = draw(st.lists(st.tuples(bases, st.lists(coefficients, min_size=1, max_size=4)), min_size=1, max_size=4))
    return {base: tuple(poly) for base, poly in groups}


@settings(settings.get_profile("roots"), max_examples=110)
@given(exponential_polynomials(), st.sampled_from([Fraction(1), Fraction(1), Fraction(3), Fraction(1, 2)]))
def test_no_root_is_missed(terms: Terms, rate: Fraction) -> None:
    function = ExpPoly.of(terms, rate)
    roots = function.roots
    assert list(roots) == sorted(roots, key=lambda root: root.value)
    with mpmath.workdps(60):
        points = [mpmath.mpf(10) ** (mpmath.mpf(i) / 24) for i in range(-100, 130)]
        signs = [mpmath.sign(value(terms, point, rate)) for point in points]
        for (low, high), (before, behind) in zip(pairwise(points), pairwise(signs), strict=True):
            inside = [root for root in roots if low < mpf(root.value) <= high and root.upward is not None]
            assert len(inside) % 2 == (before * behind < 0)
        for root in roots:
            if root.upward is not None and root.low != root.high:
                assert root.high - root.low <= root.high / 10**12
                ends = [mpmath.sign(value(terms, mpf(end), rate)) for end in (root.low, root.high)]
                assert ends == ([-1, 1] if root.upward else [1, -1])


# --- planted ones


def planted(roots: Sequence[Fraction], base: Fraction, rate: Fraction = Fraction(1)) -> ExpPoly:
    """∏ (x − r) · base^(rate·x)."""
    product = ExpPoly.of({base: (Fraction(1),)}, rate)
    for root in roots:
        product = product * ExpPoly.of({Fraction(1): (-root, Fraction(1))})
    return product


@pytest.mark.parametrize("base", [Fraction(1), Fraction(1, 2), Fraction(63, 64), Fraction(3)])
def test_planted_roots_are_found_with_how_they_are_crossed(base: Fraction) -> None:
    roots = planted([Fraction(1, 3), Fraction(2), Fraction(2), Fraction(40), Fraction(41)], base).roots
    assert [round(root.value, 20) for root in roots] == [round(r, 20) for r in map(Fraction, ("1/3", "2", "40", "41"))]
    assert [root.upward for root in roots] == [True, None, False, True]


def test_a_triple_root_crosses() -> None:
    roots = planted([Fraction(7)] * 3, Fraction(9, 10)).roots
    assert [(round(root.value), root.upward) for root in roots] == [(7, True)]


@pytest.mark.parametrize("digits", [3, 6, 9, 12, 15])
def test_roots_that_lie_close_together_are_two(digits: int) -> None:
    apart = Fraction(1, 10**digits)
    roots = planted([Fraction(5) - apart, Fraction(5) + apart], Fraction(7, 8)).roots
    assert [root.upward for root in roots] == [False, True]
    assert all(
        abs(root.value - exact) < apart / 10**6 for root, exact in zip(roots, (5 - apart, 5 + apart), strict=True)
    )


def test_roots_nearer_than_the_digits_touch_or_are_two_and_are_never_lost() -> None:
    apart = Fraction(1, 10**40)
    roots = planted([Fraction(5) - apart, Fraction(5) + apart], Fraction(7, 8)).roots
    assert roots
    assert all(abs(root.value - 5) < Fraction(1, 10**20) for root in roots)


def test_a_rate_is_a_power_of_the_base() -> None:
    """q^(rate·x) with a rate is (q^rate)^x, in sums and products of several."""
    whole = ExpPoly.of({Fraction(81, 256): (Fraction(5),), Fraction(1): (Fraction(-3), Fraction(1, 7))})
    parts = ExpPoly.of({Fraction(3, 4): (Fraction(5),)}, Fraction(4)) + ExpPoly.of(
        {Fraction(1): (Fraction(-3), Fraction(1, 7))}
    )
    assert [round(r.value, 25) for r in whole.roots] == [round(r.value, 25) for r in parts.roots]
    square = ExpPoly.of({Fraction(9, 16): (Fraction(1),)}) - ExpPoly.of({Fraction(3, 4): (Fraction(1),)}, Fraction(2))
    assert square.is_zero
    mixed = ExpPoly.of({Fraction(2, 3): (Fraction(1),)}, Fraction(3, 2)) * ExpPoly.of({Fraction(2, 3): (Fraction(1),)})
    assert mixed.sign(Fraction(2)) == 1
    assert mixed.value(Fraction(2)) == Fraction(2, 3) ** 5


def test_the_sign_at_a_whole_number_needs_no_digits() -> None:
    """What q^x has died to still decides: 4,000 digits would not hold it."""
    for far in (10**3, 10**6, 10**9):
        up = ExpPoly.of({Fraction(1): (Fraction(-far), Fraction(1)), Fraction(31, 32): (Fraction(1),)})
        assert up.sign(Fraction(far)) == 1
        assert (-up).sign(Fraction(far)) == -1
        assert up.sign(Fraction(far - 1)) == -1
        (root,) = (r for r in up.roots if r.value > 40)
        assert root.ceiling == far
        assert root.against(Fraction(far)) == -1
    two = ExpPoly.of({Fraction(1, 3): (Fraction(1),), Fraction(1, 2): (Fraction(-1),)})
    assert two.sign(Fraction(10**8)) == -1


def test_a_root_just_above_a_whole_number_is_rounded_up() -> None:
    above = ExpPoly.of({Fraction(1): (Fraction(-300), Fraction(1)), Fraction(1, 7): (Fraction(-1),)})
    (root,) = above.roots
    assert root.against(Fraction(300)) == 1
    assert root.ceiling == 301
    below = ExpPoly.of({Fraction(1): (Fraction(-300), Fraction(1)), Fraction(1, 7): (Fraction(1),)})
    assert [r.ceiling for r in below.roots if r.value > 2] == [300]


# --- by cells


def test_a_root_at_a_cut_is_told_by_both_sides() -> None:
    def roots(expr: Expr) -> list[tuple[int, bool | None]]:
        found = fold(expr, x, {}).roots
        assert all(root.value.denominator == 1 for root in found)
        return [(int(root.value), root.upward) for root in found]

    assert roots(Max(4 - x, x - 4)) == [(4, None)]
    assert roots(-Max(4 - x, x - 4)) == [(4, None)]
    assert roots(Min(x - 4, 2 * x - 8)) == [(4, True)]
    assert roots(Max(8 - 2 * x, 4 - x)) == [(4, False)]
    # zero on a stretch: its ends
    assert roots(Max(x, 4) - 4) == [(4, None)]
    assert roots(Min(x, 4) - 4) == [(4, True)]
    assert roots(4 - Max(x, 4)) == [(4, False)]


@settings(settings.get_profile("roots"), max_examples=60)
@given(st.lists(st.tuples(*[st.integers(-40, 40)] * 4), min_size=1, max_size=30))
def test_a_sum_of_many_maxima_is_the_sum(lines: list[tuple[int, int, int, int]]) -> None:
    found = Piecewise.sum([fold(Max(a + b * x, c + d * x), x, {}) for a, b, c, d in lines])
    folded = fold(total(Max(a + b * x, c + d * x) for a, b, c, d in lines), x, {})
    for i in range(1, 200):
        at = Fraction(i, 7)
        exact = sum(max(a + b * at, c + d * at) for a, b, c, d in lines)
        assert found.value(at) == exact
        assert folded.value(at) == exact
    for root in found.roots:
        near = [found.sign(root.value * (1 + e)) for e in (Fraction(-1, 10**9), Fraction(1, 10**9))]
        if root.upward is not None:
            assert (near[0] < 0 <= near[1]) if root.upward else (near[0] >= 0 > near[1])


def test_a_sum_of_experts_keeps_its_exponentials() -> None:
    read = [fold(Max(5 * x, n + d * (1 - rational(q) ** x)), x, {}) for n, d, q in MANY]
    found = Piecewise.sum(read)
    for at in (1, 3, 17, 400):
        exact = sum(max(Fraction(5 * at), n + d * (1 - q**at)) for n, d, q in MANY)
        assert found.value(Fraction(at)) == exact


MANY = [(n, d, Fraction(k, k + 1)) for n, d, k in ((10, 90, 3), (7, 900, 31), (0, 1000, 63), (400, 1, 1))]


def test_brackets_hold_their_root() -> None:
    (low, high) = ExpPoly.of({Fraction(1): (Fraction(-105), Fraction(1)), Fraction(63, 64): (Fraction(110),)}).roots
    for root, about in ((low, "7.960"), (high, "66.248")):
        assert abs(root.value - Fraction(about)) < Fraction(1, 2000)
        assert root.low < root.value < root.high
        assert root.high - root.low < root.value / 10**12
