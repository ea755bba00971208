"""Bilinear forms: y[..., o] = b[o] + sum over i and j of x1[..., i] * w[o, i, j] * x2[..., j]."""

from __future__ import annotations

from secateur.hookspecs import hookimpl
from secateur.records import LayerAdapter, OpRule
from secateur_thinners.equations import Product, constant


@hookimpl
def secateur_op_rules() -> list[OpRule]:
    """The rule for `bilinear`, whose weight is [outputs, inputs 1, inputs 2]."""
    form = Product(
        ops="bilinear",
        signature="input1, input2, weight, bias=None",
        factors=("input1", "weight", "input2"),
        equation=constant("...i,oij,...j->...o"),
        added="bias",
    )
    return [form.rule()]


@hookimpl
def secateur_layer_adapters() -> list[LayerAdapter]:
    """The numbers of features that `nn.Bilinear` holds."""
    mirrors = {"in1_features": "weight:1", "in2_features": "weight:2", "out_features": "weight:0"}
    return [LayerAdapter(name="bilinear", types=("torch.nn.modules.linear.Bilinear",), mirrors=mirrors)]
