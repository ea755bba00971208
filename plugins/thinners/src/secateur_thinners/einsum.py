"""torch.einsum: any equation, with ellipses, repeated letters and an implicit result, of any number of tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from secateur.hookspecs import hookimpl
from secateur.records import OpRule
from secateur_thinners.equations import Product


def written(ranks: Sequence[int], arguments: Mapping[str, Any]) -> str:
    """The equation of the call; torch turns lists of subscripts into one."""
    return str(arguments["equation"])


@hookimpl
def secateur_op_rules() -> list[OpRule]:
    """The rule for `einsum`."""
    return [Product(ops="einsum", signature="equation, *operands", factors=("operands",), equation=written).rule()]
