"""Run a copy of a model with unknown numbers, every operation under the eyes of a watcher that knows the graph."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import define

from secateur.coupling.analysis import Coupling
from secateur.errors import PlanError
from secateur.graph.ir import Op
from secateur.plugins import current
from secateur.records import OpRule
from secateur.thinning.masking import results_held
from secateur.thinning.verify import float_dtype, placed, quiet
from secateur.zeros.arguments import tensors_within
from secateur.zeros.unknowns import NotFollowedError, Unknowns

if TYPE_CHECKING:
    from torch import Tensor, nn

Before = Callable[[Op, dict[str, "Tensor"]], dict[str, "Tensor"]]
After = Callable[[Op, dict[str, "Tensor"]], None]


@define(eq=False)
class Runner:
    """A copy of a model, in float64 if it runs so, and its inputs."""

    model: nn.Module
    inputs: Any
    coupling: Coupling
    rules: Mapping[str, OpRule]
    builder: str

    @classmethod
    def of(cls, model: nn.Module, inputs: Any, coupling: Coupling, builder: str) -> Runner:
        """Copy a model; raises `PlanError` if the builder cannot run it with its operations in other hands."""
        if current().builders[builder].run is None:
            what = f"the builder {builder!r} cannot run a model under watch, which it takes to find constants"
            raise PlanError(what, where="builder", hint="use builder='trace'")
        try:
            twin = copy.deepcopy(model, results_held(model))
        except Exception as error:
            raise PlanError(f"the model cannot be copied ({type(error).__name__}: {error})", where="model") from error
        found = cls(twin, inputs, coupling, current().op_rules, builder)
        return found._widened(model)

    def _widened(self, model: nn.Module) -> Runner:
        from secateur.thinning.verify import outputs

        dtype = float_dtype(model)
        try:
            outputs(self.model.double(), self.inputs)
        except Exception:  # noqa: BLE001 - a forward that insists on a dtype is run in its own
            self.model.to(dtype)
        return self

    def run(self, unknowns: Unknowns, *, unknown_inputs: bool, before: Before | None, after: After) -> None:
        """Run the forward. Raises `NotFollowedError` if it hides what depends on what, or does not run so.

        `unknown_inputs`: nothing is known of the model's inputs. `before` may replace what an operation reads, `after`
        sees what it made; both get {name of a value: tensor}.
        """
        import torch

        graph, run = self.coupling.graph, current().builders[self.builder].run
        assert run is not None
        seen: set[str] = set()

        def intercept(name: str, kind: str, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
            op = graph.ops[name] if name in graph.ops else None  # noqa: SIM401 - ops may be any mapping
            if op is None:
                return unknowns.do(kind, function, args, kwargs)
            if op.kind != kind:
                raise NotFollowedError(f"another path is taken when it runs again ({kind} instead of {op.kind})")
            seen.add(name)
            distinct = list({id(tensor): tensor for tensor in tensors_within((args, kwargs))}.values())
            if len(distinct) != len(op.inputs):
                raise NotFollowedError(f"{op.kind} reads other tensors when it runs again")
            named = dict(zip(op.inputs, distinct, strict=True))
            if unknown_inputs:
                for value, tensor in named.items():
                    integers = not (tensor.is_floating_point() or tensor.is_complex())
                    if graph.values[value].kind == "input" and integers:
                        unknowns.hide(tensor)
            if before is not None:
                new = {id(named[value]): tensor for value, tensor in before(op, named).items()}
                args, kwargs = _exchanged(args, new), _exchanged(kwargs, new)
            result = unknowns.do(kind, function, args, kwargs)
            made = list(tensors_within(result)) or distinct[:1]
            if op.outputs:
                after(op, dict(zip(op.outputs, made, strict=True)))
            return result

        given = placed(self.inputs, self.model)
        if unknown_inputs:
            for tensor in tensors_within(given):
                if tensor.is_floating_point() or tensor.is_complex():
                    tensor.fill_(float("nan"))
        try:
            with quiet(self.model), torch.no_grad():
                run(self.model, given, intercept)
        except NotFollowedError:
            raise
        except Exception as error:
            raise NotFollowedError(f"it fails on unknown numbers ({type(error).__name__}: {error})") from error
        if missed := [name for name, op in graph.ops.items() if not op.training and name not in seen]:
            raise NotFollowedError(f"another path is taken when it runs again (without {missed[0]!r})")


def _exchanged(nested: Any, new: Mapping[int, Tensor]) -> Any:
    """Nested arguments with some tensors replaced, by identity."""
    import torch

    if isinstance(nested, torch.Tensor):
        return new.get(id(nested), nested)
    if isinstance(nested, Mapping):
        return {key: _exchanged(entry, new) for key, entry in nested.items()}
    if isinstance(nested, tuple | list):
        made = [_exchanged(entry, new) for entry in nested]
        return made if type(nested) is list else tuple(made)
    return nested
