"""What a network holds and computes, checked against numpy, torch's own counter and figures that papers give."""

from __future__ import annotations

import copy
import time
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torch.utils.flop_counter import FlopCounterMode

import secateur
from secateur import summaries
from secateur.errors import CaptureError, SecateurError, ThinError
from secateur.measure import count_parameters, macs
from secateur.plugins import current
from secateur.summaries import Table, side_by_side, timing

IMAGE = (torch.randn(2, 3, 8, 8),)


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(8 * 36, 5)
    )


def row(table: Table, name: str) -> dict[str, Any]:
    (found,) = [record for record in table.records() if record[table.columns[0].name] == name]
    return found


# -- sparsity ------------------------------------------------------------------------------------------------


def by_hand(w: np.ndarray[Any, Any]) -> dict[str, float]:
    """The sparsities of a tensor, structure by structure, in plain loops."""

    def share(parts: list[np.ndarray[Any, Any]]) -> float:
        return sum(not part.any() for part in parts) / len(parts)

    outs, ins = w.shape[:2]
    first, second = [w[o] for o in range(outs)], [w[:, i] for i in range(ins)]
    found = {"sparsity": float((w == 0).mean())}
    if w.ndim == 2:
        return found | {"row": share(first), "column": share(second)}
    kernels = [w[o, i] for o in range(outs) for i in range(ins)]
    return found | {"filter": share(first), "channel": share(second), "kernel": share(kernels)}


@pytest.mark.parametrize("shape", [(4, 3), (6, 4, 3), (6, 4, 3, 2), (4, 2, 2, 3, 2)])
def test_sparsity_is_what_numpy_counts(shape: tuple[int, ...]) -> None:
    generator = np.random.default_rng(0)
    w = generator.normal(size=shape) * (generator.random(shape) < 0.6)
    w[1], w[:, 2 % shape[1]] = 0, 0
    if len(shape) > 2:
        w[0, 0] = 0
    table = summaries.sparsity({"w": torch.from_numpy(w)})
    got = row(table, "w")
    expected = by_hand(w)
    assert {key: got[key] for key in expected} == pytest.approx(expected)
    assert set(got) - set(expected) == {"tensor", "shape", "elements", "non-zero", "mean", "std", "mean of |w|"}
    assert (got["shape"], got["elements"], got["non-zero"]) == (shape, w.size, np.count_nonzero(w))
    assert got["mean"] == pytest.approx(w.mean())
    assert got["std"] == pytest.approx(w.std(ddof=1))
    assert got["mean of |w|"] == pytest.approx(np.abs(w).mean())


def test_the_total_counts_structures_of_all_tensors() -> None:
    tensors = {"a": torch.zeros(2, 3, 1, 1), "b": torch.ones(6, 3, 1, 1), "c": torch.eye(4)}
    assert summaries.sparsity(tensors).totals == {
        **dict.fromkeys(("shape", "mean", "std", "mean of |w|")),
        "tensor": "total",
        "elements": 40,
        "non-zero": 22,
        "sparsity": 18 / 40,
        "filter": 2 / 8,
        "channel": 3 / 6,
        "kernel": 6 / 24,
        "row": 0.0,
        "column": 0.0,
    }


def test_blocks_lie_along_the_first_axes() -> None:
    w = torch.ones(4, 6)
    w[:2, 2:4] = w[2:, 4:] = 0
    w[0, 0] = 0
    table = summaries.sparsity({"w": w, "conv": w.reshape(4, 6, 1, 1), "odd": torch.ones(3, 6)}, block=(2, 2))
    assert table.column("block") == [2 / 6, 2 / 6, None]
    assert table.totals["block"] == 4 / 12
    with pytest.raises(SecateurError, match=r"sparsity: block \(0, 2\); give positive sizes"):
        summaries.sparsity({"w": w}, block=(0, 2))


def test_masks_of_a_schedule_and_of_torch_are_zeros() -> None:
    model = network()
    model[4].weight.data[2] = 0
    prune.l1_unstructured(model[0], "weight", 0.5)
    table = summaries.sparsity(model)
    assert table.column("tensor") == ["0.weight", "4.weight"]
    assert (row(table, "0.weight")["sparsity"], row(table, "4.weight")["row"]) == (0.5, 0.2)
    assert len(summaries.sparsity(model, vectors=True).rows) == 6


def test_tied_and_odd_tensors() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    assert summaries.sparsity(model).column("tensor") == ["0.weight"]
    odd = {"nan": torch.tensor([[float("nan"), 0.0]]), "ids": torch.ones(2, 2, dtype=torch.int64)}
    table = summaries.sparsity({**odd, "z": torch.eye(2, dtype=torch.complex64), "s": torch.eye(3).to_sparse()})
    assert table.notes == ("nan: 1 numbers are not finite",)
    assert table.column("sparsity") == [0.5, 0.5, pytest.approx(2 / 3)]
    assert table.to_dict()["rows"][0]["mean"] is None


def test_nothing_to_look_into() -> None:
    with pytest.raises(SecateurError, match="model: there is no parameter of two axes or more to tell of; ask for ve"):
        summaries.sparsity(nn.ReLU())
    with pytest.raises(SecateurError, match="weight: it has no data: it is on the meta device; load its weights first"):
        summaries.sparsity(nn.Linear(3, 3, device="meta"))


@pytest.mark.parametrize("q", [0.0, 33.3, 90.0, 100.0])
def test_percentiles_are_numpys(q: float) -> None:
    model = network()
    before = model[4].weight.detach().clone()
    table = summaries.percentiles(model, q)
    expected = [np.percentile(np.abs(p.detach().numpy()), q) for p in (model[0].weight, model[4].weight)]
    assert table.column("percentile") == pytest.approx(expected, rel=1e-6)
    assert torch.equal(model[4].weight, before)
    with pytest.raises(SecateurError, match="percentiles: percentile 101; give a number from 0 to 100"):
        summaries.percentiles(model, 101)


# -- compute -------------------------------------------------------------------------------------------------


class Mixed(nn.Module):
    """Products in every spelling, parameters of its own, one shared layer, one that is never used."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.attend = nn.Embedding(11, 8), nn.MultiheadAttention(8, 2, batch_first=True)
        self.layers = nn.ModuleList([nn.Linear(8, 8) for _ in range(2)])
        self.scale, self.tied, self.spare = nn.Parameter(torch.ones(8)), nn.Linear(8, 8), nn.Linear(5, 5)
        self.tied.weight = self.layers[0].weight
        self.register_buffer("table", torch.ones(8, 8))

    def forward(self, ids: torch.Tensor) -> dict[str, torch.Tensor]:
        x = self.embed(ids)
        x = self.attend(x, x, x)[0]
        for layer in self.layers:
            x = torch.einsum("bti,oi->bto", x, layer.weight)
        x = nn.functional.scaled_dot_product_attention(x, x, x) @ self.table
        return {"out": self.tied(self.tied(x)) * self.scale}


IDS = (torch.arange(10).reshape(2, 5),)


@pytest.mark.parametrize("level", ["module", "op"])
@pytest.mark.parametrize(
    ("make", "inputs"), [(network, IMAGE), (Mixed, IDS), (lambda: current().models["resnet20_cifar"].build(), None)]
)
def test_macs_are_those_of_torchs_counter(level: Any, make: Any, inputs: Any) -> None:
    model = make().eval()
    inputs = inputs or (torch.randn(2, 3, 32, 32),)
    table = summaries.compute(model, inputs, level=level)
    with FlopCounterMode(display=False) as counter:
        model(*inputs)
    assert table.totals["MACs"] == counter.get_total_flops() // 2 == sum(table.column("MACs"))  # type: ignore[arg-type]
    assert table.totals["share of MACs"] == 1
    assert sum(table.column("share of MACs")) == pytest.approx(1)  # type: ignore[arg-type]


def test_macs_of_recurrent_layers() -> None:
    lstm = nn.LSTM(6, 4, num_layers=2)
    table = summaries.compute(lstm, (torch.randn(7, 3, 6),))
    assert table.totals["MACs"] == 7 * 3 * 16 * ((6 + 4) + (4 + 4))
    assert row(table, "(model)")["output"] == ((7, 3, 4), (2, 3, 4), (2, 3, 4))


def test_published_figures() -> None:
    model = current().models["resnet20_cifar"].build()
    table = summaries.compute(model, (torch.randn(1, 3, 32, 32),), name="resnet20_cifar")
    assert table.title == "compute of resnet20_cifar on 1×3×32×32"
    assert (table.totals["MACs"], table.totals["parameters"]) == (40_813_184, 272_474)
    convolution = row(table, "layer2.0.conv1")
    assert convolution["share of MACs"] == pytest.approx(1_179_648 / 40_813_184)
    told = {
        key: convolution[key] for key in ("type", "calls", "input", "output", "parameters", "memory", "activations")
    }
    assert told == {
        "type": "Conv2d",
        "calls": 1,
        "input": (1, 16, 32, 32),
        "output": (1, 32, 16, 16),
        "parameters": 4_608,
        "memory": 4 * 4.608,
        "activations": 4 * 32 * 16 * 16 / 1000,
    }
    # input, result of the stem (kept for the addition), of a convolution and of its batch norm, 16x32x32 floats each
    assert table.notes == (f"at most {4 * (3 + 3 * 16) * 1.024:,.1f} KB of inputs and activations are alive at once",)
    by_stage = summaries.compute(model, (torch.randn(1, 3, 32, 32),), depth=1)
    assert by_stage.column("module") == "conv1 bn1 relu layer1 layer2 layer3 avgpool (model) fc".split()  # noqa: SIM905
    assert by_stage.totals == table.totals


def test_every_parameter_and_buffer_counts_once() -> None:
    model = Mixed()
    table = summaries.compute(model, IDS)
    held = sum(4 * buffer.numel() / 1000 for buffer in model.buffers())
    assert table.totals["parameters"] == count_parameters(model) == sum(table.column("parameters"))  # type: ignore[arg-type]
    assert table.totals["memory"] == pytest.approx(4 * count_parameters(model) / 1000)
    assert table.totals["buffers"] == pytest.approx(held)
    calls = dict(zip(table.column("module"), table.column("calls"), strict=True))
    assert (calls["tied"], calls["layers.0"], calls["spare"]) == (2, 0, 0)
    assert (row(table, "tied")["parameters"], row(table, "layers.0")["parameters"]) == (8, 72)
    by_op = summaries.compute(model, IDS, level="op")
    unread = count_parameters(model) - by_op.totals["parameters"]  # type: ignore[operator]
    assert unread == 30 + 16  # the spare layer, and the biases of the two whose weights alone are used
    assert f"{unread} parameters are read by no operation in eval mode" in by_op.notes


def test_modules_tells_what_is_held_without_a_run() -> None:
    model = network()
    model[0].requires_grad_(False)
    table = summaries.modules(model)
    assert table.column("module") == ["0", "1", "4"]
    assert row(table, "0") == {
        "module": "0",
        "type": "Conv2d",
        "parameters": 224,
        "share": 224 / 1685,
        "trained": 0,
        "memory": 0.896,
        "buffers": 0.0,
    }
    assert row(table, "1")["buffers"] == (2 * 8 * 4 + 8) / 1000
    assert table.totals["trained"] == 1685 - 224
    assert len(summaries.modules(nn.LazyLinear(3)).rows) == 0
    with pytest.raises(SecateurError, match="summary: depth -1; give a number from 0 on"):
        summaries.modules(model, depth=-1)


def test_an_auxiliary_head_of_training_is_not_counted() -> None:
    class Auxiliary(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.main, self.aux = nn.Linear(4, 3), nn.Linear(4, 100)

        def forward(self, x: torch.Tensor) -> Any:
            return (self.main(x), self.aux(x)) if self.training else self.main(x)

    table = summaries.compute(Auxiliary(), (torch.randn(2, 4),))
    assert (table.totals["MACs"], row(table, "main")["calls"], row(table, "aux")["calls"]) == (24, 1, 0)


def test_refusals_of_compute() -> None:
    with pytest.raises(CaptureError, match="the forward of Sequential failed: RuntimeError: Given groups=1"):
        summaries.compute(network(), (torch.randn(2, 4, 8, 8),))
    with pytest.raises(SecateurError, match="compute: no level 'ops'; did you mean 'op'"):
        summaries.compute(network(), IMAGE, level="ops")  # type: ignore[arg-type]
    with pytest.raises(SecateurError, match="compute: depth goes with level 'module'"):
        summaries.compute(network(), IMAGE, level="op", depth=1)
    with pytest.raises(SecateurError, match="latency: repeats=0, warmup=3; give at least one repeat"):
        summaries.compute(network(), IMAGE, latency=True, repeats=0)


# -- latency -------------------------------------------------------------------------------------------------


class Sleeper(nn.Module):
    def __init__(self, seconds: float, *inside: nn.Module) -> None:
        super().__init__()
        self.seconds, self.inside = seconds, nn.ModuleList(inside)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        time.sleep(self.seconds)
        for module in self.inside:
            x = module(x)
        return x + 1


def test_a_module_has_its_own_time_only() -> None:
    model = Sleeper(0.004, Sleeper(0.02), Sleeper(0.012))
    model.train()
    table = summaries.compute(model, (torch.ones(2),), latency=True, repeats=3, warmup=1)
    taken = dict(zip(table.column("module"), table.column("latency"), strict=True))
    assert taken["inside.0"] >= 20
    assert taken["inside.1"] >= 12
    assert 4 <= taken["(model)"] < 4 + 20 + 12  # with those inside it would be more
    assert table.totals["latency"] == pytest.approx(sum(taken.values()))
    assert sum(table.column("share of latency")) == pytest.approx(1)  # type: ignore[arg-type]
    assert table.notes[-1].startswith("the whole forward, timed by itself in between: ")
    assert model.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    (line,) = summaries.compute(model, (torch.ones(2),), depth=0, latency=True, repeats=1, warmup=0).records()
    assert line["latency"] >= 36


def test_operations_are_timed_without_what_is_around_them() -> None:
    table = summaries.compute(Sleeper(0.05), (torch.ones(2),), level="op", latency=True, repeats=2, warmup=0)
    assert table.column("op") == ["add"]
    assert 0 < row(table, "add")["latency"] < 50


def test_the_device_is_waited_for_at_both_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[None] = []
    monkeypatch.setattr(timing, "_waiting", lambda model: lambda: waited.append(None))
    summaries.compute(nn.Sequential(nn.ReLU(), nn.ReLU()), (torch.ones(2),), latency=True, repeats=1, warmup=0)
    assert len(waited) == 2 * 3 + 2  # each module, then the whole


def test_hooks_are_gone_if_the_forward_fails() -> None:
    class Once(nn.Module):
        runs = 0

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if not x.is_meta:
                raise RuntimeError("on data")
            return x + 1

    model = nn.Sequential(Once())
    with pytest.raises(RuntimeError, match="on data"):
        summaries.compute(model, (torch.ones(2),), latency=True)
    assert not any(module._forward_hooks for module in model.modules())


# -- before and after ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["plan", "model"])
def test_before_and_after(given: str) -> None:
    model, thin = network(), network()
    plan = secateur.plan(model, IMAGE)
    secateur.thin(thin, secateur.plan(thin, IMAGE))
    table = summaries.compare(model, plan if given == "plan" else thin, IMAGE)
    assert table.totals["MACs before"] == 2 * macs(model, IMAGE)
    assert table.totals["MACs after"] == 2 * macs(thin, IMAGE)
    convolution = row(table, "0")
    assert (convolution["parameters before"], convolution["parameters after"]) == (224, 112)
    assert convolution["parameters left"] == convolution["MACs left"] == 0.5
    assert count_parameters(model) == 1685
    sparsity = summaries.compare(model, thin, kind="sparsity")
    assert [column.name for column in sparsity.columns][4:9] == [
        *("non-zero before", "non-zero after", "non-zero left", "sparsity before", "sparsity after"),
    ]
    assert row(summaries.compare(model, thin, kind="model"), "4")["parameters after"] == 5 * 4 * 36 + 5


def test_before_and_after_are_timed_in_turns() -> None:
    table = summaries.compare(Sleeper(0.05), Sleeper(0.005), (torch.ones(2),), latency=True, repeats=2, warmup=0)
    assert table.totals["latency before"] >= 50  # type: ignore[operator]
    assert table.totals["latency left"] < 0.9  # type: ignore[operator]


def test_states_that_a_plan_cuts_are_cut() -> None:
    class Recurrent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.out = nn.LSTM(6, 8), nn.Linear(8, 3)

        def forward(self, x: torch.Tensor, state: Any) -> Any:
            made, state = self.lstm(x, state)
            return self.out(made), state

    model = Recurrent()
    inputs = (torch.randn(5, 2, 6), (torch.zeros(1, 2, 8), torch.zeros(1, 2, 8)))
    plan, thin = secateur.plan(model, inputs), copy.deepcopy(model)
    secateur.thin(thin, plan, example_inputs=inputs)
    for after in (plan, thin):
        table = summaries.compare(model, after, inputs)
        assert row(table, "lstm")["MACs after"] == 5 * 2 * 4 * 4 * (6 + 4)


def test_rows_that_only_one_side_has() -> None:
    short, long = nn.Sequential(nn.Linear(3, 4)), nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    added = row(summaries.compare(short, long, kind="model"), "1")
    assert (added["parameters before"], added["parameters after"], added["parameters left"]) == (None, 10, None)


def test_refusals_of_compare() -> None:
    model = network()
    with pytest.raises(SecateurError, match="summary: it takes example inputs; give what the model's forward takes"):
        summaries.compare(model, model)
    with pytest.raises(SecateurError, match="summary: no kind 'comptue'; did you mean 'compute'"):
        summaries.compare(model, model, IMAGE, kind="comptue")  # type: ignore[arg-type]
    with pytest.raises(ThinError, match=r"0\.weight: the plan was made for shape \(8, 3, 3, 3\)"):
        summaries.compare(nn.Sequential(nn.Conv2d(3, 6, 3)), secateur.plan(model, IMAGE), IMAGE)
    with pytest.raises(SecateurError, match="tell of different things; compare two tables of one kind"):
        side_by_side(summaries.modules(model), summaries.sparsity(model))
