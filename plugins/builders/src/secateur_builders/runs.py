"""What the runs of a model tell together: whether the one in training mode adds anything, and what nothing reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from secateur.graph.ir import Op, Ref, Source, Value
from secateur.graph.sizes import Size

if TYPE_CHECKING:
    from secateur_builders.recorder import Record
    from secateur_builders.substitute import StandIns


def adds_something(record: Record, longer: Record) -> bool:
    """Whether a run in training mode did anything that the run in eval mode did not do in the same order."""
    if _kinds(record, training=False) != _kinds(longer, training=True):  # told without a look at the arguments
        return True
    evaluated = _done(record, training=False)
    return evaluated != _done(longer, training=True) or _read(longer) != _read(record)


def _kinds(record: Record, training: bool) -> list[tuple[str, str]]:
    """The operations of one run that make anything but integers, in order, with their modules."""
    return [
        (op.kind, op.module) for op in record.ops.values() if op.training == training and not _counts(op, record.values)
    ]


def _counts(op: Op, values: Mapping[str, Value]) -> bool:
    """Whether an operation makes nothing but integers."""
    return all(values[name].dtype.startswith("int") for name in op.outputs)


def _done(record: Record, training: bool) -> list[tuple[Any, ...]]:
    """What one run did with floating-point tensors (batch norm counts its batches in training, in integers).

    Tensors are named by their order (integers by their place), since the two runs name them differently; flags such as
    `training` are left out.
    """
    order: dict[str, int | str] = {}

    def shown(argument: Any) -> Any:
        if isinstance(argument, Ref):
            return order.get(argument.name, argument.name)
        if isinstance(argument, Size):
            return argument.value
        if isinstance(argument, Mapping):
            return tuple((key, shown(entry)) for key, entry in argument.items())
        if isinstance(argument, tuple | list):
            return tuple(shown(entry) for entry in argument)
        if isinstance(argument, slice):
            return shown((argument.start, argument.stop, argument.step))
        return None if isinstance(argument, bool) else str(argument)

    inputs = [value.name for value in record.values.values() if value.kind == "input"]
    given = inputs[len(inputs) // 2 :] if training else inputs
    order.update({name: -1 - position for position, name in enumerate(given)})
    done: list[tuple[Any, ...]] = []
    for op in record.ops.values():
        if op.training != training:
            continue
        if _counts(op, record.values):
            order.update(dict.fromkeys(op.outputs, f"{op.kind} in {op.place}"))
            continue
        done.append((op.kind, op.module, op.source, shown(op.args), shown(op.kwargs)))
        order.update({name: len(done) * 100 + position for position, name in enumerate(op.outputs)})
    return done


def _read(record: Record) -> set[tuple[int, Source | None]]:
    """The sizes that were read as numbers, by value and place: the two runs name their tensors differently."""
    return {(size.value, source) for size, source in (*record.numbers, *record.scales)}


def unread(record: Record) -> list[str]:
    """The results that no recorded operation reads."""
    read = {name for op in record.ops.values() for name in op.inputs}
    return [output for op in record.ops.values() for output in op.outputs if output not in read]


def unused(stand_ins: StandIns, record: Record) -> tuple[str, ...]:
    """The parameters that no recorded operation reads."""
    return tuple(n for n, kind in stand_ins.kinds.items() if kind == "parameter" and n not in record.used)
