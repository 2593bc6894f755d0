"""JSON with the place of every key and value, read within bounds."""

from __future__ import annotations

import re
from fractions import Fraction
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any, NamedTuple

from costmodel.source import Diagnostic, Label, Source, Span, SpecError

MOST_NESTING = 100
_LONGEST_NUMBER = 400

_SPACE = re.compile(r"[ \t\n\r]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_WORD = re.compile(r"-?\w+|.", re.DOTALL)
# what Python writes for numbers that JSON does not have is read too: `"time_step_limit": [0.0, Infinity]`
_WORDS = {
    "true": True,
    "false": False,
    "null": None,
    "NaN": float("nan"),
    "Infinity": float("inf"),
    "-Infinity": float("-inf"),
}


class Json(NamedTuple):
    """A value, and where it stands.

    An object is a dict of `Member`s by key, an array a list of `Json`; a number an int, or a Fraction where it has a
    point or an exponent, or a float where it is infinite or none at all.
    """

    value: Any
    span: Span


class Member(NamedTuple):
    """A key's place, and its value."""

    key: Span
    json: Json


def parse_json(source: Source) -> Json:
    """The value that a text holds.

    Raises:
        SpecError: it is no JSON, is cut off, gives a key twice, or is nested too deep.
    """
    return _Reader(source).whole()


class _Reader:
    def __init__(self, source: Source) -> None:
        self.source, self.text = source, source.text
        self.at = 0
        self.open: list[int] = []

    def whole(self) -> Json:
        found = self._value()
        self._space()
        if self.at < len(self.text):
            raise self._unfit("the end of the file")
        return found

    def _space(self) -> str:
        """Step over white space; the character behind it, empty at the end."""
        match = _SPACE.match(self.text, self.at)
        assert match is not None
        self.at = match.end()
        return self.text[self.at : self.at + 1]

    def _value(self) -> Json:
        character, start = self._space(), self.at
        value: Any
        if character == "{":
            value = self._nested(self._object)
        elif character == "[":
            value = self._nested(self._array)
        elif character == '"':
            value = self._string()
        elif (match := _NUMBER.match(self.text, start)) is not None and match.end() > start:
            self.at = match.end()
            value = _number(match)
        else:
            word = _WORD.match(self.text, start)
            if word is None or word[0] not in _WORDS:
                raise self._unfit("a value")
            self.at = word.end()
            value = _WORDS[word[0]]
        return Json(value, self.source.span(start, self.at))

    def _nested(self, read: Any) -> Any:
        if len(self.open) == MOST_NESTING:
            where = self.source.span(self.at, self.at + 1)
            raise SpecError(Diagnostic("limit", f"nested more than {MOST_NESTING} deep", where))
        self.open.append(self.at)
        self.at += 1
        found = read()
        self.at += 1
        self.open.pop()
        return found

    def _object(self) -> dict[str, Member]:
        found: dict[str, Member] = {}
        if self._space() == "}":
            return found
        while True:
            if self._space() != '"':
                raise self._unfit("a key in double quotes")
            start = self.at
            key = self._string()
            span = self.source.span(start, self.at)
            if key in found:
                first = Label(found[key].key, "first here")
                raise SpecError(Diagnostic("duplicate", f"`{key[:80]}` is given twice", span, others=(first,)))
            if self._space() != ":":
                raise self._unfit("`:`")
            self.at += 1
            found[key] = Member(span, self._value())
            if self._space() == "}":
                return found
            self._comma("}")

    def _array(self) -> list[Json]:
        found: list[Json] = []
        if self._space() == "]":
            return found
        while True:
            found.append(self._value())
            if self._space() == "]":
                return found
            self._comma("]")

    def _comma(self, close: str) -> None:
        if self.text[self.at : self.at + 1] != ",":
            raise self._unfit(f"`,` or `{close}`")
        self.at += 1

    def _string(self) -> str:
        start = self.at
        try:
            value, self.at = scanstring(self.text, start + 1, True)
        except ValueError as error:
            at = min(getattr(error, "pos", start), len(self.text))
            if str(error).startswith("Unterminated"):
                at, message = start, "a string that does not end"
            elif self.text[at : at + 1] == "\\" or self.text[at - 1 : at] == "\\":
                message = "`\\` and what follows is no escape that JSON has"
            else:
                message = "a string holds a control character"
            raise SpecError(Diagnostic("syntax", message, self.source.span(at, min(at + 1, len(self.text))))) from None
        assert isinstance(value, str)
        return value

    def _unfit(self, wanted: str) -> SpecError:
        """What stands here does not fit."""
        self._space()
        others: tuple[Label, ...] = ()
        if self.at == len(self.text):
            message = f"the file ends where {wanted} was expected"
            if self.open:
                last = self.open[-1]
                others = (Label(self.source.span(last, last + 1), "this is still open"),)
            return SpecError(Diagnostic("syntax", message, self.source.span(self.at, self.at), others=others))
        word = _WORD.match(self.text, self.at)
        assert word is not None
        span = self.source.span(self.at, word.end())
        return SpecError(Diagnostic("syntax", f"`{word[0][:40]}` where {wanted} was expected", span))


def _number(match: re.Match[str]) -> int | Fraction | float:
    text = match[0]
    size = float(text)
    if size in (float("inf"), float("-inf")):
        return size
    if match[1] is None and match[2] is None:
        return int(text)
    # a number of thousands of digits is the nearest one that a float holds
    exact = len(text) <= _LONGEST_NUMBER and (match[2] is None or len(match[2]) <= 6)
    return Fraction(text) if exact else Fraction(size)
