"""Sensitivity analysis: the figures of evaluating everything anew, on a model that nobody touched, and what follows."""

from __future__ import annotations

import csv
import errno
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor, nn

import secateur
from secateur.cli.main import main
from secateur.errors import ConfigError, DataError, PlanError, SecateurError
from secateur.plugins import current
from secateur.records import DataSplit
from secateur.sensitivity import Sensitivity, analyse
from secateur.sensitivity.frontier import part_of
from secateur.sensitivity.fusing import fused
from secateur.sensitivity.suggesting import exact_ratio
from secateur.sensitivity.tape import record

LEVELS = (0.25, 0.5, 0.75)


class Net(nn.Module):
    """Residual, with in-place activations, a branch beside, views and a reused layer."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.inner = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.outer = nn.Conv2d(2 * width, width, 3, padding=1)
        self.side = nn.Conv2d(3, width, 1)
        self.hidden = nn.Linear(width, 6)
        self.fc = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        a = torch.relu_(self.norm(self.stem(x)))
        b = self.side(x)
        a = self.outer(torch.relu(self.inner(a))) + a
        a += b
        return self.fc(torch.relu(self.hidden(a.mean((2, 3)))))


def batches(count: int = 3, size: int = 8, shape: tuple[int, ...] = (3, 6, 6)) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    return [
        (torch.randn(n, *shape, generator=generator), torch.randint(0, 4, (n,), generator=generator))
        for n in [*[size] * (count - 1), size - 1]
    ]


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    made = Net()
    with torch.no_grad():  # statistics of its own
        for x, _ in batches():
            made(x * 2)
    return made


INPUT = torch.zeros(2, 3, 6, 6)


def bits(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def untouched(model: nn.Module, before: Mapping[str, Tensor], training: bool = True) -> bool:
    now = model.state_dict()
    same = all(torch.equal(now[name], tensor) for name, tensor in before.items()) and len(now) == len(before)
    return same and all(module.training is training for module in model.modules())


def by_hand(model: nn.Module, plan: secateur.Plan, data: list[tuple[Tensor, Tensor]]) -> dict[str, float]:
    """What the masked network comes to, the obvious way."""
    twin = secateur.masked(model, plan).eval()
    with torch.no_grad():
        outputs, targets = torch.cat([twin(x) for x, _ in data]), torch.cat([y for _, y in data])
    loss = nn.functional.cross_entropy(outputs, targets)
    return {"accuracy": float((outputs.argmax(1) == targets).double().mean()), "loss": float(loss)}


# -- exactness ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("memory", [1 << 30, 1 << 12, 1], ids=["all kept", "some kept", "nothing kept"])
def test_it_is_what_the_masked_network_gives(net: Net, memory: int) -> None:
    before, data = bits(net), batches()
    found = analyse(net, INPUT, data, levels=LEVELS, memory=memory, fuse=False)
    assert untouched(net, before)
    plain = analyse(net, INPUT, data, levels=LEVELS, replay=False)
    assert found.csv() == plain.csv()  # the same bits
    assert "only what a choice changes" in found.how
    assert not found.notes
    assert set(found.names) == {"stem", "inner", "hidden"}
    for point in found.points:
        plan = secateur.plan(net, INPUT, prune={point.name: point.level})
        wanted = by_hand(net, plan, data)
        assert point.metrics["accuracy"] == wanted["accuracy"]
        assert point.metrics["loss"] == pytest.approx(wanted["loss"], abs=1e-6)
        assert point.leaving == sum(len(dim.leaving) for dim in plan.dims) == int(point.level * point.size)
    assert found.dense["loss"] == pytest.approx(
        by_hand(net, secateur.plan(net, INPUT, prune=0.0), data)["loss"], abs=1e-6
    )


@pytest.mark.parametrize("by", ["tensor", "filter", "channel"])
def test_tensors_are_masked_alone(net: Net, by: Any) -> None:
    data = batches()
    found = analyse(net, INPUT, data, by=by, levels=LEVELS, fuse=False)
    assert found.csv() == analyse(net, INPUT, data, by=by, levels=LEVELS, replay=False).csv()
    assert found.names == [f"{name}.weight" for name in ("stem", "inner", "outer", "side", "hidden", "fc")]
    (point,) = [point for point in found.points if (point.name, point.level) == ("fc.weight", 0.5)]
    twin = Net()
    twin.load_state_dict(net.state_dict())
    weight = twin.fc.weight.data
    if by == "tensor":
        weight[weight.abs() <= weight.abs().flatten().sort().values[11]] = 0
    else:
        axis = 0 if by == "filter" else 1
        norms = weight.abs().sum(1 - axis)
        weight.index_fill_(axis, norms.argsort()[: len(norms) // 2], 0)
    assert point.metrics["loss"] == pytest.approx(
        by_hand(twin, secateur.plan(twin, INPUT, prune=0.0), data)["loss"], abs=1e-6
    )


def alike(one: Sensitivity, other: Sensitivity) -> bool:
    """The same accuracies, losses to 1e-6."""
    same = (one.values() == other.values()).all() and one.dense["accuracy"] == other.dense["accuracy"]
    return bool(same) and abs(one.values("loss") - other.values("loss")).max() <= 1e-6


@pytest.mark.parametrize("name", ["squeezenet1_1", "mobilenet_v3_small"])
def test_networks_of_torchvision(name: str) -> None:
    torch.manual_seed(0)
    model, data = current().models[name].build(), batches(2, 3, (3, 48, 48))
    names = [dim.name for dim in secateur.plan(model, data[0][0][:1]).dims][2::9][:3]
    given: dict[str, Any] = {"levels": (0.5,), "names": names}
    plain = analyse(model, data[0][0][:1], data, replay=False, **given)
    found = analyse(model, data[0][0][:1], data, fuse=False, **given)
    assert found.csv() == plain.csv()
    assert not found.notes
    assert alike(analyse(model, data[0][0][:1], data, **given), plain)


def test_fused_calls_give_the_same_but_for_rounding(net: Net) -> None:
    data, wide = batches(), net.double()
    in_float64 = [(x.double(), y) for x, y in data]
    plain = analyse(wide, INPUT.double(), in_float64, levels=LEVELS, replay=False)
    found = analyse(wide, INPUT.double(), in_float64, levels=LEVELS)
    assert alike(found, plain)
    assert abs(found.values("loss") - plain.values("loss")).max() <= 1e-12
    tape, outputs = record(net.eval(), [INPUT.double()], {})
    made = fused(tape)
    assert made is not None
    kinds = [call.function.__name__ for call in made.calls if not call.derives]
    assert kinds == [name for name in (call.function.__name__ for call in tape.calls) if name != "batch_norm"]
    env = {**made.held, **made.start([INPUT.double()])}
    made.play(env, made.steps())
    assert torch.allclose(env[made.output.index], outputs, rtol=1e-12)


def test_a_batch_norm_that_sees_the_batch_is_not_folded() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.Flatten(), nn.Linear(64, 4)
    )
    data = batches(2, 4, (3, 6, 6))
    found = analyse(model, INPUT, data, by="filter", levels=(0.5,))  # channels of no variance make rounding large
    assert alike(found, analyse(model, INPUT, data, by="filter", levels=(0.5,), replay=False))
    made = fused(record(model.eval(), [INPUT], {})[0])
    assert made is not None
    assert "batch_norm" in [call.function.__name__ for call in made.calls if not call.derives]


def test_only_what_changes_is_done_again(net: Net) -> None:
    tape, _ = record(net.eval(), [INPUT], {})
    kinds = [call.function.__name__ for call in tape.calls]
    hidden = part_of(tape, {"hidden.weight", "fc.weight"})
    assert [kinds[i] for i in hidden.again] == ["linear", "relu", "linear"]
    inner = part_of(tape, {"inner.weight", "inner.bias", "outer.weight"})
    assert kinds[inner.start] == "conv2d"
    assert inner.start == 4  # after stem, norm, relu and the branch beside
    stem = part_of(tape, {"stem.weight"})
    assert [kinds[i] for i in stem.beside] == ["conv2d"]  # the branch beside
    none = part_of(tape, {"side.nothing"})
    assert (none.again, none.changes) == ((), False)


class InPlace(nn.Module):
    """Changes what was there before the part that is done again: the input, and views of one memory."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x.mul_(0.5)
        h = torch.relu(self.a(x))
        left, right = h[:, :3], h[:, 3:]
        g = self.b(h)
        left += g[:, :3]
        right.mul_(2.0)
        x += h
        return self.c(torch.relu(g) + h + x)


def test_changes_in_place_are_done_again_on_copies() -> None:
    torch.manual_seed(0)
    model, data = InPlace(), batches(3, 8, (6,))
    kept = [x.clone() for x, _ in data]
    found = analyse(model, torch.zeros(2, 6), data, by="tensor", levels=LEVELS)
    assert "only what a choice changes" in found.how
    assert all(torch.equal(x, y) for (x, _), y in zip(data, kept, strict=True))  # nor was the data touched
    plain = analyse(model, torch.zeros(2, 6), data, by="tensor", levels=LEVELS, replay=False)
    assert found.csv() == plain.csv()
    assert not found.notes


# -- where nothing can be done again -------------------------------------------------------------------------------


class Reads(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 6), nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.a(x))
        return self.b(h if h.sum() > 0 else -h)


class Draws(Reads):
    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.dropout(torch.relu(self.a(x)), 0.5, True))


class Remembers(Reads):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.seen += 1
        return self.b(torch.relu(self.a(x)))


class Hides(Reads):
    def forward(self, x: Tensor) -> Tensor:
        import numpy as np

        h = torch.from_numpy(np.maximum(self.a(x).detach().numpy(), 0))
        return self.b(h)


class Averages(Reads):
    """Its batch norm goes on with its averages, of which torch keeps no count of versions."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(6)

    def forward(self, x: Tensor) -> Tensor:
        norm = self.norm
        h = torch.nn.functional.batch_norm(
            self.a(x), norm.running_mean, norm.running_var, norm.weight, norm.bias, training=True
        )
        return self.b(torch.relu(h))


class Decays(Reads):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.b.weight.mul_(0.5)
        return self.b(torch.relu(self.a(x)))


class Routes(Reads):
    """An expert to whom nobody comes is left out."""

    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.a(x))
        index = (h.sum(1) > h.sum(1).mean()).nonzero()[:, 0]
        return self.b(h) if index.shape[0] == 3 else self.b(h.index_add(0, index, h[index]))


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (Averages, "the forward changes norm.running_mean in place"),
        (Decays, "the forward changes b.weight in place"),
        (Routes, "it asks for a size that values of tensors decide (shape)"),
        (Reads, "it reads values of tensors (__bool__)"),
        (Draws, "the forward draws random numbers"),
        (Remembers, "the forward changes seen in place"),
        (Hides, "it reads values of tensors (numpy)"),
    ],
)
def test_other_forwards_are_evaluated_as_a_whole(kind: type[nn.Module], why: str) -> None:
    torch.manual_seed(0)
    model, data = kind(), batches(2, 8, (6,))
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    found = analyse(model, torch.zeros(2, 6), data, by="tensor", levels=(0.5,))
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert found.how == f"the whole network was evaluated each time: {why}"
    if kind is not Draws:
        again = analyse(model, torch.zeros(2, 6), data, by="tensor", levels=(0.5,), replay=False)
        assert found.csv() == again.csv()
        assert found.dense == again.dense
    assert why in str(found.table())


def test_what_a_tape_does_not_show_is_found_by_comparing() -> None:
    class Sneaky(Reads):
        """The line of data it takes depends on a weight, unseen by torch."""

        def forward(self, x: Tensor) -> Tensor:
            with torch._C.DisableTorchFunction():
                sign = 1.0 if float(self.a.weight.abs().sum()) > self.least else 3.0
            return self.b(torch.relu(self.a(x)) * sign)

    torch.manual_seed(0)
    model, data = Sneaky(), batches(2, 8, (6,))
    model.least = 0.9 * float(model.a.weight.detach().abs().sum())
    found = analyse(model, torch.zeros(2, 6), data, by="tensor", names="a.weight", levels=(0.5,))
    again = analyse(model, torch.zeros(2, 6), data, by="tensor", names="a.weight", levels=(0.5,), replay=False)
    assert found.csv() == again.csv()
    (note,) = found.notes
    assert "a.weight was evaluated as a whole: doing it again gives other outputs for a.weight at level 0.5" in note


# -- functions that evaluate -----------------------------------------------------------------------------------------


def test_a_function_evaluates(net: Net) -> None:
    before, seen = bits(net), []

    def evaluate(model: nn.Module) -> float:
        assert model is not net
        assert not model.training
        seen.append(float(model.hidden.weight.detach().abs().sum()))
        model.train()
        with torch.no_grad():
            model(torch.randn(4, 3, 6, 6))  # disturbs the statistics: they must not stay so
            model.fc.weight.zero_()
        return float(model.norm.running_var.sum())

    torch.manual_seed(0)
    found = analyse(net, INPUT, evaluate, levels=LEVELS, names="hidden", higher_is_better=False)
    assert untouched(net, before)
    assert found.dense == {"score": pytest.approx(found.dense["score"])}
    assert seen[0] > seen[1] > seen[2] > seen[3] > 0
    assert "evaluate(model) cannot be done again in part" in found.how
    assert [p.metrics["score"] for p in found.points] == pytest.approx([found.dense["score"]] * 3, rel=0.5)
    several = analyse(net, INPUT, lambda model: {"perplexity": torch.tensor(2.0), "loss": 0.7}, levels=(0.5,))
    assert several.dense == {"perplexity": 2.0, "loss": 0.7}
    assert several.metric == "perplexity"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (float("nan"), "evaluate: it returned not a number (NaN), the network as it is; is the model finite?"),
        ({"loss": float("nan")}, "evaluate: it returned not a number (NaN) for 'loss', the network as it is"),
        ("high", "evaluate: it returned a str for the network as it is; return a number, or {name: number}"),
        (None, "evaluate: it returned a NoneType for the network as it is"),
        ({}, "evaluate: it returned nothing for the network as it is"),
        (torch.zeros(2), "evaluate: it returned a Tensor for the network as it is"),
        ({"a": True}, "evaluate: it returned 'a': a bool for the network as it is"),
    ],
)
def test_what_is_no_number_is_refused(net: Net, value: Any, message: str) -> None:
    before = bits(net)
    with pytest.raises(SecateurError, match="evaluate: it returned") as refused:
        analyse(net, INPUT, lambda model: value, levels=(0.5,))
    assert str(refused.value).startswith(message)
    assert untouched(net, before)


def test_failures_say_on_what(net: Net) -> None:
    def evaluate(model: nn.Module) -> float:
        if float(model.hidden.weight.detach().abs().sum(1).min()) == 0:
            raise KeyError("labels")
        return 1.0

    before = bits(net)
    with pytest.raises(SecateurError, match=r"evaluate: it failed for hidden at level 0\.5 \(KeyError: 'labels'\)"):
        analyse(net, INPUT, evaluate, levels=(0.5,), names="hidden")
    with pytest.raises(SecateurError, match="data: the model failed on a batch, the network as it is"):
        analyse(net, INPUT, batches(1, 2, (5, 6, 6)))
    with pytest.raises(SecateurError, match="measure: it failed for the network as it is"):
        analyse(net, INPUT, [(torch.zeros(2, 3, 6, 6), "cats")])
    nans = [(torch.full((2, 3, 6, 6), float("nan")), torch.zeros(2, dtype=torch.int64))]
    with pytest.raises(SecateurError, match=r"measure: it returned not a number \(NaN\) for 'loss', the network"):
        analyse(net, INPUT, nans)
    assert untouched(net, before)


def test_ctrl_c_leaves_the_model_as_it_was(net: Net) -> None:
    before = bits(net)
    calls = 0

    def measure(outputs: Tensor, targets: Tensor) -> float:
        nonlocal calls
        calls += 1
        if calls == 7:
            raise KeyboardInterrupt
        return float(outputs.sum())

    with pytest.raises(KeyboardInterrupt):
        analyse(net, INPUT, batches(), levels=LEVELS, measure=measure)
    assert untouched(net, before)


# -- settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"levels": 0.5}, "levels: expected a list of numbers, got 0.5"),
        ({"levels": []}, "levels: there is none; give shares in (0, 1)"),
        ({"levels": [0.5, 1.0]}, "levels: 1.0 is no share in (0, 1)"),
        ({"levels": [0.5, 0.25]}, "levels: 0.25 comes after 0.5"),
        ({"levels": ["a"]}, "levels: expected numbers, got 'a'"),
        ({"names": "hiden"}, "names: 'hiden' matches no prunable dim or parameter; did you mean 'hidden'?"),
        ({"names": "fc"}, "names: 'fc' cannot be pruned: "),
        ({"names": "nothing*", "by": "tensor"}, "names: 'nothing*' matches no weight of two axes and more"),
        ({"by": "layer"}, "by: 'layer' is nothing to analyse by; did you mean 'filter'? (known: "),
        ({"criterion": "l7"}, "no criterion named 'l7'"),
        ({"jobs": 0}, "jobs: expected a positive integer, got 0"),
        ({"memory": 0.5}, "memory: expected a positive integer, got 0.5"),
    ],
)
def test_bad_settings_are_refused(net: Net, given: dict[str, Any], message: str) -> None:
    with pytest.raises(SecateurError) as refused:
        analyse(net, INPUT, batches(), **given)
    assert message in str(refused.value)


def test_data_that_is_none_is_refused(net: Net) -> None:
    with pytest.raises(DataError, match=r"data: expected batches or a function evaluate\(model\), got int"):
        analyse(net, INPUT, 3)
    with pytest.raises(DataError, match="data: it gave no batch"):
        analyse(net, INPUT, [])
    with pytest.raises(DataError, match=r"data: it gave something of type Tensor, not \(inputs, targets\)"):
        analyse(net, INPUT, [torch.zeros(2, 3, 6, 6)])
    with pytest.raises(DataError, match="it can be iterated once only, and its batches take more than 9 bytes"):
        analyse(net, INPUT, iter(batches()), memory=9)


def test_loaders_of_all_kinds(net: Net) -> None:
    data = batches()
    wanted = analyse(net, INPUT, data, levels=(0.5,))
    assert analyse(net, INPUT, iter(data), levels=(0.5,)).csv() == wanted.csv()
    x, y = torch.cat([x for x, _ in data]), torch.cat([y for _, y in data])
    split = analyse(net, INPUT, DataSplit(inputs=x, targets=y), levels=(0.5,))
    assert split.values() == pytest.approx(wanted.values())

    class Named(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, pixels: Tensor, labels: Tensor) -> dict[str, Tensor]:
            return {"logits": self.net(pixels)}

    def measure(outputs: Mapping[str, Tensor], batch: Mapping[str, Tensor]) -> float:
        return float((outputs["logits"].argmax(1) == batch["labels"]).double().mean())

    mapped = [{"pixels": x, "labels": y} for x, y in data]
    found = analyse(Named(), mapped[0], mapped, levels=(0.5,), measure=measure)
    assert found.values() == pytest.approx(wanted.values())
    assert "only what a choice changes" in found.how


def test_equal_choices_are_evaluated_once(net: Net) -> None:
    count = 0

    def evaluate(model: nn.Module) -> float:
        nonlocal count
        count += 1
        return float(count)

    found = analyse(net, INPUT, evaluate, names="hidden", levels=(0.1, 0.2, 0.3, 0.35, 0.5))
    assert count == 4  # as it is, and one, two and three of six
    assert [(p.level, p.leaving, p.metrics["score"]) for p in found.points] == [
        (0.1, 0, 1.0),
        (0.2, 1, 2.0),
        (0.3, 1, 2.0),
        (0.35, 2, 3.0),
        (0.5, 3, 4.0),
    ]


# -- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("file", ["results.csv", "results.jsonl"])
def test_an_analysis_goes_on_where_it_was_stopped(net: Net, tmp_path: Path, file: str) -> None:
    data, path, calls = batches(), tmp_path / file, 0

    def measure(outputs: Tensor, targets: Tensor) -> dict[str, float]:
        nonlocal calls
        calls += 1
        if calls == stop:
            raise KeyboardInterrupt
        return {"mean": float(outputs.mean()), "largest": float(outputs.max())}

    given: dict[str, Any] = {"levels": LEVELS, "measure": measure, "results": path}
    stop = 15
    with pytest.raises(KeyboardInterrupt):
        analyse(net, INPUT, data, **given)
    with path.open("a") as text:
        text.write("half a li")  # the machine stopped within a line
    stop, first = 0, calls
    found = analyse(net, INPUT, data, **given)
    assert found.csv() == analyse(net, INPUT, data, levels=LEVELS, measure=measure).csv()
    assert "half a li" not in path.read_text()
    calls = 0
    assert analyse(net, INPUT, data, **given).csv() == found.csv()
    assert calls == 0  # all is known
    assert first < 3 + 27
    read = Sensitivity.read(path)
    assert read.csv() == Sensitivity.read(path).csv()
    assert sorted(read.csv().splitlines()) == sorted(found.csv().splitlines())


def test_results_made_with_other_settings_are_refused(net: Net, tmp_path: Path) -> None:
    data, path = batches(1), tmp_path / "r.csv"
    analyse(net, INPUT, data, levels=(0.5,), names="hidden", results=path)
    kept = path.read_bytes()

    def refusal(**given: Any) -> str:
        with pytest.raises(SecateurError) as refused:
            analyse(net, INPUT, **{"data": data, "levels": (0.5,), "names": "hidden", "results": path, **given})
        assert path.read_bytes() == kept
        return str(refused.value)

    start = f"{path}: it was made with "
    assert refusal(levels=(0.25, 0.5)) == start + "levels 0.5, not 0.25, 0.5; write to another file, or remove it"
    assert refusal(criterion="l2") == start + "criterion l1, not l2; write to another file, or remove it"
    assert refusal(names="inner") == start + "other names; write to another file, or remove it"
    assert refusal(data=batches(2)) == start + "other data; write to another file, or remove it"
    assert "evaluation secateur.sensitivity.evaluating.classification, not " in refusal(data=lambda model: 1.0)
    with torch.no_grad():
        net.fc.bias += 1
    assert refusal() == start + "other weights; write to another file, or remove it"


@pytest.mark.parametrize(
    "content", ["a,b\n1,2\n", "# secateur sensitivity {}\nname,size,level,leaving,loss\nx,1,a,2,3\n", "\xff\n", "{}\n"]
)
def test_a_file_that_holds_something_else_is_refused(net: Net, tmp_path: Path, content: str) -> None:
    path = tmp_path / "r.csv"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(SecateurError, match=r"r\.csv: it (is no file of results: line \d is not understood|was made)"):
        analyse(net, INPUT, batches(1), levels=(0.5,), results=path)
    assert path.read_text(encoding="latin-1") == content
    with pytest.raises(SecateurError, match="it cannot be written"):
        analyse(net, INPUT, batches(1), levels=(0.5,), results=tmp_path / "nowhere" / "r.csv")


# -- processes -------------------------------------------------------------------------------------------------------


def test_a_full_disk_is_told(net: Net, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("secateur.sensitivity.journal.os.fsync", full)
    with pytest.raises(SecateurError, match=r"r\.csv: it cannot be written \(No space left on device\); make room"):
        analyse(net, (torch.zeros(2, 3, 6, 6),), batches(1, 4), levels=(0.5,), results=tmp_path / "r.csv")


def test_several_processes_find_the_same(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 4))
    data, path = batches(2, 8, (6,)), tmp_path / "r.csv"
    found = analyse(model, torch.zeros(2, 6), data, levels=LEVELS, jobs=2, results=path)
    assert found.csv() == analyse(model, torch.zeros(2, 6), data, levels=LEVELS).csv()
    assert analyse(model, torch.zeros(2, 6), data, levels=LEVELS, results=path).csv() == found.csv()


def test_what_cannot_be_sent_is_refused(net: Net) -> None:
    with pytest.raises(
        SecateurError, match="jobs: model, data or evaluation cannot be sent to another process"
    ) as told:
        analyse(net, INPUT, lambda model: 1.0, levels=(0.5,), jobs=2)
    assert told.value.hint == "define functions and classes at the top of an importable module, or use jobs=1"


def test_a_process_that_ends_is_told() -> None:
    from secateur.sensitivity.subjects import Subject
    from secateur.sensitivity.workers import Work, shared_out

    ends: Any = Work(3, os._exit, 1)  # type: ignore[arg-type]
    message = r"jobs: a process ended by itself \(exit status 3\); in a script, call it below `if __name__"
    with pytest.raises(SecateurError, match=message):
        list(shared_out(ends, [Subject("a", 1, ())], 2))


# -- what follows ----------------------------------------------------------------------------------------------------


def test_a_share_of_the_macs_is_kept(net: Net) -> None:
    found = analyse(net, INPUT, batches(), levels=(0.25, 0.5, 0.75))
    chosen = found.suggest(macs=0.5)
    assert chosen.macs is not None
    assert 0.35 < chosen.macs <= 0.5
    plan = secateur.plan(net, INPUT, prune=chosen)
    twin = Net()
    twin.load_state_dict(net.state_dict())
    secateur.thin(twin, plan)
    from secateur.measure import macs

    assert macs(twin, INPUT) / macs(net, INPUT) == chosen.macs
    wanted = by_hand(net, plan, batches())
    assert chosen.metrics["accuracy"] == wanted["accuracy"]
    assert chosen.metrics["loss"] == pytest.approx(wanted["loss"], abs=1e-6)
    assert found.suggest(macs=1.0).ratios == {}
    with pytest.raises(PlanError, match=r"macs=0.01: .*% of the MACs are left at the highest level, 0.75, of"):
        found.suggest(macs=0.01)


def test_a_wanted_metric_is_kept(net: Net) -> None:
    data = batches()
    found = analyse(net, INPUT, data, levels=(0.25, 0.5, 0.75), higher_is_better=False, measure=only_loss)
    wanted = found.dense["loss"] + 0.05
    chosen = found.suggest(accuracy=wanted)
    assert len(chosen)
    assert by_hand(net, secateur.plan(net, INPUT, prune=chosen), data)["loss"] <= wanted
    with pytest.raises(PlanError, match=r"accuracy=0.01: loss is .* before anything leaves; ask for less"):
        found.suggest(accuracy=0.01)


def only_loss(outputs: Tensor, targets: Tensor) -> dict[str, float]:
    return {"loss": float(nn.functional.cross_entropy(outputs, targets))}


def test_the_suggested_schedule_prunes_so(net: Net, tmp_path: Path) -> None:
    chosen = analyse(net, INPUT, batches(), levels=(0.25, 0.5, 0.75)).suggest(macs=0.5)
    path = tmp_path / "schedule.yaml"
    path.write_text(chosen.yaml())
    optimizer = torch.optim.SGD(net.parameters(), lr=0.0)
    scheduler = secateur.Scheduler.from_yaml(path, net, optimizer, example_inputs=(INPUT,))
    wanted = secateur.masked(net, secateur.plan(net, INPUT, prune=chosen)).eval()
    scheduler.on_epoch_begin(0)
    scheduler.on_minibatch_begin(0, 0, 1)
    net.eval()
    with scheduler.masked(), torch.no_grad():
        x = batches()[0][0]
        assert torch.allclose(net(x), wanted(x), atol=1e-6)


def test_elements_get_levels_and_sensitivities(net: Net, tmp_path: Path) -> None:
    found = analyse(net, INPUT, batches(), by="tensor", levels=(0.25, 0.5), measure=only_loss, higher_is_better=False)
    chosen = found.suggest(accuracy=found.dense["loss"] + 0.05)
    assert len(chosen)
    for name, ratio in chosen.items():
        weight = net.get_parameter(name).detach()
        gone = int((weight.abs() <= chosen.sensitivities[name] * weight.std() * (1 + 1e-6)).sum())
        assert gone == int(ratio * weight.numel())
    assert yaml.safe_load(chosen.yaml())["pruners"]["suggested"] == {"class": "level", "levels": dict(chosen)}
    path = tmp_path / "schedule.yaml"
    path.write_text(chosen.yaml())
    secateur.Scheduler.from_yaml(path, net, torch.optim.SGD(net.parameters(), lr=0.0), example_inputs=(INPUT,))
    with pytest.raises(ConfigError, match="suggest: weights that are zero one by one save no MACs"):
        found.suggest(macs=0.5)


def test_suggestions_that_make_no_sense_are_refused(net: Net, tmp_path: Path) -> None:
    found = analyse(net, INPUT, batches(1), levels=(0.5,), results=tmp_path / "r.csv")
    with pytest.raises(ConfigError, match="suggest: give either accuracy= or macs="):
        found.suggest()
    with pytest.raises(ConfigError, match=r"macs: 1.5 is no share of the dense MACs in \(0, 1\]"):
        found.suggest(macs=1.5)
    with pytest.raises(ConfigError, match="accuracy: expected a number, got 'high'"):
        found.suggest(accuracy="high")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="suggest: it was read from a file"):
        Sensitivity.read(tmp_path / "r.csv").suggest(macs=0.5)
    with pytest.raises(ConfigError, match="suggest: nothing is suggested by filter"):
        analyse(net, INPUT, batches(1), by="filter", levels=(0.5,)).suggest(accuracy=0.1)


@pytest.mark.parametrize("size", [2, 3, 7, 10, 16, 29, 64, 100, 257, 2048])
def test_ratios_give_back_their_counts(size: int) -> None:
    for count in range(1, size):
        ratio = exact_ratio(count, size)
        assert int(ratio * size) == count
        assert 0 < ratio < 1


# -- tables and pictures ---------------------------------------------------------------------------------------------


def test_table_and_csv(net: Net, tmp_path: Path) -> None:
    found = analyse(net, INPUT, batches(), levels=LEVELS)
    rows = list(csv.DictReader(found.csv().splitlines()))
    assert rows[0]["name"] == "(dense)"
    assert [row["name"] for row in rows[1::3]] == ["stem", "inner", "hidden"]
    assert float(rows[1]["loss"]) == found.values("loss")[0, 0]
    found.save(tmp_path / "saved.csv")
    assert (tmp_path / "saved.csv").read_text() == found.csv()
    table = found.table("loss")
    assert [column.name for column in table.columns] == ["dim", "units", "0.25", "0.5", "0.75"]
    assert str(found).startswith(f"accuracy when that share of one dim leaves; {found.dense['accuracy']:.1%} as it is")
    with pytest.raises(ConfigError, match="metric: no metric named 'los'; did you mean 'loss'"):
        found.table("los")


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
@pytest.mark.parametrize("many", [False, True])
def test_pictures(net: Net, tmp_path: Path, suffix: str, many: bool) -> None:
    from secateur.sensitivity.journal import Point

    found = analyse(net, INPUT, batches(1), levels=LEVELS, names="hidden")
    names = [f"layer{i}.conv" for i in range(40)] if many else ["first", "second"]
    points = [Point(n, 8, level, 1, {"accuracy": level, "loss": 1 - level}) for n in names for level in LEVELS]
    from attrs import evolve

    path = tmp_path / f"picture.{suffix}"
    evolve(found, points=tuple(points)).plot(path)
    content = path.read_bytes()
    assert content.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[suffix])
    if suffix == "svg":
        assert all(name.encode() in content for name in names)


def test_pictures_that_cannot_be_drawn_are_refused(net: Net, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = analyse(net, INPUT, batches(1), levels=LEVELS, names="hidden")
    with pytest.raises(ConfigError, match=r"'.gif' is no kind of picture it can be drawn as; end its name in .png"):
        found.plot(tmp_path / "a.gif")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(SecateurError, match=r"plot: matplotlib, which draws it, is not installed; pip install"):
        found.plot(tmp_path / "a.png")


# -- the command -----------------------------------------------------------------------------------------------------


NET = """
import torch
from torch import nn

def make():
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 10))
"""
DIGITS = ["--data", "digits", "--data-args", "size=8", "--examples", "60"]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("COLUMNS", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    (tmp_path / "net.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_command(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["sensitivity", "net.py:make", *DIGITS, "--levels", "0.25:0.75:0.25", "-o", "r.csv", "--plot", "p.svg"]
    assert main([*command, "--suggest-macs", "0.6", "--schedule", "s.yaml"]) == 0
    out = capsys.readouterr().out
    assert "net.py:make on digits" in out
    assert "accuracy when that share of one dim leaves" in out
    assert "only what a choice changes of the forward was done again" in out
    assert "suggested: " in out
    assert "wrote s.yaml" in out
    assert len(Sensitivity.read("r.csv").points) == 6
    assert Path("p.svg").exists()
    assert yaml.safe_load(Path("s.yaml").read_text())["policies"]
    assert main([*command, "--suggest-accuracy", "0.0"]) == 0  # all is known
    again = capsys.readouterr().out
    assert "class: magnitude" in again
    assert main(["sensitivity", "net.py:make", *DIGITS, "--by", "tensor", "--levels", "0.5", "--metric", "loss"]) == 0
    assert "loss when that share of one tensor leaves" in capsys.readouterr().out
    assert main(["sensitivity", "net.py:make", *DIGITS, "--criterion", "fisher", "--levels", "0.5"]) == 0


def test_the_command_prints_percentiles(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sensitivity", "net.py:make", "--percentile", "90"]) == 0
    found = yaml.safe_load(capsys.readouterr().out)
    assert list(found) == ["1.weight", "3.weight", "5.weight"]
    assert 0 < found["1.weight"] < 1 / 192**0.5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "secateur sensitivity: nothing says what to evaluate on; give --data, one of "),
        (["--data", "digit"], "--data: no data set named 'digit'; did you mean 'digits'?"),
        (["--data", "digits", "--data-args", "size"], "--data-args: 'size' is not KEY=VALUE"),
        (
            ["--data", "digits", "--data-args", "big=1"],
            "--data-args: the data set 'digits' refuses its arguments: there is no argument 'big'",
        ),
        (["--data", "digits", "--split", "tset"], "--split: digits has no split 'tset'; did you mean 'test'?"),
        (["--data", "digits", "--levels", "0.1:0.9"], "--levels: '0.1:0.9' are no levels; give "),
        (["--data", "digits", "--levels", "0.5,2"], "levels: 2.0 is no share in (0, 1)"),
        (["--data", "digits", "--levels", "0.1:0.9:0"], "--levels: the step 0.0 is not above 0"),
        (["--data", "digits", "--plot", "a.bmp"], "a.bmp: '.bmp' is no kind of picture it can be drawn as"),
        (["--data", "digits", "--schedule", "a"], "--schedule goes with --suggest-accuracy or --suggest-macs"),
        (["--data", "digits", "--suggest-macs", "1", "--suggest-accuracy", "1"], "give one of them"),
        (["--data", "digits", "--percentile", "90"], "--percentile looks at weights only; leave out --data"),
        (["--data", "digits", "--examples", "0"], "--examples 0; give a positive number"),
    ],
)
def test_the_command_refuses(
    place: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert main(["sensitivity", "net.py:make", *arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert message in err
    assert err.count("\n") == 1


def test_arguments_that_a_data_set_refuses_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sensitivity", "word_lm", "--data", "text_folder"]) == 2
    error = capsys.readouterr().err
    assert (
        "error: --data-args: the data set 'text_folder' refuses its arguments: the argument 'path' is missing" in error
    )


def test_a_results_file_knows_which_target_belongs_to_which_input() -> None:
    from secateur.sensitivity.evaluating import batch_of
    from secateur.sensitivity.settings import data_digest

    inputs, targets = torch.randn(12, 3), torch.arange(12)

    def digest(order: Any, to: Any, size: int) -> str:
        split = zip(inputs[order].split(size), targets[to].split(size), strict=True)
        return data_digest([batch_of(given, "cpu") for given in split])

    order, other = torch.randperm(12, generator=torch.Generator().manual_seed(0)), torch.arange(12)
    assert digest(other, other, 4) == digest(order, order, 5)
    assert digest(other, other, 4) != digest(other, order, 4)
