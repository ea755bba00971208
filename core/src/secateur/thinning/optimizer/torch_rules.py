"""The optimizers of `torch.optim`: one rule each.

Most of them treat every weight by itself: their state has the parameter's shape, and is cut like it. The exceptions:

- Adafactor (Shazeer and Stern 2018, arXiv:1804.04235) keeps mean squares of gradients over rows and over columns. Their
  product divided by their mean does not depend on lengths, once each is the mean over what stays. But a step is as long
  as the root mean square of the whole parameter, and clipped by that of the whole update (sections 6 and 8); in both
  the zeros of masked slices are counted, and no setting of torch's undoes that. Besides, mean squares from before
  masking fade slowly, and are part of the mean.
- Muon orthogonalises the momentum, which commutes with leaving out zero rows and columns, and multiplies by a function
  of the matrix shape: sqrt(max(1, rows / columns)), or 0.2 sqrt(max(rows, columns)). Where both shapes give the same
  factor, and the momentum of what leaves is zero (it fades slowly, and turns what stays), training on is the same, up
  to the bfloat16 that it computes with.
- LBFGS keeps its history in vectors over all parameters together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from secateur.records import OptimizerRule, StateEntry

if TYPE_CHECKING:
    from torch import nn
    from torch.optim import Optimizer


def _muon_factor(group: Mapping[str, Any], shape: tuple[int, ...]) -> float:
    rows, columns = shape[:2]
    if group.get("adjust_lr_fn") == "match_rms_adamw":
        return 0.2 * math.sqrt(max(rows, columns))
    return math.sqrt(max(1.0, rows / columns))


def _adafactor_factor(group: Mapping[str, Any], shape: tuple[int, ...]) -> float:
    return 1 / math.sqrt(math.prod(shape))


def _made(name: str, lr: float, parameters: Sequence[nn.Parameter]) -> Optimizer:
    import torch

    made: Optimizer = getattr(torch.optim, name)(parameters, lr=lr)
    return made


_BY_WEIGHT = {
    "sgd": ("SGD", 0.05),
    "adam": ("Adam", 0.01),
    "adamw": ("AdamW", 0.01),
    "adamax": ("Adamax", 0.01),
    "nadam": ("NAdam", 0.01),
    "radam": ("RAdam", 0.01),
    "rmsprop": ("RMSprop", 0.001),
    "rprop": ("Rprop", 0.001),
    "adagrad": ("Adagrad", 0.01),
    "adadelta": ("Adadelta", 1.0),
    "asgd": ("ASGD", 0.01),
    "sparse_adam": ("SparseAdam", 0.01),
}
"""{module of torch.optim: the class in it, and a step size at which small networks move}"""

RULES: tuple[OptimizerRule, ...] = (
    *(
        OptimizerRule(
            name=name,
            types=(f"torch.optim.{module}.{name}",),
            make=partial(_made, name, lr),
            summary="its state has the parameter's shape",
        )
        for module, (name, lr) in _BY_WEIGHT.items()
    ),
    OptimizerRule(
        name="Adafactor",
        types=("torch.optim.Adafactor", "torch.optim._adafactor.Adafactor"),
        entries={"row_var": StateEntry(means=(-1,)), "col_var": StateEntry(means=(-2,))},
        step_scale=_adafactor_factor,
        whole=True,
        reason="measures its steps by the root mean squares of whole parameters and updates, in which the zeros of "
        "masked slices count",
        make=partial(_made, "Adafactor", 0.01),
        summary="means over rows and columns become means over what stays",
    ),
    OptimizerRule(
        name="Muon",
        types=("torch.optim.Muon", "torch.optim._muon.Muon"),
        step_scale=_muon_factor,
        whole=True,
        reason="orthogonalises whole matrices and scales its steps by their shape",
        make=partial(_made, "Muon", 0.01),
        summary="momentum has the parameter's shape",
    ),
    OptimizerRule(
        name="LBFGS",
        types=("torch.optim.lbfgs.LBFGS",),
        follows=False,
        reason="keeps one history for all parameters together",
        summary="its state cannot be cut",
    ),
    OptimizerRule(
        name="ZeroRedundancyOptimizer",
        types=("torch.distributed.optim.zero_redundancy_optimizer.ZeroRedundancyOptimizer",),
        follows=False,
        reason="keeps the state of most parameters in other processes",
        summary="its state cannot be cut",
    ),
)
