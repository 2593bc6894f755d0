"""The order of the stages, as docs/architecture.md gives it, held against the imports; and what no module may do."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache

import networkx as nx
from sympy import Expr

import costmodel as cm
from costmodel.ops import OPERATIONS, Counting, Operation, Shaping
from costmodel.ops.base import parameter
from costmodel.render.listing import listing_json
from costmodel.tensors import Tensor

from .conftest import ROOT

PAGE = "docs/architecture.md"
# folders of the repository, and the packages as which they are installed
PACKAGES = {
    "costmodel": "costmodel",
    "cli": "costmodel.cli",
    "grammar": "costmodel.grammar",
    "specs": "costmodel.specs",
}
# modules that import at run time: a command, and what its failure needs, so that `--help` stays light
IMPORT_LATE = {"costmodel.cli.main"}
RUNS_TEXT = {"eval", "exec", "compile", "__import__"}
FORBIDDEN = {"sympify", "parse_expr", "simplify", "nsimplify", "lambdify", "Float", "piecewise_fold", "summation"}


@cache
def modules() -> dict[str, ast.Module]:
    """Every module of the package that holds code, by its full name."""
    found = {}
    for folder, package in PACKAGES.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            name = ".".join((package, *parts)).removesuffix(".__init__")
            tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
            if any(not _is_docstring(node) for node in tree.body):
                found[name] = tree
    return found


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def imported(name: str, node: ast.AST) -> Iterator[str]:
    """The modules that an import statement names, whether of the package or not."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = node.module or ""
        if node.level:
            base = ".".join([*name.split(".")[: -node.level], *filter(None, [node.module])])
        for alias in node.names:
            full = f"{base}.{alias.name}"
            yield full if full in modules() else base


@cache
def graph() -> nx.DiGraph:
    """Which module imports which."""
    found: nx.DiGraph = nx.DiGraph()
    found.add_nodes_from(modules())
    for name, tree in modules().items():
        for node in ast.walk(tree):
            found.add_edges_from(
                (name, other) for other in imported(name, node) if other in modules() and other != name
            )
    return found


@cache
def stages() -> dict[str, tuple[int, str]]:
    """The stage of each module that docs/architecture.md names, as its number and heading."""
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    found: dict[str, tuple[int, str]] = {}
    heading: tuple[int, str] | None = None
    for line in text.splitlines():
        if match := re.match(r"### (\d+)\. (\w+)", line):
            heading = (int(match[1]), match[2])
        elif line.startswith("#"):
            heading = None
        elif heading is not None and (match := re.match(r"\| `([\w.]+)` \|", line)):
            name = match[1] if match[1] == "costmodel" else f"costmodel.{match[1]}"
            assert name not in found, f"{PAGE} names {name} twice"
            found[name] = heading
    return found


def test_every_module_has_its_place() -> None:
    missing, gone = modules().keys() - stages().keys(), stages().keys() - modules().keys()
    assert not missing, f"give these a row in {PAGE}, in the stage that they belong to: {', '.join(sorted(missing))}"
    assert not gone, f"{PAGE} names modules that there are not: {', '.join(sorted(gone))}"


def test_modules_import_from_earlier_stages_only() -> None:
    wrong = []
    for name, other in graph().edges:
        if stages()[name] < stages()[other]:
            wrong.append(f"{name} ({stages()[name][1]}) imports {other}, of the later stage {stages()[other][1]}")
    assert not wrong, "\n".join(sorted(wrong))


def test_no_module_imports_itself_in_a_circle() -> None:
    circles = [sorted(circle) for circle in nx.strongly_connected_components(graph()) if len(circle) > 1]
    assert not circles


def in_need_of(packages: set[str]) -> set[str]:
    """The modules that cannot be imported without one of these packages."""
    at_once = {name: {o for node in tree.body for o in imported(name, node)} for name, tree in modules().items()}
    found: set[str] = set()
    while True:
        more = {n for n, others in at_once.items() if any(o in found or o.split(".")[0] in packages for o in others)}
        if more == found:
            return found
        found = more


# extras that serve those who work on the project, and that no module of it imports
FOR_TESTS = {"test", "oracle"}


def optional() -> set[str]:
    """What a user's extras install, by the names under which it is imported: here those of the packages."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    assert extras.keys() > FOR_TESTS
    needs = [need for name, needs in extras.items() if name not in FOR_TESTS for need in needs]
    return {package(need) for need in needs}


def package(need: str) -> str:
    """`markdown-it-py>=3` is `markdown_it_py`, and not `markdown`."""
    match = re.fullmatch(r"([A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?)(?:\[[\w, -]+\])?\s*(?:[<>=!~].*)?", need)
    assert match is not None, need
    return match[1].replace("-", "_").lower()


def test_an_extra_exempts_no_other_package() -> None:
    assert [package(n) for n in ("markdown-it-py>=3", "Sphinx >=7,<9", "dask[array]>=2024.5", "numpy")] == [
        "markdown_it_py",
        "sphinx",
        "dask",
        "numpy",
    ]
    exempt = optional()
    assert {"numpy", "pyarrow", "matplotlib", "distributed", "gguf"} <= exempt
    assert not exempt & {"pytest", "hypothesis", "setuptools", "torch", "sympy", "lark", "rich", "click", "networkx"}


def test_imports_stand_at_the_top() -> None:
    """Inside functions only what is heavy and optional: the extras of pyproject.toml, and modules that need one."""
    extras = optional()
    needing = in_need_of(extras)
    wrong = []
    for name, tree in modules().items():
        for function in ast.walk(tree):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) or name in IMPORT_LATE:
                continue
            for node in ast.walk(function):
                late = [
                    other
                    for other in imported(name, node)
                    if other not in needing and other.split(".")[0] not in extras
                ]
                wrong += [f"{name}.{function.name}, line {node.lineno}: {other}" for other in late]  # type: ignore[attr-defined]
    assert not wrong, "\n".join(wrong)


def faults(name: str, tree: ast.Module) -> Iterator[str]:
    """Calls of what is forbidden, and symbols made outside their one place."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        function = node.func
        word = function.id if isinstance(function, ast.Name) else getattr(function, "attr", "")
        runs_text = isinstance(function, ast.Name) and word in RUNS_TEXT
        makes_symbol = word in ("Symbol", "symbols", "Dummy", "Wild") and name != "costmodel.symbols"
        if runs_text or word in FORBIDDEN or (makes_symbol and "sympy" in imported_from(tree, word)):
            yield f"{name}, line {node.lineno}: {word}"


def imported_from(tree: ast.Module, word: str) -> str:
    """The module that a name was imported from."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and any((alias.asname or alias.name) == word for alias in node.names):
            return node.module or ""
    return ""


def test_what_a_user_wrote_is_never_run() -> None:
    """No `eval` and the like, no SymPy function that guesses or hangs; symbols are made in one place."""
    found = [fault for name, tree in modules().items() for fault in faults(name, tree)]
    assert not found, "\n".join(found)


def test_an_operation_is_one_class() -> None:
    """What docs/architecture.md promises: a class with a keyword, and a spec may call it."""
    before = dict(OPERATIONS)
    try:

        class Swish(Operation, keyword="swish"):
            """`swish(x)`: vector_flops = 6 an element."""

            x: Tensor = parameter("tensor")

            def infer(self, model: Shaping) -> Tensor:
                return model.activation(self.x.shape)

            def vector_flops(self, result: Tensor, counting: Counting) -> Expr:
                return 6 * result.elements

        text = "model m  dim d = 8  graph forward(x[batch_size, new_tokens, d]) { return swish(x) }"
        assert cm.parse(text).cost().vector_flops == 48 * cm.batch_size
        assert listing_json("ops", "swish")[0]["title"].startswith("`swish(x)`")
    finally:
        OPERATIONS.clear()
        OPERATIONS.update(before)
