"""The builder "export" leads to the same dims as "trace", and what it plans is exact."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import secateur
from secateur.coupling.units import Units
from secateur.errors import CaptureError
from secateur.graph.ir import Graph
from secateur.graph.sizes import Attribute, AxisLength
from secateur.thinning.planner import couple


def units(dims: list[Units]) -> dict[str, list[list[tuple[str, int, int]]]]:
    """The units of every dim, each as its slices."""
    return {
        dim.name: [
            sorted((name, axis, int(i)) for (name, axis), indices in dim.slices.items() for i in indices[unit])
            for unit in range(len(dim))
        ]
        for dim in dims
    }


def agree(law: Any, model: nn.Module, inputs: Any, dims: int | None = None, **shapes: tuple[int, ...]) -> nn.Module:
    """Check that both builders find the same units, and that a plan of "export" is exact; return the thin model."""
    law.randomised(model)
    found = [couple(model, inputs, builder).dims for builder in ("trace", "export")]
    assert units(found[0]) == units(found[1])
    assert dims is None or len(found[0]) == dims
    assert [sorted(dim.readers) for dim in found[0]] == [sorted(dim.readers) for dim in found[1]]
    plan = secateur.plan(model, inputs, 0.5, builder="export")
    assert plan.attributes == secateur.plan(model, inputs, 0.5).attributes
    thin = law.exact(model, plan, inputs)
    for name, shape in shapes.items():
        assert tuple(thin.get_parameter(name.replace("__", ".")).shape) == shape
    return thin


def exported(model: nn.Module, inputs: Any) -> Graph:
    return secateur.trace(model, inputs, builder="export")


class Net(nn.Module):
    """Modules by keyword and a forward given as a function."""

    def __init__(self, forward: Any, **held: Any) -> None:
        super().__init__()
        for name, entry in held.items():
            if isinstance(entry, Tensor) and not isinstance(entry, nn.Parameter):
                self.register_buffer(name, entry)
            else:
                setattr(self, name, entry)
        self._forward = forward

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._forward(self, *args, **kwargs)


# -- the same dims --------------------------------------------------------------------------------------------


def test_chain_of_convolutions(law):
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 12, 3, stride=2, groups=4),
        nn.GroupNorm(4, 12),
        nn.Hardswish(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(12, 5),
    )
    thin = agree(law, model, (law.normal(2, 3, 12, 12),))
    assert thin[4].groups < 4


def test_residual_with_a_projection(law):
    def forward(self, x):
        y = F.relu(self.stem(x))
        return self.head((self.b(F.silu(self.a(y))) + self.skip(y)).mean((2, 3)))

    conv = nn.Conv2d
    model = Net(
        forward, stem=conv(3, 6, 1), a=conv(6, 8, 3, padding="same"), b=conv(8, 4, 1), skip=conv(6, 4, 1),
        head=nn.Linear(4, 3),
    )  # fmt: skip
    agree(law, model, (law.normal(1, 3, 6, 6),), dims=3, head__weight=(3, 2))


def test_concatenation_slices_and_padding(law):
    def forward(self, x):
        y = torch.cat([self.a(x), self.b(x)], dim=1)
        y = F.pad(y, (1, 1, 1, 1))
        y = torch.cat((y[:, : self.cut], y[:, self.cut :].flip(1)), 1)
        return self.head(y)[..., 1:-1]

    model = Net(forward, a=nn.Conv2d(3, 4, 1), b=nn.Conv2d(3, 6, 1), head=nn.Conv2d(10, 2, 1), cut=4)
    agree(law, model, (law.normal(1, 3, 5, 5),))


def test_split_with_sizes_held_by_the_module(law):
    def forward(self, x):
        a, b = torch.split(self.a(x), self.sizes, dim=-1)
        c, d = self.b(x).chunk(2, -1)
        e, f = self.c(x).split(self.half, -1)
        return self.head(torch.cat([a.tanh(), b, torch.sigmoid(c) * d, e - f], -1))

    model = Net(
        forward, a=nn.Linear(4, 10), b=nn.Linear(4, 8), c=nn.Linear(4, 6), head=nn.Linear(17, 3), sizes=[4, 6], half=3
    )
    thin = agree(law, model, (law.normal(2, 4),))
    assert (sum(thin.sizes), thin.half) == (5, 2)


def test_channel_shuffle_and_pixel_shuffle(law):
    def forward(self, x):
        y = self.a(x)
        b, c, h, w = y.shape
        y = y.view(b, self.groups, c // self.groups, h, w).transpose(1, 2).reshape(b, -1, h, w)
        return self.head(F.pixel_shuffle(self.b(y), 2))

    model = Net(forward, a=nn.Conv2d(3, 12, 1), b=nn.Conv2d(12, 16, 1), head=nn.Conv2d(4, 2, 1), groups=3)
    agree(law, model, (law.normal(1, 3, 4, 4),))


class Attention(nn.Module):
    def __init__(self, width: int = 12, heads: int = 3) -> None:
        super().__init__()
        self.heads, self.scale = heads, 0.5
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        q, k, v = self.qkv(x).view(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        weights = (q @ k.transpose(-2, -1) * self.scale).softmax(-1)
        return self.proj((weights @ v).transpose(1, 2).reshape(b, n, -1))


def test_attention_by_hand(law):
    model = nn.Sequential(nn.Linear(4, 12), Attention(), nn.Linear(12, 2))
    thin = agree(law, model, (law.normal(2, 5, 4),))
    assert thin[1].heads == 2


def test_attention_with_the_function_of_torch(law):
    def forward(self, x):
        b, n, _ = x.shape
        q, k, v = (layer(x).view(b, n, self.heads, self.width).transpose(1, 2) for layer in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(q, k, v, scale=self.scale)
        return self.proj(y.transpose(1, 2).reshape(b, n, self.heads * self.width))

    layers = {name: nn.Linear(6, 8) for name in "qkv"}
    agree(law, Net(forward, **layers, proj=nn.Linear(8, 3), heads=2, width=4, scale=0.5), (law.normal(1, 3, 6),))


def test_shape_expressions_and_attributes_that_are_no_sizes(law):
    def forward(self, x):
        y = self.a(x)
        halves = y.reshape(y.size(0), 2, y.shape[1] // 2)
        y = (halves[:, 0] * halves[:, 1] + self.scale).expand(y.shape[0], y.shape[-1] // 2)
        return self.head(y.unflatten(-1, (-1, 1)).flatten(1))

    agree(law, Net(forward, a=nn.Linear(4, 12), head=nn.Linear(6, 2), scale=6), (law.normal(3, 4),), dims=1)


def test_tied_weights(law):
    model = Net(lambda self, x: self.b(self.a(x).relu() + self.c(x)), a=nn.Linear(6, 6), b=nn.Linear(6, 6))
    model.c = nn.Linear(6, 6)
    model.c.weight = model.a.weight
    agree(law, model, (law.normal(2, 6),))
    graph = exported(model, (law.normal(2, 6),))
    assert graph.aliases == {"c.weight": "a.weight"}
    assert graph.ops["c.linear"].inputs == ("input", "a.weight", "c.bias")


def test_one_module_under_two_names(law):
    model = Net(lambda self, x: self.b(self.two(self.one(self.a(x)).relu())), a=nn.Linear(3, 6), b=nn.Linear(6, 2))
    model.one = model.two = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6))
    agree(law, model, (law.normal(4, 3),), dims=1)


def test_windows_go_by_the_names_of_python(law):
    def forward(self, x):
        return self.b(F.fold(F.unfold(self.a(x), 3, padding=1), (4, 5), 3, padding=1))

    model = Net(forward, a=nn.Conv2d(3, 8, 1), b=nn.Conv2d(8, 2, 1))
    agree(law, model, (law.normal(1, 3, 4, 5),), dims=1, a__weight=(4, 3, 1, 1))


def test_integer_buffers_and_constants_keep_their_numbers(law):
    def forward(self, x):
        return self.head(self.a(x)[:, self.order] * torch.tensor([1.0, 2.0], dtype=x.dtype)[self.which])

    model = Net(
        forward, a=nn.Linear(3, 4), head=nn.Linear(4, 2), order=torch.tensor([2, 0, 3, 1]),
        which=torch.tensor([0, 1, 1, 0]),
    )  # fmt: skip
    agree(law, model, (law.normal(2, 3),))
    graph = exported(model, (law.normal(2, 3),))
    assert graph.values["order"].data.tolist() == [2, 0, 3, 1]
    assert [value.kind for value in graph.values.values()].count("constant") == 1


def test_several_inputs_and_outputs(law):
    def forward(self, pair, mask=None, scale=2):
        x, y = pair
        z = self.a(x) + self.b(y)
        return {"z": self.head(z.masked_fill(mask[:, None], 0.0)), "rest": [self.tail(z) * scale]}

    model = Net(forward, a=nn.Linear(3, 6), b=nn.Linear(2, 6), head=nn.Linear(6, 2), tail=nn.Linear(6, 1))
    x, y, mask = law.normal(4, 3), law.normal(4, 2), torch.tensor([True, False, False, True])
    agree(law, model, ((x, y), mask, 3), dims=1, head__weight=(2, 3))
    graph = exported(model, ((x, y), mask, 3))
    assert graph.inputs == secateur.trace(model, ((x, y), mask, 3)).inputs == ("input0", "input1", "input2")
    assert len(graph.outputs) == 2


def test_inputs_by_name(law):
    model = Net(lambda self, *, x, y=None: self.b(F.relu(self.a(x) * y)), a=nn.Linear(3, 6), b=nn.Linear(6, 2))
    inputs = {"y": law.normal(2, 1), "x": law.normal(2, 3)}
    agree(law, model, inputs, dims=1)
    assert exported(model, inputs).inputs == ("y", "x")


def test_changes_in_place(law):
    def forward(self, x):
        y = self.a(x)
        view = y[:, 2:]
        y.relu_().mul_(2)
        y[:, 0] = 0.5
        y += self.b(x)
        view[:1].zero_()
        return self.head(y) + self.head(torch.cat([view, view[:, :2]], 1))

    agree(law, Net(forward, a=nn.Linear(3, 6), b=nn.Linear(3, 6), head=nn.Linear(6, 2)), (law.normal(4, 3),))


def test_operands_in_either_order_and_powers(law):
    def forward(self, x):
        y = self.a(x)
        return self.b((1 - y) * 2 + 3 / (1 + y.square()) + (y**2).sqrt() + F.normalize(y, dim=1) + y.clamp(-1, 1))

    agree(law, Net(forward, a=nn.Linear(3, 6), b=nn.Linear(6, 2)), (law.normal(4, 3),))


def test_transposed_convolution_resizing_and_instance_norm(law):
    model = nn.Sequential(
        nn.ConvTranspose2d(3, 8, 2, stride=2, groups=1),
        nn.InstanceNorm2d(8, affine=True, track_running_stats=True),
        nn.PReLU(8),
        nn.Upsample(scale_factor=2, mode="bilinear"),
        nn.Conv2d(8, 6, 1),
        nn.GLU(1),
        nn.Conv2d(3, 2, 1),
    )
    agree(law, model, (law.normal(1, 3, 4, 4),))


def test_norms_over_channels_stay(law):
    model = nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.Linear(6, 8), nn.GELU(), nn.Softmax(-1), nn.Linear(8, 2))
    agree(law, model, (law.normal(3, 4),))


def test_multi_head_attention_is_exact_whatever_is_planned(law):
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mha = nn.MultiheadAttention(8, 2, batch_first=True)
            self.mlp = nn.Sequential(nn.Linear(8, 12), nn.GELU(), nn.Linear(12, 8))

        def forward(self, x: Tensor) -> Tensor:
            x = x + self.mha(x, x, x, need_weights=False)[0]
            return x + self.mlp(x)

    model = law.randomised(Block())
    x = law.normal(2, 5, 8)
    plan = secateur.plan(model, (x,), 0.5, builder="export")
    assert plan.cuts["mlp.0.weight"][0].size == 6
    law.exact(model, plan, (x,))
    kinds = [op.kind for op in exported(model, (x,)).ops.values() if op.module == "mha"]
    assert "multi_head_attention_forward" not in kinds
    assert "scaled_dot_product_attention" in kinds


# -- sizes ----------------------------------------------------------------------------------------------------


def sizes_of(graph: Graph, op: str) -> list[str]:
    found = graph.ops[op].args[1]
    return [str(size) for size in (found if isinstance(found, tuple) else (found,))]


def test_sizes_remember_where_they_came_from(law):
    def forward(self, x):
        y = self.a(x)
        y = y.view(y.shape[0], self.heads, self.a.weight.shape[0] // self.heads)
        return y.reshape(x.size(0), -1).expand(len(x), 8) * y.shape[2]

    graph = exported(Net(forward, a=nn.Linear(4, 8), heads=2), (law.normal(3, 4, dtype=torch.float32),))
    assert sizes_of(graph, "view") == ["a.linear.shape[0]", "heads", "(a.weight.shape[0] // heads)"]
    assert sizes_of(graph, "reshape") == ["input.shape[0]", "-1"]
    assert sizes_of(graph, "expand") == ["3", "8"]  # len() gives a plain int
    assert sizes_of(graph, "mul") == ["view.shape[2]"]


def test_arguments_by_keyword_in_any_order_keep_their_origin(law):
    def forward(self, x):
        return F.conv2d(x, self.weight, groups=self.groups, stride=self.steps)

    weight = nn.Parameter(torch.zeros(4, 2, 1, 1))
    graph = exported(Net(forward, weight=weight, groups=2, steps=2), (torch.zeros(1, 4, 6, 6),))
    op = graph.ops["conv2d"]
    assert str(op.args[-1]) == "groups"
    assert [str(size) for size in op.args[3]] == ["steps", "2"]


@pytest.mark.parametrize(
    "use",
    [
        lambda y: y * y.shape[1] ** -0.5,
        lambda y: y * (2 if y.shape[1] > 4 else 3),
        lambda y: y * y.shape[1],
        lambda y: y + torch.full((1,), y.shape[1]),
        lambda y: y * int(y.shape[1]),
        lambda y: y.view(-1, 6),
    ],
)
def test_sizes_that_are_read_as_numbers_stay_for_the_same_reasons(law, use):
    model = law.randomised(Net(lambda self, x: self.b(use(self.a(x))), a=nn.Linear(4, 6), b=nn.Linear(6, 2)))
    plans = [secateur.plan(model, (law.normal(3, 4),), builder=builder) for builder in ("trace", "export")]
    assert not any("a.weight" in plan.cuts for plan in plans)
    assert [str(dim) for dim in plans[0].dims] == [str(dim) for dim in plans[1].dims]
    reasons = [[(r.parameter, r.axis, r.reasons) for r in plan.refusals] for plan in plans]
    assert reasons[0] == reasons[1]
    assert "test_builder_export.py" in str(plans[1])


def test_a_size_of_a_tensor_that_is_not_used_otherwise_is_still_known(law):
    def forward(self, x):
        return self.b(self.a(x)) / self.c(x).exp().shape[1]

    model = Net(forward, a=nn.Linear(4, 6), b=nn.Linear(6, 2), c=nn.Linear(4, 6))
    agree(law, model, (law.normal(2, 4),), dims=1)


def test_sizes_inside_functions_of_torch_are_followed(law):
    def forward(self, x):
        y = self.a(x)
        return F.kl_div(y.t(), self.b(x).t(), reduction="batchmean", log_target=True)

    model = law.randomised(Net(forward, a=nn.Linear(4, 6), b=nn.Linear(4, 6)))
    plan = secateur.plan(model, (law.normal(3, 4),), builder="export")
    assert plan.dims == ()  # the sum is divided by the number of rows, which are the units here
    assert exported(model, (law.normal(3, 4),)).ops["div"].args[1].expr == AxisLength("t", 0)


def test_tensors_held_beside_the_parameters(law):
    def forward(self, x):
        y = F.linear(x, self.held[0], self.bias)
        return self.b(y * self.table.shape[0] + self.table.to(y.dtype).sum(0))

    model = Net(forward, weight=nn.Parameter(torch.zeros(6, 4)), bias=nn.Parameter(torch.zeros(6)), b=nn.Linear(6, 2))
    model.held, model.__dict__["table"] = (model.weight,), torch.arange(12).view(2, 6)
    law.randomised(model)
    graph = exported(model, (law.normal(3, 4),))
    assert graph.ops["linear"].inputs == ("input", "constant", "bias")
    assert graph.unused == ("weight",)
    model.held = (model.weight.detach()[:, :], model.weight)
    model._forward = lambda self, x: forward(self, x) + self.b(F.linear(x, self.weight))
    assert exported(model, (law.normal(3, 4),)).unused == ("weight",)
    plan = secateur.plan(model, (law.normal(3, 4),), builder="export")
    assert "weight" not in plan.cuts
    law.exact(model, plan, (law.normal(3, 4),))


# -- the graph ------------------------------------------------------------------------------------------------


def test_operations_say_who_made_them_and_modules_what_they_took(law):
    model = nn.Sequential(nn.Linear(4, 6), nn.Sequential(nn.ReLU(), nn.Linear(6, 2)))
    graph = exported(model, (torch.zeros(2, 4),))
    assert list(graph.ops) == ["0.linear", "1.0.relu", "1.1.linear"]
    calls = {call.module: call for call in graph.calls}
    assert calls["1"].inputs == ("0.linear",)
    assert calls["1"].outputs == calls["1.1"].outputs == calls[""].outputs == ("1.1.linear",)
    assert calls["1.1"].type == "torch.nn.modules.linear.Linear"
    assert graph.ops["0.linear"].source is None  # nobody but torch called it
    assert graph.builder == "export"


def test_several_results_of_one_call(law):
    def forward(self, x):
        y, state = self.rnn(x)
        first, second, _ = y.unbind(1)
        best, _ = torch.max(first, 1)
        return second.sum(1) + best + state[0].sum(1)

    model = Net(forward, rnn=nn.GRU(4, 5, batch_first=True))
    graph = exported(model, (torch.zeros(2, 3, 4),))
    assert len(graph.ops["rnn.gru"].outputs) == 2
    assert len(graph.ops["unbind"].outputs) == 3
    assert len(graph.ops["max"].outputs) == 2


class Auxiliary(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b, self.aux = nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Linear(6, 2), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Any:
        y = self.norm(self.a(x))
        return (self.b(y), self.aux(y)) if self.training else self.b(y)


def test_what_only_training_does_is_seen(law):
    model = Auxiliary()
    agree(law, model, (law.normal(1, 4),), dims=1, aux__weight=(3, 3))
    graph = exported(model, (law.normal(1, 4),))
    assert len(graph.outputs) == 3
    plain = exported(nn.Sequential(model.a, model.norm, nn.Dropout(), model.b), (law.normal(1, 4),))
    assert not any(op.training for op in plain.ops.values())


def test_parameters_that_were_not_reached_stay(law):
    model = Net(lambda self, x: self.a(x), a=nn.Linear(4, 6), spare=nn.Linear(6, 2))
    graph = exported(model, (torch.zeros(2, 4),))
    assert graph.unused == ("spare.weight", "spare.bias")


# -- the model, and errors ------------------------------------------------------------------------------------


def test_the_model_is_left_as_it_was(law):
    class Keeping(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.norm, self.count, self.seen = nn.Linear(4, 6), nn.BatchNorm1d(6), 3, []
            self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

        def forward(self, x: Tensor) -> Tensor:
            self.steps += 1
            self.count = 4
            self.seen.append(1)
            return self.norm(self.a(x))

    model = Keeping().train()
    model.norm.eval()
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    held = {id(p) for p in model.parameters()}
    x = torch.randn(3, 4)
    kept = x.clone()
    random = torch.get_rng_state()
    exported(model, (x,))
    assert torch.equal(random, torch.get_rng_state())
    assert not torch.equal(state, random)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert {id(p) for p in model.parameters()} == held
    assert (type(model.count), model.count, model.seen) == (int, 3, [])
    assert (model.training, model.norm.training, model.a.training) == (True, False, True)
    assert torch.equal(x, kept)
    assert type(model.a.in_features) is int


def test_what_torch_cannot_export_is_refused_with_a_way_out(capfd):
    model = Net(lambda self, x: self.a(x) if x.sum() > 0 else -self.a(x), a=nn.Linear(4, 6))
    with pytest.raises(CaptureError) as caught:
        exported(model, (torch.ones(2, 4),))
    text = str(caught.value)
    assert "torch.export does not follow the forward of Net" in text
    assert 'builder="trace"' in text
    assert capfd.readouterr() == ("", "")  # torch prints the graph so far
    assert type(model.a.in_features) is int
    assert len(secateur.trace(model, (torch.ones(2, 4),)).ops) > 0


def test_inputs_that_do_not_fit_are_refused():
    with pytest.raises(CaptureError, match=r"does not follow the forward of Linear: .*check that model"):
        exported(nn.Linear(4, 6), (torch.ones(2, 5),))


def test_a_model_that_fails_in_training_mode_is_planned_all_the_same(law):
    def forward(self, x):
        if self.training:
            raise RuntimeError("not for training")
        return self.b(self.a(x))

    model = Net(forward, a=nn.Linear(4, 6), b=nn.Linear(6, 2))
    assert exported(model, (torch.zeros(2, 4),)).training_failure == "RuntimeError: not for training"


def test_sizes_are_attributes_or_axes(law):
    graph = exported(
        Net(lambda self, x: self.a(x).view(x.shape[0], self.n, -1), a=nn.Linear(4, 6), n=2), (torch.zeros(3, 4),)
    )
    rows, heads, rest = graph.ops["view"].args[1]
    assert (rows.expr, rows.value) == (AxisLength("input", 0), 3)
    assert (heads.expr, heads.value) == (Attribute("", "n"), 2)
    assert rest.value == -1
