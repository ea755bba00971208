"""The laws of regularizers find what is wrong, and say what."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from attrs import define, frozen

from secateur.pruning.base import Decision, Moment, Network
from secateur.pruning.regularizer import Regularizer
from secateur.testing import LawBroken, NotTried, regularizers


def total(network: Network) -> Any:
    return torch.stack([parameter.square().sum() for parameter in network.parameters.values()]).sum()


@frozen(kw_only=True)
class Right(Regularizer):
    name: ClassVar[str] = "right"

    strength: float

    def loss(self, network: Network, moment: Moment) -> Any:
        return self.strength * total(network)


@define(kw_only=True)
class Changeable(Regularizer):
    name: ClassVar[str] = "changeable"

    strength: float = 1.0

    def loss(self, network: Network, moment: Moment) -> Any:
        return self.strength * total(network)


class Plain(Right):
    name: ClassVar[str] = ""


@frozen(kw_only=True)
class Long(Right):
    def loss(self, network: Network, moment: Moment) -> Any:
        return torch.stack([parameter.sum() for parameter in network.parameters.values()])


@frozen(kw_only=True)
class Detached(Right):
    def loss(self, network: Network, moment: Moment) -> Any:
        return total(network).detach()


@frozen(kw_only=True)
class Infinite(Right):
    def loss(self, network: Network, moment: Moment) -> Any:
        return total(network) / 0


@frozen(kw_only=True)
class Counting(Right):
    def loss(self, network: Network, moment: Moment) -> Any:
        network.memory["n"] = network.memory.get("n", 0) + 1
        return total(network) * network.memory["n"]


@frozen(kw_only=True)
class Halved(Right):
    def loss(self, network: Network, moment: Moment) -> Any:
        found = total(network)
        return found / 2 + found.detach() / 2


@frozen(kw_only=True)
class Rooted(Right):
    def loss(self, network: Network, moment: Moment) -> Any:
        return total(network).sqrt()


@frozen(kw_only=True)
class Writing(Right):
    def loss(self, network: Network, moment: Moment) -> Any:
        with torch.no_grad():
            next(iter(network.parameters.values())).mul_(0.5)
        return total(network)


@frozen(kw_only=True)
class Particular(Right):
    def check_names(self, network: Network) -> None:
        raise ValueError("nothing is good enough")


def test_a_right_one_holds() -> None:
    regularizers.is_a_value(Right)
    regularizers.losses_are_scalars(Right)
    regularizers.gradients_are_those_of_the_loss(Right)
    regularizers.asking_changes_nothing(Right)
    regularizers.decides_on_what_exists(Right)


@pytest.mark.parametrize(
    ("law", "kind", "message"),
    [
        ("is_a_value", Changeable, "Changeable can be changed after it is made"),
        ("is_a_value", Plain, "Plain has the name ''"),
        ("losses_are_scalars", Long, r"gave torch\.float64 of shape \(9,\); a scalar"),
        ("losses_are_scalars", Detached, r"gave torch\.float64 of shape \(\) without a gradient"),
        ("losses_are_scalars", Infinite, "right gave the loss inf"),
        ("losses_are_scalars", Counting, r"right gave the loss [\d.]+, then [\d.]+"),
        ("gradients_are_those_of_the_loss", Halved, r"right changes by \S+ where its gradient says"),
        ("gradients_are_those_of_the_loss", Rooted, "not finite where all weights are zero"),
        ("asking_changes_nothing", Writing, r"the regularizer right changed the model: the numbers in stem\.weight"),
    ],
)
def test_what_is_wrong_is_found(law: str, kind: Any, message: str) -> None:
    with pytest.raises(LawBroken, match=message):
        getattr(regularizers, law)(kind)


@pytest.mark.parametrize(
    ("decision", "message"),
    [
        (Decision(units={99: np.array([0])}), r"decided on dim 99 of \d"),
        (Decision(units={0: np.array([1, 0])}), r"chose the units \[1 0\] of \d+; sorted ones that exist"),
        (Decision(units={0: np.arange(8)}), "leaves nothing of"),
        (Decision(factors={"nowhere": torch.ones(1)}), "decided on 'nowhere', and there is no such parameter"),
        (Decision(factors={"stem.weight": torch.ones(7, 1, 1, 1)}), r"a factor of \(7, 1, 1, 1\)"),
        (Decision(factors={"stem.weight": torch.ones(2, 8, 3, 3, 3)}), r"a factor of \(2, 8, 3, 3, 3\)"),
        (Decision(factors={"stem.weight": torch.ones(8, 1, 1, 1).int()}), r"a factor of torch\.int32"),
    ],
)
def test_decisions_on_what_is_not_there_are_found(decision: Decision, message: str) -> None:
    @frozen(kw_only=True)
    class Wrong(Right):
        def decide(self, network: Network, moment: Moment) -> Decision:
            return decision

    with pytest.raises(LawBroken, match=message):
        regularizers.decides_on_what_exists(Wrong)


def test_one_that_fits_no_example_is_not_tried() -> None:
    with pytest.raises(
        NotTried, match="cannot make a Particular that fits any example network: nothing is good enough"
    ):
        regularizers.losses_are_scalars(Particular)
