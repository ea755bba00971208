"""Drawing a program: a few steps, each of which reads some features and adds one or two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from attrs import define, field, frozen

from secateur.testing.networks.program import Program

SIDE, LENGTH = 4, 5
"""Height and width of maps; number of tokens."""


@frozen
class Feature:
    """A tensor that steps may read: a map (2, width, side, side), tokens (2, size, width) or a vector (2, width)."""

    name: str
    kind: str
    width: int
    size: int = 0


Step = Callable[["Drawing"], None]


@define(eq=False)
class Drawing:
    """A program that is being drawn."""

    rng: np.random.Generator
    inputs: dict[str, str] = field(factory=dict)
    init: list[str] = field(factory=list)
    lines: list[str] = field(factory=list)
    pool: list[Feature] = field(factory=list)
    count: int = 0
    vocabulary: dict[str, int] = field(factory=dict)
    """Embedding modules, by the width of their vectors."""

    # -- chance -----------------------------------------------------------------------------------------------

    def chance(self, share: float) -> bool:
        """True in that share of cases."""
        return bool(self.rng.random() < share)

    def one_of(self, *choices: Any) -> Any:
        """One of several, equally likely."""
        return choices[int(self.rng.integers(len(choices)))]

    def width(self) -> int:
        """A number of channels."""
        return int(self.one_of(4, 6, 8, 8, 12))

    def recent(self, kind: str = "") -> Feature:
        """A feature, of a kind if one is named, recent ones more often."""
        found = [feature for feature in self.pool if feature.kind == kind or not kind]
        return found[max(self.rng.integers(len(found)), self.rng.integers(len(found)))]

    def pick(self, kind: str) -> Feature | None:
        """A feature of a kind, recent ones more often; None if there is none."""
        return self.recent(kind) if any(feature.kind == kind for feature in self.pool) else None

    # -- writing ----------------------------------------------------------------------------------------------

    def fresh(self, stem: str) -> str:
        """A name that is not taken."""
        self.count += 1
        return f"{stem}{self.count}"

    def hold(self, stem: str, value: str) -> str:
        """Let the network hold a module, a parameter or a number; returns `self.name`."""
        name = f"self.{self.fresh(stem)}"
        self.init.append(f"{name} = {value}")
        return name

    def line(self, text: str) -> None:
        """Add a line to the forward."""
        self.lines.append(text)

    def add(self, kind: str, expression: str, width: int, size: int = 0) -> Feature:
        """Add a line that makes a feature."""
        made = Feature(self.fresh("x"), kind, width, size)
        self.line(f"{made.name} = {expression}")
        self.pool.append(made)
        return made

    def like(self, feature: Feature, expression: str, width: int = 0) -> Feature:
        """Add a line that makes a feature of the kind and size of another one."""
        return self.add(feature.kind, expression, width or feature.width, feature.size)

    def bias(self) -> str:
        """The end of a call of a layer's class: mostly with a bias."""
        return "" if self.chance(0.7) else ", bias=False"


def random_network(seed: int, steps: int = 0, inputs: str = "") -> Program:
    """Draw a program from a seed; `steps`: how many steps between inputs and outputs (0: two to six); `inputs`: of
    which kind they are, "map", "tokens", "ids" or "vector" (empty: of any)."""
    from secateur.testing.networks.ends import add_inputs, choose_outputs
    from secateur.testing.networks.steps import STEPS

    drawing = Drawing(np.random.default_rng(seed))
    add_inputs(drawing, inputs)
    made, due = 0, steps or int(drawing.rng.integers(2, 7))
    while made < due:
        table = STEPS[drawing.recent().kind]
        before = len(drawing.pool)
        table[int(drawing.rng.integers(len(table)))](drawing)
        made += len(drawing.pool) > before
    outputs = choose_outputs(drawing)
    plan = "secateur.plan(model, inputs, 0.5)" if seed % 4 == 0 else f"testing.random_plan(model, inputs, {seed})"
    return Program(
        seed=seed,
        inputs=drawing.inputs,
        init=tuple(drawing.init),
        forward=tuple(drawing.lines),
        outputs=tuple(outputs),
        plan=plan,
    ).tidied()
