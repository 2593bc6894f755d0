"""Formulas in LaTeX and Markdown: set by KaTeX and pdflatex, left alone by CommonMark, and easy to read."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
from sympy import Expr

import costmodel as cm
from costmodel.algebra import grouped, order_of
from costmodel.latex_symbol import latex_fault, settled
from costmodel.library import shipped
from costmodel.render.formulas import Formulas
from costmodel.render.latex import Symbols, aligned, broken, equation, latex, width
from costmodel.render.words import symbols
from costmodel.symbols import symbol

from .typesetting import formulas, katex_faults, latex_faults, markdown_faults

MODELS = sorted(shipped("models"))
QUANTITY_NAMES = ("params", "flops", "vector_flops", "bytes", "cache_memory", "latency", "max_batch_size")


@cache
def formula_pages(name: str) -> list[Formulas]:
    """The formulas of a model: decode in its symbols, and prefill with every dim free, by names."""
    model = cm.load(name)
    found = []
    for chosen, phase, names in ((model, "decode", None), (model.free("all"), "prefill", "long")):
        cost = chosen.cost(phase=phase, device="h200-sxm")
        found.append(Formulas(chosen.compiled, cost.quantities, QUANTITY_NAMES, {}, False, names))
    return found


@pytest.mark.parametrize("name", MODELS)
def test_markdown_is_left_alone(name: str) -> None:
    for page in formula_pages(name):
        text = page.markdown()
        assert len(formulas(text)) == len(page.exprs) > 4
        assert markdown_faults(text) == []


@pytest.mark.needs("katex")
def test_katex_sets_every_formula() -> None:
    found = []
    for page in (page for name in MODELS for page in formula_pages(name)):
        found += formulas(page.markdown())
        found += [(latex(expr, page.symbols), True) for expr in page.exprs.values()]
    assert katex_faults(found) == []


@pytest.mark.needs("pdflatex")
def test_pdflatex_sets_every_formula(tmp_path: Path) -> None:
    body = "".join(page.latex() for name in MODELS for page in formula_pages(name))
    source = (
        rf"\documentclass{{article}}\usepackage{{amsmath}}\begin{{document}}\allowdisplaybreaks{body}\end{{document}}"
    )
    assert latex_faults(source, tmp_path) == []


def test_terms_and_factors_stand_in_a_human_order() -> None:
    """Batch, layers, tokens, widths; what does not grow with the context first; a shared factor before a bracket."""
    page = formula_pages("llama-3.1")[0]
    attention = [e for e in page.equations("flops") if e.left == r"C_{\text{attn}}"]
    assert attention[0].sides == (r"4 \, d \, e \cdot (h + g) + 4 \, s \, h \, e", r"83{,}886{,}080 + 16{,}384 \, s")
    (total, *_) = page.equations("flops")
    assert total.left == "C"
    assert total.sides[0] == r"b \cdot (L \cdot (C_{\text{attn}} + C_{\text{ffn}}) + C_{\text{unembedding}})"


@pytest.mark.parametrize("name", MODELS)
def test_grouping_changes_no_value(name: str) -> None:
    table = cm.load(name).cost(phase="prefill").quantities.table
    ranks = order_of([s.name for s in table.values])
    for row in table.rows:
        for expr in (row.cost.matmul_flops.expand(), row.cost.bytes.expand(), (row.params + row.cost.bytes).expand()):
            assert (grouped(expr, ranks) - expr).expand() == 0


def test_a_further_term_changes_one_group_only() -> None:
    a, b, c, d, e = map(symbol, "abcde")
    ranks = order_of("abcde")

    def shown(expr: Expr) -> str:
        return latex(grouped(expr, ranks), Symbols({s: s for s in "abcde"}, ranks))

    assert shown(4 * a * b * c + 4 * a * b * d) == r"4 \, a \, b \cdot (c + d)"
    assert shown(4 * a * b * c + 4 * a * b * d + 2 * e) == r"2 \, e + 4 \, a \, b \cdot (c + d)"
    assert (
        shown(4 * a * b * c + 4 * a * b * d + 2 * e * c + 4 * a * b * e)
        == r"2 \, c \, e + 4 \, a \, b \cdot (c + d + e)"
    )
    assert shown(a * b + 2 * a * c) == r"a \, b + 2 \, a \, c"
    assert shown(2 * a + 2 * b) == r"2 \, a + 2 \, b"


def test_a_workload_symbol_is_not_grouped_with_widths() -> None:
    d, h = symbol("d"), symbol("h")
    assert grouped(d * h + cm.seq_len * h) == d * h + cm.seq_len * h


def test_long_formulas_are_broken_where_an_author_would() -> None:
    lines = aligned([equation("C", r"a \cdot (b + c)", "d"), equation("D_{long}", " + ".join(["x_1"] * 40), "e")], 40)
    assert lines[:2] == [r"C &= a \cdot (b + c) = d", r"D_{long} &= x_1 + x_1 + x_1 + x_1 + x_1 + x_1 + x_1"]
    assert all(line.startswith(r"&\quad {}+ ") for line in lines[2:-1])
    assert lines[-1] == "&= e"
    assert all(width(line) <= 42 for line in lines)
    assert broken(r"\frac{a + b}{c + d}", 2) == [r"\frac{a + b}{c + d}"]
    assert broken("a + (b - c)", 5) == ["a", "+ (b - c)"]


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("d_{model}", "d_{model}"),
        (r"\hat{h}^2_{in}", r"\hat h_{in}^2"),
        (r"\text{attn}_2", r"\mathop{\text{attn}}\nolimits_2"),
        ("x'_1", "x_1'"),
        (r"\alpha\beta_\text{in}", r"\alpha\beta_{\text{in}}"),
        (r"\mathbf{W}_{\text{in}_2}", r"\mathbf W_{\mathop{\text{in}}\nolimits_2}"),
    ],
)
def test_a_symbol_survives_markdown(given: str, written: str) -> None:
    assert latex_fault(given) is None
    assert settled(given) == written
    assert markdown_faults(f"$2 {written} x_{{a}} + {written}$ and $y_{{b}}$") == []


def test_dims_with_the_same_symbol_go_by_their_names() -> None:
    model = cm.parse(
        'model m  dim width = 4 as "d"  dim depth = 3 as "d"  dim b_size = 2 as "b"  dim k = 5 as "k"\n'
        "graph forward(x[batch_size, new_tokens, width]) { weight W[width -> depth, b_size, k] return matmul(x, W) }"
    )
    shown = symbols(model.compiled, "short")
    assert [shown(name) for name in ("width", "depth", "b_size", "k", "batch_size")] == [
        r"\text{width}",
        r"\text{depth}",
        r"\text{b\_size}",
        "k",
        "b",
    ]


@pytest.mark.parametrize(
    "symbol_of_a_user",
    [
        r"\input{/etc/passwd}",
        r"\write18{ls}",
        r"\immediate\write18{ls}",
        r"\href{javascript:alert(1)}{x}",
        r"\def\x{y}",
        r"\catcode`\%=12",
        r"\html{<b>}",
        r"\text{a$b$}",
        "a$b",
        "a%b",
        "a#b",
        "a&b",
        "a~b",
        "a<b",
        "ä",
        "{a",
        "a}",
        "a_{b",
        "a__b",
        "_a",
        r"\hat",
        r"a\\b",
        "",
        "{}",
        "x" * 61,
    ],
)
def test_what_is_no_symbol_is_refused_where_the_spec_is_read(symbol_of_a_user: str) -> None:
    text = f'model m\ndim width = 4 as "{symbol_of_a_user}"\ngraph forward(x[batch_size, width]) {{ return x }}'
    with pytest.raises(cm.SpecError) as caught:
        cm.parse(text)
    assert caught.value.diagnostics[0].span is not None
    assert caught.value.diagnostics[0].span.line == 2
