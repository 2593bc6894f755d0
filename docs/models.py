"""The page docs/models.md: the table of the shipped models, from the specs."""

from __future__ import annotations

from collections.abc import Iterator

from sympy import Add, Expr, Min, S, StrictLessThan
from sympy.logic.boolalg import Boolean

import costmodel as cm
from costmodel import library
from costmodel.compile import compile_spec
from costmodel.figures import as_figure
from costmodel.render.numbers import decimal, scaled
from costmodel.symbols import ZERO

from .markdown import table

DEVICE = "h100-sxm"

HEAD = """\
# The shipped models

Written by `make reference` from `specs/models/`. `costmodel list models NAME` shows one of them with its dims and
sources. Each row is one sequence at decode, at fidelity `cache`, in the dtypes that the spec states (bf16 where it
states none).

- **active**: the parameters that one token runs, with top_k of the experts of a layer.
- **cache**: the bytes that one more token adds to what is kept, and those that a sequence keeps whatever its length.
- **FLOPs a token** at a context of s tokens, matrix products only.
- **contexts that cross**: those at which some batch size, whether or not it fits, turns decode compute-bound on one
  `{device}` in bf16; at the others decode is memory-bound at every batch size.
"""

ENCODERS = """\
## Without decode

A pass reads a whole text of s tokens, or an image, and keeps nothing.
"""


def page() -> str:
    """The whole page."""
    decoders, encoders = [], []
    for name in sizes():
        model = cm.load(name)
        cost = model.cost()
        if cost.quantities.table.dataflow.has_tokens:
            when = model.crossover(device=DEVICE).feasible_when
            figures = (whole(cost.params), whole(cost.active_params), cache(cost.cache_memory), work(cost.flops))
            decoders.append((f"`{name}`", *figures, contexts(when)))
        else:
            encoders.append((f"`{name}`", whole(cost.params), work(cost.flops)))
    parts = [
        HEAD.format(device=DEVICE),
        table(
            ("model", "params", "active", "cache, bytes a token", "FLOPs a token", "contexts that cross"),
            decoders,
            right=True,
        ),
        ENCODERS,
        table(("model", "params", "FLOPs a pass"), encoders, right=True),
    ]
    return "\n".join(parts)


def sizes() -> Iterator[str]:
    """Every model, each of its sizes under its own name."""
    for name in library.shipped("models"):
        variants = compile_spec(name).program.variants
        yield from (f"{name}:{variant}" for variant in variants) if variants else (name,)


def one_sequence(expr: Expr) -> dict[Expr, Expr]:
    """The coefficients of a quantity of one sequence by what they stand at: 1, s, s², min(s, window)."""
    terms = Add.make_args(expr.subs(cm.batch_size, 1).expand())
    return {rest: coefficient for coefficient, rest in (term.as_coeff_Mul() for term in terms) if coefficient}


def cache(expr: Expr) -> str:
    """`131,072`, `344,064; 172,032 beyond 4,096`, `16,384, and 16,056,320 a sequence`."""
    found = one_sequence(expr)
    fixed, growing = found.pop(S.One, ZERO), found.pop(cm.seq_len, ZERO)
    windows = sorted((window_of(least), each) for least, each in found.items())
    each = growing + sum((of_window for _, of_window in windows), ZERO)
    said = [whole(each)]
    for window, of_window in windows:
        each -= of_window
        said.append(f"{whole(each)} beyond {window:,}")
    return "; ".join(said) + (f", and {whole(fixed)} a sequence" if fixed else "")


def window_of(least: Expr) -> int:
    """The window of min(seq_len, window)."""
    assert isinstance(least, Min)
    (window,) = set(least.args) - {cm.seq_len}
    return int(window)


def work(expr: Expr) -> str:
    """`15.01 G + 524.3 k · s`."""
    found = one_sequence(expr)
    order = sorted(found, key=lambda rest: (rest != 1, rest != cm.seq_len, str(rest)))
    return " + ".join(term(found[rest], rest) for rest in order)


def term(coefficient: Expr, rest: Expr) -> str:
    amount = scaled(as_figure(coefficient), "").strip()
    if rest == 1:
        return amount
    powers = {cm.seq_len: "s", cm.seq_len**2: "s²"}
    return f"{amount} · {powers.get(rest) or f'min(s, {window_of(rest):,})'}"


def contexts(when: Boolean | None) -> str:
    """Where a crossover exists, as a bound on the context."""
    if when in (True, False):
        return "every" if when else "none"
    assert isinstance(when, StrictLessThan) and when.lhs == cm.seq_len
    return f"below {decimal(as_figure(when.rhs), 1)}"


def whole(value: Expr) -> str:
    return f"{int(value):,}"
