"""Models as people have them: hooks, frozen and tied weights, dtypes, layouts, wrappers, odd tensors and odd outputs.

Each either thins or is refused with what to do; none is left as it was without a word.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import secateur
from secateur.thinning.verify import compare, outputs

Made = Callable[..., Any]
FIRST = [(8, 5), (8,), (3, 8), (3,)]
DENSE = [(16, 5), (16,), (3, 16), (3,)]


class Net(nn.Module):
    """5 features to 16 to 3, with something in between, and whatever else is held."""

    def __init__(self, between: Made = torch.relu, **held: Any) -> None:
        super().__init__()
        self.a, self.b, self.between = nn.Linear(5, 16), nn.Linear(16, 3), between
        for name, value in held.items():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Any:
        return self.b(self.between(self.a(x)))


@pytest.fixture
def x(law: Any) -> Tensor:
    made: Tensor = law.normal(4, 5)
    return made


def shapes(model: nn.Module) -> list[tuple[int, ...]]:
    return [tuple(parameter.shape) for parameter in model.parameters()]


def thinned(model: Any, *inputs: Any, **options: Any) -> list[tuple[int, ...]]:
    """Prune half and verify; the shapes of the parameters afterwards."""
    report = secateur.thin(model, secateur.plan(model, inputs, **options))
    assert report.difference is not None
    assert report.difference.passed
    return shapes(model)


def why(model: nn.Module, *inputs: Any, parameter: str = "a.weight") -> str:
    found = [r for r in secateur.plan(model, inputs).refusals if (r.parameter, r.axis) == (parameter, 0)]
    return str(found[0]) if found else ""


# -- parameters ------------------------------------------------------------------------------------------------


def test_hooks_of_parameters_go_on(law: Any, x: Tensor) -> None:
    model, seen = law.randomised(Net()), []
    model.a.weight.register_hook(lambda grad: seen.append(tuple(grad.shape)) or grad * 2)
    model.a.weight.register_post_accumulate_grad_hook(lambda p: seen.append(tuple(p.grad.shape)))
    loss = model(x).sum()
    loss.backward()
    assert thinned(model, x) == FIRST
    model.zero_grad()
    model(x).sum().backward()
    assert seen == [(16, 5)] * 2 + [(8, 5)] * 2
    grad = model.a.weight.grad
    assert torch.allclose(grad, 2 * by_hand(model, x), rtol=1e-12)


def by_hand(model: Any, x: Tensor) -> Tensor:
    """The gradient of the first weight, by hand: no hook is called."""
    open_ = (x @ model.a.weight.detach().T + model.a.bias.detach() > 0).double()
    return (open_ * model.b.weight.detach().sum(0)).T @ x


def test_hooks_of_modules_take_part(law: Any, x: Tensor) -> None:
    model, seen = law.randomised(Net()), []
    model.a.register_forward_hook(lambda module, args, made: seen.append(made.shape[1]))
    model.a.register_full_backward_hook(lambda module, given, made: None)
    assert thinned(model, x) == FIRST
    model(x)
    assert seen[-1] == 8
    model.a.register_forward_hook(lambda module, args, made: made * torch.arange(8.0).double())
    assert "it meets an input of the model or another axis that stays, in mul" in why(model, x)


def test_frozen_parameters_are_cut_and_stay_frozen(law: Any, x: Tensor) -> None:
    model = law.randomised(Net())
    model.a.requires_grad_(False)
    assert thinned(model, x) == FIRST
    assert [parameter.requires_grad for parameter in model.parameters()] == [False, False, True, True]


def test_tied_weights_stay_tied(law: Any) -> None:
    model = nn.Sequential(nn.Embedding(11, 8), nn.Linear(8, 8, bias=False), nn.Linear(8, 11, bias=False)).double()
    model[2].weight = model[0].weight
    ids = torch.arange(6).view(2, 3)
    assert thinned(model, ids) == [(11, 4), (4, 4)]
    assert model[2].weight is model[0].weight
    assert (model[0].embedding_dim, model[2].in_features) == (4, 4)


class OwnParameter(nn.Parameter):
    """A parameter with a type of its own."""


class OwnTensor(torch.Tensor):
    """A tensor with a type of its own."""


def transposed(weight: Tensor) -> nn.Parameter:
    return nn.Parameter(weight.detach().T.contiguous().T)


@pytest.mark.parametrize(
    "make",
    [transposed, lambda w: OwnParameter(w.detach()), lambda w: nn.Parameter(w.detach().as_subclass(OwnTensor))],
)
def test_parameters_of_other_layouts_and_types(law: Any, x: Tensor, make: Made) -> None:
    model = law.randomised(Net())
    model.a.weight = make(model.a.weight)
    kind, parameter = type(model.a.weight), model.a.weight
    assert thinned(model, x) == FIRST
    assert type(model.a.weight) is kind
    assert model.a.weight is parameter


@pytest.mark.parametrize(("layout", "rank"), [(torch.channels_last, 2), (torch.channels_last_3d, 3)])
def test_channels_last_stays(law: Any, layout: torch.memory_format, rank: int) -> None:
    conv = nn.Conv2d if rank == 2 else nn.Conv3d
    model = law.randomised(nn.Sequential(conv(3, 8, 3), nn.ReLU(), conv(8, 4, 1))).to(memory_format=layout)
    images = law.normal(2, 3, *[5] * rank).to(memory_format=layout)
    optimizer = torch.optim.Adam(model.parameters())
    model(images).sum().backward()
    optimizer.step()
    secateur.thin(model, secateur.plan(model, (images,)), optimizer)
    state = optimizer.state[model[0].weight]["exp_avg"]
    for tensor in (model[0].weight, model[0].weight.grad, state):
        assert tensor.shape[0] == 4
        assert tensor.is_contiguous(memory_format=layout)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision(law: Any, dtype: torch.dtype) -> None:
    layers = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.GELU(), nn.Conv2d(16, 8, 1), nn.Conv2d(8, 4, 1))
    model, images = law.randomised(layers, dtype=dtype), law.normal(2, 3, 6, 6, dtype=dtype)
    plan = secateur.plan(model, (images,))
    masked = outputs(secateur.masked(model, plan), (images,))
    assert secateur.thin(model, plan).difference.passed
    assert {tensor.dtype for tensor in model.parameters()} == {dtype}
    assert compare(masked, outputs(model, (images,)), dtype).passed
    assert model[0].weight.shape == (8, 3, 3, 3)


def test_autocast_around_the_forward_or_within(law: Any) -> None:
    def within(y: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return (y @ y.T @ y).float()

    x = law.normal(4, 5, dtype=torch.float32)
    assert thinned(law.randomised(Net(within), dtype=torch.float32), x) == FIRST
    model = law.randomised(Net(), dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        assert thinned(model, x) == FIRST


class Complex(nn.Module):
    """Complex layers, whose result is complex, or what is asked of it."""

    def __init__(self, end: Made) -> None:
        super().__init__()
        self.a, self.b = (nn.Linear(n, m, dtype=torch.complex128) for n, m in ((5, 16), (16, 3)))
        self.end = end

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.end(self.b(self.a(x.to(torch.complex128))))
        return made


@pytest.mark.parametrize("end", [torch.abs, lambda y: y, torch.conj])
def test_complex_numbers(x: Tensor, end: Made) -> None:
    model = Complex(end)
    plan = secateur.plan(model, (x,))
    (masked,) = outputs(secateur.masked(model, plan), (x,))
    assert secateur.thin(model, plan).difference.relative < 1e-11
    assert (model(x) - masked).abs().max() < 1e-12
    assert shapes(model) == FIRST


def test_verification_sees_imaginary_parts() -> None:
    made = [torch.ones(2, dtype=torch.complex128)]
    difference = compare(made, [made[0] + 0.1j], torch.float64)
    assert not difference.passed
    assert difference.absolute == pytest.approx(0.1)


def test_gradients_of_sparse_embeddings_are_cut() -> None:
    model, ids = nn.Sequential(nn.Embedding(10, 16, sparse=True), nn.Linear(16, 3)), torch.tensor([1, 3, 3, 7])
    optimizer = torch.optim.SparseAdam([model[0].weight])
    model(ids).sum().backward()
    optimizer.step()
    grad = model[0].weight.grad.to_dense()
    plan = secateur.plan(model, (ids,))
    secateur.thin(model, plan, optimizer)
    assert torch.equal(model[0].weight.grad.to_dense(), grad[:, plan.dims[0].kept])
    model.zero_grad()
    model(ids).sum().backward()
    optimizer.step()


def test_thinning_in_inference_mode_leaves_a_model_that_trains(law: Any, x: Tensor) -> None:
    model = law.randomised(Net())
    with torch.inference_mode():
        assert thinned(model, x) == FIRST
        assert model(x).is_inference()
    model(x).sum().backward()
    assert model.a.weight.grad.shape == (8, 5)


def test_a_model_made_in_inference_mode_is_refused(x: Tensor) -> None:
    with torch.inference_mode():
        model = Net().double()
    plan = secateur.plan(model, (x,))
    with pytest.raises(secateur.ThinError, match=r"a.weight: it was made in torch.inference_mode, .*outside of it"):
        secateur.thin(model, plan)
    assert shapes(model) == DENSE


def test_a_model_without_data_is_refused(x: Tensor) -> None:
    with pytest.raises(
        secateur.PlanError,
        match=r"a.weight: it has no data \(it is on the meta device\) for the criterion 'l1' .*; load the weights",
    ):
        secateur.plan(Net().double().to("meta"), (x,))


def test_lists_and_dicts_of_parameters(law: Any, x: Tensor) -> None:
    class Listed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.ParameterList([torch.empty(16, 5), torch.empty(3, 16)])
            self.g = nn.ParameterDict({"gain": torch.empty(16)})

        def forward(self, x: Tensor) -> Tensor:
            return (x @ self.w[0].T * self.g["gain"]) @ self.w[1].T

    thin = law(Listed(), x, {"w.0": (8, 5), "w.1": (3, 8), "g.gain": (8,)}, seeds=2)
    assert sorted(thin.state_dict()) == ["g.gain", "w.0", "w.1"]


# -- wrappers --------------------------------------------------------------------------------------------------


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    """A group of one process."""
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("one_process")
def test_distributed_models_are_refused_with_what_to_do(law: Any, x: Tensor) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    wrapped = nn.parallel.DistributedDataParallel(law.randomised(Net()))
    match = (
        r"model{}: it is wrapped in DistributedDataParallel; give the model inside, model{}.module, and wrap it anew"
    )
    with pytest.raises(secateur.CaptureError, match=match.format("", "")):
        secateur.plan(wrapped, (x,))
    inner = nn.parallel.DistributedDataParallel(nn.Linear(16, 16).double())
    with pytest.raises(secateur.CaptureError, match=match.format(".between", ".between")):
        secateur.plan(law.randomised(Net(inner)), (x,))
    assert thinned(wrapped.module, x) == FIRST
    again = nn.parallel.DistributedDataParallel(wrapped.module)
    again(x).sum().backward()
    assert wrapped.module.a.weight.grad.shape == (8, 5)
    sharded = Net().double()
    fully_shard(sharded, mesh=init_device_mesh("cpu", (1,)))
    with pytest.raises(
        secateur.CaptureError, match=r"model.a.weight: it is sharded over processes \(DTensor\); plan and thin before"
    ):
        secateur.plan(sharded, (x,))


@pytest.mark.filterwarnings("ignore:Using `torch.compile.* when there are global hooks:UserWarning")
def test_a_compiled_model_follows_the_model_inside(law: Any, x: Tensor) -> None:
    inner = law.randomised(Net())
    compiled = torch.compile(inner, backend="eager")
    try:
        compiled(x)
        assert thinned(inner, x) == FIRST
        assert torch.allclose(compiled(x), inner(x))
    finally:
        torch._dynamo.reset()


class Functional(Net):
    """Its own parameters, given to a function."""

    def forward(self, x: Tensor) -> Any:
        y = torch.func.functional_call(self.a, dict(self.a.named_parameters()), (x,))
        return self.b(torch.relu(y))


class Mapped(Net):
    """All of it, example by example."""

    def forward(self, x: Tensor) -> Any:
        return torch.vmap(lambda row: super(Mapped, self).forward(row[None])[0])(x)


class PartlyMapped(Net):
    """One layer, example by example: torch hides what it reads."""

    def forward(self, x: Tensor) -> Any:
        return torch.vmap(self.b)(torch.relu(self.a(x)))


class Gradient(Net):
    """A gradient by its input."""

    def forward(self, x: Tensor) -> Any:
        return torch.func.grad(lambda y: super(Gradient, self).forward(y).square().sum())(x)


class ByAutograd(Net):
    """A gradient by its hidden features, which are its output."""

    def forward(self, x: Tensor) -> Any:
        with torch.enable_grad():
            y = self.a(x).detach().requires_grad_()
            return torch.autograd.grad(self.b(y.sigmoid()).sum(), y)[0]


class Checkpointed(Net):
    """Computed again in the backward pass."""

    def forward(self, x: Tensor) -> Any:
        return self.b(checkpoint(lambda y: self.a(y).relu(), x, use_reentrant=False))


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (Functional, FIRST),
        (Mapped, FIRST),
        (PartlyMapped, DENSE),
        (Gradient, [(8, 5), (8,), (2, 8), (2,)]),  # what is summed up may leave
        (ByAutograd, [(16, 5), (16,), (2, 16), (2,)]),
        (Checkpointed, FIRST),
        (lambda: torch.fx.symbolic_trace(Net()), FIRST),
        (lambda: torch.optim.swa_utils.AveragedModel(Net()), FIRST),
        (lambda: Net(nn.DataParallel(nn.ReLU())), FIRST),
    ],
)
def test_functions_that_wrap_a_forward(law: Any, x: Tensor, model: Made, expected: Any) -> None:
    made = law.randomised(model())
    if expected is DENSE:
        assert "it may be read by a call that torch does not show" in why(made, x)
    assert thinned(made, x) == expected
    made.train()
    made(x)


def test_exported_programs_say_why_they_stay(law: Any, x: Tensor) -> None:
    model = torch.export.export(law.randomised(Net()), (x,)).module()
    assert "no rule for the operation 'aten::linear'" in why(model, x)
    assert thinned(model, x) == DENSE


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_quantized_parts_say_why_they_stay(law: Any) -> None:
    x = law.normal(4, 5, dtype=torch.float32)
    model = law.randomised(Net(), dtype=torch.float32)
    model.b = torch.ao.quantization.quantize_dynamic(nn.Sequential(model.b), {nn.Linear})[0]
    assert "no rule for the operation 'quantized::linear_dynamic', in quantized::linear_dynamic at b" in why(model, x)
    assert thinned(model, x) == [(16, 5), (16,)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_scripted_functions_say_why_they_stay(law: Any, x: Tensor) -> None:
    model = law.randomised(Net(torch.jit.script(doubled)))
    assert "no rule for the operation" in why(model, x)
    assert thinned(model, x) == DENSE


def doubled(x: Tensor) -> Tensor:
    """Scripted by the test."""
    return x.relu() * 2


# -- what modules hold -----------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Frozen:
    """A tensor out of everyone's reach."""

    gain: Tensor


def test_tensors_within_frozen_objects_keep_what_meets_them(law: Any, x: Tensor) -> None:
    model = law.randomised(Net(held=Frozen(torch.ones(16).double())))
    model.between = lambda y: y * model.held.gain
    assert "it meets an input of the model or another axis that stays, in mul" in why(model, x)
    assert thinned(model, x) == DENSE


def test_slots(law: Any, x: Tensor) -> None:
    class Slotted(Net):
        __slots__ = ("width",)

        def forward(self, x: Tensor) -> Any:
            return self.b(self.a(x).view(-1, self.width))

    model = law.randomised(Slotted())
    model.width = 16
    assert "a size of this reshape is written as the number 16" in why(model, x)
    assert thinned(model, x) == DENSE


def test_what_cannot_be_copied_thins_all_the_same(law: Any, x: Tensor) -> None:
    model = law.randomised(Net(lock=threading.Lock(), count=(i for i in range(3))))
    plan = secateur.plan(model, (x,))
    with pytest.raises(
        secateur.ThinError,
        match=r"masked: the model cannot be copied: TypeError: cannot pickle .*; secateur.thin verifies without a copy",
    ):
        secateur.masked(model, plan)
    secateur.thin(model, plan)
    assert shapes(model) == FIRST
    assert next(model.count) == 0


def test_what_a_forward_keeps_is_as_it_was(law: Any, x: Tensor) -> None:
    model = law.randomised(Net())
    model.between = lambda y: setattr(model, "last", y) or y.relu()
    model(x)
    last = model.last
    assert thinned(model, x) == FIRST
    assert model.last is last
    assert outputs(secateur.masked(model, secateur.plan(model, (x,))), (x,))[0].shape == (4, 3)


class Extra(nn.Linear):
    """A layer with state that is no tensor, or is one."""

    plain = False

    def get_extra_state(self) -> Any:
        return {"rows": 16} if self.plain else torch.tensor([16])

    def set_extra_state(self, state: Any) -> None:
        self.got = state


def test_extra_state(law: Any, x: Tensor, tmp_path: Path) -> None:
    model, fresh = law.randomised(Net(Extra(16, 16))), Net(Extra(16, 16)).double()
    thinned(model, x)
    secateur.save(tmp_path / "thin.safetensors", model)
    secateur.load(tmp_path / "thin.safetensors", fresh)
    assert fresh.between.got == torch.tensor([16])
    assert torch.equal(fresh(x), model(x))
    Extra.plain = True
    try:
        with pytest.raises(secateur.CheckpointError, match=r"keeps 'between._extra_state', a dict and no tensor"):
            secateur.save(tmp_path / "other.safetensors", model)
    finally:
        Extra.plain = False


def test_sparse_buffers(law: Any, x: Tensor) -> None:
    model = law.randomised(Net())
    model.register_buffer("graph", torch.eye(4).double().to_sparse())
    model.between = lambda y: torch.sparse.mm(model.graph, y)
    assert "no rule for the operation 'sparse_mm'" in why(model, x)
    assert thinned(model, x) == DENSE


# -- what models return ----------------------------------------------------------------------------------------


class Slots:
    """An object with slots."""

    __slots__ = ("y",)

    def __init__(self, y: Tensor) -> None:
        self.y = y


class Pair(NamedTuple):
    """A named tuple."""

    y: Tensor


@pytest.mark.parametrize("wrap", [Slots, Pair, Frozen, lambda y: [{"a": (y, None)}], lambda y: {y}])
def test_outputs_within_objects_stay(law: Any, x: Tensor, wrap: Made) -> None:
    class Wrapped(Net):
        def forward(self, x: Tensor) -> Any:
            return wrap(super().forward(x))

    model = law.randomised(Wrapped())
    assert "it is an output of the model" in why(model, x, parameter="b.weight")
    assert thinned(model, x) == FIRST


def test_a_model_that_returns_no_tensor_cannot_be_verified(law: Any, x: Tensor) -> None:
    class Silent(Net):
        def forward(self, x: Tensor) -> None:
            super().forward(x)

    model = law.randomised(Silent())
    with pytest.raises(
        secateur.ThinError, match=r"the model returns no tensor, so that nothing could be compared; .*verify=False"
    ):
        secateur.thin(model, secateur.plan(model, (x,)))
    assert shapes(model) == DENSE


def test_an_output_written_into_an_input_stays(law: Any, x: Tensor) -> None:
    class Into(Net):
        def forward(self, x: Tensor, out: Tensor) -> Any:
            return out.copy_(super().forward(x)).sum()

    assert thinned(law.randomised(Into()), x, torch.zeros(4, 3).double()) == FIRST
