"""The derivation that `latex` writes: set by KaTeX and pdflatex, left alone by CommonMark, and true."""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import ndiff
from fractions import Fraction
from functools import cache
from pathlib import Path

import pytest

import costmodel as cm
from costmodel.compile import Run
from costmodel.library import shipped
from costmodel.render.derivation import Derivation
from costmodel.render.document import Document, Heading, Math, Paragraph, Table, words
from costmodel.render.markdown import plain_text
from costmodel.render.notation import Notation
from costmodel.symbols import seq_len

from .conftest import Done
from .typesetting import formulas, katex_faults, latex_faults, markdown_faults

Cli = Callable[..., Done]
MODELS = sorted(shipped("models"))
ARTICLE = ("latex", "llama-3.1:8b", "--seq-len", "8192", "--format", "markdown")


@cache
def derivation(name: str, device: str | None = "h200-sxm", context: int | None = 4096) -> Document:
    """What `latex` writes of a model: with a device in the spec's symbols, without one by names, every dim free."""
    model = cm.load(name) if device is not None else cm.load(name).free("all")
    point = {} if context is None else {seq_len: Fraction(context)}
    cost = model.cost(device=device)
    answer = None if device is None else model.crossover(device, context)
    notation = Notation(model.compiled, point, None if device is not None else "long")
    return Derivation(notation, Run(), cost.quantities, answer).document()


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_derived(name: str) -> None:
    for document in (derivation(name), derivation(name, None, None)):
        text = document.markdown()
        assert len(formulas(text)) > 30
        assert markdown_faults(text) == []
        headings = [block.text for block in document.blocks if isinstance(block, Heading)]
        assert [h for h in headings if h.startswith("The operations")]
        assert {"Symbols", "What is counted", "One pass", "The bytes of a pass", "Memory"} <= {*headings}
    assert any(h.startswith("Where ") for h in (b.text for b in derivation(name).blocks if isinstance(b, Heading)))


@pytest.mark.needs("katex")
def test_katex_sets_every_derivation() -> None:
    assert katex_faults([f for name in MODELS for f in formulas(derivation(name).markdown())]) == []


@pytest.mark.needs("pdflatex")
def test_pdflatex_sets_every_derivation(tmp_path: Path) -> None:
    """In the document of --standalone, and as a fragment of a plain article with amsmath alone."""
    documents = [derivation(name) for name in MODELS]
    documents += [derivation(name, None, None) for name in ("gemma-2", "mamba", "mixtral")]
    begin, end = r"\begin{document}", r"\end{document}"
    preamble, _ = documents[0].standalone().split(begin)
    whole = [document.standalone().split(begin)[1].removesuffix(f"{end}\n") for document in documents]
    plain = [document.latex() for document in documents]
    bare = r"\documentclass{article}\usepackage{amsmath}"
    for name, opening, bodies in (("whole", preamble, whole), ("plain", bare, plain)):
        source = "".join((opening, begin, *(rf"\clearpage {body}" for body in bodies), end))
        assert latex_faults(source, tmp_path, name) == []


def test_the_articles_figures_are_derived(cli: Cli) -> None:
    """Take 1 of the article, by parameters alone, and Take 2, with the cache; dense and on its sparse peak."""
    dense, sparse = (cli(*ARTICLE, "--device", name).out for name in ("h100-nvl", "h100-nvl-sparse"))
    assert r"b^{\ast} &\approx \frac{\beta_w P}{2 W} = 214.23" in dense
    assert r"b^{\ast} &\approx \frac{\beta_w P}{2 W} = 428.46" in sparse
    assert "$b^{\\ast} = -16.33$" in dense
    assert "$b^{\\ast} = -15.61$" in sparse
    assert r"C_{\text{attn}} &= t \cdot (4 d e \cdot (h + g) + 4 s h e)" in dense
    assert r"C_{\text{decode}} &= b \cdot (15{,}009{,}316{,}864 + 524{,}288 s)" in dense
    assert r"M &= 16{,}060{,}522{,}496 + 131{,}072 b s" in dense
    for row in (
        r"| $W_{\text{q}}$ | $(t, d) \times (d, h e)$ | $2 t d h e$ | $33{,}554{,}432 t$ |",
        r"| $W_{\text{k}}$ | $(t, d) \times (d, g e)$ | $2 t d g e$ | $8{,}388{,}608 t$ |",
        r"| scores $Q K^{\top}$ | $h (t, e) \times (e, s)$ | $2 t s h e$ | $8{,}192 t s$ |",
        r"| $W_{\text{down}}$ | $(t, f) \times (f, d)$ | $2 t d f$ | $117{,}440{,}512 t$ |",
        r"| unembedding | $(t, d) \times (d, V)$ | $2 t d V$ | $1{,}050{,}673{,}152 t$ |",
    ):
        assert row in dense


def test_the_figures_are_those_of_crossover() -> None:
    for name in ("llama-3.1:8b", "mixtral:8x7b", "whisper"):
        text = derivation(name, "h100-nvl", 256).markdown()
        answer = cm.load(name).crossover("h100-nvl", 256)
        value, best = answer.batch_size.value, answer.optimal_batch_size
        if value is not None and answer.status != "does_not_fit":
            assert f"= {float(value):,.2f}".replace(",", "{,}") in text
            assert best is None or re.search(rf"\| {best:,} \|", text)


def test_a_changed_spec_gives_a_small_diff(cli: Cli) -> None:
    def changed(*options: str) -> list[str]:
        before, after = (cli("latex", "llama-3.1:8b", "--format", "markdown", *given).out for given in ((), options))
        return [line for line in ndiff(before.splitlines(), after.splitlines()) if line.startswith("+ ")]

    assert len(changed("--set", "num_layers=33")) <= 8
    assert len(changed("--set", "intermediate_size=14337")) <= 16
    assert len(changed("--set", "dtype.cache=fp8")) <= 8


def test_a_block_that_is_freed_keeps_its_symbols(cli: Cli) -> None:
    text = cli("latex", "llama-3.1:8b", "--free", "all", "--format", "markdown").out
    assert "| $L$ | layers | left free |" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--standalone", "--format", "markdown"), "--standalone is for LaTeX"),
        (("--format", "html"), "--format takes latex or markdown"),
        (("--device", "h1000"), "there is no device `h1000`"),
        (("--batch-size", "0"), "--batch-size is 0"),
    ],
)
def test_what_cannot_be_written_is_said(options: tuple[str, ...], message: str, cli: Cli) -> None:
    done = cli("latex", "llama-3.1:8b", *options)
    assert (done.status, done.out) == (2, "")
    assert message in done.err


def test_words_hold_pieces() -> None:
    assert words("a {x}, {x}.", x=Math("y")) == ("a ", Math("y"), ", ", Math("y"), ".")


def test_a_table_that_is_too_wide_is_set_in_lines() -> None:
    long = Math(" \\cdot ".join([r"\text{a\_long\_name}"] * 9))
    table = Table("lllr", ("a", "b", "c", "d"), ((((long,), ("many words " * 9,), (long,), (long,)),) * 30,))
    document = Document((Heading(1, "x"), table, Paragraph(("y",))))
    assert document.latex().count(r"\begin{tabular}") > 1
    assert document.standalone().count(r"\begin{longtable}") == 1
    assert document.markdown().count("\n|") == 32


def test_a_row_of_one_cell_goes_over_all_columns() -> None:
    document = Document((Table("lr", ("a", "b"), (((("over both",),), (("c",), ("d",))),)),))
    assert r"\multicolumn{2}{l}{over both} \\" in document.latex()
    assert "\n| over both |  |\n| c | d |\n" in document.markdown()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("deepseek-v3", "--device", "h100-sxm"), "does not fit: the weights alone exceed its memory."),
        (("whisper", "--device", "h100-sxm"), "is limited by memory at every batch size and context."),
    ],
)
def test_what_holds_at_every_context_is_said_without_one(command: tuple[str, ...], said: str, cli: Cli) -> None:
    assert said in cli("latex", *command, "--format", "markdown", "--no-cache").out


def test_plain_text_shows_as_it_is() -> None:
    assert plain_text("# a_b*c `d` [e](f) ~g~ <h> &amp; $i$ |\n1. \\") == (
        "\\# a\\_b\\*c \\`d\\` \\[e\\](f) \\~g\\~ &lt;h&gt; &amp;amp; &#36;i&#36; \\| 1. \\\\"
    )


@pytest.mark.parametrize("letter", ["M_w", "M_0", "F_1", "K_1"])
def test_a_dim_that_is_written_as_a_letter_of_the_derivation_goes_by_its_name(letter: str) -> None:
    text = f'model m "M"\ndim width = 64 as "{letter}"\ngraph forward(x[batch_size, new_tokens, width]) {{\n'
    model = cm.parse(text + " weight W[width -> width]\n return matmul(x, W)\n}")
    answer = model.crossover("h100-nvl")
    document = Derivation(Notation(model.compiled, {}), Run(), answer.quantities, answer).document().markdown()
    assert r"| $\text{width}$ | width | 64 |" in document and f"${letter}$ | width" not in document


def test_a_long_name_of_a_file_leaves_room_for_the_reason(cli: Cli) -> None:
    done = cli("latex", "gpt-2", "-o", "a" * 300 + ".tex")
    assert done.status == 2
    assert "file name too long" in " ".join(done.err.split()) and len(done.err) < 200


def test_several_contexts_are_worked_through(cli: Cli) -> None:
    """The article's two: 8,192 tokens never cross, 256 do at 432.5."""
    done = cli(*ARTICLE[:2], "--device", "h100-nvl", "--seq-len", "8192, 256", "--format", "markdown")
    assert done.status == 0 and markdown_faults(done.out) == []
    first, second = done.out.partition("### In figures, at 256 tokens")[::2]
    assert "= -16.33" in first and "-16.33" not in second
    assert r"turns compute-bound at $b^{\ast} = 432.51$" in second and "| 433 |" in second
    alone = cli(*ARTICLE[:2], "--seq-len", "8192,256")
    assert alone.status == 2 and "several contexts are worked through on a device" in alone.err
    for contexts, said in (
        ("8192,0", "a whole number, 1 or more"),
        ("8192,", "takes a whole number"),
        ("1,2,3,4,5,6,7", "at most 6"),
    ):
        refused = cli(*ARTICLE[:2], "--device", "h100-nvl", "--seq-len", contexts)
        assert refused.status == 2 and said in refused.err


def test_a_dim_that_is_written_as_a_total_keeps_its_letter() -> None:
    text = 'model m "M"\ndim width = 64 as "N"\ndim wide = 2 * width as "C"\ndim n = 3 as "M"\n'
    text += (
        "graph forward(tokens[batch_size, new_tokens]) {\n weight E[n -> width], U[width -> wide], D[wide -> width]\n"
    )
    text += " return matmul(matmul(lookup(tokens, E), U), D)\n}"
    model = cm.parse(text)
    document = (
        Derivation(
            Notation(model.compiled, {}), Run(), model.cost(device="h100-nvl").quantities, model.crossover("h100-nvl")
        )
        .document()
        .markdown()
    )
    assert "N_{\\text{total}} &= " in document and "| $N$ | width | 64 |" in document
    for letter in "CMN":
        assert f"\n{letter} &=" not in document and f"${letter} \\approx" not in document
    found = model.cost()._repr_latex_()
    assert r"C_{\text{total}} &=" in found and r"M_{\text{total}} &=" in found
