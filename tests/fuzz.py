"""Mutations of specs, conditions and command lines: whatever is asked, an answer or a diagnostic, and in time.

A case is made from a seed and a number alone. `make fuzz COUNT=200000 SEED=1` tries many; what fails is made as short
as it can be with the same fault, and written to `fuzz-failures`.
"""

from __future__ import annotations

import os
import re
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from io import StringIO
from pathlib import Path
from random import Random
from time import monotonic
from unittest.mock import patch

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from sympy import Symbol

from costmodel.check import check_compiled
from costmodel.cli.main import run as run_command
from costmodel.compile import FUSION, MASKED, TIMINGS, Compiled, Run, compile_source, phases_of
from costmodel.conditions import Setting
from costmodel.costs import FIDELITIES
from costmodel.crossover import crossover
from costmodel.device import shipped_device
from costmodel.quantities import Quantities
from costmodel.quantity_names import QUANTITIES
from costmodel.question import Question
from costmodel.render.crossover import CrossoverAnswer
from costmodel.render.diagnostics import render
from costmodel.render.drawing import dot, graph_json, mermaid
from costmodel.render.evaluation import Evaluation
from costmodel.render.explanation import Explanation
from costmodel.render.formulas import Formulas
from costmodel.render.solution import SolutionAnswer
from costmodel.solve.budget import budget
from costmodel.solve_for import solve_for
from costmodel.source import Source, SpecError
from costmodel.suggest import suggest
from costmodel.symbols import batch_size, seq_len
from costmodel.unused import unused

ROOT = Path(__file__).parents[1]
FAILURES = ROOT / "fuzz-failures"
SEEDS = Path(__file__).with_name("robustness") / "seeds"
DEVICES = ("h100-sxm", "h200-sxm", "a100-80gb", "tpu-v5e", "rtx-4090")
LONGEST = 20
"""Seconds that no case may take."""


class TooSlow(BaseException):
    """A case took longer than it may; no `except Exception` on the way takes it for something else."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise `TooSlow` in the middle of what takes more of the processor's time."""

    def ring(*_: object) -> None:
        raise TooSlow(f"more than {seconds:g} s")

    before = signal.signal(signal.SIGPROF, ring)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


# --- texts to begin with


@cache
def shipped_texts() -> tuple[str, ...]:
    """Every spec that is shipped."""
    return tuple(path.read_text(encoding="utf-8") for path in sorted((ROOT / "specs").glob("**/*.arch")))


@cache
def seed_texts() -> tuple[str, ...]:
    """Short specs that hold as much of the language as they can."""
    return tuple(path.read_text(encoding="utf-8") for path in sorted(SEEDS.glob("*.arch")))


_PIECE = re.compile(
    r'"[^"\n]*"|#[^\n]*|[A-Za-z_]\w*|\d[\d_]*(?:\.\d+)?(?:[eE][+-]?\d+)?|->|//|[=!<>~]=|\s+|.', re.DOTALL
)


def pieces(text: str) -> list[str]:
    """A text cut into words, numbers, signs and what stands between them."""
    return _PIECE.findall(text)


@cache
def words() -> tuple[str, ...]:
    """Every word, number and sign of the texts, each once."""
    found = {piece for text in (*shipped_texts(), *seed_texts()) for piece in pieces(text)}
    return tuple(sorted(piece for piece in found if piece.strip() and not piece.startswith("#")))


ODD = (
    *"0 1 2 3 -1 0.5 1/3 7 64 65 1e30 1e31 1e400 1e-400 999_999_999_999_999_999_999_999_999_989 1_000_003".split(),
    *"batch_size seq_len new_tokens none true false size bytes min max ceil( max( ) ( [ ] { } ; , : . - ^".split(),
    *"^64 ^-1 ^0 ^seq_len //0 %0 /0 *0 -1* .T dim.a device.memory @ & ' € \t = == != ~= -> repeat if else".split(),
    *"1/new_tokens seq_len/2 seq_len-new_tokens seq_len//7 batch_size%3 min(seq_len,9) max(seq_len,batch_size)".split(),
    *"relu exp rope softmax rmsnorm layernorm conv1d split slice concat reshape last update route einsum".split(),
    *"attention lookup cache keep matmul fp8 fp32 nvfp4 GB TB/s FLOP/s TFLOP/s bits window=0 window=-1 top_k=0".split(),
    '"b t d, d e -> b t e"',
    '"i,i->"',
    '""',
    '"\\"',
    "3 bits",
    "0 bits",
    "1 GB",
    "1e300 TFLOP/s",
)


# --- mutations


@dataclass(frozen=True)
class Mutator:
    """Random changes of a text; `others` are texts that parts are taken from."""

    random: Random
    others: Sequence[str]

    def mutated(self, text: str, changes: int) -> str:
        """The text with so many changes."""
        for _ in range(changes):
            change = self.random.choices(tuple(_CHANGES), tuple(_CHANGES.values()))[0]
            text = change(self, text or "0")
            if len(text) > 20_000:
                break
        return text

    def swapped(self, text: str) -> str:
        found = pieces(text)
        i, j = (self._word_at(found) for _ in range(2))
        found[i], found[j] = found[j], found[i]
        return "".join(found)

    def _word_at(self, found: Sequence[str]) -> int:
        """The place of something that means something; anything where little does."""
        for _ in range(20):
            i = self.random.randrange(len(found))
            if found[i].strip() and not found[i].startswith("#"):
                return i
        return self.random.randrange(len(found))

    def deleted(self, text: str) -> str:
        found = pieces(text)
        i = self._word_at(found)
        del found[i : i + self.random.choice((1, 1, 1, 2, 3, 8))]
        return "".join(found)

    def doubled(self, text: str) -> str:
        found = pieces(text)
        i = self._word_at(found)
        found.insert(i, found[i] + self.random.choice(("", " ", "\n")))
        return "".join(found)

    def replaced(self, text: str) -> str:
        found = pieces(text)
        found[self._word_at(found)] = self.random.choice(words())
        return "".join(found)

    def renamed(self, text: str) -> str:
        """One name of the text in another's place: most mutants of this kind compile."""
        found = pieces(text)
        names = [i for i, piece in enumerate(found) if piece.isidentifier()]
        if names:
            found[self.random.choice(names)] = found[self.random.choice(names)]
        return "".join(found)

    def renumbered(self, text: str) -> str:
        found = pieces(text)
        numbers = [i for i, piece in enumerate(found) if piece[:1].isdigit()]
        if numbers:
            larger = str(self.random.randrange(10 ** self.random.choice((1, 1, 2, 3, 6, 12, 30))))
            found[self.random.choice(numbers)] = self.random.choice(
                (self.random.choice(ODD[:16]), larger, larger, larger)
            )
        return "".join(found)

    def odd(self, text: str) -> str:
        found = pieces(text)
        found.insert(self._word_at(found), f" {self.random.choice(ODD)} ")
        return "".join(found)

    def odd_operand(self, text: str) -> str:
        """A name or a number turned into an expression of it."""
        found = pieces(text)
        i = self._word_at(found)
        if found[i].isidentifier() or found[i][:1].isdigit():
            other = self.random.choice((*ODD[:16], "batch_size", "seq_len", "new_tokens", found[self._word_at(found)]))
            found[i] = f"({found[i]} {self.random.choice(('+', '-', '*', '/', '//', '%', '^'))} {other})"
        return "".join(found)

    def without_lines(self, text: str) -> str:
        lines = text.splitlines(keepends=True)
        i = self.random.randrange(len(lines)) if lines else 0
        del lines[i : i + self.random.choice((1, 1, 2, 5))]
        return "".join(lines)

    def moved_line(self, text: str) -> str:
        lines = text.splitlines(keepends=True)
        if lines:
            line = lines.pop(self.random.randrange(len(lines)))
            lines.insert(self.random.randrange(len(lines) + 1), line if line.endswith("\n") else line + "\n")
        return "".join(lines)

    def doubled_lines(self, text: str) -> str:
        lines = text.splitlines(keepends=True)
        if lines:
            i = self.random.randrange(len(lines))
            lines[i:i] = lines[i : i + self.random.choice((1, 1, 3))] * self.random.choice((1, 1, 1, 20))
        return "".join(lines)

    def spliced(self, text: str) -> str:
        """The beginning of one text and the end of another, cut between lines or anywhere."""
        other = self.random.choice(self.others)
        if self.random.random() < 0.5:
            return text[: self.random.randrange(len(text) + 1)] + other[self.random.randrange(len(other) + 1) :]
        head, tail = text.splitlines(keepends=True), other.splitlines(keepends=True)
        return "".join(head[: self.random.randrange(len(head) + 1)] + tail[self.random.randrange(len(tail) + 1) :])

    def with_lines(self, text: str) -> str:
        """A declaration or a few lines of another text put into this one."""
        tail = self.random.choice(self.others).splitlines(keepends=True)
        lines = text.splitlines(keepends=True)
        i, at = self.random.randrange(len(tail) + 1), self.random.randrange(len(lines) + 1)
        lines[at:at] = tail[i : i + self.random.choice((1, 2, 8))]
        return "".join(lines)

    def brackets(self, text: str) -> str:
        found = pieces(text)
        places = [i for i, piece in enumerate(found) if piece in "()[]{}"]
        if places:
            found[self.random.choice(places)] = self.random.choice(("", "(", ")", "[", "]", "{", "}", "((", "}}"))
        return "".join(found)

    def unvalued(self, text: str) -> str:
        """A dim without its value: what follows from it stays a formula."""
        dims = list(re.finditer(r"^(dim \w+)[ ]*=[^\n]*$", text, re.MULTILINE))
        if not dims:
            return text
        match = self.random.choice(dims)
        return text[: match.end(1)] + text[match.end() :]


# those after which a spec more often compiles come more often
_CHANGES: dict[Callable[[Mutator, str], str], int] = {
    Mutator.renumbered: 5,
    Mutator.renamed: 3,
    Mutator.unvalued: 3,
    Mutator.odd_operand: 3,
    Mutator.without_lines: 1,
    Mutator.moved_line: 1,
    Mutator.doubled_lines: 1,
    Mutator.spliced: 1,
    Mutator.with_lines: 1,
    Mutator.swapped: 1,
    Mutator.deleted: 1,
    Mutator.doubled: 1,
    Mutator.replaced: 1,
    Mutator.odd: 1,
    Mutator.brackets: 1,
}


# --- cases


@dataclass(frozen=True)
class Case:
    """Something to ask: `text` is what is mutated and can be shortened, `ask` asks it."""

    kind: str
    text: str
    ask: Callable[[str], None]


def case(seed: int, number: int, whole: bool = False) -> Case:
    """The case of a number. With `whole` all is asked of a spec, else what the case draws."""
    random = Random(f"{seed} {number}")
    kind = random.choices(("spec", "condition", "command"), (8, 1, 1))[0]
    return spec_case(random, whole) if kind == "spec" else _OTHER_CASES[kind](random)


def spec_case(random: Random, whole: bool = False) -> Case:
    """A mutated spec through the whole pipeline."""
    seeds, shipped = seed_texts(), shipped_texts()
    text = random.choice(seeds if random.random() < 0.7 else shipped)
    changes = random.choice((1, 1, 1, 1, 1, 2, 2, 3, 5, 12))
    mutant = Mutator(random, (*seeds, *seeds, *seeds, *shipped)).mutated(text, changes)
    state = random.getrandbits(64)
    return Case("spec", mutant, lambda spec: ask_spec(spec, Random(state), whole))


def ask_spec(text: str, random: Random, whole: bool = True) -> None:
    """Compile a spec, expand it in every phase, price it at every fidelity, solve and show it.

    Raises:
        SpecError: it has faults.
    """
    compiled = compile_source(Source("<fuzz>", text), "fuzz")
    if compiled.program.variants and random.random() < 0.3:
        name = random.choice(list(compiled.program.variants))
        compiled = compile_source(Source("<fuzz>", text), f"fuzz:{name}", name)
    faults: list[SpecError] = []
    runs: list[Run] = []
    for graph in compiled.program.graphs:
        for phase in phases_of(compiled.program, graph):
            drawn = (random.choice(MASKED), random.choice(FUSION))
            for fidelity in FIDELITIES:
                run = Run(phase.name, graph, fidelity, *drawn)
                try:
                    table = compiled.table(run)
                    for expr in (table.flops, table.bytes, table.params, table.active_params, table.memory):
                        str(expr)
                    runs.append(run)
                except SpecError as error:
                    faults.append(error)
    asked = _questions(compiled, random)
    for run in random.sample(runs, min(3 if whole else 1, len(runs))):
        for ask in asked if whole else [asked[0], random.choice(asked[1:])]:
            try:
                ask(run)
            except SpecError as error:
                faults.append(error)
    if faults:
        raise SpecError([diagnostic for fault in faults for diagnostic in fault.diagnostics])


def _questions(compiled: Compiled, random: Random) -> list[Callable[[Run], object]]:
    """What can be asked of a run, at a point that is drawn."""
    device = shipped_device(random.choice(DEVICES)).times(random.choice((1, 1, 8)))
    timing = random.choice(TIMINGS)
    point: dict[Symbol, Fraction] = {}
    if random.random() < 0.7:
        point[seq_len] = Fraction(random.choice((1, 2, 9, 1024, 10**15)))
    full = {**point, batch_size: Fraction(random.choice((1, 3, 1000, 10**15)))}
    narrow = random.choice((100, 100, 72, 40))
    wanted = tuple(QUANTITIES)

    def quantities(run: Run) -> Quantities:
        return Quantities(compiled.table(run), device, timing, Fraction(9, 10), compiled.in_phase(run))

    def solved(run: Run) -> None:
        found = quantities(run)
        with budget(LONGEST / 4):
            answer = crossover(found, point)
            shown = CrossoverAnswer(compiled, answer, suggest(compiled, run, answer), None)
            shown.as_json()
            shown.page(narrow).show()

    def formulas(run: Run, show: Callable[[Formulas], object]) -> None:
        found = quantities(run)
        names = tuple(random.sample(wanted, 3)) if random.random() < 0.5 else ("flops", "bytes", "params")
        flat, long = random.random() < 0.3, random.choice((None, "short", "long"))
        show(Formulas(compiled, found, names, random.choice((point, full, {})), flat, long))

    def explained(run: Run, show: Callable[[Explanation], object]) -> None:
        show(Explanation(compiled, quantities(run), random.choice((point, full, {})), random.random() < 0.5))

    def evaluated(run: Run) -> None:
        found = Evaluation(compiled, quantities(run), random.choice((point, full, {})))
        found.as_json()
        found.page(narrow).show()

    def drawn(run: Run) -> None:
        flow = compiled.dataflow(run)
        dot(flow, "t"), mermaid(flow, "t"), graph_json("t", flow)

    def checked(run: Run) -> None:
        render(unused(compiled.dataflow(run)))
        found = check_compiled(compiled)
        render([*found.errors, *found.warnings, *(e.diagnostic for e in found.expects if e.diagnostic is not None)])

    return [
        solved,
        lambda run: formulas(run, lambda found: found.page(narrow).show()),
        lambda run: formulas(run, Formulas.latex),
        lambda run: formulas(run, Formulas.as_json),
        lambda run: formulas(run, Formulas.python),
        lambda run: formulas(run, Formulas.markdown),
        lambda run: explained(run, Explanation.as_json),
        lambda run: explained(run, lambda found: found.page(narrow).show()),
        evaluated,
        drawn,
        checked,
    ]


_CONDITIONS = (
    "latency <= 20 ms",
    "memory <= device.memory",
    "throughput >= 1000",
    "crossover <= 256",
    "crossover(seq_len = 64) > 8",
    "compute_time >= memory_time",
    'flops(phase="prefill") / bytes < ridge',
    "params == 17 * dim.width ^ 2",
    "cost_per_million_tokens <= 0.5",
    "max_batch_size >= 32",
    "ttft <= 2 s",
    "request_time < 1e3 s",
    "cache_memory(batch_size = 4) <= 40 GiB",
    "min(latency, 1 s) > max(1 ms, compute_time)",
    'intensity(fidelity = "traffic", batch_size = 2) == 2',
)
_UNKNOWNS = (
    *["batch_size"] * 6,
    *["seq_len"] * 6,
    *"device.memory device.bandwidth device.peak device.price device.peak.fp8".split(),
    *"new_tokens prompt_len output_len drafts acceptance_rate nothing".split(),
)
_SHIPPED_MODELS = ("llama-3.1:8b", "gpt-2", "mixtral:8x7b", "gemma-2:9b", "mamba-2", "whisper")


@cache
def _model(name: str) -> Compiled:
    path = ROOT / "specs" / "models" / f"{name.partition(':')[0]}.arch"
    text = seed_texts()[int(name)] if name.isdigit() else path.read_text(encoding="utf-8")
    return compile_source(Source(name, text), name, name.partition(":")[2] or None)


def condition_case(random: Random) -> Case:
    """Mutated conditions, solved for a dim or a figure of a device."""
    mutator = Mutator(random, _CONDITIONS)
    conditions = random.choices(_CONDITIONS, k=random.choice((0, 1, 1, 1, 2)))
    text = "\n".join(mutator.mutated(c, random.choice((0, 0, 0, 1, 1, 2))).replace("\n", " ") for c in conditions)
    name = random.choice((*map(str, range(len(seed_texts()))), *_SHIPPED_MODELS))
    unknown = random.choice((*_UNKNOWNS, *_model(name).program.dims))
    best = random.choice((None, "throughput", "latency", *QUANTITIES)) if text else random.choice(list(QUANTITIES))
    maximize, minimize = random.choice(((None, best), (best, None)))
    run = Run(random.choice(("decode", "prefill")), None, random.choice(FIDELITIES))
    device = random.choice((None, *DEVICES, *DEVICES))
    timing = random.choice(TIMINGS)
    point = {s: Fraction(random.choice((1, 7, 4096, 10**15))) for s in (batch_size, seq_len) if random.random() < 0.7}
    point = {s: v for s, v in point.items() if s.name != unknown}

    def ask(said: str) -> None:
        compiled = _model(name)
        found = shipped_device(device) if device is not None else None
        setting = Setting(run, timing, found)
        quantities = Quantities(compiled.table(run), found, timing, Fraction(1), compiled.in_phase(run))
        with budget(LONGEST / 4):
            given = tuple(said.split("\n")) if said else ()
            solution = solve_for(Question(compiled, setting, point, given, unknown, maximize, minimize))
        answer = SolutionAnswer(compiled, quantities, point, solution, None)
        answer.as_json()
        answer.page(100).show()

    return Case("condition", text, ask)


_COMMANDS = {
    "crossover": "device timing phase fidelity seq-len new-tokens set free masked fusion count memory-fraction json",
    "explain": "device timing phase fidelity seq-len batch-size set free masked fusion all json",
    "formula": "device timing phase fidelity seq-len batch-size of format flat names set free prompt-len json",
    "evaluate": "device timing phase fidelity seq-len batch-size set free masked json prompt-len output-len drafts",
    "solve": "device timing phase fidelity seq-len batch-size for maximize minimize strict names set json condition",
    "graph": "phase new-tokens set free json drawing",
    "check": "json",
    "list": "kind json",
}
_OPTIONS = {
    "device": [f"--device {name}" for name in (*DEVICES, "h100-nvl-sparse", "board", "nowhere.arch:x")],
    "timing": [f"--timing {timing}" for timing in TIMINGS],
    "phase": ["--phase decode", "--phase prefill", "--phase prefill", "--phase verify"],
    "fidelity": [f"--fidelity {fidelity}" for fidelity in FIDELITIES],
    "seq-len": [f"--seq-len {n}" for n in ("1", "2", "4096", "8_192", "1e5", "1000000000000000", "0", "½", "1/0")],
    "batch-size": [f"--batch-size {n}" for n in ("1", "72", "10_000", "1e15", "1e16", "1e999999", "-1", "x")],
    "new-tokens": [f"--new-tokens {n}" for n in ("1", "5", "4097", "1e15")],
    "prompt-len": ["--prompt-len 1", "--prompt-len 1000", "--prompt-len 1e15"],
    "output-len": ["--output-len 1", "--output-len 20", "--output-len 1e15"],
    "drafts": ["--drafts 4 --acceptance-rate 0.8", "--drafts 1e15 --acceptance-rate 1", "--acceptance-rate 1/3"],
    "set": [
        *("--set num_layers=2*3", "--set num_layers=0", "--set hidden_size=seq_len", "--set num_heads=7"),
        *("--set dtype.cache=fp8", "--set dtype.weights=3.5 bits", "--set vocab_size=1e30", "--set window=none"),
        *("--set num_kv_heads=num_heads", "--set hidden_size=2^64", "--set num_experts=1e29", "--set top_k=1"),
    ],
    "free": [f"--free {name}" for name in ("all", "hidden_size", "num_layers", "num_kv_heads", "top_k", "num_experts")],
    "masked": ["--masked exact"],
    "fusion": ["--fusion none"],
    "count": ["--count 8", "--count 1000000", "--count 0"],
    "memory-fraction": ["--memory-fraction 0.9", "--memory-fraction 9/10", "--memory-fraction 1e-30"],
    "json": ["--json"],
    "all": ["--all"],
    "flat": ["--flat"],
    "strict": ["--strict --budget 5"],
    "names": ["--names long", "--names short"],
    "of": [f"--of {name}" for name in QUANTITIES],
    "format": [f"--format {name}" for name in "text latex markdown python json".split()],
    "drawing": ["--format mermaid", "--format dot", "--format json"],
    "for": ["--for batch_size", "--for seq_len", "--for num_layers", "--for num_kv_heads", "--for device.peak"],
    "maximize": ["--maximize throughput"],
    "minimize": ["--minimize latency", "--minimize cost_per_million_tokens"],
    "condition": [c.replace(" ", "") for c in _CONDITIONS],
    "kind": ["models", "devices h100-nvl", "ops attention", "quantities", "ops", "models llama-3.1"],
}
_ALWAYS = {"solve": ("for", "condition", "device"), "crossover": ("device",), "list": ("kind",)}


def command_case(random: Random) -> Case:
    """A command line put together from options, or one with words left out, put in or changed."""
    name = random.choice(list(_COMMANDS))
    given = [name] if name == "list" else [name, random.choice(_SHIPPED_MODELS)]
    drawn = random.sample(_COMMANDS[name].split(), random.choice((0, 1, 2, 4)) % len(_COMMANDS[name].split()))
    for option in (*_ALWAYS.get(name, ()), *drawn):
        given += random.choice(_OPTIONS[option]).split(" ", 1)
    for _ in range(random.choice((0, 0, 1, 2))):
        at = random.randrange(len(given))
        match random.randrange(4):
            case 0:
                del given[at:]
            case 1:
                given.insert(at, random.choice(random.choice(list(_OPTIONS.values()))))
            case 2:
                given[at] = Mutator(random, _CONDITIONS).mutated(given[at], 1)
            case _:
                given[at] = f"{given[at].partition('=')[0]}={random.choice(ODD)}"
        given = given or ["list"]
    return Case("command", "\n".join(word.replace("\n", " ") for word in given), ask_command)


def ask_command(said: str) -> None:
    """Run a command line, a word a line; it may write nothing but to its streams.

    Raises:
        SpecError: it ends with 2.
    """
    arguments = [word for word in said.split("\n") if not word.startswith(("-o", "--out", "--overwrite"))]
    if not arguments or arguments[0] in ("new", "cache", "embed", "import"):
        return
    out, err = StringIO(), StringIO()
    environment = {"COSTMODEL_TRACEBACK": "1", "COSTMODEL_CACHE": "off"}
    with patch.dict(os.environ, environment), redirect_stdout(out), redirect_stderr(err):
        status = run_command(arguments)
    if status == 2:
        assert err.getvalue() or "--json" in arguments, "status 2 without a word"
        raise SpecError([])
    assert status in (0, 1), f"status {status}"


_OTHER_CASES = {"condition": condition_case, "command": command_case}


# --- trying and shortening


@dataclass(frozen=True)
class Failure:
    """What went wrong: the kind of exception and where it was raised; two cases with the same are one fault."""

    kind: str
    place: str
    trace: str

    @property
    def fault(self) -> tuple[str, str]:
        return self.kind, self.place


def tried(ask: Callable[[str], None], text: str, seconds: float = LONGEST) -> Failure | SpecError | None:
    """None where there was an answer, the diagnostics, or what went wrong."""
    try:
        with limited(seconds):
            try:
                ask(text)
            except SpecError as error:
                render(error.diagnostics, error.unchecked)
                return error
    except (Exception, TooSlow) as error:
        frames = [
            f for f in traceback.extract_tb(error.__traceback__) if "costmodel" in f.filename or "cli" in f.filename
        ]
        own = [f for f in frames if "site-packages" not in f.filename]
        place = f"{Path(own[-1].filename).name}:{own[-1].name}" if own else "?"
        # where the alarm rings is chance
        place = "" if isinstance(error, TooSlow) else place
        return Failure(type(error).__name__, place, "".join(traceback.format_exception(error)))
    return None


def shortened(ask: Callable[[str], None], text: str, failure: Failure, seconds: float = 60) -> str:
    """A shorter text that fails in the same way: lines left out, then single pieces."""
    until = monotonic() + seconds

    def fails(candidate: str) -> bool:
        found = tried(ask, candidate, 3 * LONGEST)
        return isinstance(found, Failure) and found.fault == failure.fault

    for cut in (lambda t: t.splitlines(keepends=True), pieces):
        text = "".join(_shortest(cut(text), lambda parts: fails("".join(parts)), until))
    return text


def _shortest(parts: list[str], fails: Callable[[list[str]], bool], until: float) -> list[str]:
    size = max(1, len(parts) // 2)
    while monotonic() < until:
        at, before = 0, len(parts)
        while at < len(parts) and monotonic() < until:
            candidate = parts[:at] + parts[at + size :]
            if candidate and fails(candidate):
                parts = candidate
            else:
                at += size
        if size == 1 and len(parts) == before:
            break
        size = max(1, size // 2)
    return parts


def main(arguments: Sequence[str]) -> int:
    """Try COUNT cases from SEED on; 1 where any failed."""
    count = int(arguments[0]) if arguments else 5_000
    seed = int(arguments[1]) if len(arguments) > 1 else 1
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    found: dict[tuple[str, str], Path] = {}
    told = {"answered": 0, "diagnosed": 0, "failed": 0}
    FAILURES.mkdir(exist_ok=True)
    at_work = FAILURES / "at-work.arch"
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("fuzz", total=count)
        for number in range(count):
            here = case(seed, number, whole=True)
            # it stays there if the process is killed over it
            at_work.write_text(here.text, encoding="utf-8", errors="surrogateescape")
            result = tried(here.ask, here.text, 3 * LONGEST)
            outcome = "failed" if isinstance(result, Failure) else "answered" if result is None else "diagnosed"
            told[outcome] += 1
            if isinstance(result, Failure) and result.fault not in found:
                found[result.fault] = _written(here, result, seed, number)
                progress.console.print(f"{result.kind} in {result.place}: {found[result.fault]}", markup=False)
            progress.update(task, advance=1, description=f"fuzz, {len(found)} faults")
    at_work.unlink()
    console.print(", ".join(f"{number:,} {outcome}" for outcome, number in told.items()))
    return 1 if found else 0


def _written(here: Case, failure: Failure, seed: int, number: int) -> Path:
    text = shortened(here.ask, here.text, failure)
    path = FAILURES / f"{here.kind}-{seed}-{number}.arch"
    trace = "".join(f"# {line}\n" for line in failure.trace.splitlines()[-12:])
    path.write_text(f"{text.rstrip()}\n\n{trace}", encoding="utf-8", errors="surrogateescape")
    return path


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
