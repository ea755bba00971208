"""A program: the lines of a small network, from which a model is built, and which prints itself.

What is printed is what is built: the model comes from running the printed class. What a line reads and writes is read
off the line, so that lines can be taken away without knowing what they do.
"""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Mapping
from functools import cache
from typing import Any

import torch
from attrs import evolve, frozen
from torch import nn
from torch.nn import functional as F

from secateur.testing.values import randomised


@frozen
class Names:
    """The variables a line reads and writes, and the attributes of `self` it reads."""

    reads: frozenset[str]
    writes: tuple[str, ...]
    uses: frozenset[str]


@cache
def names_in(line: str) -> Names:
    """Read off a line which names it uses.

    >>> found = names_in("a, b = self.conv(x).chunk(2, 1)")
    >>> sorted(found.reads), found.writes, sorted(found.uses)
    (['x'], ('a', 'b'), ['conv'])
    """
    nodes = list(ast.walk(ast.parse(line)))
    names = [node for node in nodes if isinstance(node, ast.Name)]
    return Names(
        reads=frozenset(n.id for n in names if isinstance(n.ctx, ast.Load)) - {"self", "torch", "F", "nn"},
        writes=tuple(n.id for n in names if isinstance(n.ctx, ast.Store)),
        uses=frozenset(
            n.attr
            for n in nodes
            if isinstance(n, ast.Attribute) and isinstance(n.value, ast.Name) and n.value.id == "self"
        ),
    )


@frozen(eq=False)
class Program:
    """A network as text: `inputs` {name: expression}, lines of `__init__` and of `forward`, names that are returned."""

    seed: int
    inputs: Mapping[str, str]
    init: tuple[str, ...]
    forward: tuple[str, ...]
    outputs: tuple[str, ...]
    plan: str = "secateur.plan(model, inputs, 0.5)"
    """The expression of the plan with which the law is checked, of `model` and `inputs`."""

    def __str__(self) -> str:
        """The whole program: it defines the network and checks the law; run it with Python."""
        given = ", ".join(self.inputs.values())
        return (
            "import torch\nfrom torch import nn\nfrom torch.nn import functional as F\n\n"
            "import secateur\nfrom secateur import testing\n\n\n"
            f"{self.network}\n\n"
            "torch.manual_seed(0)\ntorch.set_default_dtype(torch.float64)\n"
            f"model = testing.randomised(Net(), {self.seed})\n"
            f"inputs = ({given},)\n"
            f"testing.plan_is_exact(model, {self.plan}, inputs, seed={self.seed})\n"
        )

    @property
    def network(self) -> str:
        """The class of the network, named `Net`."""
        return self._class(", ".join(self.outputs) + ("," if len(self.outputs) == 1 else ""))

    def _class(self, returned: str) -> str:
        init = textwrap.indent("\n".join(["super().__init__()", *self.init]), " " * 8)
        forward = textwrap.indent("\n".join([*self.forward, f"return {returned}"]), " " * 8)
        arguments = ", ".join(["self", *self.inputs])
        return f"class Net(nn.Module):\n    def __init__(self):\n{init}\n\n    def forward({arguments}):\n{forward}\n"

    def build(self) -> nn.Module:
        """The model, with random float64 weights, in eval mode."""
        model: nn.Module = _run(self.network, self.seed)()
        return randomised(model, self.seed)

    def example_inputs(self) -> tuple[Any, ...]:
        """Inputs that fit."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            made = [eval(text, {"torch": torch}) for text in self.inputs.values()]
        return tuple(x.double() if x.is_floating_point() else x for x in made)

    def values(self) -> dict[str, Any]:
        """All variables of one run of the forward, by name."""
        model = randomised(_run(self._class("locals()"), self.seed)(), self.seed)
        with torch.no_grad():
            found: dict[str, Any] = model(*self.example_inputs())
        return {name: value for name, value in found.items() if name != "self"}

    # -- taking away ------------------------------------------------------------------------------------------

    def tidied(self) -> Program:
        """Without the lines and inputs that contribute nothing to the outputs."""
        wanted, kept = set(self.outputs), []
        for line in reversed(self.forward):
            names = names_in(line)
            if wanted & set(names.writes):
                kept.append(line)
                wanted |= names.reads
        forward = tuple(reversed(kept))
        used = {name for line in forward for name in names_in(line).uses}
        return evolve(
            self,
            forward=forward,
            init=tuple(line for line in self.init if names_in(line).uses <= used),
            inputs={name: text for name, text in self.inputs.items() if name in wanted},
        )


def _run(source: str, seed: int) -> Any:
    """The class that a source defines."""
    table: dict[str, Any] = {"torch": torch, "nn": nn, "F": F}
    state = torch.get_rng_state()
    exec(compile(source, f"random_network_{seed}.py", "exec"), table)
    torch.set_rng_state(state)
    return table["Net"]
