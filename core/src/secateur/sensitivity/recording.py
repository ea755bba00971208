"""Write down what a forward calls, while it runs."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from secateur.sensitivity.tape import Call, Slot, Tape, known_tensors, mapped, tensors_of

ORDINARY = (Tensor, nn.Parameter)
QUESTION_NAMES = (
    "__hash__ __len__ __repr__ _is_view _version can_cast device dim dim_order dtype element_size "
    "get_device grad_fn has_names is_complex is_conj is_contiguous is_cpu is_cuda is_distributed "
    "is_floating_point is_grad_enabled is_inference is_leaf is_meta is_mkldnn is_mps is_neg is_nested "
    "is_pinned is_quantized is_same_size is_set_to is_shared is_signed is_sparse is_storage is_tensor "
    "is_xpu itemsize layout names nbytes ndim ndimension nelement numel promote_types requires_grad "
    "result_type shape size storage_offset stride type"
)
"""What may be asked of a tensor whose values do not matter for the answer."""
QUESTIONS = frozenset(QUESTION_NAMES.split(" "))
SIZES = frozenset(["__len__", "is_contiguous", "nbytes", "nelement", "numel", "shape", "size", "stride"])
"""The questions about how large a tensor is: if values decide that, its values matter for the answer."""
SELECTING = frozenset(["argwhere", "bincount", "masked_select", "nonzero", "unique", "unique_consecutive", "_unique2"])
"""What makes as many entries as values of tensors say."""


class Recorder(TorchFunctionMode):
    """A torch function mode that writes a tape."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.tape, self.names = Tape(), known_tensors(model)
        self.blocked = ""
        """Why what was seen cannot be done again."""
        self._known: dict[int, tuple[weakref.ref[Tensor], int]] = {}
        self._held = {id(tensor) for tensor in _held_by(model)}
        self._selected: set[int] = set()
        """The slots of tensors that are as large as values say, and of what is made of them."""

    def meet(self, tensor: Tensor, born: int, group: int | None = None) -> int:
        """Give a tensor a slot."""
        slot = self.tape.add(born, group)
        self._known[id(tensor)] = (weakref.ref(tensor), slot)
        return slot

    def slot_of(self, tensor: Tensor) -> int:
        """The slot of a tensor; one that no call made must be held by the model."""
        known = self._known.get(id(tensor))
        if known is not None and known[0]() is tensor:
            return known[1]
        slot = self.meet(tensor, -1)
        self.tape.held[slot] = tensor
        if id(tensor) in self.names:
            self.tape.named[self.names[id(tensor)]] = slot
        elif id(tensor) not in self._held:
            self.blocked = self.blocked or "it computes with a tensor that no torch call made and no module holds"
        return slot

    def template(self, nested: Any) -> Any:
        """Nested values with slots for tensors."""

        def leaf(value: Any) -> Any:
            if isinstance(value, Tensor):
                return Slot(self.slot_of(value))
            if not isinstance(value, bool | int | float | complex | str | bytes | type(None)):
                self.blocked = self.blocked or f"it returns something of type {type(value).__name__}"
            return value

        if isinstance(nested, Mapping) and type(nested) is not dict:  # it would come back as a plain dict
            self.blocked = self.blocked or f"it returns something of type {type(nested).__name__}"
        return mapped(nested, leaf)

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = list(tensors_of((args, kwargs)))
        name = getattr(func, "__name__", type(func).__name__)
        if name == "__get__":
            name = getattr(getattr(func, "__self__", None), "__name__", name)
        if self.blocked or (not given and name.startswith("_")):
            return func(*args, **kwargs)
        if name == "__iter__":
            return iter(self.__torch_function__(Tensor.unbind, types, args))
        if any(type(tensor) not in ORDINARY or tensor.layout is not torch.strided for tensor in given):
            self.blocked = "it computes with tensors of an unusual type"
            return func(*args, **kwargs)
        slots = [self.slot_of(tensor) for tensor in given]
        versions = [tensor._version for tensor in given]
        written = (mapped(args, self._written), mapped(kwargs, self._written))
        result = func(*args, **kwargs)
        changes = {
            self.tape.group[slot]
            for slot, tensor, old in zip(slots, given, versions, strict=True)
            if tensor._version != old
        }
        made = list(tensors_of(result))
        if name == "__set__":
            self.blocked = "it sets a property of a tensor"
        elif not made and not changes:
            if given and name not in QUESTIONS:
                self.blocked = f"it reads values of tensors ({name})"
            elif name in SIZES and not self._selected.isdisjoint(slots):
                self.blocked = f"it asks for a size that values of tensors decide ({name})"
        else:
            self._write(func, written, list(zip(slots, given, strict=True)), made, frozenset(changes))
            if not self._selected.isdisjoint(slots) or _selects(name, args, kwargs):
                self._selected.update(self.slot_of(tensor) for tensor in made)
        return result

    def _written(self, value: Any) -> Any:
        return Slot(self.slot_of(value)) if isinstance(value, Tensor) else value

    def _write(
        self, func: Any, written: Any, given: list[tuple[int, Tensor]], made: list[Tensor], changes: frozenset[int]
    ) -> None:
        position, old = len(self.tape.calls), {id(tensor): slot for slot, tensor in given}
        makes: list[int | None] = []
        for tensor in made:
            if type(tensor) not in ORDINARY or tensor.layout is not torch.strided:
                self.blocked = "it makes tensors of an unusual type"
                return
            if id(tensor) in old:
                makes.append(None)
                continue
            memory = tensor.untyped_storage().data_ptr()
            shared = [slot for slot, each in given if memory and each.untyped_storage().data_ptr() == memory]
            slot = self.meet(tensor, position, self.tape.group[shared[0]] if shared else None)
            old[id(tensor)] = slot
            makes.append(slot)
        if changes or any(slot is not None for slot in makes):
            reads = tuple(dict.fromkeys(slot for slot, _ in given))
            self.tape.calls.append(Call(func, written[0], written[1], reads, tuple(makes), changes))


def _selects(name: str, args: Any, kwargs: Any) -> bool:
    """Whether a call makes as many entries as values say."""
    if name == "__getitem__":
        return any(tensor.dtype in (torch.bool, torch.uint8) for tensor in tensors_of(args[1:]))
    if name == "where":
        return len(args) + len(kwargs) == 1
    if name == "repeat_interleave":
        return kwargs.get("output_size") is None and len(list(tensors_of((args, kwargs)))) > 1
    return name in SELECTING or name.endswith("nms")


def _held_by(model: nn.Module) -> list[Tensor]:
    """The tensors that modules hold beside their parameters and buffers, some containers deep."""
    found: list[Tensor] = []

    def look(value: Any, depth: int) -> None:
        if isinstance(value, Tensor):
            found.append(value)
        elif depth < 3 and isinstance(value, tuple | list | Mapping):
            for entry in value.values() if isinstance(value, Mapping) else value:
                look(entry, depth + 1)

    for module in model.modules():
        look(module.__dict__, 0)
    return found
