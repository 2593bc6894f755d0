"""How fast it is, as ratios of two things measured turn by turn in one run: `make bench`, exit 1 where one is over.

Machines differ and are noisy; a ratio of medians taken side by side is about the program. The table is printed, and
written to `benchmarks/RESULTS.md` with what it was measured on. `--short` takes a third of the turns, only prints, and
fails on no ratio.
"""

from __future__ import annotations

import os
import platform
import random
import subprocess
import sys
import sysconfig
import tempfile
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

import costmodel
from costmodel import library
from costmodel.device import find_device
from costmodel.sweep.compute import compute
from costmodel.sweep.kernel import compile_forms, evaluate, evaluate_directly
from costmodel.sweep.plan import Plan, Question, plan
from costmodel.sweep.ranges import axis
from costmodel.sweep.run import write
from costmodel.sweep.store import Store
from costmodel.symbols import batch_size, seq_len
from docs.models import sizes

RESULTS = Path(__file__).with_name("RESULTS.md")
COSTMODEL = str(Path(sysconfig.get_path("scripts")) / "costmodel")
CONFIGS = Path(__file__).parents[1] / "tests" / "data" / "configs"
CROSSOVER = (COSTMODEL, "crossover", "llama-3.1:8b", "--device", "h100-nvl", "--seq-len", "8192")
PLOT = (
    *(COSTMODEL, "plot", "llama-3.1:8b", "--device", "h100-nvl", "--seq-len", "256,2048,8192"),
    *("-o", str(Path(tempfile.gettempdir()) / "costmodel-bench.svg"), "--overwrite"),
)


@dataclass(frozen=True)
class Benchmark:
    """What is measured against what, and the ratio that it may have at most; what it `needs` may be missing."""

    what: str
    against: str
    measured: Callable[[], float]
    base: Callable[[], float]
    at_most: float
    turns: int = 9
    needs: str = ""

    def ratio(self, share: int = 1) -> float:
        """The ratio of the medians, the two taken in turns, or in a share of them."""
        self.measured(), self.base()
        times = [(self.measured(), self.base()) for _ in range(max(1, self.turns // share))]
        return median(a for a, _ in times) / median(b for _, b in times)


def process(*command: str) -> Callable[[], float]:
    """Seconds of a whole process."""

    def timed() -> float:
        start = perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return perf_counter() - start

    return timed


def imports(modules: str) -> Callable[[], float]:
    return process(sys.executable, "-c", f"import {modules}")


def compiling(text: str) -> Callable[[], float]:
    """Seconds from a spec's text to its closed forms."""

    def timed() -> float:
        start = perf_counter()
        cost = costmodel.parse(text).cost(phase="decode")
        assert cost.flops != 0
        assert cost.bytes != 0
        return perf_counter() - start

    return timed


def memory_of_compiling(text: str) -> Callable[[], float]:
    """Bytes that are held at once from a spec's text to its closed forms, at the most."""

    def measured() -> float:
        tracemalloc.start()
        try:
            cost = costmodel.parse(text).cost(phase="decode")
            assert cost.flops != 0
            assert cost.bytes != 0
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    return measured


def shipped(name: str) -> str:
    return (Path(costmodel.__file__).parent.parent / "specs" / "models" / f"{name}.arch").read_text(encoding="utf-8")


def of_layers(count: int) -> str:
    return shipped("gpt-2").replace("dim num_layers = 12", f"dim num_layers = {count}")


def of_operations(count: int) -> str:
    """A chain of so many operations, none of them in a `repeat`, half of them with a weight of their own."""
    lines = ["model chain", "dim d = 64", "graph forward(tokens[batch_size, new_tokens]) {", "x = lookup(tokens, E)"]
    for i in range((count - 1) // 2):
        lines += [f"weight W{i}[d -> d]", f"x = relu(matmul(x, W{i}))"]
    return "\n".join([*lines, "return x", "}", "weight E[128 -> d]", ""])


def of_layers_at_random(count: int) -> str:
    """Layers of eight kinds one after the other, in no order that a `repeat` could say."""
    lines = ["model random", "dim d = 64"]
    for kind in range(8):
        lines += [f"block layer{kind}(x) {{", f"weight A[d -> {64 + kind}]", f"weight B[{64 + kind} -> d]"]
        lines += ["return x + matmul(relu(matmul(x, A)), B)", "}"]
    lines += ["graph forward(tokens[batch_size, new_tokens]) {", "x = lookup(tokens, E)"]
    chance = random.Random(1)
    lines += [f"x = layer{chance.randrange(8)}(x)" for _ in range(count)]
    return "\n".join([*lines, "return x", "}", "weight E[128 -> d]", ""])


def crossover_of_each() -> float:
    """Seconds that a crossover of a shipped model takes on a device, the models read anew.

    Every sixth size, on every third device that has the peak which it needs, from when it exists to the batch to run.
    """
    devices = [name for name in library.shipped("devices") if "bf16" in find_device(name).peaks][::3]
    models = list(sizes())[::6]
    start = perf_counter()
    for name in models:
        model = costmodel.load(name)
        for device, phase in product(devices, ("prefill", "decode")):
            found = model.crossover(device, seq_len=448, phase=phase)
            answered = found.status, found.feasible_when, found.critical_seq_len, found.optimal_batch_size
            assert answered[0]
    return (perf_counter() - start) / (len(models) * len(devices) * 2)


def evaluation(*specs: str) -> Callable[[], float]:
    """Seconds that it takes to read specs and to evaluate them at a point."""

    def timed() -> float:
        start = perf_counter()
        for spec in specs:
            assert costmodel.load(spec).cost().evaluate(batch_size=1, seq_len=1024).all
        return perf_counter() - start

    return timed


def check_of_each() -> float:
    """Seconds that `check` takes a size of the shipped models."""
    start = perf_counter()
    for name in library.shipped("models"):
        assert costmodel.load(name).check().ok
    return (perf_counter() - start) / sum(1 for _ in sizes())


POINTS = 1 << 24
FACTORS = np.random.default_rng(1).random((2, POINTS))
RESULT = np.empty(POINTS)


def multiplied() -> float:
    """Seconds that NumPy takes to write so many products: what the machine's memory allows."""
    start = perf_counter()
    np.multiply(FACTORS[0], FACTORS[1], out=RESULT)
    return perf_counter() - start


def swept(spec: str, quantity: str) -> Callable[[], float]:
    """Seconds that a quantity takes over as many points, 512 batch sizes by 32,768 contexts."""
    expr = costmodel.load(spec).cost(device="h100-sxm").quantities.expr(quantity)
    assert expr is not None
    program = compile_forms([expr], [batch_size, seq_len])
    axes = (range(1, 513), range(1, POINTS // 512 + 1))

    def timed() -> float:
        start = perf_counter()
        evaluate(program, axes, [RESULT])
        return perf_counter() - start

    return timed


def whole_numbers_swept() -> float:
    """Seconds of as many FLOPs beyond 2^53, each exact: in integers of 64 bits."""
    expr = costmodel.load("llama-3.1:8b").cost(phase="prefill").quantities.expr("flops")
    assert expr is not None
    program = compile_forms([expr], [batch_size, seq_len])
    start = perf_counter()
    found = evaluate_directly(program, program.outputs[0], (range(1, 513), range(1, POINTS // 512 + 1)), np.int64)
    took = perf_counter() - start
    assert found[-1] > 1 << 53
    return took


def whole_numbers_multiplied() -> float:
    numbers = np.arange(POINTS, dtype=np.int64)
    start = perf_counter()
    np.multiply(numbers, 3, out=numbers)
    return perf_counter() - start


def _latencies(rows: int) -> Plan:
    axes = (axis("batch_size", f"1:{rows}", ""), axis("seq_len", "1:32768", ""))
    return plan(Question((costmodel.load("llama-3.1:8b").compiled,), ("h100-sxm",), axes=axes, of=("latency",)))


def sweep_to_parquet() -> float:
    """Seconds that a sweep takes to a file: computed, in parts, put together."""
    asked = _latencies(256)
    with tempfile.TemporaryDirectory() as folder:
        start = perf_counter()
        write(asked, Path(folder) / "sweep.parquet")
        return perf_counter() - start


def arrays_to_parquet() -> float:
    """Seconds that pyarrow takes to write the same columns, which are there, in the same layout."""
    asked = _latencies(256)
    tables = [compute(asked, part) for part in range(asked.parts)]
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder) / "arrays.parquet", asked)
        start = perf_counter()
        with pq.ParquetWriter(store.target, tables[0].schema, **store.layout) as writer:
            for table in tables:
                writer.write_table(table)
        return perf_counter() - start


def point_of_a_sweep() -> Callable[[], float]:
    """Seconds a point."""
    timed = swept("llama-3.1:8b", "latency")
    return lambda: timed() / POINTS


def point_of_a_peer() -> float:
    """Seconds that aiconfigurator's compiled engine takes a decode step of the same model, by its own handle."""
    from aiconfigurator_core import AicEngine
    from aiconfigurator_core.sdk.engine import compile_engine

    spec = compile_engine("meta-llama/Meta-Llama-3.1-8B", "h100_sxm", "trtllm")
    latency = AicEngine.from_spec(bytes(spec), None).predict_decode_latency
    points = list(product(range(1, 129), range(256, 8192 + 1, 256)))
    assert latency(8, 1024) > 0
    start = perf_counter()
    for batch, context in points:
        latency(batch, context)
    return (perf_counter() - start) / len(points)


BENCHMARKS = (
    Benchmark("costmodel --help", "import click", process(COSTMODEL, "--help"), imports("click"), 1.5, 25),
    *(
        Benchmark(
            " ".join(("costmodel", *words)), "import click", process(COSTMODEL, *words), imports("click"), 1.5, 25
        )
        for words in (("list",), ("list", "models"), ("list", "devices"), ("list", "ops"), ("list", "quantities"))
    ),
    Benchmark(
        "costmodel " + " ".join(CROSSOVER[1:]) + ", asked first",
        "import sympy, networkx, lark",
        process(*CROSSOVER, "--no-cache"),
        imports("sympy, networkx, lark"),
        1.5,
    ),
    Benchmark("the same, asked again", "import click", process(*CROSSOVER), imports("click"), 3),
    *(
        Benchmark(
            f"costmodel {command} llama-3.1:8b",
            "that crossover, asked first",
            process(COSTMODEL, command, "llama-3.1:8b", "--no-cache"),
            process(*CROSSOVER, "--no-cache"),
            1.2,
        )
        for command in ("latex", "formula", "graph")
    ),
    Benchmark("a crossover of a shipped model", "import sympy", crossover_of_each, imports("sympy"), 1 / 22, 3),
    Benchmark("check of a shipped model", "import sympy", check_of_each, imports("sympy"), 1 / 8, 3),
    Benchmark(
        "costmodel " + " ".join(PLOT[1:-3]),
        "import matplotlib.figure, its back end for SVG",
        process(*PLOT),
        imports("matplotlib.figure, matplotlib.backends.backend_svg"),
        3,
    ),
    Benchmark(
        "published configs, evaluated",
        "the shipped specs of these models",
        evaluation(*(str(CONFIGS / f"{name}.json") for name in ("llama-3.1-8b", "deepseek-v3", "gpt-oss-20b"))),
        evaluation("llama-3.1:8b", "deepseek-v3", "gpt-oss:20b"),
        1.3,
    ),
    *(
        Benchmark(
            f"{quantity} of {spec} at {POINTS:,} points", "numpy.multiply of as many", swept(*of), multiplied, most
        )
        for *of, most in (
            ("llama-3.1:8b", "latency", 2),
            ("llama-3.1:8b", "throughput", 2),
            ("gpt-oss:20b", "latency", 4),
            ("gpt-oss:20b", "throughput", 4),
        )
        for spec, quantity in [of]
    ),
    Benchmark(
        f"latency of llama-3.1:8b at {POINTS:,} points, a point",
        "aiconfigurator's compiled engine, a point",
        point_of_a_sweep(),
        point_of_a_peer,
        1 / 1000,
        5,
        "aiconfigurator_core",
    ),
    Benchmark(
        f"flops beyond 2^53 at {POINTS:,} points, exact",
        "numpy.multiply of as many integers",
        whole_numbers_swept,
        whole_numbers_multiplied,
        16,
        3,
    ),
    Benchmark(
        "sweep of 8,388,608 points to Parquet", "pyarrow, writing the same", sweep_to_parquet, arrays_to_parquet, 4, 3
    ),
    Benchmark(
        "llama-3.1:8b, from its text to closed forms",
        "import sympy",
        compiling(shipped("llama-3.1")),
        imports("sympy"),
        1 / 8,
    ),
    Benchmark("gpt-2 of 126 layers, compiled", "of 1 layer", compiling(of_layers(126)), compiling(of_layers(1)), 1.1),
    Benchmark(
        "10,000 operations, compiled",
        "1,000 of them",
        compiling(of_operations(10_000)),
        compiling(of_operations(1_000)),
        12,
        3,
    ),
    Benchmark(
        "10,000 operations, memory",
        "1,000 of them",
        memory_of_compiling(of_operations(10_000)),
        memory_of_compiling(of_operations(1_000)),
        11,
        1,
    ),
    Benchmark(
        "2,000 layers in random order, compiled",
        "500 of them",
        compiling(of_layers_at_random(2_000)),
        compiling(of_layers_at_random(500)),
        5,
        3,
    ),
)


def machine() -> str:
    """What the figures were measured on."""
    names = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30 if hasattr(os, "sysconf") else 0
    cores, load = os.cpu_count(), os.getloadavg()[0] if hasattr(os, "getloadavg") else 0
    return (
        f"{names[0] if names else platform.machine()}, {cores} cores, {memory:.0f} GiB, {platform.system()}; "
        f"Python {platform.python_version()}, NumPy {np.__version__}; load {load:.1f} at the end."
    )


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def main(short: bool) -> int:
    table = Table(
        "measured", "against", "ratio", "at most", title="medians of runs taken in turns", title_justify="left"
    )
    missed = 0
    lines = ["| measured | against | ratio | at most | |", "| --- | --- | ---: | ---: | --- |"]
    with tempfile.TemporaryDirectory() as kept:
        # answers asked for again are kept here, and not among the user's
        os.environ["COSTMODEL_CACHE"] = kept
        for benchmark in BENCHMARKS:
            if benchmark.needs and find_spec(benchmark.needs) is None:
                lines.append(f"| {benchmark.what} | {benchmark.against} | | {benchmark.at_most:.3g} | not installed |")
                table.add_row(benchmark.what, benchmark.against, "not installed", f"{benchmark.at_most:.3g}")
                continue
            ratio = benchmark.ratio(3 if short else 1)
            missed += ratio > benchmark.at_most
            color = "red" if ratio > benchmark.at_most else "green"
            verdict = "missed" if ratio > benchmark.at_most else "met"
            lines.append(
                f"| {benchmark.what} | {benchmark.against} | {ratio:.3g} | {benchmark.at_most:.3g} | {verdict} |"
            )
            table.add_row(benchmark.what, benchmark.against, f"[{color}]{ratio:.3g}[/]", f"{benchmark.at_most:.3g}")
    Console().print(table)
    if short:
        return 0
    told = f"# What `make bench` measured\n\n{machine()}\n\nMedians of runs taken in turns, as ratios.\n\n"
    RESULTS.write_text(told + "\n".join(lines) + "\n", encoding="utf-8")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(short="--short" in sys.argv[1:]))
