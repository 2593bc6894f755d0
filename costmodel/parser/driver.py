"""Tokens through lark's tables: to nodes in one go, or followed step by step where they do not fit.

lark's own loop looks each rule's callback up by the rule's contents, for every reduction; here that is done once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import lark
from lark.lexer import Token

END = "$END"
_Reduction = tuple[int, str, Callable[[list[Any]], Any] | None]
Stack = tuple[int, Any]
"""The parser's state at a place, and the stack below it."""


class Tables:
    """Of each state what a kind of token does there: the state to go to, or a rule to reduce by."""

    def __init__(self, parser: lark.Lark, start: str) -> None:
        state = parser.parse_interactive("", start=start).parser_state
        conf = state.parse_conf
        self.first: int = state.position
        self.end: int = conf.end_state
        reductions: dict[int, _Reduction] = {}

        def entry(argument: Any) -> int | _Reduction:
            if isinstance(argument, int):
                return argument
            found = reductions.get(id(argument))
            if found is None:
                callback = None if _passes_on(argument) else conf.callbacks[argument]
                found = reductions[id(argument)] = (len(argument.expansion), str(argument.origin.name), callback)
            return found

        self.states: dict[int, dict[str, int | _Reduction]] = {
            state: {str(kind): entry(argument) for kind, (_, argument) in actions.items()}
            for state, actions in conf.states.items()
        }

    def read(self, tokens: Sequence[Token], end: Token) -> tuple[Any, int | None]:
        """What the tokens make, and None; or the place of the first that does not fit."""
        states, last = self.states, self.end
        stack, values = [self.first], []
        for place, token in enumerate((*tokens, end)):
            kind = token.type
            while True:
                action: Any = states[stack[-1]].get(kind)
                if action is None:
                    return None, place
                if action.__class__ is int:
                    stack.append(action)
                    values.append(token)
                    break
                size, origin, callback = action
                if callback is None:
                    stack.pop()
                else:
                    children = values[-size:] if size else []
                    if size:
                        del stack[-size:], values[-size:]
                    values.append(callback(children))
                goal: Any = states[stack[-1]][origin]
                stack.append(goal)
                if goal == last and kind == END:
                    return values[-1], None
        raise AssertionError("the tables do not end")


def _passes_on(rule: Any) -> bool:
    """Whether a rule only hands its one child on: `?sum: term`."""
    return bool(rule.options.expand1) and len(rule.expansion) == 1 and not rule.expansion[0].name.startswith("_")


class Follower:
    """Follows tokens without making nodes; any place that was passed can be gone back to."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables
        self.stacks: list[Stack] = [(tables.first, None)]

    def push(self, kind: str) -> bool:
        """Take one more token; False where it does not fit."""
        stack = self._behind(self.stacks[-1], kind)
        if stack is None:
            return False
        self.stacks.append(stack)
        return True

    def back_to(self, place: int) -> None:
        """Stand before the token of this number again."""
        del self.stacks[place + 1 :]

    def accepted(self, place: int) -> set[str]:
        """The kinds of tokens that may stand at this place."""
        stack = self.stacks[place]
        kinds = self.tables.states[stack[0]]
        return {kind for kind in kinds if kind.isupper() and self._behind(stack, kind) is not None}

    def _behind(self, stack: Stack, kind: str) -> Stack | None:
        states, last = self.tables.states, self.tables.end
        while stack[0] != last:
            action = states[stack[0]].get(kind)
            if action is None:
                return None
            if isinstance(action, int):
                return (action, stack)
            size, origin, _ = action
            for _ in range(size):
                stack = stack[1]
            goal: Any = states[stack[0]][origin]
            stack = (goal, stack)
        # what may follow inside a spec may not follow what was read alone
        return stack if kind == END else None
