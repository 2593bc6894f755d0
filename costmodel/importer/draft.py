"""A spec while it is written: what it uses, its dims, its dtypes and its graph, in lines as a person breaks them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from costmodel.importer.config import Size
from costmodel.layout import laid_out
from costmodel.source import Source

WIDTH = 120
_INDENT = "    "

# by dim: its symbol in formulas, and what it is, where no block that the spec uses says so
SYMBOLS: dict[str, tuple[str, str]] = {
    "hidden_size": ("d", ""),
    "num_heads": ("h", ""),
    "num_kv_heads": ("g", ""),
    "head_dim": ("e", ""),
    "rope_size": ("e_r", "part of a head that is rotated"),
    "sliding_window": ("w", "positions that a local layer sees"),
    "q_lora_rank": ("r_q", ""),
    "kv_lora_rank": ("r", ""),
    "nope_head_dim": ("e", ""),
    "rope_head_dim": ("e_r", ""),
    "v_head_dim": ("e_v", ""),
    "intermediate_size": ("f", ""),
    "expert_size": ("f_e", "inner width of an expert"),
    "shared_size": ("f_s", "inner width of the shared expert"),
    "num_experts": ("E", ""),
    "num_shared_experts": ("E_s", "experts of a layer that every token runs, as one of that width"),
    "top_k": ("k", ""),
    "inner_size": ("i", ""),
    "state_size": ("n", ""),
    "dt_rank": ("r", ""),
    "conv_kernel": ("k_c", ""),
    "key_heads": ("h_k", ""),
    "value_heads": ("h_v", ""),
    "key_dim": ("n", ""),
    "value_dim": ("p", ""),
    "scan_chunk": ("c", ""),
    "conv_width": ("u", ""),
    "num_first_layers": ("L_1", "layers before the others, which differ"),
    "num_dense_layers": ("L_d", "first layers, without experts"),
    "num_layers": ("L", "layers"),
    "max_positions": ("p", "positions that were learned"),
    "vocab_size": ("V", "tokens of the vocabulary"),
}


class DimLine(NamedTuple):
    """A dim's declaration, and what its comment says of where the value comes from."""

    name: str
    value: str
    symbol: str
    doc: str
    comment: str

    @property
    def named(self) -> str:
        """Its symbol and what it is, as they are declared."""
        return (f' as "{self.symbol}"' if self.symbol else "") + (f' "{self.doc}"' if self.doc else "")


class Call(NamedTuple):
    """A block's call: `self_attention(rmsnorm(x), window = sliding_window)`."""

    block: str
    options: Mapping[str, str]
    argument: str = "x"

    def of(self, argument: str) -> Call:
        return self._replace(argument=argument)

    @property
    def arguments(self) -> list[str]:
        return [self.argument, *(f"{name} = {value}" for name, value in self.options.items())]

    def __str__(self) -> str:
        return f"{self.block}({', '.join(self.arguments)})"


Statement = tuple[str | Call, ...]
"""A statement in parts; a line that is too long is broken in its longest call."""


def lines_of(statement: Statement) -> list[str]:
    """A statement's lines, as they stand in a `repeat` of a `repeat` of a graph."""
    line = "".join(map(str, statement))
    calls = [part for part in statement if isinstance(part, Call) and part.options]
    room = WIDTH - 3 * len(_INDENT)
    if len(line) <= room or not calls:
        return [line]
    longest = max(calls, key=lambda call: len(str(call)))
    at = statement.index(longest)
    before, after = "".join(map(str, statement[:at])), "".join(map(str, statement[at + 1 :]))
    body = textwrap.wrap(
        ", ".join(argument.replace(" ", "\0") for argument in longest.arguments) + ",",
        room - len(_INDENT),
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [f"{before}{longest.block}(", *(_INDENT + row.replace("\0", " ") for row in body), f"){after}"]


def comment(text: str) -> list[str]:
    """A text as lines of comment."""
    return [f"# {line}" for line in textwrap.wrap(text, WIDTH - 2, break_long_words=False, break_on_hyphens=False)]


class Draft:
    """What a family fills; `text` is the spec."""

    def __init__(self) -> None:
        self.uses: list[str] = []
        self.dims: dict[str, DimLine] = {}
        self.dtypes: list[tuple[str, str, str]] = []
        self.body: list[str] = []
        """Blocks and graphs, as lines."""

    def use(self, *blocks: str) -> None:
        """Bring in files of the shipped blocks."""
        self.uses += [block for block in blocks if block not in self.uses]

    def dim(self, name: str, value: Size | int | str, comment: str = "", symbol: str = "", doc: str = "") -> None:
        """Declare a dim; `symbol` and `doc` only where they are not those that the name always has.

        The comment behind a size of the config is where that comes from.
        """
        comment = comment or (value.origin if isinstance(value, Size) else "")
        known = SYMBOLS.get(name, ("", ""))
        self.dims.setdefault(name, DimLine(name, str(value), symbol or known[0], doc or known[1], comment))

    def text(self, name: str, head: Iterable[str], model: str) -> str:
        """The whole spec behind a head of comments; `model` is its first line, `name` what the text is called."""
        parts = [[*(line for text in head for line in comment(text)), model]]
        if self.uses:
            # mixture.arch brings in feed_forward.arch
            uses = [name for name in sorted(self.uses) if name != "feed_forward" or "mixture" not in self.uses]
            parts.append([f'use "blocks/{name}.arch"' for name in uses])
        parts.append([f"dim {dim.name} = {dim.value}{dim.named} {_said(dim.comment)}" for dim in self.dims.values()])
        parts.append([f"dtype {role} = {kind} {_said(said)}" for role, kind, said in self.dtypes])
        parts.append(self.body)
        text = "\n\n".join("\n".join(part) for part in parts if part) + "\n"
        return laid_out(Source(name, text))


def _said(comment: str) -> str:
    return f"# {comment}" if comment else ""
