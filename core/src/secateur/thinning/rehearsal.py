"""A rehearsal on tensors without data shows whether the thin network runs, with shapes and numbers as before.

Nothing is computed and nothing of the model is changed, so a plan that cannot work is refused before anything is
committed. A model that reads values of its tensors is not rehearsed; verification runs it for real.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from secateur.errors import SecateurError, ThinError
from secateur.graph.ir import Graph, Op
from secateur.graph.nested import leaves_of
from secateur.graph.preserve import preserved
from secateur.plugins import current
from secateur.thinning.plan import Plan
from secateur.thinning.state import get_attribute, set_attribute

if TYPE_CHECKING:
    from torch import nn

REPORT = "the model is as it was; keep the dims involved with keep=, and please report the model"


def rehearse(model: nn.Module, plan: Plan, inputs: Any) -> bool:
    """Record the dense and the thin network without data; return whether that was possible.

    Raises `ThinError` if the thin network does not run, gives outputs of other shapes, or computes with other numbers;
    the model is as it was.
    """
    builder = current().builders[plan.builder]
    given = plan.states.cut_inputs(inputs)
    if builder.run is None:  # it does not record on tensors without data
        return False
    try:
        with preserved(model):
            _empty(model, None)
            dense = builder.build(model, inputs)
    except SecateurError:
        return False  # it needs values: the verification on real tensors will tell
    if dense.decisions or dense.on_values:
        return False
    with preserved(model):
        try:
            _empty(model, plan)
            thin = builder.build(model, given)
        except SecateurError as error:
            raise ThinError(f"the thin network would not run: {error.what}", where="thin", hint=REPORT) from error
        except Exception as error:  # an attribute that refuses its new value
            raise ThinError(f"{type(error).__name__}: {error}", where="thin", hint="the model is as it was") from error
    due, found = plan.states.cut_shapes(_shapes(dense)), _shapes(thin)
    if due != found:
        text = f"the outputs of the thin network would have shapes {found} instead of {due}"
        raise ThinError(text, where="thin", hint=REPORT)
    if not plan.scales and not any(isinstance(new, float) for _, new in plan.attributes.values()):
        _check_numbers(dense, thin)  # otherwise numbers change on purpose
    return True


def _shapes(graph: Graph) -> list[tuple[int, ...]]:
    return [graph.values[name].shape for name in graph.outputs]


def _check_numbers(dense: Graph, thin: Graph) -> None:
    """Raise `ThinError` for a number that derives from a size in a way that planning could not see."""
    for op in dense.ops.values():
        before, after = _numbers(op), _numbers(thin.ops[op.name]) if op.name in thin.ops else _numbers(op)
        if before != after:
            raise ThinError(
                f"{op.kind} at {op.place} would be given {after} instead of {before}: a number that derives from a "
                "size that changes, by a computation that could not be followed",
                where="thin",
                hint="the model is as it was; keep the dims that are read there with keep=, or compute the number "
                "once, in the module's __init__",
            )


def _numbers(op: Op) -> list[float]:
    return [leaf for leaf in leaves_of((op.args, op.kwargs)) if isinstance(leaf, float)]


def _empty(model: nn.Module, plan: Plan | None) -> None:
    """Put tensors without data into the model, of the thin shapes if there is a plan, and set its attributes."""
    import torch

    made: dict[int, Any] = {}
    for path, module in model.named_modules():
        for table in (module._parameters, module._buffers):
            for key, tensor in table.items():
                if tensor is None or not (tensor.is_floating_point() or tensor.is_complex()):
                    continue
                if id(tensor) not in made:
                    cuts = plan.cuts.get(f"{path}.{key}" if path else key, {}) if plan else {}
                    shape = [length - len(cuts.get(axis, ())) for axis, length in enumerate(tensor.shape)]
                    empty = torch.empty(shape, dtype=tensor.dtype, device="meta")
                    made[id(tensor)] = torch.nn.Parameter(empty, False) if table is module._parameters else empty
                table[key] = made[id(tensor)]
    for (module_path, attribute), (_, new) in (plan.attributes if plan else {}).items():
        held = get_attribute(model, module_path, attribute)
        set_attribute(model, module_path, attribute, list(new) if isinstance(held, list) else new)
