"""What several answers say in the same words: what was run, on what, and how it was counted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from fractions import Fraction

from sympy import Symbol

from costmodel.algebra import FIRST, order_of
from costmodel.compile import Compiled
from costmodel.costs import CostTable
from costmodel.device import Device
from costmodel.dtypes import WEIGHT_ROLES
from costmodel.elaborate.dataflow import Dataflow
from costmodel.figures import as_figure
from costmodel.latex_symbol import settled
from costmodel.names import prose
from costmodel.ops.attention import Attention
from costmodel.ops.route import Route
from costmodel.quantities import Quantities
from costmodel.render.latex import BUILT_IN, Symbols, escape
from costmodel.render.numbers import plain, with_prefix
from costmodel.symbols import batch_size, is_number, new_tokens, output_len, prompt_len, seq_len

_VENDORS = r"^(NVIDIA|AMD|Google|Intel|Apple|AWS|Instinct|GeForce|\s)+"


def device_name(device: Device) -> str:
    """`H100 NVL`: the title without vendor and memory."""
    short = without_memory(re.sub(_VENDORS, "", device.title)) or device.title
    return f"{device.count} × {short}" if device.count > 1 else short


def without_memory(title: str) -> str:
    """`NVIDIA H100 NVL` of a device `NVIDIA H100 NVL 94 GB`."""
    return re.sub(r"\s+\d+ ?GB.*$", "", title)


def workload(table: CostTable, point: Mapping[Symbol, Fraction], with_batch: bool = False) -> str:
    """`decode, batch 32 at 8,192 tokens`; `prefill of 8,192 tokens`."""
    dataflow = table.dataflow
    words = dataflow.phase if dataflow.has_tokens else f"graph {dataflow.graph}"
    if dataflow.graph != "forward" and dataflow.has_tokens:
        words = f"{dataflow.phase} of graph {dataflow.graph}"
    tokens = table.put_in(new_tokens)
    if dataflow.has_tokens and is_number(tokens) and tokens != 1:
        words += f" of {int(tokens):,} tokens"
    if with_batch and batch_size in point:
        words += f", batch {plain(point[batch_size])}"
    if prompt_len in point:
        words += f", a prompt of {plain(point[prompt_len])} tokens"
    if output_len in point:
        words += f", {plain(point[output_len])} tokens given"
    context = point.get(seq_len)
    if context is None:
        return words
    joint = " of " if dataflow.without_past and dataflow.has_tokens and not with_batch else " at "
    return f"{words}{joint}{plain(context)} tokens"


def order(compiled: Compiled) -> dict[str, int]:
    """The rank of a name in formulas: batch, layers, tokens, then the dims as they are declared."""
    counts = layer_names(compiled)
    return order_of([FIRST[0], *counts, *FIRST[1:], *compiled.program.dims])


def layer_names(compiled: Compiled) -> list[str]:
    """The dims that count the turns of `repeat`s."""
    found: list[str] = []
    for flow in compiled.expanded:
        for region in dict.fromkeys(r for node in flow.nodes for r in node.region.path if r.kind == "repeat"):
            found.extend(sorted(s.name for s in region.count.free_symbols))
    return list(dict.fromkeys(found))


def symbols(compiled: Compiled, names: str | None) -> Symbols:
    """The symbols of a spec's dims for formulas: `short`, `long`, or short where every dim has one."""
    given = given_symbols(compiled)
    dims = [name for name in compiled.program.dims if name not in FIRST]
    short = names == "short" or (names is None and all(name in given for name in dims))
    return Symbols(given if short else {name: rf"\text{{{escape(name)}}}" for name in FIRST}, order(compiled))


def given_symbols(compiled: Compiled) -> dict[str, str]:
    """The symbols that the spec gives, where no other dim has the same."""
    given = {name: settled(dim.latex) for name, dim in compiled.program.dims.items() if dim.latex}
    used = Counter([*given.values(), *(BUILT_IN[name] for name in FIRST if name not in given)])
    return {name: symbol for name, symbol in given.items() if used[symbol] == 1}


def whole_letter(letter: str, compiled: Compiled, names: Symbols) -> str:
    r"""A quantity's letter, `N`; `N_{\text{total}}` where a dim of the spec is written so."""
    taken = map(names, (*compiled.program.dims, *FIRST))
    return rf"{letter}_{{\text{{total}}}}" if letter in taken else letter


def together(columns: Iterable[str]) -> str:
    """What was counted in several columns: the words of all, each once and where it stands in its own.

    >>> together(["decode, full attention, GB", "decode, within windows, GB"])
    'decode, full attention, within windows, GB'
    """
    found: list[str] = []
    for words in columns:
        own, behind = words.split(", "), 0
        for word in own:
            while behind < len(found) and found[behind] not in own:
                behind += 1
            if word not in found:
                found.insert(behind, word)
            behind = max(behind, found.index(word) + 1)
    return ", ".join(found)


def conventions(
    table: CostTable, quantities: Quantities | None = None, fits: bool = False, timing: bool = True, price: bool = False
) -> str:
    """What was counted and how, in the words of the options."""
    dataflow = table.dataflow
    words = [dataflow.phase if dataflow.has_tokens else "a pass over whole sequences", f"fidelity {table.fidelity}"]
    device = quantities.device if quantities is not None else None
    if device is not None and quantities is not None and timing:
        words.append(f"timing {quantities.timing}")
    attentions = [n.operation for n in dataflow.nodes if isinstance(n.operation, Attention)]
    if table.fidelity != "params" and attentions:
        exact = table.counting.masked == "exact"
        words.append("only the pairs that masks and windows keep" if exact else "full attention")
        if not exact and any(a.window is not None for a in attentions):
            words[-1] = "full attention within windows"
    if table.fidelity == "traffic":
        words.append("elementwise work fused" if table.counting.fusion == "elementwise" else "nothing fused")
    if table.fidelity != "params" and any(isinstance(n.operation, Route) for n in dataflow.nodes):
        words.append("experts drawn evenly")
    if device is not None:
        words.append(f"{'2:4 sparse' if device.sparse else 'dense'} {dataflow.environment.dtypes['compute']}")
        if device.count > 1:
            words.append(f"{device.count} devices as one, communication left out")
        words.append("times are floors")
    else:
        words.append(_storage_words(dataflow))
    if fits and quantities is not None and device is not None:
        share = "" if quantities.memory_fraction == 1 else f"{plain(quantities.memory_fraction * 100)} % of "
        words.append(f"fit in {share}{with_prefix(as_figure(device.memory), 'B')}")
    if price and device is not None and device.price is not None:
        words.append(f"{plain(as_figure(device.price) * 3600)} USD/h")
    words.append("GB = 10^9 B")
    return ", ".join(words)


def _storage_words(dataflow: Dataflow) -> str:
    """The dtypes of what is stored, roles of the same one together."""
    environment = dataflow.environment
    roles = [r for r in environment.roles if r in WEIGHT_ROLES or (r == "cache" and dataflow.kept)]
    by_dtype: dict[str, list[str]] = {}
    for role in roles:
        by_dtype.setdefault(str(environment.dtypes[role]), []).append(role)
    return ", ".join(f"{prose(together)} {name}" for name, together in by_dtype.items())
