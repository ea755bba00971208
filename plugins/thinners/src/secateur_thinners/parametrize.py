"""Parametrised weights: weight norm, and what cannot be followed of the others.

Weight norm (Salimans and Kingma 2016, https://arxiv.org/abs/1602.07868, equation 2) is w = g * v / |v|, with one norm
for each slice of v along an axis. What is computed by common operations needs no rule of its own: spectral norm is a
product of vectors with a matrix, and a pointwise parametrisation is pointwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from secateur.coupling.labels import Axis, Labels
from secateur.coupling.site import Site, int_of
from secateur.hookspecs import hookimpl
from secateur.records import OpRule
from secateur_thinners.table import rule


def weight_norm(site: Site) -> Sequence[Axis]:
    """w = g * v / |v|: the norms are roots of sums over all axes but one (or, with dim -1, over all).

    A slice of v that leaves is not set to zero in the masked network, where its norm would divide zero by zero; the
    weight is zero there through g.
    """
    direction, gain, dim = site["v"], site["g"], int_of(site["dim"])
    if dim == -1:
        return list(direction.axes)
    dim %= len(direction)
    made = list(direction.axes)
    if made[dim].free and not _alone(site, direction):
        site.fix(made[dim], "its norm would be zero, and it is no parameter that weight norm alone reads")
    else:
        site.leave_unmasked(direction, dim)
    made[dim] = Axis(site.tie(made[dim], gain[dim]).atoms, gain[dim].zero)
    return made


def _alone(site: Site, direction: Labels) -> bool:
    """Whether a tensor is a parameter that nothing but weight norm, along the same axis, reads."""
    graph = site.graph
    if graph.values[direction.name].kind != "parameter" or direction.name in graph.outputs:
        return False
    readers = graph.consumers[direction.name]
    return all(
        op.kind == site.op.kind and op.inputs[0] == direction.name and op.args[2:] == site.op.args[2:] for op in readers
    )


def mixed(site: Site) -> Any:
    """Every entry of the result depends on every entry of the matrix."""
    raise NotImplementedError("all entries of the matrix are mixed (an orthogonal parametrisation, or an inverse)")


@hookimpl
def secateur_op_rules() -> list[OpRule]:
    """Rules for parametrised weights."""
    return [
        rule("weight_norm", "v, g, dim=0", weight_norm),
        rule(
            "matrix_exp linalg_matrix_exp linalg_solve linalg_inv inverse linalg_householder_product "
            "householder_product linalg_qr qr linalg_cholesky cholesky geqrf linalg_eigh linalg_svd svd",
            "*args, upper=None, left=None, mode=None, some=None, compute_uv=None, full_matrices=None, UPLO=None",
            mixed,
        ),
    ]
