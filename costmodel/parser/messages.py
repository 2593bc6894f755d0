"""What is said of a token that does not fit: what was found, what was expected, in the user's words."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lark.lexer import Token

from costmodel.names import listed
from costmodel.parser.recovery import DECLARATION_KEYWORDS, KEYWORDS, unclosed
from costmodel.parser.tokens import CLOSE, OPEN, span_of
from costmodel.source import Diagnostic, Label, Source, Span

_DECLARATIONS = "model use dim dtype block weight op graph phase variant expect device".split()
_STATEMENTS = frozenset("REPEAT IF RETURN WEIGHT STATE".split())
_VALUE = frozenset("NAME NUMBER STRING LPAR".split())
_EXPRESSION = frozenset("NAME NUMBER QUANTITY STRING TRUE FALSE NONE LPAR LSQB MINUS DEVICE DIM".split())
_WITHOUT_BRACKETS = "several values stand without brackets: `a, b = …`, `return a, b`"
_OPERATORS = frozenset("PLUS MINUS STAR SLASH PERCENT CIRCUMFLEX FLOORDIV".split())
_MISSING = frozenset("RPAR RSQB EQUAL LBRACE LPAR COMMA".split())
_NAMED_BY = {
    "MODEL": "a model",
    "DIM": "a dim",
    "BLOCK": "a block",
    "OP": "an op",
    "GRAPH": "a graph",
    "PHASE": "a phase",
    "WEIGHT": "a weight",
    "STATE": "a state",
    "DEVICE": "a device",
}
# words of other languages, and what stands here in their place
_FOREIGN_STATEMENTS = {
    **dict.fromkeys(("for", "while", "loop"), "`repeat N { … }` runs a body N times"),
    **dict.fromkeys(("elif", "elseif", "elsif"), "`else { if … { … } }`"),
    **dict.fromkeys(("let", "var", "const", "auto", "set"), "`x = …` is enough"),
    **dict.fromkeys(("def", "fn", "func", "function", "class"), "`block NAME(x) { … }`, outside of other blocks"),
    **dict.fromkeys(("param", "parameter"), "`weight NAME[in -> out]`"),
    **dict.fromkeys(("print", "assert"), "`expect … == …` at top level states a fact"),
    **dict.fromkeys(("break", "continue", "pass"), "an empty body is `{ }`, and a `repeat` runs to its end"),
}
_FOREIGN_DECLARATIONS = {
    **dict.fromkeys(("import", "include", "from", "require"), '`use "path.arch"` brings in another file'),
    **dict.fromkeys(("def", "fn", "func", "function", "class", "layer", "module"), "`block NAME(x) { … }`"),
    **dict.fromkeys(("let", "var", "const", "int", "size", "axis"), "`dim NAME = …`"),
    **dict.fromkeys(("param", "parameter", "tensor"), "`weight NAME[in -> out]`"),
    **dict.fromkeys(("assert", "check"), "`expect … == …` states a fact"),
}
_LITERAL = {
    "LPAR": "(",
    "RPAR": ")",
    "LSQB": "[",
    "RSQB": "]",
    "LBRACE": "{",
    "RBRACE": "}",
    "EQUAL": "=",
    "COMMA": ",",
    "DOT": ".",
    "COLON": ":",
    "SEMICOLON": ";",
    "PLUS": "+",
    "MINUS": "-",
    "STAR": "*",
    "SLASH": "/",
    "PERCENT": "%",
    "CIRCUMFLEX": "^",
    "ARROW": "->",
    "FLOORDIV": "//",
}
_WORDS = {
    "NAME": "a name",
    "STRING": "a string",
    "NUMBER": "a number",
    "QUANTITY": "",
    "REL": "a comparison",
    "$END": "",
}


def reserved_word(
    source: Source, tokens: Sequence[Token], place: int, at: int, expected: set[str], place_expects: set[str]
) -> Diagnostic | None:
    """What is to be said of a word of the language where a name belongs, if that is what is wrong at `at`.

    `expected` are the tokens that may stand there, `place_expects` those at `place`, where the word is.
    """
    if not 0 <= place < len(tokens) or tokens[place].type not in KEYWORDS:
        return None
    word = tokens[place]
    if place == at:
        before = tokens[at - 1].type if at else ""
        if "NAME" not in expected or "RBRACE" in expected or before not in {*_NAMED_BY, "COMMA", "LPAR", "LSQB"}:
            return None
        what = _NAMED_BY.get(before, "anything")
    elif at < len(tokens) and tokens[at].type == "EQUAL" and place_expects >= _STATEMENTS:
        what = "a variable"
    else:
        return None
    message = f"`{word}` is a word of the language and cannot name {what}"
    return Diagnostic("reserved", message, span_of(source, word))


def unexpected(source: Source, tokens: Sequence[Token], at: int, expected: set[str], whole_file: bool) -> Diagnostic:
    """What is to be said of any other token that does not fit, or of an end that comes too soon."""
    token = tokens[at] if at < len(tokens) else None
    before = tokens[at - 1] if at else None
    idiom = _idiom(source, tokens, at, expected)
    if idiom is not None and idiom.message:
        return idiom
    span = span_of(source, token) if token is not None else _end_of(source, before)
    found = f"`{token}`" if token is not None else "the file ends" if whole_file else "it ends"
    on_new_line = token is not None and before is not None and token.line != before.end_line
    wanted = _words(expected, on_new_line or token is None or before is None)
    others: list[Label] = []
    facts: list[str] = []
    label, help = "", idiom.help if idiom is not None else ""
    opened = _still_open(tokens[:at])
    if opened is not None and OPEN[opened.type] in expected:
        if opened.type == "LBRACE":
            label, places, help = _open_brace(source, tokens[:at], opened, token, help)
            others += places
        else:
            others.append(Label(span_of(source, opened), "this bracket is still open"))
    elif token is not None and opened is None and token.type in CLOSE:
        label = "nothing is open that this could close"
    elif wanted == "a declaration" and token is not None and token.type in _STATEMENTS | {"ELSE"}:
        closed = next((t for t in reversed(tokens[:at]) if t.type == "RBRACE"), None)
        if closed is not None:
            others.append(Label(span_of(source, closed), "this closed the last body"))
    elif wanted == "a declaration" and not help:
        facts.append(f"a declaration begins with {listed(_DECLARATIONS, len(_DECLARATIONS))}")
    # what is missing at the end of a line is noticed at the first word of the next
    missing = expected & _MISSING and not expected >= _STATEMENTS and not expected >= DECLARATION_KEYWORDS
    if on_new_line and (missing or expected >= _VALUE):
        span, found = _end_of(source, before), "the line ends"
    return Diagnostic("syntax", f"{found} where {wanted} was expected", span, label, tuple(others), tuple(facts), help)


def _open_brace(
    source: Source, tokens: Sequence[Token], opened: Token, token: Token | None, help: str
) -> tuple[str, list[Label], str]:
    """Of a brace that is still open: what is said of the token that shows it, the places, and what to do."""
    before = tokens[-1]
    label = ""
    if token is not None and token.type in DECLARATION_KEYWORDS:
        label = f"{'an' if str(token)[0] in 'aeiou' else 'a'} `{token}` cannot stand inside another declaration"
    elif token is not None and token.type == "ELSE":
        label = "an `else` stands behind the body of its `if`"
        if not any(t.type == "IF" and t.line == opened.line for t in tokens):
            return label, [], help
    elif token is not None:
        # another fault of a statement; that its braces are open is as it should be
        return "", [], help
    found = unclosed(tokens)
    if found is not None:
        line = next(t for t in tokens if t.line == found.brace.line)
        places = [
            Label(span_of(source, found.brace), "this brace is very likely not closed"),
            Label(span_of(source, found.closer), f"closes it, and is indented less than line {line.line}"),
        ]
        return label, places, f"a `}}` is missing behind line {found.last.end_line}"
    places = [Label(span_of(source, opened), "this brace is still open")]
    if before.type == "LBRACE":
        return label, places, help
    start = next((t for t in tokens if t.line == before.line and t.type == "RETURN"), None)
    why = "; a `return` ends its block" if start is not None else ""
    if token is not None and before.end_line not in (opened.line, token.line):
        places.append(Label(_end_of(source, before), ""))
    return label, places, f"a `}}` is missing behind line {before.end_line}{why}"


def _idiom(source: Source, tokens: Sequence[Token], at: int, expected: set[str]) -> Diagnostic | None:
    """What other languages write and this one does not: the help for it, and a message where the usual one misleads."""
    token = tokens[at] if at < len(tokens) else None
    if token is None:
        return None
    before = tokens[at - 1] if at else None
    after = tokens[at + 1] if at + 1 < len(tokens) else None
    here = span_of(source, token)

    def helped(help: str, message: str = "", span: Span = here) -> Diagnostic:
        return Diagnostic("syntax", message, span, help=help)

    if token.type == "EQUAL" and "ARROW" in expected:
        return helped("`->` parts what goes in from what comes out")
    if token.type == "EQUAL" and "REL" in expected:
        return helped("`==` compares, `=` assigns", "`=` where a comparison was expected")
    if "EQUAL" in expected and (token.type == "COLON" or (token.type == "REL" and "RPAR" not in expected)):
        return helped("`=` gives a value" + (", `==` compares" if token.type == "REL" else ""))
    if token.type == "REL" and "REL" not in expected and "COMMA" not in expected:
        inside = "RPAR" in expected
        return helped("a condition stands without brackets" if inside else "a condition is one comparison")
    if token.type == "COLON" and "LBRACE" in expected:
        return helped("a body stands in braces: `{ … }`")
    named = at > 1 and tokens[at - 2].type in _NAMED_BY
    if token.type == "MINUS" and named and after is not None:
        return helped(f"`{before}_{after}`: a name holds no `-`")
    if token.type == "STRING" and "NAME" in expected and str(token)[1:-1].isidentifier():
        return helped(f"a name stands without quotation marks: `{str(token)[1:-1]}`")
    if token.type == "STAR" and before is not None and before.type == "STAR":
        return helped("`^` is the power: `2^10`")
    if token.type == "DOT" and after is not None and after.type == "NUMBER":
        return helped(f"`0.{after}`")
    if token.type == "COMMA" and _is_number(before, r"[0-9]{1,3}") and _is_number(after, r"[0-9]{3}"):
        return helped(f"`{before}_{after}`: digits may be parted by `_`")
    if token.type == "LSQB" and "PLUS" in expected:
        return helped("`slice(x, lo, hi)` takes positions of the last axis")
    if token.type == "COMMA" and "RPAR" in expected and "COMMA" not in expected:
        return helped(_WITHOUT_BRACKETS)
    if token.type == "LPAR" and expected >= _STATEMENTS:
        return helped(_WITHOUT_BRACKETS)
    if token.type in CLOSE and before is not None and before.type == "COMMA":
        return helped("the `,` before it is one too many")
    if token.type == "NAME" and expected == {"STRING"}:
        line = source.line(here.line)[here.column - 1 :].partition("#")[0].strip()
        return helped(f'`"{line if before is not None and before.type == "USE" else token}"`')
    if token.type == "AS" and before is not None and before.type == "STRING":
        return helped("`as` stands before the description")
    if token.type == "IF" and before is not None and before.type == "ELSE":
        return helped("`else { if … { … } }`")
    if token.type == "LBRACE" and "REL" in expected:
        return helped("an `if` compares two values: `if d > 0`, `if causal == true`")
    if before is not None and re.search(r"\b(and|or|not)$", before) and before.type in ("NAME", "QUANTITY"):
        return helped("a condition is one comparison; an `if` in an `if` is `and`, `!=` is `not`")
    if token.type in ("FLOORDIV", "SLASH") and ({"COMMA", "EQUAL"} == expected or _STATEMENTS & expected):
        return helped("`#` starts a comment")
    if before is not None and before.type == "NAME" and expected == {"COMMA", "EQUAL"}:
        return _statement(source, before, token, after)
    if token.type == "NAME" and expected >= DECLARATION_KEYWORDS:
        if str(token) in _FOREIGN_DECLARATIONS:
            return helped(_FOREIGN_DECLARATIONS[str(token)])
        if after is not None and after.type in ("EQUAL", "COLON"):
            return helped(f"`dim {token} = …`")
    return None


def _statement(source: Source, name: Token, token: Token, after: Token | None) -> Diagnostic | None:
    """What is to be said of a statement that begins with a name and does not go on with `=`."""
    span = span_of(source, name)
    if str(name) in _FOREIGN_STATEMENTS and token.type != "EQUAL":
        help = _FOREIGN_STATEMENTS[str(name)]
        return Diagnostic("syntax", f"there is no statement `{name}`", span, help=help)
    if token.type in _OPERATORS and after is not None and after.type == "EQUAL":
        return Diagnostic("syntax", "", span, help=f"`{name} = {name} {token} …`")
    if token.type in _OPERATORS | {"LPAR", "DOT"}:
        value = (
            f"{name}(…)" if token.type == "LPAR" else f"{name}{token}…" if token.type == "DOT" else f"{name} {token} …"
        )
        message, fact = f"`{value}` stands alone", "a statement gives its value a name, or returns it"
        return Diagnostic("syntax", message, span, facts=(fact,), help=f"`y = {value}`")
    return None


def _is_number(token: Token | None, pattern: str) -> bool:
    return token is not None and token.type == "NUMBER" and re.fullmatch(pattern, token) is not None


def _end_of(source: Source, token: Token | None) -> Span:
    end = token.end_pos if token is not None and token.end_pos is not None else len(source.text)
    return source.span(end, end)


def _still_open(tokens: Sequence[Token]) -> Token | None:
    """The innermost bracket that is not closed yet."""
    stack: list[Token] = []
    for token in tokens:
        if token.type in OPEN:
            stack.append(token)
        elif token.type in CLOSE and stack and stack[-1].type == CLOSE[token.type]:
            stack.pop()
    return stack[-1] if stack else None


def _words(expected: set[str], at_start: bool) -> str:
    """A set of terminals in the user's words; `at_start` of a line, what may begin there is enough."""
    rest = set(expected)
    after = ""
    if rest >= DECLARATION_KEYWORDS:
        rest -= DECLARATION_KEYWORDS | {"WEIGHT", "SEMICOLON"}
        if at_start or not rest - {"$END"}:
            return "a declaration"
        after = "the next declaration"
    elif at_start and rest >= {"DTYPE", "EXPECT", "NAME", "RBRACE"}:
        return "a setting or `}`"
    elif rest >= _STATEMENTS | {"NAME"}:
        rest -= _STATEMENTS | {"NAME", "RBRACE", "SEMICOLON"}
        if at_start or not rest:
            return "a statement or `}`"
        # only `route` takes a body behind a value
        rest -= {"LBRACE"}
        after = "the next statement"
    words = []
    if rest >= _VALUE:
        words.append("a value")
        rest -= _EXPRESSION
    if rest >= {"PLUS", "MINUS", "STAR"}:
        words.append("an operator")
        rest -= _OPERATORS | {"DOT", "LPAR", "SEMICOLON"}
    if "RPAR" in rest:
        # a name before it: an argument's, which is not what is missing
        rest -= {"EQUAL"}
    if len(rest) > 1:
        rest -= {"SEMICOLON"}
    for terminal in sorted(rest):
        word = _WORDS.get(terminal, f"`{_LITERAL.get(terminal, terminal.lower())}`")
        if word:
            words.append(word)
    if after:
        words.append(after)
    if not words:
        return "the end"
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
