"""Do again only what other weights change: everything before the first such call, and beside, keeps its results."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from attrs import define, frozen

from secateur.sensitivity.tape import NotReplayableError, Tape, filled

if TYPE_CHECKING:
    from torch import Tensor

    Environment = dict[int, Tensor]


@frozen(eq=False)
class Part:
    """The part of a tape that changes with some slots: what is done again, and what that reads of the rest."""

    start: int
    """The first call that is done again; the number of calls if nothing changes."""
    beside: tuple[int, ...]
    """Later calls that keep their results."""
    again: tuple[int, ...]
    reads: frozenset[int]
    """The slots, unchanged, that the calls done again and the output need."""
    copied: frozenset[int]
    """Those of them that are changed in place, and are copied for it each time."""
    changes: bool
    """Whether the output changes."""


def part_of(tape: Tape, names: Collection[str]) -> Part:
    """What must be done again when some parameters or buffers have other numbers.

    Raises `NotReplayableError` if memory that was there before is changed afterwards in a way that cannot be undone.
    """
    changed = {tape.named[name] for name in names if name in tape.named}
    count = len(tape.calls)
    start = next((i for i, call in enumerate(tape.calls) if not changed.isdisjoint(call.reads)), count)
    while True:
        again, dirty = _again(tape, changed, start)
        made = {slot for i in again for slot in tape.calls[i].makes if slot is not None}
        needed = {slot for i in again for slot in tape.calls[i].reads} | tape.results
        reads = {slot for slot in needed - made if slot not in tape.held}
        overwritten = {group for i in again for group in tape.calls[i].changes}
        crossing = {slot for slot in reads if tape.group[slot] in overwritten}
        groups = [tape.group[slot] for slot in crossing]
        shared = [group for group in groups if groups.count(group) > 1]
        if not shared:
            break
        earlier = min(tape.born[slot] for slot in range(len(tape.group)) if tape.group[slot] in shared)
        if earlier < 0 or earlier >= start:
            raise NotReplayableError("it changes views of one memory in place")
        start = earlier
    those = set(again)
    beside = tuple(i for i in range(start, count) if i not in those and not tape.calls[i].derives)
    return Part(start, beside, tuple(again), frozenset(reads), frozenset(crossing), not dirty.isdisjoint(tape.results))


def _again(tape: Tape, changed: set[int], start: int) -> tuple[list[int], set[int]]:
    """The calls from `start` on that read what changes or touch memory changed in place, and the slots that change."""
    overwritten = {group for call in tape.calls[start:] for group in call.changes}
    found, dirty = [], set(changed)
    dirty_groups: set[int] = set()
    for position in range(start, len(tape.calls)):
        call = tape.calls[position]
        made = [slot for slot in call.makes if slot is not None]
        groups = {tape.group[slot] for slot in (*call.reads, *made)} | call.changes
        if (
            not dirty.isdisjoint(call.reads)
            or not groups.isdisjoint(overwritten)
            or any(tape.group[slot] in dirty_groups for slot in call.reads)
        ):
            found.append(position)
            dirty.update(made)
            dirty_groups |= call.changes
    return found, dirty


@define(eq=False)
class Frontier:
    """How far one batch has come through the unchanged network, and the tensors that are needed from there on."""

    tape: Tape
    env: Environment
    position: int = 0

    def advance(self, to: int) -> None:
        """Go on to a call, with the network's own weights."""
        env = {**self.tape.held, **self.env}
        self.tape.play(env, self.tape.steps(self.position, to))
        self.env = {slot: env[slot] for slot in env if slot not in self.tape.held and self.tape.last[slot] >= to}
        self.position = to

    def ready(self, part: Part) -> Ready:
        """Advance to where a part begins, and do once what stays as it is beside it."""
        self.advance(part.start)
        env = {**self.tape.held, **self.env}
        for position in part.beside:
            self.tape.calls[position].do(env)
        return Ready(self.tape, part, {slot: env[slot] for slot in part.reads})

    @property
    def bytes(self) -> int:
        """The memory that its tensors hold."""
        storages = [tensor.untyped_storage() for tensor in self.env.values()]
        return sum({storage.data_ptr(): storage.nbytes() for storage in storages}.values())


@frozen(eq=False)
class Ready:
    """One batch at the begin of a part: it can be played with other weights as often as wanted."""

    tape: Tape
    part: Part
    env: Mapping[int, Tensor]

    def outputs(self, weights: Mapping[str, Tensor]) -> Any:
        """What the model returns with these parameters and buffers, {name: tensor}, in place of its own."""
        tape, part = self.tape, self.part
        env = {**tape.held, **self.env}
        env |= {slot: env[slot].clone() for slot in part.copied}
        env |= {tape.named[name]: tensor for name, tensor in weights.items() if name in tape.named}
        tape.play(env, part.again)
        return filled(tape.output, env)
