"""What several tests share: the command line run in process, and outputs kept in files."""

from __future__ import annotations

import difflib
import io
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from costmodel.cli.main import run

# what a test sees is made anew; tests of the cache turn it on
os.environ["COSTMODEL_CACHE"] = "off"

ROOT = Path(__file__).parents[1]
GOLDEN = Path(__file__).with_name("golden")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="rewrite the files of tests/golden with what is printed now"
    )


_NEEDS = "needs the program "


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "needs(tool): the test needs this program, and is skipped where it is not found")


def pytest_runtest_setup(item: pytest.Item) -> None:
    from .typesetting import has

    for marker in item.iter_markers("needs"):
        if not has(marker.args[0]):
            pytest.skip(_NEEDS + marker.args[0])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the tests that were skipped for want of a tool."""
    found: dict[str, Counter[str]] = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if reason.startswith(_NEEDS):
            found.setdefault(reason, Counter())[report.nodeid.partition("[")[0].rpartition("::")[2]] += 1
    for reason, tests in sorted(found.items()):
        names = ", ".join(f"{name} ({count})" if count > 1 else name for name, count in sorted(tests.items()))
        terminalreporter.write_line(f"skipped, {reason}, which `make test-docs` installs: {names}")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compares a text with a file of tests/golden, or rewrites the file with --update-golden."""
    update = bool(request.config.getoption("--update-golden"))

    def compare(name: str, text: str) -> None:
        path = GOLDEN / name
        if update:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                path.write_text(text, encoding="utf-8", newline="\n")
            return
        assert path.exists(), f"tests/golden/{name} is missing: run with --update-golden, and read what it writes"
        kept = path.read_text(encoding="utf-8")
        if kept != text:
            lines = difflib.unified_diff(
                kept.splitlines(), text.splitlines(), f"golden/{name}", "now", lineterm="", n=2
            )
            pytest.fail("\n".join(lines), pytrace=False)

    return compare


@dataclass(frozen=True)
class Done:
    """A command line that has run: its exit status and what it wrote."""

    status: int
    out: str
    err: str


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """Runs a command line in this process; with `width`, as on a terminal of that width without colour."""

    def invoke(*arguments: str, width: int | None = None, color: bool = False) -> Done:
        out, err = (io.StringIO(), io.StringIO()) if width is None else (Terminal(), Terminal())
        with monkeypatch.context() as patch:
            patch.setattr("sys.stdout", out)
            patch.setattr("sys.stderr", err)
            patch.setenv("COLUMNS", str(width or 100))
            patch.delenv("NO_COLOR", raising=False)
            if not color:
                patch.setenv("NO_COLOR", "1")
            status = run(list(arguments))
        return Done(status, out.getvalue(), err.getvalue())

    return invoke
