"""The LaTeX that may name a dim or a block: a symbol, and nothing that could do more than be one."""

from __future__ import annotations

import re

GREEK = frozenset(
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi pi varpi rho varrho"
    " sigma varsigma tau upsilon phi varphi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi"
    " Omega".split()
)
FONTS = frozenset("text mathrm mathit mathbf mathcal".split())
ACCENTS = frozenset("hat tilde bar".split())

_TOKEN = re.compile(r"\\([A-Za-z]+) ?|([A-Za-z0-9])|([_^{}',])")


class _Fault(Exception):
    pass


def latex_fault(text: str) -> str | None:
    """Why a text is no LaTeX symbol, or None where it is one.

    >>> latex_fault(r"d_{model}") is None
    True
    >>> latex_fault(r"\\input{x}")
    'the command \\\\input is not allowed'
    """
    try:
        tokens = _tokens(text)
        if len(tokens) > 60:
            return "it is too long"
        if _sequence(tokens, 0) < len(tokens):
            return "its braces do not balance"
    except _Fault as fault:
        return str(fault)
    return None


def settled(text: str) -> str:
    r"""A symbol in one form: subscripts before superscripts, each behind a letter or digit, where Markdown leaves it.

    >>> settled(r"\hat{h}^2_{in}"), settled(r"\text{attn}_2")
    ('\\hat h_{in}^2', '\\mathop{\\text{attn}}\\nolimits_2')
    """
    return _settled(_tokens(text))


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _Fault(f"the character {text[at]!r} is not allowed")
        if match[1] and match[1] not in GREEK | FONTS | ACCENTS:
            raise _Fault(f"the command \\{match[1]} is not allowed")
        tokens.append("\\" + match[1] if match[1] else match[0])
        at = match.end()
    return tokens


def _sequence(tokens: list[str], at: int) -> int:
    """Read symbols with their scripts up to a closing brace; where that is."""
    start = at
    while at < len(tokens) and tokens[at] != "}":
        if tokens[at] in ("_", "^"):
            raise _Fault(f"`{tokens[at]}` has nothing before it")
        at = _atom(tokens, at)
        scripts: set[str] = set()
        while at < len(tokens) and tokens[at] in ("_", "^", "'"):
            kind = "_" if tokens[at] == "_" else "^"
            prime = tokens[at] == "'"
            if kind in scripts:
                raise _Fault(f"two scripts `{tokens[at]}` on one symbol")
            scripts.add(kind)
            if prime:
                while at < len(tokens) and tokens[at] == "'":
                    at += 1
            else:
                at = _atom(tokens, at + 1)
    if at == start:
        raise _Fault("it is empty" if not tokens else "a brace holds nothing")
    return at


def _atom(tokens: list[str], at: int) -> int:
    """Read one letter, command or group; where the next begins."""
    if at >= len(tokens) or tokens[at] in ("_", "^", "}", "'"):
        raise _Fault("something is missing")
    token = tokens[at]
    if token == "{":
        end = _sequence(tokens, at + 1)
        if end >= len(tokens):
            raise _Fault("its braces do not balance")
        return end + 1
    name = token.removeprefix("\\")
    if token.startswith("\\") and name in FONTS | ACCENTS:
        if at + 1 >= len(tokens) or tokens[at + 1] != "{":
            raise _Fault(f"{token} needs braces behind it")
        end = _atom(tokens, at + 1)
        if name == "text" and any(not t.isalnum() and t not in "{}," for t in tokens[at + 1 : end]):
            raise _Fault("\\text holds letters and digits only")
        return end
    return at + 1


def _settled(tokens: list[str]) -> str:
    out, at = "", 0
    while at < len(tokens):
        end = _atom(tokens, at)
        base = _joined(tokens[at:end])
        scripts = {"_": "", "^": ""}
        at = end
        while at < len(tokens) and tokens[at] in ("_", "^", "'"):
            if tokens[at] == "'":
                scripts["^"] += "'"
                at += 1
                continue
            end = _atom(tokens, at + 1)
            script = _joined(tokens[at + 1 : end])
            scripts[tokens[at]] = tokens[at] + (script if end == at + 2 or script[0] == "{" else f"{{{script}}}")
            at = end
        if scripts["_"] and base.endswith("}"):
            opening = base.index("{")
            inner = base[opening + 1 : -1]
            alone = len(_tokens(inner)) == 1
            base = f"{base[:opening]} {inner}".strip() if alone else rf"\mathop{{{base}}}\nolimits"
        word = out.rpartition("\\")[2] if "\\" in out else "}"
        out += (" " if word.isalpha() and base[:1].isalpha() else "") + base + scripts["_"] + scripts["^"]
    return out


def _joined(tokens: list[str]) -> str:
    """Tokens as they are written, groups settled within."""
    if tokens[0] == "{":
        return "{" + _settled(tokens[1:-1]) + "}"
    if len(tokens) > 1:
        return tokens[0] + _joined(tokens[1:])
    return tokens[0]
