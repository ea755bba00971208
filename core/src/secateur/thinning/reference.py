"""The reference of exactness: what the masked network gives on the example inputs.

Operations that read the size of a pruned axis, and for which nothing compensates, are made to count only what stays:
they get the staying slices of their arguments, and their results are spread out again with zeros in between. Sizes
that the forward scales by are taken as they are in the thin network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from secateur.errors import ThinError
from secateur.graph.nested import tensors_in
from secateur.plugins import current
from secateur.thinning.masking import zeroed
from secateur.thinning.plan import Plan
from secateur.thinning.renormalising import Axes, Counted
from secateur.thinning.verify import outputs, placed, quiet

if TYPE_CHECKING:
    from torch import Tensor, nn


def reference(model: nn.Module, plan: Plan, inputs: Any) -> list[Tensor]:
    """The outputs of the masked network; the model is as it was afterwards. What the forward raises is raised.

    For a plan made from zeros they are those of the network as it is. Recurrent states go in with zeros where entries
    leave (for a plan made from zeros as they are: nothing reads them), and come out without these.
    """
    if plan.silenced is not None:
        return plan.states.cut_outputs(outputs(model, inputs))
    given = plan.states.masked_inputs(inputs)
    with zeroed(model, plan):
        made = _counting(model, plan, given) if plan.counted or plan.scales else outputs(model, given)
    return plan.states.cut_outputs(made)


def _counting(model: nn.Module, plan: Plan, inputs: Any) -> list[Tensor]:
    run = current().builders[plan.builder].run
    if run is None:
        raise ThinError(
            f"the builder {plan.builder!r} cannot run a model with some operations replaced, which it takes to verify "
            "dims that renormalise",
            where="thin",
            hint="plan with builder='trace', or thin with verify=False",
        )
    counted = {entry.op: entry for entry in plan.counted}
    missed = set(counted)

    def intercept(name: str, kind: str, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        if name not in counted:
            return function(*args, **kwargs)
        missed.discard(name)
        entry = counted[name]
        chosen = iter(entry.arguments)
        made = function(*_chosen(args, chosen), **_chosen(kwargs, chosen))
        return _spread(made, entry)

    with quiet(model):
        made = run(model, placed(inputs, model), intercept, plan.scales)
    if missed:
        raise ThinError(
            f"the operation {min(missed)!r} of the plan does not run on these inputs",
            where="thin",
            hint="give the inputs the plan was made with, or make a new plan",
        )
    return [leaf.detach().clone() for leaf in tensors_in(made)[0]]


def _chosen(nested: Any, chosen: Iterator[Axes | int | None]) -> Any:
    """The arguments with every tensor cut to what stays, and sizes as they are in the thin network."""
    if isinstance(nested, Mapping):
        return {key: _chosen(entry, chosen) for key, entry in nested.items()}
    if isinstance(nested, tuple | list):
        made = [_chosen(entry, chosen) for entry in nested]
        return made if type(nested) is list else tuple(made)
    if isinstance(nested, slice):
        return slice(*_chosen((nested.start, nested.stop, nested.step), chosen))
    entry = next(chosen)
    if entry is None:
        return nested
    if isinstance(entry, int):
        return entry
    for axis, indices in entry.items():
        nested = nested.index_select(axis, _kept(nested.shape[axis], indices, nested))
    return nested


def _spread(made: Any, entry: Counted) -> Any:
    """The results with zeros at what leaves."""
    import torch
    from torch.utils import _pytree as pytree

    axes_of = iter(entry.outputs)

    def spread(tensor: Any) -> Any:
        if not isinstance(tensor, torch.Tensor):
            return tensor
        for axis, indices in next(axes_of).items():
            shape = list(tensor.shape)
            shape[axis] += len(indices)
            wide = tensor.new_zeros(shape)
            tensor = wide.index_copy_(axis, _kept(shape[axis], indices, tensor), tensor)
        return tensor

    return pytree.tree_map(spread, made)


def _kept(length: int, leaving: np.ndarray[Any, Any], like: Tensor) -> Tensor:
    import torch

    return torch.from_numpy(np.setdiff1d(np.arange(length), leaving)).to(like.device)
