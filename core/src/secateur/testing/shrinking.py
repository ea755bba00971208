"""Make a failing program smaller while it still fails."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from attrs import evolve

import secateur
from secateur.testing.broken import LawBroken
from secateur.testing.exactness import plan_is_exact, random_plan
from secateur.testing.networks.program import Program, names_in
from secateur.thinning.plan import Plan


class _Names:
    """What the plan of a program may name besides secateur."""

    random_plan = staticmethod(random_plan)


def check_program(program: Program) -> Plan:
    """Check the main law on a program, as running it would; returns the plan. Whatever is raised is a fault."""
    model, inputs = program.build(), program.example_inputs()
    names = {"secateur": secateur, "testing": _Names, "model": model, "inputs": inputs}
    plan: Plan = eval(program.plan, names)
    plan_is_exact(model, plan, inputs, seed=program.seed)
    return plan


def fault(program: Program) -> str:
    """What is wrong with a program: the kind of exception that its check raises; empty if it holds, or does not run."""
    try:
        model, inputs = program.build(), program.example_inputs()
        model(*inputs)
    except Exception:  # noqa: BLE001 - a program that does not run by itself says nothing
        return ""
    try:
        check_program(program)
    except LawBroken as error:
        return re.sub(r"[\d.e+-]+", "#", str(error))[:40] if "differ" in str(error) else "LawBroken"
    except Exception as error:  # noqa: BLE001 - a crash of any kind is a fault
        return type(error).__name__
    return ""


def shrink(program: Program, fails: Callable[[Program], str] = fault) -> Program:
    """The smallest program found that fails as this one does, by taking away one thing after another.

    `fails`: the kind of fault, empty if there is none. What is tried: leaving out an output, using an earlier variable
    of the same shape in place of one, making a variable an input. Lines that nothing needs any more go with it.
    """
    kind = fails(program)
    if not kind:
        return program
    smallest = program
    while True:
        for candidate in _candidates(smallest):
            if _size(candidate) < _size(smallest) and (found := _failing(candidate, kind, fails)):
                smallest = found
                break
        else:
            return smallest


def _size(program: Program) -> tuple[int, int]:
    return len(program.forward) + len(program.init), len(program.inputs) + len(program.outputs)


def _failing(program: Program, kind: str, fails: Callable[[Program], str]) -> Program | None:
    """The program with a plan by which it fails, if there is one: its own, the plainest, or a random one."""
    option = ", renormalise=True" if "renormalise=True" in program.plan else ""
    plans = [f"secateur.plan(model, inputs, 0.5{option})"]
    plans += [f"testing.random_plan(model, inputs, {seed}{option})" for seed in (0, 1, 2, 3, 4, 5)]
    for plan in dict.fromkeys([*plans[:1], program.plan, *plans[1:]]):
        trial = evolve(program, plan=plan)
        if fails(trial) == kind:
            return trial
    return None


def _candidates(program: Program) -> Iterator[Program]:
    if len(program.outputs) > 1:
        for name in program.outputs:
            yield evolve(program, outputs=tuple(o for o in program.outputs if o != name)).tidied()
    values = {name: value for name, value in program.values().items() if hasattr(value, "shape")}
    order = [*program.inputs, *(name for line in program.forward for name in names_in(line).writes)]
    order = [name for name in order if name in values]
    for name in reversed(order):
        if name in program.inputs:
            continue
        value = values[name]
        same = [
            other
            for other in order[: order.index(name)]
            if values[other].shape == value.shape and values[other].dtype == value.dtype
        ]
        for other in same:
            yield _replaced(program, name, other)
        if value.is_floating_point():
            size = ", ".join(map(str, value.shape))
            yield _promoted(program, name, f"torch.randn({size})")
    for name in program.outputs:
        for other in order:
            if other not in program.outputs and other not in program.inputs:
                outputs = tuple(other if o == name else o for o in program.outputs)
                yield evolve(program, outputs=outputs).tidied()


def _replaced(program: Program, name: str, other: str) -> Program:
    """Let all that read a variable read another one."""
    forward = []
    written = False
    for line in program.forward:
        forward.append(_renamed(line, name, other) if written else line)
        written = written or name in names_in(line).writes
    return evolve(
        program, forward=tuple(forward), outputs=tuple(other if o == name else o for o in program.outputs)
    ).tidied()


def _promoted(program: Program, name: str, expression: str) -> Program:
    """Make a variable an input: the line that wrote it writes another name, if it is needed at all."""
    forward = tuple(
        _renamed(line, name, f"{name}_") if name in names_in(line).writes else line for line in program.forward
    )
    return evolve(program, forward=forward, inputs={**program.inputs, name: expression}).tidied()


def _renamed(line: str, name: str, other: str) -> Any:
    return re.sub(rf"(?<![\w.]){name}\b", other, line)
