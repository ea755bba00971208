"""The text of a Python file that rebuilds a thin structure, and needs torch only."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

import secateur
from secateur.export.structure import Attribute, Structure, Tensor

if TYPE_CHECKING:
    from torch import nn

MARK: Final = "This file needs torch only. Written by Secateur"
"""What tells our files from others."""

HEAD: Final = '''\
"""Rebuild the thin structure of a network from the class {kind}.

    from safetensors.torch import load_file

    model = thin(...)  # a fresh dense {kind}, made with the arguments of the one that was pruned
    model.load_state_dict(load_file("{weights}"))

{mark} {version} after {steps}: {before:,} -> {after:,} numbers
in the tensors below.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
'''

FUNCTIONS: Final = '''

def thin(model: nn.Module) -> nn.Module:
    """Give a fresh dense model the thin structure, in place, and return it; its weights must be loaded afterwards.

    Parameters stay the same objects, in their dtype and on their device, so that tied ones stay tied. Until weights
    are loaded, the values of what was cut mean nothing. Raises ValueError, and changes nothing, if the model is not
    the dense one.
    """
    if problems := _problems(model):
        more = f"; and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ValueError(f"{type(model).__name__} is not the dense model: {'; '.join(problems[:5])}{more}")
    for name, (_, shape) in TENSORS.items():
        tensor = _find(model, name)
        _replace(tensor, tensor.detach().new_empty(shape))
    for name, (_, axes) in BUFFERS.items():
        tensor = _find(model, name)
        kept = tensor.detach()
        for axis, ranges in axes.items():
            indices = [index for start, stop in ranges for index in range(start, stop)]
            kept = kept.index_select(axis, torch.tensor(indices, device=kept.device))
        _replace(tensor, kept)
    for name, (_, value) in ATTRIBUTES.items():
        path, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(path), attribute, list(value) if isinstance(value, list) else value)
    return model


def _problems(model: nn.Module) -> list[str]:
    found = []
    shapes = {name: dense for table in (TENSORS, BUFFERS) for name, (dense, _) in table.items()}
    for name, dense in shapes.items():
        held = _find(model, name)
        if not isinstance(held, Tensor):
            found.append(f"it has no tensor {name}")
        elif tuple(held.shape) != dense:
            found.append(f"{name} has shape {tuple(held.shape)} where {dense} is expected")
    for name, (dense, _) in ATTRIBUTES.items():
        held = _find(model, name)
        if held is MISSING:
            found.append(f"it has no attribute {name}")
        elif held != dense:
            found.append(f"{name} is {held} where {dense} is expected")
    return found


def _find(model: nn.Module, name: str) -> Any:
    path, _, attribute = name.rpartition(".")
    try:
        return getattr(model.get_submodule(path), attribute)
    except AttributeError:
        return MISSING


def _replace(tensor: Tensor, data: Tensor) -> None:
    if tensor.dim() in (4, 5) and tensor.stride() != torch.empty(tensor.shape, device="meta").stride():
        layout = torch.channels_last if tensor.dim() == 4 else torch.channels_last_3d
        if tensor.is_contiguous(memory_format=layout):
            data = data.to(memory_format=layout)
    if tensor.is_leaf:
        tensor.grad = None
    if tensor.requires_grad:  # between the two in another dtype: else a graph that still lives keeps the old shape
        other = torch.float32 if tensor.dtype == torch.float64 else torch.float64
        tensor.data = torch.empty(0, dtype=other, device=tensor.device)
    tensor.data = data
'''


def source(model: nn.Module, structure: Structure, held: Collection[str], weights: str) -> str:
    """The text of the file. `held`: the names in the state dict; `weights`: the name of the file that holds them."""
    loaded = [tensor for tensor in structure.tensors if tensor.name in held]
    apart = [tensor for tensor in structure.tensors if tensor.name not in held]
    head = HEAD.format(
        kind=_shown(type(model).__name__, "Net"),
        weights=_shown(weights, "weights.safetensors"),
        mark=MARK,
        version=secateur.__version__,
        steps="1 thinning" if structure.steps == 1 else f"{structure.steps} thinnings",
        before=sum(math.prod(tensor.dense) for tensor in structure.tensors),
        after=sum(math.prod(tensor.thin) for tensor in structure.tensors),
    )
    lines = [
        head,
        "# What was cut: {name: (dense shape, thin shape)}.",
        *_table("TENSORS: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]", _tensor_lines(model, loaded, structure)),
        "",
        "# Sizes that modules hold: {name: (dense value, thin value)}.",
        *_table("ATTRIBUTES: dict[str, tuple[Any, Any]]", map(_attribute_line, structure.attributes)),
        "",
        "# Buffers that a state dict does not hold: {name: (dense shape, {axis: half-open ranges of what stays})}.",
        *_table(
            "BUFFERS: dict[str, tuple[tuple[int, ...], dict[int, list[tuple[int, int]]]]]", map(_buffer_line, apart)
        ),
        "",
        "MISSING = object()",
    ]
    return "\n".join(lines) + "\n" + FUNCTIONS


def _table(name: str, lines: Iterator[str]) -> list[str]:
    found = list(lines)
    return [f"{name} = {{", *found, "}"] if found else [f"{name} = {{}}"]


def _tensor_lines(model: nn.Module, tensors: list[Tensor], structure: Structure) -> Iterator[str]:
    for path, members in groupby(tensors, lambda tensor: tensor.module):
        changes = [
            f"{_shown(it.name.rpartition('.')[2], '?')} {_literal(it.dense)} -> {_literal(it.thin)}"
            for it in structure.attributes
            if it.module == path
        ]
        kind = _shown(type(model.get_submodule(path)).__name__, "Module")
        yield f"    # {_shown(path, '(the model itself)')}, {kind}" + (f": {', '.join(changes)}" if changes else "")
        for tensor in members:
            yield f"    {_literal(tensor.name)}: ({_literal(tensor.dense)}, {_literal(tensor.thin)}),"


def _attribute_line(attribute: Attribute) -> str:
    return f"    {_literal(attribute.name)}: ({_literal(attribute.dense)}, {_literal(attribute.thin)}),"


def _buffer_line(tensor: Tensor) -> str:
    axes = {axis: [(start, stop) for start, stop in ranges] for axis, ranges in tensor.kept.items()}
    return f"    {_literal(tensor.name)}: ({_literal(tensor.dense)}, {axes}),"


def _literal(value: Any) -> str:
    """Python for a name, a number, or a sequence of numbers, with double quotes as formatters want them."""
    if isinstance(value, str):
        return f'"{value}"' if re.fullmatch(r"[\w.]*", value) else ascii(value)
    if isinstance(value, float) and not math.isfinite(value):
        return f'float("{value}")'
    return repr(value)


def _shown(text: str, otherwise: str) -> str:
    """A name fit for a comment or a docstring; it may hold anything."""
    return text if re.fullmatch(r"[\w.+-]+", text, re.ASCII) else otherwise
