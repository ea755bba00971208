"""A tape: the torch calls of one forward, written down so that a part of them can be done again with other weights.

Weights, inputs and results have slots. A call that changes memory in place is known by it, and so are the tensors that
lie in the same memory. A forward that does more than call torch functions on tensors (it reads their values, changes
its own parameters, draws random numbers) is not written down: `NotReplayableError` says why.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from secateur.thinning.state import named_tensors

if TYPE_CHECKING:
    from torch import Tensor, nn

    Environment = dict[int, Tensor]


class NotReplayableError(Exception):
    """Why a forward cannot be done again in part, in words."""


@frozen
class Slot:
    """Where a tensor stands among the arguments of a call."""

    index: int


@frozen(eq=False)
class Call:
    """One torch call: what it reads and makes, and the memory that it changes in place."""

    function: Callable[..., Any]
    args: Any
    kwargs: Any
    reads: tuple[int, ...]
    makes: tuple[int | None, ...]
    """The slot of each tensor of the result, None for one that was there before."""
    changes: frozenset[int]
    """Groups of slots in one memory."""
    derives: bool = False
    """Whether it makes weights of weights: its results are held, and done again only if these change."""

    def do(self, env: Environment) -> None:
        """Do it with the tensors of an environment, and put there what it makes."""
        result = self.function(*filled(self.args, env), **filled(self.kwargs, env))
        if self.makes:
            for slot, tensor in zip(self.makes, tensors_of(result), strict=True):
                if slot is not None:
                    env[slot] = tensor


@define(eq=False)
class Tape:
    """The calls of one forward in order, and the slots that they read and make."""

    calls: list[Call] = field(factory=list)
    group: list[int] = field(factory=list)
    """The memory that each slot lies in."""
    born: list[int] = field(factory=list)
    """The call that made each slot; -1 for what was there before."""
    named: dict[str, int] = field(factory=dict)
    """{parameter or buffer that the forward reads: its slot}"""
    held: Environment = field(factory=dict)
    """The tensors that were there before: parameters, buffers, constants."""
    inputs: tuple[int, ...] = ()
    output: Any = None
    results: frozenset[int] = frozenset()
    """The slots in the output."""
    last: list[int] = field(factory=list)
    """The last call that reads each slot; the number of calls for those of the output."""

    def add(self, born: int, group: int | None = None) -> int:
        """A new slot, in a memory of its own or in a known one."""
        self.group.append(len(self.group) if group is None else group)
        self.born.append(born)
        return len(self.group) - 1

    def close(self, output: Any) -> None:
        """Finish the tape with what the forward returned, its tensors replaced by slots."""
        self.output = output
        self.results = frozenset(leaf.index for leaf in leaves(output) if isinstance(leaf, Slot))
        self.last = [-1] * len(self.group)
        for position, call in enumerate(self.calls):
            for slot in call.reads:
                self.last[slot] = position
        for slot in self.results:
            self.last[slot] = len(self.calls)
        changed = {group for call in self.calls for group in call.changes}
        if bad := [slot for slot in self.held if self.group[slot] in changed]:
            names = {slot: name for name, slot in self.named.items()}
            raise NotReplayableError(f"the forward changes {names.get(bad[0], 'a constant')} in place")

    def start(self, inputs: Sequence[Tensor]) -> Environment:
        """The environment before the first call, from the tensors of a batch in order."""
        changed = {group for call in self.calls for group in call.changes}
        return {
            slot: tensor.clone() if self.group[slot] in changed else tensor
            for slot, tensor in zip(self.inputs, inputs, strict=True)
        }

    def steps(self, start: int = 0, stop: int | None = None) -> list[int]:
        """The positions of some calls, without those whose results are held."""
        end = len(self.calls) if stop is None else stop
        return [position for position in range(start, end) if not self.calls[position].derives]

    def play(self, env: Environment, positions: Sequence[int]) -> None:
        """Do some calls, in an environment that has what they read; what no later call reads is dropped."""
        for position in positions:
            call = self.calls[position]
            call.do(env)
            for slot in call.reads:
                if self.last[slot] <= position and slot not in self.held:
                    env.pop(slot, None)
            for made in call.makes:
                if made is not None and self.last[made] < position:
                    env.pop(made, None)


def record(model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Tape, Any]:
    """Run the forward once without gradients and write it down; also returns what it gave.

    Raises `NotReplayableError` if it does something that a tape does not show.
    """
    import torch

    from secateur.sensitivity.recording import Recorder

    recorder = Recorder(model)
    given = list(tensors_of((args, kwargs)))
    recorder.tape.inputs = tuple(recorder.meet(tensor, -1) for tensor in given)
    state = torch.get_rng_state()
    with torch.no_grad(), recorder:
        result = model(*args, **kwargs)
    if recorder.blocked:
        raise NotReplayableError(recorder.blocked)
    if not torch.equal(state, torch.get_rng_state()):
        raise NotReplayableError("the forward draws random numbers")
    recorder.tape.close(recorder.template(result))
    if recorder.blocked:
        raise NotReplayableError(recorder.blocked)
    return recorder.tape, result


def check_unchanged(model: nn.Module, before: Mapping[str, Tensor]) -> None:
    """Raise `NotReplayableError` if a forward has changed a tensor: torch does not tell of all that it changes."""
    import torch

    def bits(tensor: Tensor) -> Tensor:
        return tensor.detach().contiguous().reshape(-1).view(torch.uint8)

    for name, tensor in named_tensors(model).items():
        old = before.get(name)
        if old is None or old.shape != tensor.shape or old.dtype != tensor.dtype or old.layout != torch.strided:
            continue
        if not torch.equal(bits(old), bits(tensor)):
            raise NotReplayableError(f"the forward changes {name} in place")


def known_tensors(model: nn.Module) -> dict[int, str]:
    """{identity of a parameter or buffer: its name}"""
    return {id(tensor): name for name, tensor in named_tensors(model).items()}


def leaves(nested: Any) -> Iterator[Any]:
    """Everything within nested tuples, lists, dicts and slices, in order."""
    if isinstance(nested, tuple | list):
        for entry in nested:
            yield from leaves(entry)
    elif isinstance(nested, Mapping):
        for entry in nested.values():
            yield from leaves(entry)
    elif isinstance(nested, slice):
        yield from leaves((nested.start, nested.stop, nested.step))
    else:
        yield nested


def tensors_of(nested: Any) -> Iterator[Tensor]:
    """The tensors within nested values, in order; one that is there twice comes twice."""
    import torch

    if isinstance(nested, torch.Tensor):
        yield nested
        return
    for leaf in leaves(nested):
        if isinstance(leaf, torch.Tensor):
            yield leaf


def mapped(nested: Any, function: Callable[[Any], Any]) -> Any:
    """Nested values with every leaf replaced."""
    if isinstance(nested, tuple | list):
        made = [mapped(entry, function) for entry in nested]
        if isinstance(nested, tuple) and hasattr(nested, "_fields"):
            return type(nested)(*made)
        return made if type(nested) is list else tuple(made)
    if isinstance(nested, Mapping):
        return {key: mapped(entry, function) for key, entry in nested.items()}
    if isinstance(nested, slice):
        return slice(*(mapped(part, function) for part in (nested.start, nested.stop, nested.step)))
    return function(nested)


def filled(template: Any, env: Mapping[int, Tensor]) -> Any:
    """A template with the tensors of an environment in its slots."""
    kind = type(template)
    if kind is Slot:
        return env[template.index]
    if kind is tuple or kind is list:
        return kind([filled(entry, env) for entry in template])
    if kind is dict:
        return {key: filled(entry, env) for key, entry in template.items()}
    if kind is slice or isinstance(template, tuple):
        return mapped(template, lambda leaf: env[leaf.index] if type(leaf) is Slot else leaf)
    return template
