"""Operations that are not torch's own: seen under their full name, with all they change, or said to be out of sight."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function

import secateur
from secateur.hookspecs import hookimpl
from secateur.plugins import PluginManager, current, using
from secateur.records import OpRule

X = (torch.zeros(2, 4),)


def cumulate(x: Tensor, y: Tensor) -> None:
    x.copy_((x * y).cumsum(-1))


def replace(x: Tensor, seen: Tensor) -> None:
    seen.copy_(x)


@pytest.fixture(scope="module")
def library() -> Iterator[Any]:
    """Operators of a library of the user's; they bear the names of operations that do something else."""
    defined = torch.library.Library("secateur_tests", "DEF")
    defined.define("relu(Tensor x) -> Tensor")
    defined.define("mul_(Tensor(a!) x, Tensor y) -> ()")
    defined.define("add(Tensor x, Tensor(a!) seen) -> Tensor")
    defined.define("replace(Tensor x, Tensor(a!) seen) -> ()")
    defined.define("unready(Tensor x) -> Tensor")
    defined.impl("relu", lambda x: x.cumsum(-1), "CompositeExplicitAutograd")
    defined.impl("mul_", cumulate, "CompositeExplicitAutograd")
    defined.impl("add", lambda x, seen: x + seen.add_(1), "CompositeExplicitAutograd")
    defined.impl("replace", replace, "CompositeExplicitAutograd")
    defined.impl("unready", lambda x: x.flip(-1), "CPU")
    yield torch.ops.secateur_tests
    defined._destroy()


class Net(nn.Module):
    def __init__(self, call: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.call = call
        self.a, self.b, self.gain = nn.Linear(4, 8), nn.Linear(8, 3), nn.Parameter(torch.ones(8))

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        made = self.call(y, self.gain)
        return self.b(y if made is None else made)


def own(x: Tensor, gain: Tensor) -> Tensor:
    if has_torch_function((x, gain)):
        return handle_torch_function(own, (x, gain), x, gain)  # type: ignore[no-any-return]
    return x.flip(-1) * gain


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, gain: Tensor) -> Tensor:
        return torch.relu(x * 2) * gain

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Any:
        return grad, None


def extension(x: Tensor, gain: Tensor) -> Tensor:
    """As a function in C++ that takes memory by its address: without data it fails, and torch sees no call."""
    if x.is_meta:
        raise RuntimeError("no kernel for tensors without data")
    with torch._C.DisableTorchFunction():
        return x.flip(-1) * gain


BUILDERS = pytest.mark.parametrize("builder", ["trace", "export"])


def reasons(call: Callable[[Tensor, Tensor], Any], parameter: str = "a.weight", builder: str = "trace") -> str:
    plan = secateur.plan(Net(call), X, builder=builder)
    return "".join(str(refusal) for refusal in plan.refusals if (refusal.parameter, refusal.axis) == (parameter, 0))


@BUILDERS
def test_an_operator_is_known_by_its_library_and_not_taken_for_torchs(library: Any, builder: str) -> None:
    text = "no rule for the operation 'secateur_tests::relu', in secateur_tests::relu at the model"
    for call in (lambda x, _: library.relu(x), lambda x, _: library.relu.default(x)):
        assert "secateur_tests::relu" in [op.kind for op in secateur.trace(Net(call), X, builder).ops.values()]
        assert text in reasons(call, builder=builder)


def test_an_operator_of_torch_is_not_taken_for_the_function() -> None:
    assert "no rule for the operation 'aten::relu'" in reasons(lambda x, _: torch.ops.aten.relu(x))


def test_an_operator_without_a_kernel_for_meta_is_seen_on_real_tensors(library: Any) -> None:
    assert "no rule for the operation 'secateur_tests::unready'" in reasons(lambda x, _: library.unready(x))


@BUILDERS
def test_an_operator_that_returns_nothing_is_seen_by_what_it_changes(library: Any, builder: str) -> None:
    def change(x: Tensor, gain: Tensor) -> None:
        library.mul_(x, gain)

    graph = secateur.trace(Net(change), X, builder)
    (op,) = [op for op in graph.ops.values() if op.kind == "secateur_tests::mul_"]
    assert (op.inputs, op.outputs) == (("a.linear", "gain"), (op.name,))
    assert graph.ops["b.linear"].inputs[0] == op.name
    assert "no rule for the operation 'secateur_tests::mul_'" in reasons(change, builder=builder)


@BUILDERS
def test_what_an_operator_changes_beside_its_result_is_a_result_too(library: Any, builder: str) -> None:
    def change(x: Tensor, gain: Tensor) -> Tensor:
        y = library.add(torch.ones_like(x), x)
        return y + x

    graph = secateur.trace(Net(change), X, builder)
    (op,) = [op for op in graph.ops.values() if op.kind == "secateur_tests::add"]
    assert len(op.outputs) == 2
    assert set(graph.ops["add"].inputs) == set(op.outputs)
    assert "no rule for the operation 'secateur_tests::add'" in reasons(change, builder=builder)


def test_a_function_of_the_users_is_known_by_its_module() -> None:
    name = f"{__name__}.own"
    assert f"no rule for the operation '{name}', in {name} at the model itself (" in reasons(own)
    assert f"no rule for the operation '{name}'" in reasons(own, "gain")


def test_an_autograd_function_is_looked_into(law: Any) -> None:
    law(Net(Doubled.apply), (law.normal(2, 4),), {"a.weight": (4, 4), "gain": (4,), "b.weight": (3, 4)})


def test_a_call_out_of_sight_says_what_to_do(law: Any) -> None:
    text = reasons(extension)
    assert "it may be read by a call that torch does not show (an extension in C++ or CUDA), whose result is" in text
    assert "make that call an operator with torch.library.custom_op, and write a rule for it" in text
    assert "in hidden_call at b (" in text
    law(Net(extension), (law.normal(2, 4),), {"a.weight": (8, 4)}, train=False)


def test_a_rule_is_found_by_the_name_in_the_message() -> None:
    plugin = ModuleType("flips")

    @hookimpl
    def secateur_op_rules() -> list[OpRule]:
        return [OpRule(name="mine", ops=(f"{__name__}.own",), signature="x, gain", apply=rule)]

    def rule(site: Any) -> Any:
        raise NotImplementedError("channels are turned round")

    plugin.secateur_op_rules = secateur_op_rules  # type: ignore[attr-defined]
    with using(PluginManager.discover()):
        current().register(plugin, "flips")
        assert "channels are turned round" in reasons(own)
    assert "no rule" in reasons(own)


def test_what_shares_memory_with_a_tensor_that_an_own_operation_changes_stays(law: Any, library: Any) -> None:
    plugin = ModuleType("replaces")

    @hookimpl
    def secateur_op_rules() -> list[OpRule]:
        return [OpRule(name="mine", ops=("secateur_tests::replace",), signature="x, seen", apply=lambda s: s["x"])]

    def turned(y: Tensor, gain: Tensor) -> Tensor:
        view = y.view(y.shape)  # what it holds is turned round, too
        library.replace(y.flip(-1), y)
        return view * gain

    plugin.secateur_op_rules = secateur_op_rules  # type: ignore[attr-defined]
    with using(PluginManager.discover()):
        current().register(plugin, "replaces")
        reason = "memory it shares is overwritten by 'secateur_tests::replace'"
        law.refuses(Net(turned), law.normal(2, 4), "a.weight", reason)
        assert reason in reasons(turned, builder="export")
