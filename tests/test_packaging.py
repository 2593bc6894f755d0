"""What is installed: a wheel with all that is read, working wherever it lies; and what a start imports."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

from .conftest import ROOT

CROSSOVER = ("crossover", "llama-3.1:8b", "--device", "h100-nvl", "--seq-len", "8192", "--json")
HEAVY = ("sympy", "mpmath", "lark", "networkx", "rich", "numpy", "matplotlib")
TELL = f"import sys; print([name for name in sys.modules if name in {HEAVY}])"


def ran(*command: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A command outside of the repository; nothing of what it is told comes from this process's folders."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV_"))}
    environment = {**kept, "COSTMODEL_CACHE": "off", **environment}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built from a copy, so that nothing is left in the repository."""
    if tuple(map(int, version("setuptools").split(".")[:2])) < (70, 1):
        pytest.skip(
            "building a wheel without the network needs setuptools 70.1 or newer here: pip install -e '.[test]'"
        )
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("costmodel", "cli", "grammar", "specs"):
        shutil.copytree(ROOT / name, folder / "copy" / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, folder / "copy")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    ran(*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "./copy", cwd=folder)
    (found,) = folder.glob("costmodel-*.whl")
    return found


def test_the_wheel_holds_all_that_is_read(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
    wanted = {
        "costmodel/py.typed",
        "costmodel/grammar/arch.lark",
        "costmodel/grammar/tables.json",
        "costmodel/specs/lists.json",
    }
    for folder, place in (("costmodel", ""), ("cli", "cli/"), ("grammar", "grammar/"), ("specs", "specs/")):
        for path in (*(ROOT / folder).rglob("*.py"), *(ROOT / folder).rglob("*.arch")):
            wanted.add(f"costmodel/{place}{path.relative_to(ROOT / folder).as_posix()}")
    assert sorted(wanted - names) == []
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {"costmodel"}


def test_the_wheel_works_elsewhere(wheel: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    ran(*pip, "install", "--quiet", "--no-deps", "--no-index", "--target", target, wheel, cwd=tmp_path)

    def installed(*command: str | Path) -> str:
        return ran(*command, cwd=tmp_path, PYTHONPATH=str(target)).stdout

    where = installed(sys.executable, "-c", "import costmodel; print(costmodel.__file__)")
    assert Path(where.strip()).is_relative_to(target)
    answer = json.loads(installed(target / "bin" / "costmodel", *CROSSOVER))
    assert answer["crossover"]["status"] == "never"
    lists = f"from costmodel.cli.main import run; run(['list']); run(['list', 'models'])\n{TELL}"
    shown = ran(sys.executable, "-c", lists, cwd=tmp_path, PYTHONPATH=str(target), COSTMODEL_CACHE="kept").stdout
    assert "deepseek-v3" in shown
    assert shown.endswith("\n[]\n")
    assert "specs/models/llama-3.1.arch" in installed(sys.executable, "-m", "costmodel", "list", "models", "llama-3.1")


def test_what_is_installed_works_elsewhere(tmp_path: Path) -> None:
    """As `make` installs it: editable."""
    done = ran(Path(sysconfig.get_path("scripts")) / "costmodel", *CROSSOVER, cwd=tmp_path)
    assert json.loads(done.stdout)["memory_fit"]["max_batch_size"]["value"] == 72


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["crossower"]])
def test_starting_imports_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    assert loaded_by(f"from costmodel.cli.main import run; run({words})", tmp_path) == []


def test_the_library_imports_nothing_heavy_before_it_is_used(tmp_path: Path) -> None:
    assert loaded_by("import costmodel; dir(costmodel)", tmp_path) == []
    assert "sympy" in loaded_by("import costmodel; costmodel.batch_size", tmp_path)


def loaded_by(code: str, folder: Path) -> list[str]:
    """The heavy libraries that are loaded when this has run."""
    told = folder / "loaded.json"
    tell = f"import json, sys, pathlib; pathlib.Path({str(told)!r}).write_text(json.dumps([*sys.modules]))"
    ran(sys.executable, "-c", f"{code}\n{tell}", cwd=folder)
    return [name for name in json.loads(told.read_text()) if name in HEAVY]


def test_the_version_is_the_package_s(tmp_path: Path) -> None:
    command = Path(sysconfig.get_path("scripts")) / "costmodel"
    assert ran(command, "--version", cwd=tmp_path).stdout.strip() == version("costmodel")
