"""What is said of a token that does not fit: what was found, what was expected, in the user's words."""

from __future__ import annotations

from collections.abc import Sequence

from lark.lexer import Token

from costmodel.names import RESERVED
from costmodel.parser.tokens import CLOSE, OPEN, span_of
from costmodel.source import Diagnostic, Label, Source, Span

KEYWORDS = frozenset(word.upper() for word in RESERVED)
DECLARATION_KEYWORDS = frozenset("MODEL USE DIM DTYPE SHARED BLOCK OP GRAPH PHASE VARIANT EXPECT DEVICE".split())
_STATEMENT_KEYWORDS = frozenset("REPEAT IF RETURN WEIGHT STATE".split())
_EXPRESSION = frozenset("NAME NUMBER QUANTITY STRING TRUE FALSE NONE LPAR LSQB MINUS DEVICE DIM".split())
_OPERATORS = frozenset("PLUS MINUS STAR SLASH PERCENT CIRCUMFLEX FLOORDIV".split())
_CLOSERS = ("RPAR", "RSQB", "RBRACE", "EQUAL", "LBRACE", "LPAR", "COMMA")
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
    "DTYPE": "a role of dtypes",
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
    source: Source, tokens: Sequence[Token], place: int, at: int, expected: set[str]
) -> Diagnostic | None:
    """What is to be said of a word of the language where a name belongs, if that is what is wrong at `at`."""
    if not 0 <= place < len(tokens) or tokens[place].type not in KEYWORDS:
        return None
    word = tokens[place]
    if place == at:
        before = tokens[at - 1].type if at else ""
        if "NAME" not in expected or "RBRACE" in expected or before not in {*_NAMED_BY, "COMMA", "LPAR", "LSQB"}:
            return None
        what = _NAMED_BY.get(before, "anything")
    elif at < len(tokens) and tokens[at].type == "EQUAL":
        what = "a variable"
    else:
        return None
    message = f"`{word}` is a word of the language and cannot name {what}"
    return Diagnostic("reserved", message, span_of(source, word))


def unexpected(source: Source, tokens: Sequence[Token], at: int, expected: set[str], whole_file: bool) -> Diagnostic:
    """What is to be said of any other token that does not fit, or of an end that comes too soon."""
    token = tokens[at] if at < len(tokens) else None
    before = tokens[at - 1] if at else None
    wanted = _words(expected)
    span = span_of(source, token) if token is not None else _end_of(source, before)
    if token is not None and token.type == "EQUAL" and "REL" in expected:
        return Diagnostic("syntax", "`=` where a comparison was expected", span, help="`==` compares, `=` assigns")
    found = f"`{token}`" if token is not None else "the file ends" if whole_file else "it ends"
    others: list[Label] = []
    label = help = ""
    opened = _still_open(tokens[:at])
    if opened is not None and OPEN[opened.type] in expected:
        kind = "brace" if opened.type == "LBRACE" else "bracket"
        others.append(Label(span_of(source, opened), f"this {kind} is still open"))
        if opened.type == "LBRACE" and before is not None and before.type != "LBRACE":
            if token is not None and token.type in DECLARATION_KEYWORDS:
                label = f"{_article(token)} cannot stand inside another declaration"
            help = f"a `}}` is missing behind line {before.end_line}"
    elif token is not None and opened is None and token.type in CLOSE:
        label = "nothing is open that this could close"
    on_new_line = token is not None and before is not None and token.line != before.end_line
    if on_new_line and expected & set(_CLOSERS) and token is not None and token.type not in DECLARATION_KEYWORDS:
        span, found = _end_of(source, before), "the line ends"
    return Diagnostic("syntax", f"{found} where {wanted} was expected", span, label, tuple(others), (), help)


def _article(token: Token) -> str:
    return f"{'an' if str(token)[0] in 'aeiou' else 'a'} `{token}`"


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


def _words(expected: set[str]) -> str:
    """A set of terminals in the user's words."""
    if expected >= DECLARATION_KEYWORDS:
        return "a declaration"
    if expected >= _STATEMENT_KEYWORDS | {"NAME"}:
        return "a statement or `}`"
    rest = set(expected)
    words = []
    if rest >= _EXPRESSION - {"MINUS"}:
        words.append("a value")
        rest -= _EXPRESSION
    if rest >= {"PLUS", "MINUS", "STAR"}:
        words.append("an operator")
        rest -= _OPERATORS | {"DOT", "LPAR", "SEMICOLON"}
    for terminal in sorted(rest):
        word = _WORDS.get(terminal, f"`{_LITERAL.get(terminal, terminal.lower())}`")
        if word:
            words.append(word)
    if not words:
        return "the end"
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
