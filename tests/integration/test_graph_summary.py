"""The summary graph: who comes before and after whom, shapes, multiply-accumulates and bytes, as Distiller answered."""

from __future__ import annotations

import re
from collections.abc import Iterable

import pytest
import torch
from torch import Tensor, nn

import secateur
from secateur.errors import SecateurError
from secateur.graph.ir import Graph, Op, Value
from secateur.measure import Cost, costs, count_macs
from secateur.plugins import current


def graph_of(name: str, **arguments: object) -> Graph:
    entry = current().models[name]
    assert entry.input_shape is not None
    return secateur.trace(entry.build(**arguments), (torch.zeros(1, *entry.input_shape),))


@pytest.fixture(scope="module")
def resnet() -> Graph:
    return graph_of("resnet20_cifar")


# -- by kind: Distiller's answers ----------------------------------------------------------------------------------


READ_RELU = {"layer1.0.conv1", "layer1.1.conv1", "layer1.2.conv1", "layer2.0.conv1", "layer2.0.downsample.0"}


@pytest.mark.parametrize(
    ("start", "kind", "after"),
    [
        ("layer1.0.conv1", "Conv", {"layer1.0.conv2"}),
        ("relu", "Conv", READ_RELU),
        ("relu", "Gemm", {"fc"}),
        ("relu", ("Conv", "Gemm"), READ_RELU),
        ("layer3.2", "Conv", set()),
    ],
)
def test_successors_by_kind(resnet: Graph, start: str, kind: str | tuple[str, ...], after: set[str]) -> None:
    found = resnet.successors(start, kind=kind)
    assert len(found) == len(set(found))
    assert set(found) == after


@pytest.mark.parametrize(
    ("start", "before"),
    [("conv1", set()), ("layer1.0.conv2", {"layer1.0.conv1"}), ("layer1.1.conv1", {"conv1", "layer1.0.conv2"})],
)
def test_predecessors_by_kind(resnet: Graph, start: str, before: set[str]) -> None:
    assert set(resnet.predecessors(start, kind="Conv")) == before


@pytest.mark.parametrize("kind", ["Conv", "conv2d", "Conv2d", ("conv1d", "conv2d")])
def test_kinds_have_several_spellings(resnet: Graph, kind: str) -> None:
    assert resnet.successors("layer1.0.conv1", kind=kind) == ["layer1.0.conv2"]


def test_the_search_of_vgg_does_not_go_past_the_first() -> None:
    vgg = graph_of("vgg19")
    assert vgg.successors("features.32", kind="Conv") == ["features.34"]
    assert vgg.successors("features.34", kind="Conv") == []
    assert vgg.successors("features.34", kind="Gemm") == ["classifier.0"]
    assert vgg.predecessors("classifier.0", kind=("Conv", "Gemm")) == ["features.34"]


def test_simplenet_has_one_convolution_before_the_second() -> None:
    net = graph_of("simplenet_mnist")
    assert net.predecessors("conv1", kind="Conv") == []
    assert net.predecessors("conv2", kind="Conv") == ["conv1"]


# -- by depth ------------------------------------------------------------------------------------------------------


def test_neighbours_by_depth(resnet: Graph) -> None:
    assert resnet.predecessors("bn1") == ["conv1"]
    assert resnet.predecessors("bn1", depth=2) == []
    assert resnet.successors("bn1") == ["relu"]
    assert resnet.successors("relu") == ["layer1.0.conv1", "layer1.0.add"]
    assert resnet.predecessors("layer1.0.add") == ["layer1.0.bn2.batch_norm", "relu.relu"]
    assert resnet.successors("layer1.0.relu1", depth=4) == ["layer1.0.relu2"]
    assert resnet.successors("fc", depth=1) == resnet.predecessors("conv1", depth=1) == []


def test_a_block_is_what_enters_and_leaves_it(resnet: Graph) -> None:
    assert resnet.predecessors("layer2.0") == ["layer1.2.relu2"]
    assert resnet.successors("layer2.0") == ["layer2.1.conv1", "layer2.1.add"]
    assert resnet.successors("layer3") == ["avgpool"]
    assert resnet.successors("layer3.2") == ["avgpool"]


def test_operations_answer_with_operations(resnet: Graph) -> None:
    assert resnet.successors("bn1.batch_norm") == ["relu.relu"]
    assert resnet.successors(resnet.op("bn1.batch_norm")) == ["relu.relu"]
    assert [resnet.title(name) for name in ("relu.relu", "layer1.0.add", "flatten")] == [
        "relu",
        "layer1.0.add",
        "flatten",
    ]


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.relu = nn.Conv2d(3, 3, 1), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.conv(self.relu(self.conv(x))))


def test_a_module_that_runs_twice_comes_after_itself() -> None:
    graph = secateur.trace(Twice(), (torch.zeros(1, 3, 4, 4),))
    assert graph.successors("conv", kind="Conv") == ["conv"]
    assert graph.successors("conv.conv2d", kind="Conv") == ["conv.conv2d.1"]
    assert graph.successors("conv.conv2d.1", kind="Conv") == []


class WritesInPlace(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x = x * 2
        x[:, :2].add_(1)
        return x + 3


def test_what_is_written_in_place_comes_before_what_reads_it() -> None:
    graph = secateur.trace(WritesInPlace(), (torch.zeros(1, 4),))
    names = {op.kind: op.name for op in graph.ops.values() if op.kind in ("mul", "getitem")}
    changed, last = (op.name for op in graph.ops.values() if op.kind == "add")
    assert graph.predecessors(last) == [names["mul"], changed]
    assert graph.successors(changed) == [last]


def test_adjacency_of_a_residual_block() -> None:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.bn = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
            self.tanh, self.relu = nn.Tanh(), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            x = self.conv(x)
            return self.relu(self.tanh(self.bn(x)) + x)

    graph = secateur.trace(Block(), (torch.zeros(1, 4, 5, 5),))
    found = {
        graph.title(name): ({graph.title(n) for n in near.predecessors}, {graph.title(n) for n in near.successors})
        for name, near in graph.adjacency.items()
    }
    assert found == {
        "conv": (set(), {"bn", "add"}),
        "bn": ({"conv"}, {"tanh"}),
        "tanh": ({"bn"}, {"add"}),
        "add": ({"tanh", "conv"}, {"relu"}),
        "relu": ({"add"}, set()),
    }


@pytest.mark.parametrize("name", ["resnet20_cifar", "googlenet", "word_lm"])
def test_the_order_is_topological_and_edges_are_seen_from_both_ends(name: str) -> None:
    graph = graph_of(name) if name != "word_lm" else words()
    place = {op: index for index, op in enumerate(graph.topological_order)}
    assert list(place) == list(graph.ops)
    edges = {(op, after) for op, near in graph.adjacency.items() for after in near.successors}
    assert edges == {(before, op) for op, near in graph.adjacency.items() for before in near.predecessors}
    assert len(edges) >= len(graph.ops) - 20
    assert all(place[before] < place[after] for before, after in edges)


def words() -> Graph:
    return secateur.trace(current().models["word_lm"].build(), (torch.zeros(5, 2, dtype=torch.int64),))


def ladder(rungs: int) -> Graph:
    """Diamonds one after another: 2 to the power of `rungs` paths."""
    ops, values = {}, {"x": Value("x", (1,), "float32", "input")}

    def op(name: str, *inputs: str) -> None:
        ops[name] = Op(name=name, kind="add", module="", inputs=inputs, outputs=(name,))
        values[name] = Value(name, (1,), "float32", "activation")

    last = "x"
    for rung in range(rungs):
        op(f"a{rung}", last), op(f"b{rung}", last), op(f"c{rung}", f"a{rung}", f"b{rung}")
        last = f"c{rung}"
    return Graph(ops=ops, values=values, inputs=("x",), outputs=(last,))


def test_walks_do_not_count_paths() -> None:
    graph = ladder(5000)
    assert graph.successors("a0", kind="conv2d") == []
    assert graph.successors("a0", depth=9999) == ["c4999"]
    assert graph.predecessors("c4999", depth=3 * 5000) == []
    assert len(costs(graph)) == 15_000


# -- errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["successors", "predecessors", "parameters_of", "inputs_of", "outputs_of"])
def test_an_unknown_name_has_a_suggestion(resnet: Graph, method: str) -> None:
    with pytest.raises(
        SecateurError, match=r"^graph: no operation or module named 'layer1.0.con1'; did you mean 'layer1"
    ):
        getattr(resnet, method)("layer1.0.con1")


def test_an_unknown_kind_has_a_suggestion(resnet: Graph) -> None:
    with pytest.raises(SecateurError, match=r"^kind: there is no operation 'conv2'; did you mean 'conv2d'\?"):
        resnet.successors("conv1", kind="conv2")
    assert resnet.successors("conv1", kind=("einsum", "mylib::op")) == []


def test_a_depth_below_one_is_refused(resnet: Graph) -> None:
    with pytest.raises(SecateurError, match=r"^successors: depth is 0; give a whole number from 1$"):
        resnet.successors("conv1", depth=0)


# -- shapes and costs ----------------------------------------------------------------------------------------------


def test_parameters_and_shapes_of_operations_and_blocks(resnet: Graph) -> None:
    assert resnet.parameters_of("layer2.0.conv1") == {"layer2.0.conv1.weight": (32, 16, 3, 3)}
    assert resnet.parameters_of("bn1.batch_norm") == {"bn1.weight": (16,), "bn1.bias": (16,)}
    assert set(resnet.parameters_of("bn1", buffers=True)) == {f"bn1.{n}" for n in BATCH_NORM}
    assert resnet.inputs_of("conv1") == {"input": (1, 3, 32, 32)}
    assert list(resnet.outputs_of("conv1").values()) == [(1, 16, 32, 32)]
    assert list(resnet.inputs_of("layer2.0").values()) == [(1, 16, 32, 32)]
    assert list(resnet.outputs_of("layer2.0").values()) == [(1, 32, 16, 16)]
    assert resnet.outputs_of("fc") == {"fc.linear": (1, 10)}
    assert len(resnet.parameters_of("layer1.0")) == 6


BATCH_NORM = ("weight", "bias", "running_mean", "running_var")


def test_every_parameter_is_read_by_an_operation(resnet: Graph) -> None:
    read = {name for op in resnet.ops for name in resnet.parameters_of(op)}
    assert read == {name for name, value in resnet.values.items() if value.kind == "parameter"}


def total(found: Iterable[Cost]) -> int:
    return sum(cost.macs for cost in found)


@pytest.mark.parametrize(
    ("name", "macs"),
    [
        ("resnet20_cifar", 40_813_184),
        ("resnet56_cifar", 125_747_840),
        ("resnet50", 4_089_184_256),
        ("mobilenet_v1", 568_740_352),
        ("alexnet", 714_188_480),
        ("vgg16", 15_470_264_320),
    ],
)
def test_published_multiply_accumulates(name: str, macs: int) -> None:
    graph = graph_of(name)
    found = costs(graph)
    assert total(found.values()) == count_macs(graph, current().op_rules) == macs
    assert {cost.kind for cost in found.values() if cost.macs} <= {"conv2d", "linear"}
    assert list(found) == [op.name for op in graph.ops.values() if not op.training]


def test_what_a_convolution_costs(resnet: Graph) -> None:
    cost = costs(resnet)["layer2.0.conv1.conv2d"]
    assert (cost.kind, cost.module) == ("conv2d", "layer2.0.conv1")
    assert cost.macs == 32 * 16 * 16 * 16 * 9
    assert cost.flops == 2 * cost.macs
    assert (cost.parameters, cost.parameter_bytes) == (32 * 16 * 9, 4 * 32 * 16 * 9)
    assert (cost.input_elements, cost.input_bytes) == (16 * 32 * 32, 4 * 16 * 32 * 32)
    assert (cost.output_elements, cost.output_bytes) == (32 * 16 * 16, 4 * 32 * 16 * 16)
    assert cost.intensity == cost.macs / (4 * (32 * 16 * 9 + 16 * 32 * 32 + 32 * 16 * 16))
    pool = costs(resnet)["avgpool.adaptive_avg_pool2d"]
    assert (pool.macs, pool.parameters, pool.intensity) == (0, 0, 0.0)


def test_buffers_cost_bytes_and_are_no_parameters(resnet: Graph) -> None:
    cost = costs(resnet)["bn1.batch_norm"]
    assert (cost.parameters, cost.parameter_bytes) == (32, 4 * 64)


def test_bytes_follow_the_dtype_and_a_value_read_twice_counts_once() -> None:
    class Square(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x * x

    for dtype, size in ((torch.bfloat16, 2), (torch.float64, 8)):
        (cost,) = costs(secateur.trace(Square(), (torch.zeros(3, 4, dtype=dtype),))).values()
        assert (cost.input_elements, cost.input_bytes, cost.output_bytes) == (12, 12 * size, 12 * size)


def test_costs_count_by_the_rules_they_are_given(resnet: Graph) -> None:
    assert total(costs(resnet, {}).values()) == 0


def test_training_is_left_out_of_costs() -> None:
    graph = graph_of("googlenet")
    assert any(op.training for op in graph.ops.values())
    assert not [name for name in costs(graph) if re.search("aux", name)]
