"""What a model will cost, before it exists: closed forms for FLOPs, bytes and time, from a spec.

    >>> import costmodel as cm
    >>> model = cm.load("llama-3.1:8b")
    >>> model.cost(phase="decode").flops
    524288*batch_size*seq_len + 15009316864*batch_size
    >>> model.crossover(device="h100-nvl", seq_len=8192).status
    'never'

Nothing heavy is imported until a name of it is used: `costmodel --help` needs no SymPy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from costmodel.api import Model, compare, load, parse
    from costmodel.results import Cost, Crossover
    from costmodel.source import Diagnostic, SpecError
    from costmodel.symbols import batch_size, new_tokens, seq_len

__all__ = [
    "Cost",
    "Crossover",
    "Diagnostic",
    "Model",
    "SpecError",
    "batch_size",
    "compare",
    "load",
    "new_tokens",
    "parse",
    "seq_len",
]

_HOMES = {
    "Cost": "results",
    "Crossover": "results",
    "Model": "api",
    "compare": "api",
    "load": "api",
    "parse": "api",
    "Diagnostic": "source",
    "SpecError": "source",
    "batch_size": "symbols",
    "new_tokens": "symbols",
    "seq_len": "symbols",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
