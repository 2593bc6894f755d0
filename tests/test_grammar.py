"""The grammar: no conflicts, no operation in it, a method for each rule; and tables that are those of its text."""

from __future__ import annotations

import json
import re
from typing import Any

import lark
import pytest
from lark.grammar import Rule

from costmodel.grammar.tables import TABLES
from costmodel.names import RESERVED
from costmodel.ops import OPERATIONS
from costmodel.parser.build import Builder
from costmodel.parser.tables import OPTIONS, STARTS, grammar_text, load_tables, make_parser
from costmodel.quantity_names import QUANTITIES


def made_anew() -> lark.Lark:
    """A parser made from the grammar's text; `strict` refuses shift/reduce conflicts and terminals that overlap."""
    return lark.Lark(grammar_text(), strict=True, **OPTIONS)


def test_the_grammar_has_no_conflicts() -> None:
    assert made_anew().rules


def test_a_conflict_would_be_refused() -> None:
    """What the test above relies on."""
    options = {**OPTIONS, "start": "spec"}
    with pytest.raises(lark.exceptions.GrammarError):
        lark.Lark('spec: a* "x"\na: "x" "y"? | "x" a', strict=True, **options)


def test_the_grammar_knows_no_operation_or_quantity() -> None:
    rules = "\n".join(line for line in grammar_text().splitlines() if not line.startswith("//"))
    words = {word for text in re.findall(r'"([^"\n]*)"', rules) for word in re.findall(r"[a-z_]+", text)}
    assert words == RESERVED
    assert not words & {*OPERATIONS, *QUANTITIES}


def test_every_rule_has_its_method_and_every_method_its_rule() -> None:
    """A rule without one would stay a `Tree` in silence."""
    builder, rules = Builder(), made_anew().rules
    made = {rule.alias or rule.origin.name for rule in rules if not _hands_on(rule) and rule.origin.name[0] != "_"}
    assert sorted(name for name in made if not callable(getattr(builder, name, None))) == []
    methods = {name.removesuffix("_") for name in vars(Builder) if not name.startswith("_")}
    assert sorted(methods - made) == []


def _hands_on(rule: Rule) -> bool:
    return bool(rule.options.expand1) and len(rule.expansion) == 1


def test_the_tables_are_those_of_the_grammar() -> None:
    """State by state, whatever their numbers: `make tables` writes them anew."""
    if load_tables() is None:
        version = json.loads(TABLES.read_text())["lark"]
        assert version != lark.__version__, "grammar/tables.json is out of date: make tables"
        pytest.skip(f"the tables are of lark {version}, and {lark.__version__} is installed")
    shipped, fresh = make_parser(Builder()), made_anew()
    for start in STARTS:
        assert agree(conf(shipped, start), conf(fresh, start))
    assert terminals(shipped) == terminals(fresh)


def terminals(parser: lark.Lark) -> dict[str, tuple[str, int]]:
    return {t.name: (t.pattern.to_regexp(), t.priority) for t in parser.terminals}


def conf(parser: lark.Lark, start: str) -> Any:
    return parser.parse_interactive("", start=start).parser_state.parse_conf


def agree(a: Any, b: Any) -> bool:
    """Whether two tables do the same from their first states on: shift in step, and reduce by the same rules."""
    open_, seen = [(a.start_state, b.start_state)], set()
    while open_:
        pair = open_.pop()
        if pair in seen:
            continue
        seen.add(pair)
        left, right = a.states[pair[0]], b.states[pair[1]]
        if left.keys() != right.keys():
            return False
        for kind in left:
            (how, there), (how_b, there_b) = left[kind], right[kind]
            if how.name != how_b.name:
                return False
            if how.name == "Shift":
                open_.append((there, there_b))
            elif (there.origin, there.expansion) != (there_b.origin, there_b.expansion):
                return False
    return (a.end_state, b.end_state) in seen
