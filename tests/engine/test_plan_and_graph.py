"""Plans explain themselves and graphs can be read and walked."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from attrs import evolve
from torch import Tensor, nn
from torch.nn import functional as F

import secateur
from secateur.thinning.plan import Dim
from secateur.thinning.planner import couple, make_plan


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8)
        self.left, self.right, self.head = nn.Conv2d(8, 6, 1), nn.Conv2d(8, 6, 1), nn.Linear(6, 3)
        self.mixed = nn.Conv2d(8, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm(self.stem(x)))
        z = self.left(y) + self.right(y)
        return self.head(z.mean((2, 3))) + self.mixed(y).cumsum(1).sum((1, 2, 3))[:, None]


@pytest.fixture(scope="module")
def inputs() -> tuple[Tensor]:
    return (torch.randn(2, 3, 5, 5, generator=torch.Generator().manual_seed(0)),)


@pytest.fixture(scope="module")
def graph(inputs: tuple[Tensor]) -> secateur.Graph:
    return secateur.trace(Net().eval(), inputs)


@pytest.fixture(scope="module")
def plan(inputs: tuple[Tensor]) -> secateur.Plan:
    torch.manual_seed(0)
    return secateur.plan(Net().eval(), inputs)


def test_a_graph_reads_as_a_program(graph: secateur.Graph) -> None:
    lines = str(graph).splitlines()
    assert lines[0] == "inputs: %input"
    assert re.match(
        r"%stem\.conv2d = conv2d\(%input, %stem\.weight, %stem\.bias, .*  # stem \(.*test_plan_and_graph\.py:\d+\)",
        lines[1],
    )
    assert lines[-1] == "outputs: %add.1"


def test_walking_a_graph(graph: secateur.Graph) -> None:
    assert graph.successors("stem.conv2d") == ["norm.batch_norm"]
    assert graph.successors("stem.conv2d", depth=3) == ["left.conv2d", "right.conv2d", "mixed.conv2d"]
    assert graph.predecessors("add") == ["left.conv2d", "right.conv2d"]
    assert graph.predecessors("add", depth=2) == ["relu"]
    assert graph.successors("stem.conv2d", kind="linear") == ["head.linear"]
    assert graph.predecessors("head.linear", kind=("conv2d", "relu")) == ["left.conv2d", "right.conv2d"]
    assert graph.predecessors(graph.op("stem.conv2d")) == []
    assert graph.successors("add.1", depth=9) == []
    assert graph.successors("add", kind="conv2d") == []


def test_an_unknown_operation_has_a_suggestion(graph: secateur.Graph) -> None:
    with pytest.raises(
        secateur.SecateurError, match=r"graph: no operation or module named 'stem.conv'; did you mean 'stem.conv2d'\?"
    ):
        graph.successors("stem.conv")


def test_values_and_operations_of_a_graph(graph: secateur.Graph) -> None:
    op = graph.ops["norm.batch_norm"]
    assert (op.kind, op.module, op.outputs) == ("batch_norm", "norm", ("norm.batch_norm",))
    assert graph.values["norm.running_mean"].kind == "buffer"
    assert graph.values["input"].shape == (2, 3, 5, 5)
    assert (graph.inputs, graph.outputs, graph.builder) == (("input",), ("add.1",), "trace")
    assert [call.module for call in graph.calls[:2]] == ["stem", "norm"]
    with pytest.raises(AttributeError):
        graph.builder = "another"  # type: ignore[misc]


def test_a_plan_explains_a_dim_and_a_parameter_that_stays(plan: secateur.Plan) -> None:
    lines = plan.explain("stem").splitlines()
    assert lines[:2] == ["stem: 4 of 8 units stay; a unit consists of", "└── stem.weight axis 0 (writes it)"]
    for place in ("left.weight axis 1 (reads it)", "right.weight axis 1 (reads it)", "mixed.weight axis 1 (reads it)"):
        assert sum(line.endswith(place) for line in lines) == 1
    assert lines[-1].startswith("stays: stem.weight axis 1 → conv2d at stem (")
    assert "it meets an input of the model" in lines[-1]
    assert "→ cumsum at the model itself" in plan.explain("mixed.weight")
    assert "it is an output of the model" in plan.explain("head")
    with pytest.raises(secateur.PlanError, match=r"plan: nothing is named 'stme'; did you mean 'stem'\?"):
        plan.explain("stme")


def test_dims_of_a_plan(plan: secateur.Plan) -> None:
    assert [(dim.name, dim.size, len(dim.kept), dim.exact) for dim in plan.dims] == [
        ("stem", 8, 4, True),
        ("left", 6, 3, True),
    ]
    left = plan.dim("left")
    assert sorted([*left.kept, *left.leaving]) == list(range(6))
    assert set(left.slices) == {
        ("left.weight", 0),
        ("left.bias", 0),
        ("right.weight", 0),
        ("right.bias", 0),
        ("head.weight", 1),
    }
    assert left.readers == {("head.weight", 1)}
    with pytest.raises(secateur.PlanError, match=r"no dim named 'lfet'; did you mean 'left'\?"):
        plan.dim("lfet")
    with pytest.raises(AttributeError):
        plan.cuts = {}  # type: ignore[misc]


def test_dims_of_a_single_unit_that_stays_have_no_row(plan: secateur.Plan) -> None:
    slices = {("stem.weight", 0): np.array([[0]])}
    stays = Dim(name="one", size=1, kept=np.array([0]), slices=slices)
    leaves = Dim(name="gone", size=1, kept=np.array([], np.int64), slices=slices)
    made = evolve(plan, dims=(*plan.dims, stays, leaves))
    rows = [line.split() for line in str(made).partition("stays:")[0].splitlines() if line.strip()]
    assert [row[:3] for row in rows[2:]] == [["stem", "4", "8"], ["left", "3", "6"], ["gone", "0", "1"]]
    assert made.dim("one") is stays


def test_the_lowest_scores_leave(inputs: tuple[Tensor]) -> None:
    model = Net().eval()
    with torch.no_grad():
        for index, filters in enumerate(model.stem.weight):
            filters.fill_([5, 1, 7, 2, 8, 3, 6, 4][index])
    for criterion in ("l1", "l2"):
        assert secateur.plan(model, inputs, {"stem": 0.5}, criterion).dim("stem").leaving.tolist() == [1, 3, 5, 7]
    plan = secateur.plan(model, inputs, {"stem": 0.5})
    assert plan.cuts["left.weight"][1].tolist() == [1, 3, 5, 7]
    cut = ["stem.weight", "stem.bias", "norm.running_mean", "norm.running_var", "norm.weight", "norm.bias"]
    assert set(plan.cuts) == {*cut, "left.weight", "right.weight", "mixed.weight"}


@pytest.mark.parametrize(
    ("prune", "keep", "kept"),
    [
        (0.25, (), (6, 5)),
        ({"*": 0.5}, (), (4, 3)),
        ({"*": 0.5, "left": 0.2}, (), (4, 5)),
        ({"stem": 0.9}, (), (1, 6)),
        ({"norm.weight": 0.5}, (), (4, 6)),
        ({"right*": 0.99}, (), (8, 1)),
        (0.5, "stem", (8, 3)),
        (0.5, ["stem", "l*"], (8, 6)),
        (0, (), (8, 6)),
        (np.float32(0.5), (), (4, 3)),
    ],
)
def test_ratios_by_name(inputs: tuple[Tensor], prune: Any, keep: Any, kept: tuple[int, int]) -> None:
    plan = secateur.plan(Net().eval(), inputs, prune, keep=keep)
    assert tuple(len(dim.kept) for dim in plan.dims) == kept


def test_rounding_and_global_scope(inputs: tuple[Tensor]) -> None:
    model = Net().eval()
    assert [len(dim.kept) for dim in secateur.plan(model, inputs, 0.6, round_to=4).dims] == [4, 4]
    with torch.no_grad():
        for conv in (model.left, model.right):
            conv.weight[:4] *= 1e-3
    assert [len(dim.kept) for dim in secateur.plan(model, inputs, 0.3, scope="global").dims] == [8, 3]


def test_a_list_or_a_tensor_stands_for_a_tuple_of_inputs(inputs: tuple[Tensor]) -> None:
    model = Net().eval()
    assert (
        str(secateur.trace(model, inputs[0]))
        == str(secateur.trace(model, list(inputs)))
        == str(secateur.trace(model, inputs))
    )
    assert "inputs: %x" in str(secateur.trace(model, {"x": inputs[0]}))


# -- something of every axis stays -----------------------------------------------------------------------------


def test_a_unit_that_is_all_there_is_cannot_leave(law: Any) -> None:
    class Repeated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(8, 8, 1, groups=2)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x).repeat(1, 2, 1, 1))

    model = law.randomised(Repeated())
    x = law.normal(2, 3, 5, 5)
    assert all(dim.size > 1 for dim in law.plan(model, x).dims)
    law(model, x, seeds=6)


def test_units_of_several_dims_leave_something_between_them(law: Any) -> None:
    class Halves(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1, groups=2)
            self.c = nn.Conv2d(4, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.c(self.b(self.a(x)))

    model, x = law.randomised(Halves()), (law.normal(2, 3, 5, 5),)
    coupling = couple(model, x)
    everything = [np.arange(len(dim)) for dim in coupling.dims]
    with pytest.raises(secateur.PlanError, match=r"\S+: nothing of its axis \d would stay; let fewer units leave"):
        make_plan(model, coupling, everything, x)
    law(model, x, prune=0.99)
