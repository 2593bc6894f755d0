"""What a spec says, as frozen nodes, each with the place where it stands. Nothing here knows what it means."""

from __future__ import annotations

from fractions import Fraction

from costmodel.frozen import Frozen
from costmodel.source import Span

# --- expressions


class Number(Frozen):
    value: Fraction
    text: str
    span: Span
    depth: int = 1


class Quantity(Frozen):
    """A number with a unit: `94 GB`."""

    value: Fraction
    text: str
    unit: str
    unit_span: Span
    span: Span
    depth: int = 1


class Text(Frozen):
    value: str
    span: Span
    depth: int = 1


class Name(Frozen):
    id: str
    span: Span
    depth: int = 1


class Truth(Frozen):
    """`true`, `false` or `none`."""

    value: bool | None
    span: Span
    depth: int = 1


class Attribute(Frozen):
    """`embedding.T`, `dim.hidden_size`, `device.peak.fp8`."""

    parts: tuple[str, ...]
    span: Span
    depth: int = 1


class Argument(Frozen):
    name: str | None
    value: Expression
    span: Span

    @property
    def depth(self) -> int:
        return self.value.depth


class Call(Frozen):
    function: str
    function_span: Span
    arguments: tuple[Argument, ...]
    span: Span
    depth: int


class ListOf(Frozen):
    items: tuple[Expression, ...]
    span: Span
    depth: int


class Sum(Frozen):
    """Terms with the sign, `+` or `-`, before each."""

    terms: tuple[tuple[str, Expression], ...]
    span: Span
    depth: int


class Product(Frozen):
    """Factors with the operator, `*`, `/`, `//` or `%`, before each, taken from left to right."""

    factors: tuple[tuple[str, Expression], ...]
    span: Span
    depth: int


class Negative(Frozen):
    operand: Expression
    span: Span
    depth: int


class Power(Frozen):
    base: Expression
    exponent: Expression
    span: Span
    depth: int


Expression = Number | Quantity | Text | Name | Truth | Attribute | Call | ListOf | Sum | Product | Negative | Power


class Condition(Frozen):
    left: Expression
    relation: str
    right: Expression
    span: Span


# --- statements


class TypeName(Frozen):
    """A dtype by name, or `N bits`."""

    name: str
    bits: Fraction | None
    span: Span


class Body(Frozen):
    statements: tuple[Statement, ...]
    span: Span


class Assign(Frozen):
    """`a = expr`, `a, b = expr`, with the body that only `route` takes."""

    targets: tuple[Name, ...]
    value: Expression
    body: Body | None
    span: Span


class Repeat(Frozen):
    count: Expression
    body: Body
    span: Span


class If(Frozen):
    condition: Condition
    then: Body
    otherwise: Body | None
    span: Span


class Return(Frozen):
    values: tuple[Expression, ...]
    body: Body | None
    span: Span


class Weight(Frozen):
    """`NAME[in, ... -> out, ...] : type`; `inputs` is None where there is no arrow."""

    name: str
    name_span: Span
    inputs: tuple[Expression, ...] | None
    axes: tuple[Expression, ...]
    dtype: TypeName | None
    span: Span


class State(Frozen):
    name: str
    name_span: Span
    axes: tuple[Expression, ...]
    dtype: TypeName | None
    span: Span


class Weights(Frozen):
    weights: tuple[Weight, ...]
    span: Span


class States(Frozen):
    states: tuple[State, ...]
    span: Span


Statement = Assign | Repeat | If | Return | Weights | States


# --- declarations


class ModelName(Frozen):
    name: str
    name_span: Span
    title: str | None
    span: Span


class Use(Frozen):
    path: str
    path_span: Span
    span: Span


class Dim(Frozen):
    name: str
    name_span: Span
    value: Expression | None
    latex: str | None
    doc: str | None
    span: Span


class DType(Frozen):
    role: str
    role_span: Span
    type: TypeName
    span: Span


class Parameter(Frozen):
    """A parameter of a block; `axes` is the pattern of an op's argument or the shape of a graph's input."""

    name: str
    axes: tuple[Expression, ...] | None
    default: Expression | None
    span: Span


class Block(Frozen):
    name: str
    name_span: Span
    parameters: tuple[Parameter, ...]
    latex: str | None
    shared: bool
    body: Body
    span: Span


class OpDeclaration(Frozen):
    name: str
    name_span: Span
    parameters: tuple[Parameter, ...]
    result: tuple[Expression, ...]
    body: Body
    span: Span


class Graph(Frozen):
    name: str
    name_span: Span
    inputs: tuple[Parameter, ...]
    latex: str | None
    body: Body
    span: Span


class Setting(Frozen):
    name: str
    name_span: Span
    value: Expression
    span: Span


class Phase(Frozen):
    name: str
    name_span: Span
    graph: str | None
    graph_span: Span | None
    settings: tuple[Setting, ...]
    span: Span


class Expect(Frozen):
    condition: Condition
    source: str | None
    span: Span


class Variant(Frozen):
    name: str
    name_span: Span
    settings: tuple[Setting, ...]
    dtypes: tuple[DType, ...]
    expects: tuple[Expect, ...]
    span: Span


class Field(Frozen):
    """A line of a device: `memory = 94 GB`, `peak bf16 = 835.5 TFLOP/s`."""

    name: str
    kind: str | None
    value: Expression
    name_span: Span
    span: Span


class DeviceDeclaration(Frozen):
    name: str
    name_span: Span
    title: str | None
    fields: tuple[Field, ...]
    span: Span


Declaration = (
    ModelName
    | Use
    | Dim
    | DType
    | Block
    | OpDeclaration
    | Graph
    | Phase
    | Variant
    | Expect
    | DeviceDeclaration
    | Weights
)


class Spec(Frozen):
    """A file's declarations in their order."""

    declarations: tuple[Declaration, ...]
    span: Span
