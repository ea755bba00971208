"""What leaves the recurrent states that a model takes and returns, when units of its recurrent layers do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import field, frozen

from secateur.errors import ThinError
from secateur.thinning.renormalising import Axes, read_axes, saved_axes

if TYPE_CHECKING:
    from torch import Tensor

    from secateur.coupling.analysis import Leaving


@frozen(eq=False)
class StateCuts:
    """The states that become smaller: {position among the input tensors, or the output tensors: {axis: indices}}."""

    taken: Mapping[int, Axes] = field(factory=dict)
    returned: Mapping[int, Axes] = field(factory=dict)

    @classmethod
    def of(cls, gone: Leaving) -> StateCuts:
        """What a choice of units takes from the states."""
        labelling = gone.coupling.labelling
        groups = (
            (labelling.graph.inputs, labelling.states.taken),
            (labelling.graph.outputs, labelling.states.returned),
        )
        found: list[dict[int, Axes]] = [{}, {}]
        for cuts, (names, states) in zip(found, groups, strict=True):
            for place, name in enumerate(names):
                axes = labelling.labels[name].axes if name in states else ()
                indices = {axis: np.flatnonzero(gone.atoms[entry.atoms]) for axis, entry in enumerate(axes)}
                if left := {axis: which for axis, which in indices.items() if len(which)}:
                    cuts[place] = left
        return cls(*found)

    def __bool__(self) -> bool:
        return bool(self.taken or self.returned)

    def cut_inputs(self, inputs: Any) -> Any:
        """The inputs of the thin network: the states with the entries that stay. Nested as they are."""
        return _mapped(inputs, self.taken, _kept)

    def masked_inputs(self, inputs: Any) -> Any:
        """The inputs of the masked network: the states with zeros where entries leave."""
        return _mapped(inputs, self.taken, _zeroed)

    def cut_outputs(self, outputs: Sequence[Tensor]) -> list[Tensor]:
        """The outputs of the masked network with the entries of states that stay."""
        return [_kept(tensor, self.returned.get(place, {})) for place, tensor in enumerate(outputs)]

    def cut_shapes(self, shapes: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
        """The shapes of the outputs, with what stays of the states."""
        made = []
        for place, shape in enumerate(shapes):
            gone = self.returned.get(place, {})
            made.append(tuple(length - len(gone.get(axis, ())) for axis, length in enumerate(shape)))
        return made

    def __str__(self) -> str:
        places = ", ".join(str(place) for place in self.taken)
        count = sum(len(indices) for axes in self.taken.values() for indices in axes.values())
        return (
            f"the states that the model takes and returns become smaller: {count} entries leave the inputs {places} "
            "(tensors counted from 0); a state of the dense network must be cut before the thin one can go on with it"
        )

    def to_dict(self) -> dict[str, Any]:
        """A form fit for JSON."""
        return {
            key: {str(place): saved_axes(axes) for place, axes in cuts.items()}
            for key, cuts in (("taken", self.taken), ("returned", self.returned))
        }

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> StateCuts:
        """Read what `to_dict` wrote."""
        return cls(
            *({int(place): read_axes(axes) for place, axes in saved[key].items()} for key in ("taken", "returned"))
        )


def _mapped(inputs: Any, cuts: Mapping[int, Axes], change: Any) -> Any:
    import torch
    from torch.utils import _pytree as pytree

    if not cuts:
        return inputs
    leaves, structure = pytree.tree_flatten(inputs)
    places = [place for place, leaf in enumerate(leaves) if isinstance(leaf, torch.Tensor)]
    for number, axes in cuts.items():
        shape = tuple(leaves[places[number]].shape) if number < len(places) else None
        if shape is None or any(axis >= len(shape) or max(gone) >= shape[axis] for axis, gone in axes.items()):
            what = "there is no such tensor" if shape is None else f"it has the shape {shape}"
            raise ThinError(
                f"the plan cuts a recurrent state of the dense network there, {what}",
                where=f"input tensor {number}",
                hint="give the inputs of the dense network, with its states",
            )
        leaves[places[number]] = change(leaves[places[number]], axes)
    return pytree.tree_unflatten(leaves, structure)


def _kept(tensor: Tensor, axes: Axes) -> Tensor:
    import torch

    for axis, indices in axes.items():
        stay = np.setdiff1d(np.arange(tensor.shape[axis]), indices, assume_unique=True)
        tensor = tensor.index_select(axis, torch.from_numpy(stay).to(tensor.device))
    return tensor


def _zeroed(tensor: Tensor, axes: Axes) -> Tensor:
    import torch

    for axis, indices in axes.items():
        tensor = tensor.index_fill(axis, torch.from_numpy(indices).to(tensor.device), 0)
    return tensor
