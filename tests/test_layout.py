"""The canonical layout: what it makes of a text, that it changes white space only, and `fmt`."""

from __future__ import annotations

import json
import re
import stat
from collections.abc import Callable
from pathlib import Path
from random import Random
from textwrap import dedent
from typing import Any

import pytest

from costmodel import library
from costmodel.layout import laid_out
from costmodel.parser import parse_spec
from costmodel.source import Report, Source, SpecError

SHIPPED = [path for kind in ("models", "blocks", "devices") for path in library.shipped(kind).values()]

UNTIDY = r"""


# head
model   x   "X"   # why
dim a=1 as "a"
dim bbbb = (a+ 2)*3 ^ 2 "doc"   #  as it is

dim c   # c2
dtype weights=bf16
dtype cache  = 4.5   bits


block f( x,
  y = -1 ,
    z=a- -1,
) as "\text{f}" {

   weight W[ a->bbbb ]:fp8,
V[a]
   u,v=split( x , [a,bbbb] ); w = u
# stays
   if a==1 { return matmul(x,W.T) }
 else {
        x =   x
    + 1
  }


   return x

}
graph forward(tokens[batch_size,new_tokens]){ x = lookup(tokens, E)  return f(x,
y = 3,
z = g(
4,
)
) }
device d {
memory=94GB  # short
bandwidth = 3TB/s
peak bf16=3e12  FLOP/s # long
}
phase chunk { new_tokens=512 }
variant "v" { a = 2 c=3
expect params == 3
"here"
}
"""

TIDY = r"""
# head
model x "X"                        # why
dim a    = 1                as "a"
dim bbbb = (a + 2) * 3 ^ 2  "doc"  #  as it is

dim c  # c2
dtype weights = bf16
dtype cache   = 4.5 bits

block f(x,
    y = -1,
    z = a - -1,
) as "\text{f}" {
    weight W[a -> bbbb] : fp8,
        V[a]
    u, v = split(x, [a, bbbb]); w = u
    # stays
    if a == 1 { return matmul(x, W.T) }
    else {
        x = x
            + 1
    }

    return x
}
graph forward(tokens[batch_size, new_tokens]) { x = lookup(tokens, E)  return f(x,
    y = 3,
    z = g(
        4,
    )
) }
device d {
    memory = 94 GB           # short
    bandwidth = 3 TB/s
    peak bf16 = 3e12 FLOP/s  # long
}
phase chunk { new_tokens = 512 }
variant "v" { a = 2  c = 3
    expect params == 3
        "here"
}
"""


def laid(text: str) -> str:
    return laid_out(Source("a.arch", text))


def tokens(text: str) -> list[tuple[str, str]]:
    """What a text says: its tokens, a unit without the space before it, and its comments."""
    report = Report()
    found = parse_spec(Source("a.arch", text), report).tokens
    report.raise_errors()
    comments = re.findall(r'^(?:[^"#\n]|"[^"\n]*")*(#.*?)\s*$', text, re.MULTILINE)
    return [(token.type, re.sub(r"\s", "", token)) for token in found] + [("COMMENT", comment) for comment in comments]


def test_an_untidy_text() -> None:
    assert laid(UNTIDY) == TIDY.removeprefix("\n")
    assert tokens(UNTIDY) == tokens(TIDY)
    assert laid(TIDY) == TIDY.removeprefix("\n")


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_specs_are_laid_out(path: Path) -> None:
    assert laid_out(library.read(path)) == path.read_text(encoding="utf-8")


def untidied(text: str, random: Random) -> str:
    """The text with other white space, and the same lines but for blank ones."""
    source, pieces, at = Source("a.arch", text), list[str](), 0
    for token in parse_spec(source, Report()).tokens:
        gap = text[at : token.start_pos]
        touching = bool(re.fullmatch(r"[\w\"]{2}", text[at - 1 : at] + token[0]))
        if "\n" in gap:
            gap = re.sub(r"\n\n", lambda _: "\n" * random.randrange(2, 5), gap)
            pieces.append(
                re.sub(
                    r"\n *",
                    lambda _: random.choice(" \t") * random.randrange(3) + "\n" + " " * random.randrange(9),
                    gap,
                )
            )
        else:
            pieces.append(random.choice(" \t") * random.randrange(touching, 4))
        pieces.append(token if token.type != "QUANTITY" else token.replace(" ", " " * random.randrange(1, 3)))
        at = token.end_pos or 0
    return random.choice(("\n", "\r\n")).join("".join([*pieces, text[at:]]).split("\n"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_white_space_makes_no_difference(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for seed in range(2):
        untidy = untidied(text, Random(seed))
        assert tokens(untidy) == tokens(text)
        assert laid(untidy) == text


def test_a_text_that_cannot_be_parsed() -> None:
    with pytest.raises(SpecError, match="was expected"):
        laid("dim = 3\n")


# --- the command


@pytest.fixture
def spec(tmp_path: Path) -> Callable[[str, str], Path]:
    def written(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return written


def test_in_place(spec: Callable[[str, str], Path], cli: Callable[..., Any], tmp_path: Path) -> None:
    """The file behind a link, its permissions kept, and nothing at all where nothing is to be done."""
    path = spec("a.arch", "model a\ndim  n=3 # layers\n")
    path.chmod(0o640)
    link = tmp_path / "link.arch"
    link.symlink_to(path)
    assert cli("fmt", str(link)).out == f"laid out {link}\n"
    assert path.read_text(encoding="utf-8") == "model a\ndim n = 3  # layers\n"
    assert (stat.S_IMODE(path.stat().st_mode), link.is_symlink()) == (0o640, True)
    assert cli("fmt", str(path)).out == ""


def test_check_writes_nothing(spec: Callable[[str, str], Path], cli: Callable[..., Any]) -> None:
    untidy, tidy = spec("a.arch", "model a\ndim  n=3\n"), spec("b.arch", "model b\n")
    answer = cli("fmt", "--check", str(untidy), str(tidy))
    assert (answer.status, answer.err) == (1, "")
    assert answer.out.splitlines() == [
        f"--- {untidy}",
        "+++ laid out",
        "@@ -1,2 +1,2 @@",
        *dedent(" model a\n-dim  n=3\n+dim n = 3").split("\n"),
    ]
    assert untidy.read_text(encoding="utf-8") == "model a\ndim  n=3\n"
    machine = cli("fmt", "--check", "--json", str(untidy), str(tidy))
    assert json.loads(machine.out) == [{"spec": str(untidy), "changed": True}, {"spec": str(tidy), "changed": False}]
    assert machine.status == 1
    assert cli("fmt", "--check", str(tidy)).status == 0
    assert cli("fmt", "--check", "llama-3.1").status == 0


def test_a_faulty_spec_is_left_alone(spec: Callable[[str, str], Path], cli: Callable[..., Any]) -> None:
    """And the others are laid out."""
    faulty, untidy = spec("a.arch", "model a\ndim  n=\n"), spec("b.arch", "model   b\n")
    answer = cli("fmt", str(faulty), str(untidy))
    assert (answer.status, answer.out) == (2, f"laid out {untidy}\n")
    assert "a.arch:2" in answer.err
    assert faulty.read_text(encoding="utf-8") == "model a\ndim  n=\n"
    assert untidy.read_text(encoding="utf-8") == "model b\n"


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("llama-3.1", "a shipped spec, which is not written over"),
        ("llama-3.1:8b", "a variant has no layout of its own"),
        ("lama-3.1", "`llama-3.1` is near"),
    ],
)
def test_refused(argument: str, said: str, cli: Callable[..., Any]) -> None:
    answer = cli("fmt", argument)
    assert (answer.status, answer.out) == (2, "")
    assert said in answer.err
