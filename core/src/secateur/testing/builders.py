"""Laws of graph builders: the model is left alone, graphs are sound and repeatable, and what they lead to is exact."""

from __future__ import annotations

from typing import Any

import torch

from secateur.errors import SecateurError
from secateur.graph.ir import Graph, check
from secateur.graph.nested import tensors_in
from secateur.records import GraphBuilder
from secateur.testing.broken import LawBroken, NotTried
from secateur.testing.exactness import masked_equals_thinned, outputs_agree
from secateur.testing.examples import examples
from secateur.testing.values import unchanged
from secateur.thinning.verify import outputs


def building_changes_nothing(builder: GraphBuilder) -> None:
    """Numbers, flags, attributes, hooks and the random state are what they were, in training mode too."""
    for model, inputs in examples():
        for training in (False, True):
            model.train(training)
            with unchanged(model, f"the builder {builder.name}"):
                builder.build(model, inputs)


def graphs_are_sound(builder: GraphBuilder) -> None:
    """Values are made before they are read, and parameters and outputs are those of the model."""
    for model, inputs in examples():
        try:
            graph = check(builder.build(model, inputs))
        except SecateurError as error:
            raise LawBroken(str(error)) from error
        for name, parameter in model.named_parameters():
            value = graph.values.get(name)
            if value is None or value.kind != "parameter" or value.shape != tuple(parameter.shape):
                raise LawBroken(
                    f"{builder.name}: the parameter {name} of shape {tuple(parameter.shape)} is {value} in the graph"
                )
        made = [tuple(tensor.shape) for tensor in outputs(model, inputs)]
        recorded = [graph.values[name].shape for name in graph.outputs]
        if made != recorded:
            raise LawBroken(f"{builder.name}: the model gives outputs of the shapes {made}, the graph {recorded}")


def building_is_repeatable(builder: GraphBuilder) -> None:
    """The same model gives the same graph each time."""
    for model, inputs in examples():
        first, second = builder.build(model, inputs), builder.build(model, inputs)
        if _text(first) != _text(second):
            raise LawBroken(f"{builder.name} gave one graph, then another:\n{first}\n{second}")


def plans_are_exact(builder: GraphBuilder) -> None:
    """Networks that are planned with it compute, thin, what they did masked; and something leaves."""
    for model, inputs in examples():
        made = masked_equals_thinned(model, inputs, builder=builder.name)
        if not made.cuts:
            raise LawBroken(f"{builder.name}: nothing of {type(model).__name__} can leave:\n{made}")


def running_in_hand_is_the_same(builder: GraphBuilder) -> None:
    """Run with every call handed over and done plainly, a model gives its outputs, under the graph's names."""
    if builder.run is None:
        raise NotTried(f"the builder {builder.name} has no `run`")
    for model, inputs in examples():
        seen: list[str] = []

        def plainly(name: str, kind: str, function: Any, args: Any, kwargs: Any, seen: list[str] = seen) -> Any:
            seen.append(name)
            return function(*args, **kwargs)

        graph = builder.build(model, inputs)
        with torch.no_grad(), unchanged(model, f"running with the builder {builder.name}"):
            made = builder.run(model, inputs, plainly)
        outputs_agree(outputs(model, inputs), tensors_in(made)[0])
        due = [name for name, op in graph.ops.items() if not op.training]
        if [name for name in seen if name in graph.ops] != due:
            raise LawBroken(f"{builder.name}: the graph has the operations {due}, running gave {seen}")


def _text(graph: Graph) -> tuple[str, list[str]]:
    return str(graph), [f"{value.name} {value.shape} {value.dtype} {value.kind}" for value in graph.values.values()]
