"""A rehearsal on tensors without data shows whether the thin network runs, with shapes and numbers as before.

Nothing is computed and nothing of the model is changed, so a plan that cannot work is refused before anything is
committed. A model that does not run without data (it reads values) is not rehearsed; verification runs it for real.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen

from secateur.errors import ThinError
from secateur.graph.nested import tensors_in
from secateur.graph.preserve import preserved
from secateur.plugins import current
from secateur.thinning.plan import Plan
from secateur.thinning.state import get_attribute, set_attribute

if TYPE_CHECKING:
    from torch import nn


def rehearse(model: nn.Module, plan: Plan, inputs: Any) -> bool:
    """Run the dense and the thin network without data; return whether that was possible.

    Raises `ThinError` if the thin network does not run, or gives outputs of other shapes; the model is as it was.
    """
    run = current().builders[plan.builder].run
    if run is None:
        return False
    try:
        dense = _rehearsed(model, inputs, run, None)
    except Exception:  # noqa: BLE001 - it needs values: the verification on real tensors will tell
        return False
    try:
        thin = _rehearsed(model, inputs, run, plan)
    except Exception as error:
        raise ThinError(
            f"the thin network would not run: {type(error).__name__}: {error}",
            where="thin",
            hint="the model is as it was; keep the dims involved with keep=, and please report the model",
        ) from error
    for index, (before, after) in enumerate(zip(dense.shapes, thin.shapes, strict=True)):
        if before != after:
            raise ThinError(
                f"output {index} of the thin network would have shape {after} instead of {before}",
                where="thin",
                hint="the model is as it was; keep the dims involved with keep=, and please report the model",
            )
    if not plan.scales and not any(isinstance(new, float) for _, new in plan.attributes.values()):
        _same_numbers(dense, thin)  # otherwise numbers change on purpose
    return True


@frozen(eq=False)
class _Rehearsal:
    """The shapes of the outputs, and the floating-point numbers that each operation was given."""

    shapes: list[tuple[int, ...]]
    numbers: Mapping[str, tuple[float, ...]]


def _same_numbers(dense: _Rehearsal, thin: _Rehearsal) -> None:
    """Raise `ThinError` for a number that derives from a size in a way that planning could not see."""
    for name, before in dense.numbers.items():
        after = thin.numbers.get(name, before)
        if before != after:
            raise ThinError(
                f"the operation {name!r} would be given {after} instead of {before}: a number that derives from a "
                "size that changes, by a computation that could not be followed",
                where="thin",
                hint="the model is as it was; keep the dims that are read there with keep=, or compute the number "
                "once, in the module's __init__",
            )


def _rehearsed(model: nn.Module, inputs: Any, run: Callable[..., Any], plan: Plan | None) -> _Rehearsal:
    import torch
    from torch.utils import _pytree as pytree

    def bare(leaf: Any) -> Any:
        return leaf.to("meta") if isinstance(leaf, torch.Tensor) and leaf.is_floating_point() else leaf

    numbers: dict[str, tuple[float, ...]] = {}

    def noting(name: str, kind: str, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        numbers[name] = tuple(leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, float))
        return _on_meta(function, args, kwargs)

    with preserved(model), torch.no_grad():
        _empty(model, plan)
        made = run(model, pytree.tree_map(bare, inputs), noting)
    return _Rehearsal([tuple(tensor.shape) for tensor in tensors_in(made)[0]], numbers)


def _empty(model: nn.Module, plan: Plan | None) -> None:
    """Put tensors without data into the model, of the thin shapes if there is a plan, and set its attributes."""
    import torch

    made: dict[int, Any] = {}
    for path, module in model.named_modules():
        for table in (module._parameters, module._buffers):
            for key, tensor in table.items():
                if tensor is None:
                    continue
                if id(tensor) not in made and not (tensor.is_floating_point() or tensor.is_complex()):
                    made[id(tensor)] = tensor.detach().clone()  # counters may count
                elif id(tensor) not in made:
                    cuts = plan.cuts.get(f"{path}.{key}" if path else key, {}) if plan else {}
                    shape = [length - len(cuts.get(axis, ())) for axis, length in enumerate(tensor.shape)]
                    empty = torch.empty(shape, dtype=tensor.dtype, device="meta")
                    made[id(tensor)] = torch.nn.Parameter(empty, False) if table is module._parameters else empty
                table[key] = made[id(tensor)]
    for (module_path, attribute), (_, new) in (plan.attributes if plan else {}).items():
        held = get_attribute(model, module_path, attribute)
        set_attribute(model, module_path, attribute, list(new) if isinstance(held, list) else new)


def _on_meta(function: Callable[..., Any], args: Any, kwargs: Mapping[str, Any]) -> Any:
    """Do one call; if tensors with and without data meet, all go without."""
    import torch
    from torch.utils import _pytree as pytree

    tensors = [leaf for leaf in pytree.tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    if any(tensor.is_meta for tensor in tensors) and not all(tensor.is_meta for tensor in tensors):
        args, kwargs = pytree.tree_map_only(torch.Tensor, lambda tensor: tensor.to("meta"), (args, kwargs))
    return function(*args, **kwargs)
