"""Every extension point of Secateur, on one page.

A plugin is a module named by an entry point in the group ``secateur``; it implements any of these hooks with
`secateur.hookimpl`. Registration hooks take no argument, are called once, and return records: core builds the
registries, so the order of plugins never matters. Event hooks are told what happened.

The module imports no torch, and a plugin need not do so at import time either: name module types by their
qualified names, and import torch inside functions.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from secateur.pruning.base import Pruner
    from secateur.pruning.regularizer import Regularizer
    from secateur.records import (
        Command,
        Criterion,
        DatasetEntry,
        GraphBuilder,
        LayerAdapter,
        ModelEntry,
        OpRule,
        OptimizerRule,
    )
    from secateur.thinning.plan import Plan
    from secateur.thinning.report import Report

PROJECT = "secateur"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


# -- registration: what a plugin adds --------------------------------------------------------------------------


@hookspec
def secateur_pruners() -> Iterable[type[Pruner]]:
    """Add pruners: classes that decide, at a moment of the schedule, what share of which dims is masked.

    Example::

        @hookimpl
        def secateur_pruners():
            return [AutomatedGradualPruner]     # chosen in YAML by its `name`, `class: agp`
    """
    raise NotImplementedError


@hookspec
def secateur_regularizers() -> Iterable[type[Regularizer]]:
    """Add regularizers: classes that add to the loss, and may mask what has become small.

    Example::

        @hookimpl
        def secateur_regularizers():
            return [GroupLasso]     # chosen in YAML by its `name`, `class: group_lasso`
    """
    raise NotImplementedError


@hookspec
def secateur_criteria() -> Iterable[Criterion]:
    """Add criteria: functions that score the units of a dim.

    Example::

        @hookimpl
        def secateur_criteria():
            return [Criterion(name="l1", score=l1)]     # plan(…, criterion="l1")
    """
    raise NotImplementedError


@hookspec
def secateur_graph_builders() -> Iterable[GraphBuilder]:
    """Add graph builders: ways to turn a model and example inputs into a `Graph`.

    Example::

        @hookimpl
        def secateur_graph_builders():
            return [GraphBuilder(name="trace", build=build)]     # trace(…, builder="trace")
    """
    raise NotImplementedError


@hookspec
def secateur_op_rules() -> Iterable[OpRule]:
    """Add op rules: what an operation says about the axes of its inputs and outputs.

    Example::

        @hookimpl
        def secateur_op_rules():
            return [OpRule(name="relu", ops=("relu",), signature="input", apply=lambda site: site["input"])]
    """
    raise NotImplementedError


@hookspec
def secateur_layer_adapters() -> Iterable[LayerAdapter]:
    """Add layer adapters: which attributes of a module type mirror which axis.

    Example::

        @hookimpl
        def secateur_layer_adapters():
            return [LayerAdapter(name="linear", types=("torch.nn.modules.linear.Linear",),
                                 mirrors={"in_features": "input:-1", "out_features": "output:-1"})]
    """
    raise NotImplementedError


@hookspec
def secateur_optimizer_rules() -> Iterable[OptimizerRule]:
    """Add optimizer rules: how the state of an optimizer is cut with its parameters. Those of `torch.optim` are known.

    An optimizer needs no rule if it keeps nothing but tensors of the parameter's shape and single numbers.

    Example::

        @hookimpl
        def secateur_optimizer_rules():
            row, column = StateEntry(means=(-1,)), StateEntry(means=(-2,))     # of gradients squared
            return [OptimizerRule(name="came", types=("came_pytorch.CAME.CAME",),
                                  entries={"exp_avg_sq_row": row, "exp_avg_sq_col": column})]
    """
    raise NotImplementedError


@hookspec
def secateur_models() -> Iterable[ModelEntry]:
    """Add models that can be named in a schedule or on the command line.

    Example::

        @hookimpl
        def secateur_models():
            return [ModelEntry(name="resnet20_cifar", build=resnet20, input_shape=(3, 32, 32))]
    """
    raise NotImplementedError


@hookspec
def secateur_datasets() -> Iterable[DatasetEntry]:
    """Add data sets that can be named in a schedule or on the command line.

    Example::

        @hookimpl
        def secateur_datasets():
            return [DatasetEntry(name="digits", load=load, input_shape=(3, 32, 32), classes=10, offline=True)]
    """
    raise NotImplementedError


@hookspec
def secateur_commands() -> Iterable[Command]:
    """Add sub-commands of the `secateur` program.

    Example::

        @hookimpl
        def secateur_commands():
            return [Command(name="hello", summary="Say hello.", configure=lambda parser: None, run=hello)]
    """
    raise NotImplementedError


# -- events: what a plugin is told -----------------------------------------------------------------------------


@hookspec
def secateur_plan_ready(plan: Plan) -> None:
    """Look at a plan before it is used. Raise a `SecateurError` to veto it.

    Example::

        @hookimpl
        def secateur_plan_ready(plan):
            if any(dim.name == "stem" and len(dim.kept) < dim.size for dim in plan.dims):
                raise PlanError("the stem must stay whole", where="stem", hint="add it to keep=")
    """


@hookspec
def secateur_model_thinned(report: Report) -> None:
    """Be told that a model was thinned, with the report of what left and the measured difference.

    Example::

        @hookimpl
        def secateur_model_thinned(report):
            print(report)
    """
