"""Dims whose size an operation reads: pruned on request, compensated where that is exact, else counted anew."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import secateur
from secateur.thinning.plan import Plan
from secateur.thinning.planner import couple, make_plan, spare
from secateur.thinning.verify import outputs

Forward = Callable[..., Any]


class Net(nn.Module):
    """Modules by name, and a forward that is given them."""

    def __init__(self, forward: Forward, **held: Any) -> None:
        super().__init__()
        for name, value in held.items():
            setattr(self, name, value)
        self.body = forward

    def forward(self, *inputs: Tensor) -> Any:
        return self.body(self, *inputs)


def requested(law: Any, model: nn.Module, inputs: Any, seeds: int = 2, **options: Any) -> tuple[Any, Plan]:
    """Prune half of everything, and then random units; what is exact is compared with the masked network."""
    inputs = inputs if isinstance(inputs, tuple) else (inputs,)
    law.randomised(model)
    plan = secateur.plan(model, inputs, renormalise=True, **options)
    thinned = checked(law, model, plan, inputs)
    coupling = couple(model, inputs, renormalise=True)
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        counts = [int(rng.integers(0, len(dim))) if len(dim) > 1 else 0 for dim in coupling.dims]
        chosen = [rng.choice(len(dim), n, replace=False) for dim, n in zip(coupling.dims, counts, strict=True)]
        leaving = spare(coupling, [np.sort(c) for c in chosen], lambda i: np.ones(len(coupling.dims[i])))
        checked(law, model, make_plan(model, coupling, leaving, inputs), inputs)
    return thinned, plan


def checked(law: Any, model: nn.Module, plan: Plan, inputs: Any) -> nn.Module:
    """Thin a copy, and another by the saved plan; both verify at the law's tolerance."""
    saved = Plan.from_dict(json.loads(json.dumps(plan.to_dict())))
    thinned, again = copy.deepcopy(model), copy.deepcopy(model)
    for twin, made, given in ((thinned, plan, None), (again, saved, inputs)):
        report = secateur.thin(twin, made, example_inputs=given)
        assert report.difference is not None
        assert report.difference.relative <= 1e-11
    assert all(torch.equal(a, b) for a, b in zip(outputs(thinned, inputs), outputs(again, inputs), strict=True))
    if all(dim.exact for dim in plan.dims if len(dim.leaving)):
        assert not plan.counted
        assert law.relative(outputs(secateur.masked(model, plan), inputs), outputs(thinned, inputs)) <= 1e-11
    return thinned


SHAPES = {"a.weight": (4, 5), "b.weight": (3, 4)}
READ: dict[str, Callable[[Tensor], Any]] = {
    "mean": lambda y: y.mean(1, keepdim=True),
    "mean of everything": lambda y: y.mean(),
    "mean and variance": lambda y: (y - torch.var_mean(y, 1, keepdim=True)[1]) / y.var(1, keepdim=True).sqrt(),
    "std": lambda y: y.std(-1, keepdim=True),
    "amax": lambda y: y.amax(1, keepdim=True),
    "amin": lambda y: y.amin(1, keepdim=True),
    "prod": lambda y: y.prod(1, keepdim=True),
    "logsumexp": lambda y: y.logsumexp(1, keepdim=True),
    "softmax": lambda y: y.softmax(-1),
    "log_softmax": lambda y: F.log_softmax(y, 1),
    "layer_norm": lambda y: F.layer_norm(y, y.shape[1:]),
    "rms_norm": lambda y: F.rms_norm(y, y.shape[1:], eps=0.1),
    "mean over places and channels": lambda y: y.unflatten(0, (2, 2)).mean((0, 2)).mean(),
}


@pytest.mark.parametrize("name", READ)
def test_operations_that_read_a_size_are_counted_on_request(law: Any, name: str) -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        y = m.a(x).sigmoid()
        return m.b(y - READ[name](y))

    model, x = Net(forward, a=nn.Linear(5, 8), b=nn.Linear(8, 3)), law.normal(4, 5)
    thinned, plan = requested(law, model, x)
    assert {key: tuple(dict(thinned.named_parameters())[key].shape) for key in SHAPES} == SHAPES
    assert [(dim.name, len(dim.kept), dim.exact) for dim in plan.dims] == [("a", 4, False)]
    assert plan.counted
    assert not plan.scalings
    law.refuses(model, x, "a.weight", "over it, in ", "test_renormalise.py", "renormalise=True prunes it all the same")


@pytest.mark.parametrize("operation", ["median", "argmax", "mode"])
def test_where_the_result_is_a_place_nothing_leaves_even_on_request(law: Any, operation: str) -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        made = getattr(torch, operation)(m.a(x), 1)
        return m.b(m.a(x)) + (made if isinstance(made, Tensor) else made[0])[:, None]

    model = Net(forward, a=nn.Linear(5, 8), b=nn.Linear(8, 3))
    _, plan = requested(law, model, law.normal(4, 5), seeds=0)
    assert plan.dims == ()
    (reason,) = next(r.reasons for r in plan.refusals if r.parameter == "a.weight" and r.axis == 0)
    assert f"{operation} is taken over it" in reason
    assert "renormalise=True" not in reason


NORMS: dict[str, tuple[Callable[[], nn.Module], bool]] = {
    "layer": (lambda: nn.LayerNorm(8), False),
    "layer without bias": (lambda: nn.LayerNorm(8, bias=False), False),
    "layer without parameters": (lambda: nn.LayerNorm(8, elementwise_affine=False), False),
    "rms": (lambda: nn.RMSNorm(8), True),
    "rms with eps": (lambda: nn.RMSNorm(8, eps=0.3), True),
    "rms without parameters": (lambda: nn.RMSNorm(8, elementwise_affine=False), False),
    "softmax": (lambda: nn.Softmax(-1), False),
}


@pytest.mark.parametrize("name", NORMS)
def test_norms_over_features(law: Any, name: str) -> None:
    make, exact = NORMS[name]
    model = nn.Sequential(nn.Linear(5, 8), make(), nn.Linear(8, 3))
    thinned, plan = requested(law, model, law.normal(4, 5), seeds=3)
    assert [(dim.name, dim.exact) for dim in plan.dims] == [("0", exact)]
    assert [scaling.parameter for scaling in plan.scalings] == (["1.weight"] if exact else [])
    assert len(plan.counted) == (0 if exact else 1)
    assert getattr(thinned[1], "normalized_shape", (4,)) == (4,)
    if name == "rms with eps":
        assert plan.attributes["1", "eps"] == (0.3, 0.6)
        assert torch.allclose(thinned[1].weight, model[1].weight[plan.dims[0].kept] * 2**0.5, rtol=1e-12)
    if name == "rms":
        assert plan.attributes["1", "eps"] == (None, 2 * 2.0**-52)


@pytest.mark.parametrize("norm", [nn.GroupNorm(2, 8), nn.GroupNorm(4, 8, affine=False), nn.LayerNorm([8, 4, 4])])
def test_norms_over_channels(law: Any, norm: nn.Module) -> None:
    model = nn.Sequential(nn.Conv2d(3, 8, 3), norm, nn.Conv2d(8, 3, 1))
    thinned, plan = requested(law, model, law.normal(2, 3, 6, 6), seeds=3)
    groups = norm.num_groups if isinstance(norm, nn.GroupNorm) else 1
    assert sorted(dim.exact for dim in plan.dims) == ([False, True] if groups > 1 else [False])
    assert len(thinned[0].weight) == 8 // (4 if groups > 1 else 2)
    if groups > 1:
        assert thinned[1].num_groups == groups // 2


def test_a_norm_over_merged_axes_and_a_sum_after_it(law: Any) -> None:
    """After a norm the leaving channels are zero in the reference, so a sum over them is no further matter."""

    def forward(m: Any, x: Tensor) -> Tensor:
        y = F.rms_norm((z := m.a(x).flatten(1)), z.shape[1:])
        return y.sum(1, keepdim=True) * m.b(y.unflatten(1, (-1, 4, 4)))[:, :, 0, 0]

    model = Net(forward, a=nn.Conv2d(3, 8, 3), b=nn.Conv2d(8, 3, 1))
    _, plan = requested(law, model, law.normal(2, 3, 6, 6), seeds=3)
    assert [counted.op for counted in plan.counted] == ["rms_norm"]


@pytest.mark.parametrize("name", ["layer", "rms", "rms without parameters", "softmax"])
def test_the_thin_network_counts_what_stays_by_hand(law: Any, name: str) -> None:
    """Written without the tool: all channels are there, and only those that stay are counted."""
    x = law.normal(4, 5)
    model = nn.Sequential(nn.Linear(5, 8), nn.Sigmoid(), NORMS[name][0](), nn.Linear(8, 3))
    thinned, plan = requested(law, model, x, seeds=0)
    assert not plan.dims[0].exact
    stay = torch.zeros(8, dtype=torch.float64)
    stay[plan.dims[0].kept] = 1
    y, norm, count = torch.sigmoid(model[0](x)) * stay, model[2], stay.sum()
    if name == "layer":
        mean = y.sum(1, keepdim=True) / count
        variance = ((y - mean).square() * stay).sum(1, keepdim=True) / count
        made = (y - mean) / (variance + norm.eps).sqrt() * norm.weight + norm.bias
    elif name == "softmax":
        made = y.exp() * stay / (y.exp() * stay).sum(1, keepdim=True)
    else:
        made = y * (y.square().sum(1, keepdim=True) / count + 2.0**-52).rsqrt()
        made = made * (1.0 if norm.weight is None else norm.weight)
    by_hand = (made * stay) @ model[3].weight.T + model[3].bias
    assert law.relative([by_hand.detach()], outputs(thinned, (x,))) <= 1e-12


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_the_eps_that_rms_norm_takes_if_it_is_given_none(law: Any, dtype: torch.dtype) -> None:
    """The inputs are so small that eps is most of the mean square."""
    model = law.randomised(nn.Sequential(nn.Linear(5, 16, bias=False), nn.RMSNorm(16), nn.Linear(16, 3)), dtype=dtype)
    model[0].weight.data *= 1e-8 if dtype == torch.float64 else 2e-4
    plan = secateur.plan(model, (law.normal(4, 5, dtype=dtype),), renormalise=True)
    assert plan.dims[0].exact
    report = secateur.thin(model, plan)
    assert report.difference.relative < {torch.float64: 1e-11, torch.float32: 1e-5}.get(dtype, 0.03)


def two(m: Any, x: Tensor) -> Tensor:
    return m.c(m.n(m.a(x))) + m.c((m.n2 if hasattr(m, "n2") else m.n)(m.b(x)))


def linears(**more: Any) -> dict[str, Any]:
    return {"a": nn.Linear(5, 8), "b": nn.Linear(5, 8), "c": nn.Linear(8, 3), **more}


def tied() -> dict[str, Any]:
    found = linears(n=nn.RMSNorm(8, eps=0.2), n2=nn.RMSNorm(8, eps=0.4))
    found["n2"].weight = found["n"].weight
    return found


NO_WEIGHT = "rms_norm averages over it"
COMPENSATED: dict[str, tuple[Forward, dict[str, Any], bool]] = {
    "a shared norm": (two, linears(n=nn.RMSNorm(8, eps=0.2)), True),
    "two norms": (two, linears(n=nn.RMSNorm(8, eps=0.2), n2=nn.RMSNorm(8, eps=0.1)), True),
    "norms of one weight": (two, tied(), False),
    "a weight read elsewhere": (
        lambda m, x: m.c(m.n(m.a(x))) + m.n.weight.sum(),
        linears(n=nn.RMSNorm(8)),
        False,
    ),
    "a weight used by a function as well": (
        lambda m, x: m.c((lambda y: F.rms_norm(y, y.shape[-1:], m.n.weight, m.n.eps))(m.n(m.a(x)))),
        linears(n=nn.RMSNorm(8, eps=0.1)),
        False,
    ),
    "what is normalised is not zero": (
        lambda m, x: m.c(m.n(m.a(x).sigmoid())),
        linears(n=nn.RMSNorm(8, eps=0.1)),
        False,
    ),
}


@pytest.mark.parametrize("name", COMPENSATED)
def test_rms_norm_is_compensated_only_where_that_changes_nothing_else(law: Any, name: str) -> None:
    forward, held, exact = COMPENSATED[name]
    _, plan = requested(law, Net(forward, **held), law.normal(4, 5), seeds=3)
    dim = plan.dim("a")
    assert dim.exact is exact
    assert bool(plan.scalings) is exact
    assert all(NO_WEIGHT in reason for reason in dim.renormalises)


def test_a_residual_stream_through_rms_norms_stays_exact(law: Any) -> None:
    def forward(m: Any, x: Tensor) -> Tensor:
        y = m.a(x)
        return m.c(m.n2(y + m.mlp(m.n(y))))

    mlp = nn.Sequential(nn.Linear(8, 12), nn.GELU(), nn.Linear(12, 8))
    model = Net(forward, **linears(n=nn.RMSNorm(8, eps=0.1), n2=nn.RMSNorm(8), mlp=mlp))
    thinned, plan = requested(law, model, law.normal(4, 5), seeds=3)
    assert all(dim.exact for dim in plan.dims)
    assert sorted(scaling.parameter for scaling in plan.scalings) == ["n.weight", "n2.weight"]
    assert {key: value for key, value in plan.attributes.items() if key[1] == "eps"} == {
        ("n", "eps"): (0.1, 0.2),
        ("n2", "eps"): (None, 2 * 2.0**-52),
    }
    assert thinned.n.eps == 0.2


class Attention(nn.Module):
    """Queries, keys and values as asked for, and attention whose scale derives from the width."""

    def __init__(self, body: Forward, heads: int = 4, groups: int = 4, width: int = 6) -> None:
        super().__init__()
        self.heads, self.groups, self.body = heads, groups, body
        self.q, self.k, self.v = (nn.Linear(10, n * width) for n in (heads, groups, groups))
        self.qkv, self.o = nn.Linear(10, 3 * heads * width, bias=False), nn.Linear(heads * width, 3)

    def parts(self, x: Tensor) -> list[Tensor]:
        layers = ((self.q, self.heads), (self.k, self.groups), (self.v, self.groups))
        return [layer(x).unflatten(-1, (count, -1)).transpose(1, 2) for layer, count in layers]

    def forward(self, *inputs: Tensor) -> Tensor:
        return self.o(self.body(self, *inputs).transpose(1, 2).flatten(2))


attend = F.scaled_dot_product_attention


def read_twice(m: Any, x: Tensor) -> Tensor:
    q, k, v = m.parts(x)
    return attend(q, k, v) + 0.1 * q


def twice(m: Any, x: Tensor) -> Tensor:
    q, k, v = m.parts(x)
    return attend(q, k, v) + attend(q, k, v, is_causal=True)


def normalised(m: Any, x: Tensor) -> Tensor:
    q, k, v = m.parts(x)
    return attend(F.rms_norm(q, q.shape[-1:]), k, v)


SCALED: dict[str, tuple[Forward, int, list[str]]] = {
    "separate": (lambda m, x: attend(*m.parts(x)), 4, ["q.weight", "q.bias"]),
    "grouped": (lambda m, x: attend(*m.parts(x), enable_gqa=True), 2, ["q.weight", "q.bias"]),
    "fused by heads": (
        lambda m, x: attend(*m.qkv(x).unflatten(-1, (3, m.heads, -1)).permute(2, 0, 3, 1, 4)),
        4,
        ["qkv.weight"],
    ),
    "fused and cut": (
        lambda m, x: attend(*(y.unflatten(-1, (m.heads, -1)).transpose(1, 2) for y in m.qkv(x).chunk(3, -1))),
        4,
        ["qkv.weight"],
    ),
    "fused within each head": (
        lambda m, x: attend(*m.qkv(x).unflatten(-1, (m.heads, -1)).transpose(1, 2).chunk(3, -1)),
        4,
        ["qkv.weight"],
    ),
    "queries read elsewhere": (read_twice, 4, []),
    "queries read by two": (twice, 4, []),
    "queries that are normalised": (normalised, 4, []),
    "queries of an activation": (
        lambda m, x: attend(*(torch.sigmoid(y) if i == 0 else y for i, y in enumerate(m.parts(x)))),
        4,
        [],
    ),
    "one layer for queries of two inputs": (lambda m, x: attend(m.parts(x)[0], *m.parts(-x)[1:]), 4, []),
}


@pytest.mark.parametrize("name", SCALED)
def test_the_scale_of_attention_is_compensated_in_the_queries(law: Any, name: str) -> None:
    body, groups, scaled = SCALED[name]
    _, plan = requested(law, Attention(body, groups=groups), law.normal(2, 5, 10))
    assert [scaling.parameter for scaling in plan.scalings] == scaled
    width = next(dim for dim in plan.dims if any("scale" in reason for reason in dim.renormalises))
    assert (width.size, len(width.kept), width.exact) == (6, 3, bool(scaled))
    assert "the attention scale is derived from its length, in scaled_dot_product_attention" in " ".join(
        width.renormalises
    )
    assert all(dim.exact for dim in plan.dims if dim is not width)


def test_queries_and_keys_of_one_weight_are_not_rescaled(law: Any) -> None:
    model = Attention(lambda m, x: attend(*m.parts(x)))
    model.k.weight = model.q.weight
    _, plan = requested(law, model, law.normal(2, 5, 10))
    assert not plan.scalings
    assert len(plan.counted) == 1


class Multihead(nn.Module):
    """Multi-head attention of the library, in as many ways as there are to call it."""

    def __init__(self, forward: Forward, **options: Any) -> None:
        super().__init__()
        self.i, self.o, self.body = nn.Linear(10, 12), nn.Linear(12, 3), forward
        self.att = nn.MultiheadAttention(12, 4, batch_first=True, **options)

    def forward(self, x: Tensor) -> Any:
        return self.body(self, self.i(x))


def averaged_once(m: Any, y: Tensor) -> tuple[Tensor, Tensor]:
    """Of two calls one gives its weights, averaged over heads: no rescaling may help the other."""
    made, weights = m.att(y, y, y)
    return m.o(made + m.att(-y, y, y, need_weights=False)[0]), weights


MULTIHEAD: dict[str, tuple[Forward, list[str], int]] = {
    "once": (lambda m, y: m.o(m.att(y, y, y)[0]), ["att.in_proj_weight", "att.in_proj_bias"], 0),
    "twice": (
        lambda m, y: m.o(m.att(y, y, y)[0] + m.att(-y, y, y, need_weights=False)[0]),
        ["att.in_proj_weight", "att.in_proj_bias"],
        0,
    ),
    "averaged weights": (lambda m, y: (m.o((w := m.att(y, y, y))[0]), w[1]), [], 1),
    "averaged weights of one call": (averaged_once, [], 2),
    "a weight read elsewhere": (lambda m, y: m.o(m.att(y, y, y)[0]) + m.att.in_proj_weight.sum(), [], 1),
}


@pytest.mark.parametrize("name", MULTIHEAD)
def test_multihead_attention_is_compensated_in_its_own_weights(law: Any, name: str) -> None:
    forward, scaled, counted = MULTIHEAD[name]
    _, plan = requested(law, Multihead(forward), law.normal(2, 5, 10))
    assert [scaling.parameter for scaling in plan.scalings] == scaled
    assert len(plan.counted) == counted


def test_only_the_rows_of_queries_are_rescaled(law: Any) -> None:
    _, plan = requested(law, Multihead(MULTIHEAD["once"][0]), law.normal(2, 5, 10), seeds=0, prune={"i:2": 0.5})
    weight, bias = plan.scalings
    assert (weight.indices.tolist(), bias.indices.tolist()) == (list(range(12)), list(range(12)))
    assert weight.factor == pytest.approx((2 / 3) ** 0.5)


def plain(law: Any) -> tuple[nn.Module, tuple[Tensor]]:
    model = nn.Sequential(nn.Linear(5, 16), nn.LayerNorm(16), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3))
    return law.randomised(model), (law.normal(4, 5),)


def test_without_request_such_a_dim_is_shown_and_stays(law: Any) -> None:
    model, x = plain(law)
    plan = secateur.plan(model, x)
    assert [(dim.name, len(dim.kept), dim.exact) for dim in plan.dims] == [("2", 4, True), ("0", 16, False)]
    assert plan.dim("0").renormalises == ("layer_norm averages over it, in layer_norm at 1",)
    assert plan.dim("2").renormalises == ()
    reasons = {(r.parameter, r.axis): r.reasons for r in plan.refusals}
    text = "layer_norm averages over it, in layer_norm at 1 (renormalise=True prunes it all the same)"
    assert reasons["0.weight", 0] == reasons["1.bias", 0] == reasons["2.weight", 1] == (text,)
    assert text in str(plan)
    rows = [line.split() for line in str(plan).splitlines()]
    assert ["0", "16", "16", "-", "renormalises"] in rows
    asked = secateur.plan(model, x, renormalise=True)
    assert "renormalise=True" not in str(asked)
    assert ["0", "8", "16", "50%", "renormalises"] in [line.split() for line in str(asked).splitlines()]
    assert not any(r.parameter == "1.weight" for r in asked.refusals)


@pytest.mark.parametrize("name", ["0", "0.weight", "1", "1.bias"])
def test_naming_such_a_dim_without_request_is_an_error_that_says_how(law: Any, name: str) -> None:
    model, x = plain(law)
    with pytest.raises(secateur.PlanError) as error:
        secateur.plan(model, x, {name: 0.5})
    assert f"prune['{name}']: '{name}' cannot be pruned: layer_norm averages over it, in layer_norm at 1" in str(
        error.value
    )
    assert "(renormalise=True prunes it all the same)" in str(error.value)
    assert len(secateur.plan(model, x, {name: 0.5}, renormalise=True).dim("0").kept) == 8


@pytest.mark.parametrize("name", ["0", "0:2"])
def test_every_dim_of_a_module_is_known_by_name_without_request(law: Any, name: str) -> None:
    class Parts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts, self.width = 3, 4

        def forward(self, x: Tensor) -> Tensor:
            parts = x.unflatten(-1, (self.parts, self.width))
            return F.layer_norm(parts, (self.parts, self.width)).flatten(1)

    model, x = law.randomised(nn.Sequential(nn.Linear(5, 12), Parts(), nn.Linear(12, 3))), (law.normal(4, 5),)
    assert [dim.name for dim in secateur.plan(model, x).dims] == ["0", "0:2"]
    with pytest.raises(secateur.PlanError) as error:
        secateur.plan(model, x, {name: 0.5})
    reason = "layer_norm averages over it, in layer_norm at 1"
    assert f"prune['{name}']: '{name}' cannot be pruned: {reason}" in str(error.value)
    assert "(renormalise=True prunes it all the same)" in str(error.value)
    assert all(len(dim.kept) == dim.size for dim in secateur.plan(model, x, {"*": 0.5}, keep=[name]).dims)


def test_global_scope_lets_such_dims_compete_on_request_only(law: Any) -> None:
    model, x = plain(law)
    kept = {dim.name: len(dim.kept) for dim in secateur.plan(model, x, scope="global").dims}
    assert kept == {"2": 4, "0": 16}
    _, plan = requested(law, model, x, seeds=0, scope="global")
    assert sum(len(dim.leaving) for dim in plan.dims) == 12
    assert len(plan.dim("0").leaving) > 0


def test_a_schedule_prunes_no_such_dim(law: Any, tmp_path: Path) -> None:
    model, x = plain(law)
    file = tmp_path / "schedule.yaml"
    file.write_text(SCHEDULE)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    scheduler = secateur.Scheduler.from_yaml(file, model, optimizer, example_inputs=x)
    scheduler.on_epoch_begin(0)
    scheduler.on_epoch_end(0)
    assert int((model[2].weight == 0).all(1).sum()) == 4
    assert int((model[0].weight == 0).all(1).sum()) == 0


SCHEDULE = """
version: 1
pruners:
  half: {class: agp, dims: "*", initial_sparsity: 0.5, final_sparsity: 0.5}
policies:
  - {pruner: {instance_name: half}, starting_epoch: 0, ending_epoch: 2}
"""


@pytest.mark.parametrize("times", [1, 2])
def test_checkpoints_hold_what_was_rescaled(law: Any, tmp_path: Path, times: int) -> None:
    def fresh() -> nn.Module:
        return nn.Sequential(nn.Linear(5, 16), nn.RMSNorm(16), nn.Linear(16, 3)).double()

    x, model = (law.normal(4, 5),), law.randomised(fresh())
    optimizer = torch.optim.Adam(model.parameters())
    for _ in range(times):
        model(*x).sum().backward()
        optimizer.step()
        secateur.thin(model, secateur.plan(model, x, renormalise=True), optimizer)
    secateur.save(tmp_path / "thin.safetensors", model, optimizer=optimizer)
    other = fresh()
    again = torch.optim.Adam(other.parameters())
    loaded = secateur.load(tmp_path / "thin.safetensors", other, optimizer=again)
    assert loaded[1].eps == 2**times * 2.0**-52
    assert loaded[1].normalized_shape == (16 // 2**times,)
    assert torch.equal(loaded(*x), model(*x))
    for net, optim in ((model, optimizer), (loaded, again)):
        optim.zero_grad()
        net(*x).sum().backward()
        optim.step()
    assert torch.equal(loaded(*x), model(*x))


def test_gradients_and_moments_are_cut_with_what_renormalises(law: Any) -> None:
    model, x = plain(law)
    optimizer = torch.optim.Adam(model.parameters())
    model(*x).sum().backward()
    optimizer.step()
    grad, moment = model[1].weight.grad.clone(), optimizer.state[model[1].weight]["exp_avg"].clone()
    plan = secateur.plan(model, x, renormalise=True)
    kept = plan.dim("0").kept
    secateur.thin(model, plan, optimizer)
    assert torch.equal(model[1].weight.grad, grad[kept])
    assert torch.equal(optimizer.state[model[1].weight]["exp_avg"], moment[kept])
    optimizer.step()


def test_a_failure_brings_back_what_was_rescaled(law: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = nn.Sequential(nn.Linear(5, 8), nn.RMSNorm(8, eps=0.3), nn.Linear(8, 3)), (law.normal(4, 5),)
    law.randomised(model)
    plan = secateur.plan(model, x, renormalise=True)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    wrong = {("1", "eps"): (0.3, 0.7)}  # what compensates is part of what is verified
    object.__setattr__(plan, "attributes", {**plan.attributes, **wrong})
    with pytest.raises(secateur.VerificationError, match="masked and thinned outputs differ"):
        secateur.thin(model, plan)
    assert model[1].eps == 0.3
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
