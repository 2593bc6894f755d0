"""Ways through a syntax tree: the statements of a body, the parts of an expression, what is declared and assigned."""

from __future__ import annotations

from collections.abc import Iterator

from costmodel import syntax


def statements(body: syntax.Body) -> Iterator[syntax.Statement]:
    """Every statement of a body, those inside others too."""
    for statement in body.statements:
        yield statement
        match statement:
            case syntax.Repeat():
                yield from statements(statement.body)
            case syntax.If():
                yield from statements(statement.then)
                if statement.otherwise is not None:
                    yield from statements(statement.otherwise)
            case syntax.Assign() | syntax.Return():
                if statement.body is not None:
                    yield from statements(statement.body)
            case _:
                pass


def children(expression: syntax.Expression) -> tuple[syntax.Expression, ...]:
    """The expressions that one is made of."""
    match expression:
        case syntax.Sum(terms=pairs) | syntax.Product(factors=pairs):
            return tuple(node for _, node in pairs)
        case syntax.Negative():
            return (expression.operand,)
        case syntax.Power():
            return (expression.base, expression.exponent)
        case syntax.Call():
            return tuple(argument.value for argument in expression.arguments)
        case syntax.ListOf():
            return expression.items
        case _:
            return ()


def walk(expression: syntax.Expression) -> Iterator[syntax.Expression]:
    """An expression and all that it is made of."""
    yield expression
    for child in children(expression):
        yield from walk(child)


def returns_in(body: syntax.Body) -> Iterator[syntax.Return]:
    """The `return`s of a body itself, not those of a `route`'s body inside it."""
    for statement in body.statements:
        match statement:
            case syntax.Return():
                yield statement
            case syntax.If():
                yield from returns_in(statement.then)
                if statement.otherwise is not None:
                    yield from returns_in(statement.otherwise)
            case syntax.Repeat():
                yield from returns_in(statement.body)
            case _:
                pass


def always_returns(statement: syntax.Statement) -> bool:
    match statement:
        case syntax.Return():
            return True
        case syntax.If():
            if statement.otherwise is None:
                return False
            arms = (statement.then, statement.otherwise)
            return all(arm.statements and always_returns(arm.statements[-1]) for arm in arms)
        case _:
            return False


def values_of(statement: syntax.Statement) -> tuple[syntax.Expression, ...]:
    match statement:
        case syntax.Assign():
            return (statement.value,)
        case syntax.Return():
            return statement.values
        case syntax.Repeat():
            return (statement.count,)
        case syntax.If():
            return (statement.condition.left, statement.condition.right)
        case _:
            return ()


def calls_in(body: syntax.Body) -> Iterator[syntax.Call]:
    for statement in statements(body):
        for value in values_of(statement):
            for node in walk(value):
                if isinstance(node, syntax.Call):
                    yield node


def assigned_in(body: syntax.Body) -> frozenset[str]:
    """The variables that a body assigns, those in a `route`'s body, which has names of its own, left out."""
    found: set[str] = set()
    for statement in body.statements:
        match statement:
            case syntax.Assign():
                found |= {target.id for target in statement.targets}
            case syntax.Repeat():
                found |= assigned_in(statement.body)
            case syntax.If():
                found |= assigned_in(statement.then)
                if statement.otherwise is not None:
                    found |= assigned_in(statement.otherwise)
            case _:
                pass
    return frozenset(found)


def declared_in(body: syntax.Body) -> Iterator[str]:
    for statement in statements(body):
        if isinstance(statement, syntax.Weights):
            yield from (weight.name for weight in statement.weights)
        elif isinstance(statement, syntax.States):
            yield from (state.name for state in statement.states)
