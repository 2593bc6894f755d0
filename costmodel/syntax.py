"""What a spec says, as frozen nodes, each with the place where it stands. Nothing here knows what it means."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from costmodel.source import Span

# --- expressions


@dataclass(frozen=True, slots=True)
class Number:
    value: Fraction
    text: str
    span: Span
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number with a unit: `94 GB`."""

    value: Fraction
    text: str
    unit: str
    unit_span: Span
    span: Span
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Text:
    value: str
    span: Span
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Name:
    id: str
    span: Span
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Truth:
    """`true`, `false` or `none`."""

    value: bool | None
    span: Span
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Attribute:
    """`embedding.T`, `dim.hidden_size`, `device.peak.fp8`."""

    parts: tuple[str, ...]
    span: Span
    depth: int = 1


@dataclass(frozen=True, slots=True)
class Argument:
    name: str | None
    value: Expression
    span: Span

    @property
    def depth(self) -> int:
        return self.value.depth


@dataclass(frozen=True, slots=True)
class Call:
    function: str
    function_span: Span
    arguments: tuple[Argument, ...]
    span: Span
    depth: int


@dataclass(frozen=True, slots=True)
class ListOf:
    items: tuple[Expression, ...]
    span: Span
    depth: int


@dataclass(frozen=True, slots=True)
class Sum:
    """Terms with the sign, `+` or `-`, before each."""

    terms: tuple[tuple[str, Expression], ...]
    span: Span
    depth: int


@dataclass(frozen=True, slots=True)
class Product:
    """Factors with the operator, `*`, `/`, `//` or `%`, before each, taken from left to right."""

    factors: tuple[tuple[str, Expression], ...]
    span: Span
    depth: int


@dataclass(frozen=True, slots=True)
class Negative:
    operand: Expression
    span: Span
    depth: int


@dataclass(frozen=True, slots=True)
class Power:
    base: Expression
    exponent: Expression
    span: Span
    depth: int


Expression = Number | Quantity | Text | Name | Truth | Attribute | Call | ListOf | Sum | Product | Negative | Power


@dataclass(frozen=True, slots=True)
class Condition:
    left: Expression
    relation: str
    right: Expression
    span: Span


# --- statements


@dataclass(frozen=True, slots=True)
class TypeName:
    """A dtype by name, or `N bits`."""

    name: str
    bits: Fraction | None
    span: Span


@dataclass(frozen=True, slots=True)
class Body:
    statements: tuple[Statement, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Assign:
    """`a = expr`, `a, b = expr`, with the body that only `route` takes."""

    targets: tuple[Name, ...]
    value: Expression
    body: Body | None
    span: Span


@dataclass(frozen=True, slots=True)
class Repeat:
    count: Expression
    body: Body
    span: Span


@dataclass(frozen=True, slots=True)
class If:
    condition: Condition
    then: Body
    otherwise: Body | None
    span: Span


@dataclass(frozen=True, slots=True)
class Return:
    values: tuple[Expression, ...]
    body: Body | None
    span: Span


@dataclass(frozen=True, slots=True)
class Weight:
    """`NAME[in, ... -> out, ...] : type`; `inputs` is None where there is no arrow."""

    name: str
    name_span: Span
    inputs: tuple[Expression, ...] | None
    axes: tuple[Expression, ...]
    dtype: TypeName | None
    span: Span


@dataclass(frozen=True, slots=True)
class State:
    name: str
    name_span: Span
    axes: tuple[Expression, ...]
    dtype: TypeName | None
    span: Span


@dataclass(frozen=True, slots=True)
class Weights:
    weights: tuple[Weight, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class States:
    states: tuple[State, ...]
    span: Span


Statement = Assign | Repeat | If | Return | Weights | States


# --- declarations


@dataclass(frozen=True, slots=True)
class ModelName:
    name: str
    name_span: Span
    title: str | None
    span: Span


@dataclass(frozen=True, slots=True)
class Use:
    path: str
    path_span: Span
    span: Span


@dataclass(frozen=True, slots=True)
class Dim:
    name: str
    name_span: Span
    value: Expression | None
    latex: str | None
    doc: str | None
    span: Span


@dataclass(frozen=True, slots=True)
class DType:
    role: str
    role_span: Span
    type: TypeName
    span: Span


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a block; `axes` is the pattern of an op's argument or the shape of a graph's input."""

    name: str
    axes: tuple[Expression, ...] | None
    default: Expression | None
    span: Span


@dataclass(frozen=True, slots=True)
class Block:
    name: str
    name_span: Span
    parameters: tuple[Parameter, ...]
    latex: str | None
    shared: bool
    body: Body
    span: Span


@dataclass(frozen=True, slots=True)
class OpDeclaration:
    name: str
    name_span: Span
    parameters: tuple[Parameter, ...]
    result: tuple[Expression, ...]
    body: Body
    span: Span


@dataclass(frozen=True, slots=True)
class Graph:
    name: str
    name_span: Span
    inputs: tuple[Parameter, ...]
    latex: str | None
    body: Body
    span: Span


@dataclass(frozen=True, slots=True)
class Setting:
    name: str
    name_span: Span
    value: Expression
    span: Span


@dataclass(frozen=True, slots=True)
class Phase:
    name: str
    name_span: Span
    graph: str | None
    graph_span: Span | None
    settings: tuple[Setting, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Expect:
    condition: Condition
    source: str | None
    span: Span


@dataclass(frozen=True, slots=True)
class Variant:
    name: str
    name_span: Span
    settings: tuple[Setting, ...]
    dtypes: tuple[DType, ...]
    expects: tuple[Expect, ...]
    span: Span


@dataclass(frozen=True, slots=True)
class Field:
    """A line of a device: `memory = 94 GB`, `peak bf16 = 835.5 TFLOP/s`."""

    name: str
    kind: str | None
    value: Expression
    name_span: Span
    span: Span


@dataclass(frozen=True, slots=True)
class DeviceDeclaration:
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


@dataclass(frozen=True, slots=True)
class Spec:
    """A file's declarations in their order."""

    declarations: tuple[Declaration, ...]
    span: Span
