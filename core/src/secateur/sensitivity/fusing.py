"""Fuse what a tape does: a scale by channel after a convolution goes into its weights, which lie as processors like it.

What the operations mean, their rules say: `OpRule.contracts` (a kernel that slides over the data) and
`OpRule.channel_factor` (a batch norm in eval mode). The results are the same up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from secateur.coupling.binding import bind
from secateur.graph.ir import Op
from secateur.plugins import current
from secateur.records import OpRule
from secateur.sensitivity.tape import Call, Slot, Tape, leaves

if TYPE_CHECKING:
    from torch import Tensor


def fused(tape: Tape) -> Tape | None:
    """The tape with its convolutions fused; None if there is nothing to fuse."""
    found = _Fusing(tape).pairs()
    if not found:
        return None
    made = Tape(
        group=list(tape.group),
        born=[-1] * len(tape.group),
        named=dict(tape.named),
        held=dict(tape.held),
        inputs=tape.inputs,
    )
    gone = {pair.after for pair in found.values()}
    for position, call in enumerate(tape.calls):
        if position in gone:
            continue
        for one in found[position].calls(made) if position in found else (call,):
            for slot in one.makes:
                if slot is not None:
                    made.born[slot] = len(made.calls)
            made.calls.append(one)
    made.close(tape.output)
    return made


@frozen(eq=False)
class _Pair:
    """A convolution, and what scales its results by channel, if anything does."""

    call: Call
    bound: Mapping[str, Any]
    weight: str
    bias: str
    scale: Call | None
    factor: OpRule | None
    after: int
    """The position of the scale; -1 without one."""

    def calls(self, tape: Tape) -> tuple[Call, Call]:
        """What makes the new weights, and the convolution with them; the tape gets slots for them."""
        weight, bias = self.bound[self.weight], self.bound[self.bias]
        if self.scale is None or self.factor is None:
            derive: Callable[..., Any] = _laid_out
            given: tuple[Any, ...] = (weight,)
            slots: tuple[int, ...] = (tape.add(len(tape.calls)),)
            arguments = {**self.bound, self.weight: Slot(slots[0])}
            makes = self.call.makes
        else:
            rest = _bound(self.scale, self.factor)
            data = next(iter(rest))
            derive, given = _Folded(self.scale, self.factor, data), (weight, bias, {**rest, data: None})
            slots = (tape.add(len(tape.calls)), tape.add(len(tape.calls)))
            arguments = {**self.bound, self.weight: Slot(slots[0]), self.bias: Slot(slots[1])}
            makes = self.scale.makes
        made = Call(derive, given, {}, _slots(given), slots, frozenset(), derives=True)
        made.do(tape.held)
        conv = Call(self.call.function, (), arguments, _slots(arguments), makes, frozenset())
        return made, conv


class _Fusing:
    """Looks for what can be fused."""

    def __init__(self, tape: Tape) -> None:
        self.tape, self.rules = tape, current().op_rules
        self.readers: dict[int, list[int]] = {}
        for position, call in enumerate(tape.calls):
            for slot in call.reads:
                self.readers.setdefault(slot, []).append(position)
        self.changed = {group for call in tape.calls for group in call.changes}

    def pairs(self) -> dict[int, _Pair]:
        """{position of a convolution: what becomes of it}"""
        found = {}
        for position, call in enumerate(self.tape.calls):
            rule = self._rule(call)
            if rule is None or rule.contracts is None or not rule.contracts.slides or rule.contracts.reads != 1:
                continue
            weight = rule.contracts.factors[1]
            bound, bias = _bound(call, rule), rule.contracts.added
            if bound and self._is_held(bound[weight]) and self._is_held(bound[bias], optional=True):
                pair = _Pair(call, bound, weight, bias, None, None, -1)
                found[position] = self._with_scale(pair)
        return {position: pair for position, pair in found.items() if pair.scale is not None or self._flat(pair)}

    def _flat(self, pair: _Pair) -> bool:
        """Whether its weights can be laid out another way."""
        tensor = self.tape.held[pair.bound[pair.weight].index]
        return tensor.dim() == 4 and tensor.device.type == "cpu"

    def _with_scale(self, pair: _Pair) -> _Pair:
        (made,) = pair.call.makes
        if made is None or made in self.tape.results or self.tape.group[made] in self.changed:
            return pair
        if len(self.readers.get(made, ())) != 1:
            return pair
        (after,) = self.readers[made]
        scale = self.tape.calls[after]
        rule = self._rule(scale)
        if rule is None or rule.channel_factor is None or scale.changes or len(scale.makes) != 1:
            return pair
        bound = _bound(scale, rule)
        data = next(iter(bound), "")
        others = [leaf for name, value in bound.items() if name != data for leaf in leaves(value)]
        if (
            bound.get("training")
            or bound.get(data) != Slot(made)
            or not all(self._is_held(x) for x in others if isinstance(x, Slot))
        ):
            return pair
        given = {
            name: self.tape.held[x.index] if isinstance(x, Slot) else x for name, x in bound.items() if name != data
        }
        if rule.channel_factor({**given, data: None}) is None:
            return pair
        return evolve(pair, scale=scale, factor=rule, after=after)

    def _rule(self, call: Call) -> OpRule | None:
        return self.rules.get(getattr(call.function, "__name__", ""), None)

    def _is_held(self, value: Any, optional: bool = False) -> bool:
        return (value is None and optional) or (isinstance(value, Slot) and value.index in self.tape.held)


@frozen(eq=False)
class _Folded:
    """Weights and biases of a convolution that does what follows it as well."""

    scale: Call
    rule: OpRule
    data: str

    def __call__(self, weight: Tensor, bias: Tensor | None, arguments: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
        """From weight and bias of the convolution, and the arguments of the scale without its data."""
        assert self.rule.channel_factor is not None
        factor = self.rule.channel_factor(arguments)
        assert factor is not None
        nothing = weight.new_zeros(1, len(factor), *[1] * (weight.dim() - 2))
        shift = self.scale.function(**{**arguments, self.data: nothing}).reshape(-1)
        scaled = weight * factor.reshape(-1, *[1] * (weight.dim() - 1)).to(weight.dtype)
        return _laid_out(scaled), shift if bias is None else shift + factor.to(bias.dtype) * bias


def _laid_out(weight: Tensor) -> Tensor:
    """A copy whose channels are next to each other, where the processor is faster with that."""
    import torch

    if weight.dim() == 4 and weight.device.type == "cpu":
        return weight.clone(memory_format=torch.channels_last)
    return weight


def _bound(call: Call, rule: OpRule) -> dict[str, Any]:
    """The arguments of a call by the names of its rule; none if it does not fit."""
    op = Op(name="", kind=rule.name, module="", inputs=(), outputs=(), args=tuple(call.args), kwargs=call.kwargs)
    try:
        return bind(op, rule.signature)
    except ValueError:
        return {}


def _slots(nested: Any) -> tuple[int, ...]:
    return tuple(dict.fromkeys(leaf.index for leaf in leaves(nested) if isinstance(leaf, Slot)))
