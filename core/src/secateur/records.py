"""What hooks return: one typed record per kind of thing a plugin can add.

Records are frozen, hold names and functions, and import no torch. Core collects them into read-only registries
(`secateur.plugins.registry`) that remember which distribution each one came from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from attrs import field, frozen

from secateur.config.arguments import check_arguments

if TYPE_CHECKING:
    import argparse

    import numpy as np
    from torch import Tensor, nn
    from torch.optim import Optimizer

    from secateur.coupling.site import Site
    from secateur.graph.ir import Graph, Op
    from secateur.pruning.collecting import Collector
    from secateur.pruning.members import Member

__all__ = [
    "Command",
    "Contraction",
    "Criterion",
    "DataSplit",
    "DatasetEntry",
    "GraphBuilder",
    "Intercept",
    "LayerAdapter",
    "ModelEntry",
    "OpRule",
    "OptimizerRule",
    "StateEntry",
    "TextSplit",
]


@frozen(kw_only=True)
class Contraction:
    """Two arguments of an operation that are multiplied and summed over: a zero in one silences the other."""

    factors: tuple[str, str]
    added: str = ""
    """The argument that is added to the sums."""
    reads: int | None = None
    """If the second factor is a weight of two axes: the one along which it reads the last axis of the first."""
    slides: bool = False
    """Whether further axes of the weight are a kernel, which slides over as many axes at the end of the first."""


@frozen(kw_only=True)
class OpRule:
    """What one operation says about the axes of its inputs and outputs (see `secateur.coupling.site`)."""

    name: str
    """The rule's own name, used in messages: the operation's name if it handles only one."""
    ops: tuple[str, ...]
    """Names of the operations it handles, as builders normalise them: `conv2d`, `add`, …"""
    signature: str
    """The operation's Python parameters, `"input, weight, bias=None, groups=1"`: how calls are bound."""
    apply: Callable[[Site], Any]
    """Reads the labels of the inputs from the site, records facts, returns the labels of the output(s)."""
    macs: Callable[[Op, Graph], int] | None = None
    """Multiply-accumulates of one call, or None if it has none worth counting."""
    contracts: Contraction | None = None
    """What it multiplies and sums over, if it does nothing else."""
    channel_factor: Callable[[Mapping[str, Any]], Tensor | None] | None = None
    """If in eval mode it multiplies its first argument channel by channel (and adds): by what, shape (channels,), from
    its arguments by name; None where the arguments do not say."""
    states: Callable[[Op], tuple[Sequence[str], Sequence[str]]] | None = None
    """If it is recurrent: the names of the values it takes as initial states, and of those it gives as last ones, with
    the units along the last axis. Where the model takes and returns them they become smaller with the layer."""
    creates: bool = False
    """Whether it makes a tensor of sizes that it is given: its rule is asked even if nothing of its inputs leaves."""
    summary: str = ""


@frozen(kw_only=True)
class LayerAdapter:
    """Which integer attributes of a module type mirror the length of which axis.

    `mirrors` maps an attribute to a reference: `"input:1"`, `"output:-1"` (the module's first input or output
    and the axis) or `"weight:0"` (one of its parameters or buffers and the axis). Of several, `"input:1|weight:1"`, the
    first that exists counts: a module whose weights are used without calling it has no input.
    """

    name: str
    types: tuple[str, ...]
    """Qualified names of module types, `"torch.nn.modules.conv.Conv2d"`; a subclass is served by its nearest base."""
    mirrors: Mapping[str, str]
    summary: str = ""


Intercept = Callable[[str, str, Callable[..., Any], tuple[Any, ...], Mapping[str, Any]], Any]
"""`intercept(name, kind, function, args, kwargs)` does one call; `function(*args, **kwargs)` would do it plainly."""


class Run(Protocol):
    """How a builder runs a model again, with every call in someone else's hands."""

    def __call__(
        self,
        model: nn.Module,
        inputs: tuple[Any, ...] | Mapping[str, Any],
        intercept: Intercept,
        scales: Mapping[str, int] | None = None,
    ) -> Any:
        """Return what the forward returns; `scales`: {size expression: the integer to take for it where it becomes a
        floating-point number}."""


@frozen(kw_only=True)
class GraphBuilder:
    """Turns a model and example inputs into a `Graph` and leaves the model exactly as it was."""

    name: str
    build: Callable[[nn.Module, tuple[Any, ...] | Mapping[str, Any]], Graph]
    run: Run | None = None
    """Runs the forward in eval mode on the model's own tensors and gives its outputs; every call of a torch function is
    done by `intercept` instead. An operation bears the name it has in the graph; calls that only ask for a property
    of a tensor come too, under names the graph does not have."""
    summary: str = ""


@frozen(kw_only=True)
class Criterion:
    """Scores the units of a dim; the lowest leave first. It has either a `score` or a `collector`.

    `score` gets the dim's members (parameters and how each unit lies in them) and returns one non-negative
    float64 number per unit, shape (units,). `collector` makes an object that gathers numbers while mini-batches run
    through the network, and gives the scores from them.
    """

    name: str
    score: Callable[[Sequence[Member]], np.ndarray[Any, Any]] | None = None
    collector: Callable[[], Collector] | None = None
    summary: str = ""

    def __attrs_post_init__(self) -> None:
        if (self.score is None) == (self.collector is None):
            raise TypeError(f"the criterion {self.name!r} needs either a score or a collector")


@frozen(kw_only=True)
class StateEntry:
    """How one entry of an optimizer's state lies along the axes of its parameter.

    An axis that it is a mean or a sum over has length 1 in it, or is not there. All other axes are the parameter's, and
    are cut like the parameter's.
    """

    means: tuple[int, ...] = ()
    """Axes of the parameter that it is a mean over. What leaves has no gradient, but was counted: of N indices n stay,
    and the entry is multiplied by N / n."""
    sums: tuple[int, ...] = ()
    """Axes of the parameter that it is a sum over: the entry stays."""
    cut: Callable[[Tensor, tuple[int, ...], Mapping[int, np.ndarray[Any, Any]]], Tensor] | None = None
    """Anything else: from the entry, the parameter's shape and {axis: sorted indices that leave}, the new entry, a new
    tensor."""


@frozen(kw_only=True)
class OptimizerRule:
    """How what an optimizer keeps of each parameter is cut when the parameter is.

    An entry of `optimizer.state[parameter]` that is not listed is cut like the parameter if it has its shape, and stays
    if it is a single number; one of another shape is refused.
    """

    name: str
    types: tuple[str, ...]
    """Qualified names of optimizer classes, `"torch.optim.adam.Adam"`; a subclass is served by its nearest base."""
    entries: Mapping[str, StateEntry] = field(factory=dict)
    """{key of an entry: how it lies along the axes of the parameter}"""
    step_scale: Callable[[Mapping[str, Any], tuple[int, ...]], float] | None = None
    """What the length of a step owes to the shape of the parameter, from the parameter group's settings and a shape. If
    it is another number for the thin shape, training on would not be the same, and is done on request only."""
    whole: bool = False
    """Whether a step on one weight reads the state of others of its parameter: then what leaves must be zero in the
    state, or training on would not be the same, and is done on request only."""
    reason: str = ""
    """Why steps depend on shapes or on other weights, or why its state cannot be cut, as it follows the optimizer's
    name in a message: `"keeps one history for all parameters together"`."""
    follows: bool = True
    """False: its state can never be cut, for this `reason`."""
    make: Callable[[Sequence[nn.Parameter]], Optimizer] | None = None
    """Makes one for the contract kit, if parameters alone are not enough or its defaults hardly move them."""
    summary: str = ""


@frozen(kw_only=True)
class ModelEntry:
    """A model that can be built by name. `build(**arguments)` returns it with fresh weights."""

    name: str
    build: Callable[..., nn.Module]
    input_shape: tuple[int, ...] | None
    """Shape of one example without the batch axis, such as (3, 32, 32); None if inputs are no such float tensor."""
    inputs: Callable[[nn.Module], tuple[Any, ...]] | None = None
    """If a shape says too little: example inputs of a model that was built, of one example, `inputs(model)`; such as
    tokens and the states that go with them. The model may be thin."""
    summary: str = ""
    tags: tuple[str, ...] = ()


@frozen(kw_only=True)
class DataSplit:
    """Examples of one split, in memory: `inputs` float32 (n, *shape), `targets` int64 (n,)."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return int(self.targets.shape[0])


@frozen(kw_only=True)
class TextSplit:
    """A text in memory, as numbers of words: `tokens` int64 (words,), each below the size of the vocabulary."""

    tokens: Tensor

    def __len__(self) -> int:
        return int(self.tokens.shape[0])


@frozen(kw_only=True)
class DatasetEntry:
    """A data set that can be loaded by name.

    `load(split, **arguments)` with one of `splits` returns a `DataSplit` for the task "classification", a `TextSplit`
    for "language"; it raises `DataError` if the data cannot be had.
    """

    name: str
    load: Callable[..., DataSplit | TextSplit]
    offline: bool
    """Whether it loads without any network or files of the user's."""
    task: Literal["classification", "language"] = "classification"
    """What a network is trained to do with it: name one of its classes, or predict the next word."""
    input_shape: tuple[int, ...] | None = None
    """Shape of one example; None for text."""
    classes: int | None = None
    """Given to a model as `num_classes`; None for text."""
    sizes: Callable[..., Mapping[str, int]] | None = None
    """`sizes(**arguments)`: what else a model for the data is built with, such as {"vocabulary": 33278}."""
    splits: tuple[str, ...] = ("train", "test")
    """With "valid" among them, epochs are judged by it, and "test" is looked at once, at the end."""
    summary: str = ""

    def model_sizes(self, arguments: Mapping[str, Any]) -> dict[str, int]:
        """What a model for the data is built with: `num_classes`, and what `sizes` says.

        Raises `TypeError` if `load` does not take the arguments, and what `sizes` raises.
        """
        check_arguments(self.load, arguments, filled=("split",))
        found = {} if self.classes is None else {"num_classes": self.classes}
        return found if self.sizes is None else found | dict(self.sizes(**arguments))


@frozen(kw_only=True)
class Command:
    """A sub-command of `secateur`. `configure` adds its arguments, `run` does it and returns the exit status."""

    name: str
    summary: str
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    order: int = field(default=100)
    """Commands are listed by (order, name)."""
