"""Lists written beforehand: what would be made now, passed over where it is not, and quick because nothing is read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from costmodel.cli import shipped_answers
from costmodel.cli.shipped_answers import LISTS, WIDTHS, made_from
from costmodel.render.listing import KINDS
from costmodel.specs.lists import rendered

from .conftest import Done

Cli = Callable[..., Done]
QUESTIONS = [("list",), *(("list", kind) for kind in KINDS)]


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where answers are kept here: with COSTMODEL_CACHE off, as other tests have it, no written list is taken."""
    monkeypatch.setenv("COSTMODEL_CACHE", str(tmp_path / "kept"))
    return tmp_path / "kept"


def test_the_lists_are_those_of_the_shipped_files() -> None:
    assert LISTS.read_text(encoding="utf-8") == rendered(), "specs/lists.json is out of date: make lists"


@pytest.mark.parametrize("question", QUESTIONS, ids=" ".join)
def test_a_list_is_shown_as_it_would_be_made(
    cli: Cli, kept: Path, question: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In every form: as JSON, into a pipe, on terminals of several widths, with colour; and none of it is made."""
    forms = [{}, *({"width": width, "color": color} for width in (*WIDTHS, 117) for color in (False, True))]
    made = [cli(*question, "--no-cache", "--json"), *(cli(*question, "--no-cache", **form) for form in forms)]
    monkeypatch.setattr("costmodel.cli.main._command", lambda _: pytest.fail("it is made anew"))
    assert [cli(*question, "--json"), *(cli(*question, **form) for form in forms)] == made
    assert len({done.out for done in made}) > 2
    assert not kept.exists()


@pytest.mark.usefixtures("kept")
def test_another_width_is_made(cli: Cli) -> None:
    narrow = cli("list", "quantities", width=60)
    assert max(map(len, narrow.out.splitlines())) <= 60
    assert narrow == cli("list", "quantities", "--no-cache", width=60)


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize("how", ["a device more", "a device changed", "no file", "no JSON", "other JSON"])
def test_what_is_out_of_date_is_not_shown(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    specs = tmp_path / "specs"
    for folder in ("models", "devices", "blocks"):
        shutil.copytree(LISTS.parent / folder, specs / folder)
    lists = specs / "lists.json"
    held = json.loads(LISTS.read_bytes())
    lists.write_text(json.dumps({**held, "texts": dict.fromkeys(held["texts"], "written beforehand\n")}))
    monkeypatch.setattr(shipped_answers, "LISTS", lists)
    before = cli("list", "devices")
    assert before.out == "written beforehand\n"
    match how:
        case "a device more":
            shutil.copy(specs / "devices" / "a10.arch", specs / "devices" / "a11.arch")
        case "a device changed":
            (specs / "devices" / "a10.arch").write_text("")
        case "no file":
            lists.unlink()
        case "no JSON":
            lists.write_bytes(b"{")
        case "other JSON":
            lists.write_text("[]")
    assert cli("list", "devices") == cli("list", "devices", "--no-cache")
    if how.startswith("a device"):
        assert cli("list", "quantities") == before


def test_each_kind_is_made_from_its_own_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("models", "devices", "blocks"):
        shutil.copytree(LISTS.parent / folder, tmp_path / folder)
    monkeypatch.setattr(shipped_answers, "LISTS", tmp_path / "lists.json")
    before = {kind: made_from(kind) for kind in ("", *KINDS)}
    for folder, kinds in (("blocks", {"models"}), ("models", {"", "models"}), ("devices", {"", "devices"})):
        (tmp_path / folder / "another.arch").write_text("")
        after = {kind: made_from(kind) for kind in before}
        assert {kind for kind in before if after[kind] != before[kind]} == kinds
        before = after


def test_how_many_there_are_of_each_kind(cli: Cli) -> None:
    told = {row["name"]: row["count"] for row in json.loads(cli("list", "--json").out)}
    assert told == {kind: len(json.loads(cli("list", kind, "--json").out)) for kind in KINDS}
    for kind, count in told.items():
        assert f"{count}  {kind} " in cli("list").out


def test_a_name_needs_a_kind(cli: Cli) -> None:
    done = cli("list", "llama-3.1")
    assert done.status == 2
    assert "takes models, devices, ops or quantities" in done.err
