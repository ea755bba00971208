"""Products of matrices and vectors: what is summed leaves together, what is carried leaves with its factor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from secateur.measure.counts import macs


class Product(nn.Module):
    """Two linear layers, a product of what they write, and a linear layer that reads the last axis of it."""

    def __init__(self, body: Callable[..., Tensor], out: int = 8, bias: bool = True) -> None:
        super().__init__()
        self.a = nn.Linear(5, 8, bias=bias)
        self.b = nn.Linear(5, 8, bias=bias)
        self.read = nn.Linear(out, 4)
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return self.read(self.body(self.a(x), self.b(x)))


def tokens(law: Any) -> Tensor:
    return law.normal(3, 6, 5)


WIDTH_SUMMED: dict[str, Callable[..., Tensor]] = {
    "matmul": lambda a, b: a @ b.transpose(-2, -1),
    "torch.matmul": lambda a, b: torch.matmul(a, other=b.mT),
    "method": lambda a, b: a.matmul(b.transpose(1, 2)),
    "linalg.matmul": lambda a, b: torch.linalg.matmul(a, b.mT),
    "reflected": lambda a, b: b.mT.__rmatmul__(a),
    "bmm": lambda a, b: torch.bmm(a, b.mT),
    "bmm method": lambda a, b: a.bmm(mat2=b.mT),
    "mm": lambda a, b: torch.stack([p.mm(q.t()) for p, q in zip(a, b, strict=True)]),
    "batch against matrix": lambda a, b: a @ b[0].t(),
    "matrix against batch": lambda a, b: a[0] @ b.mT,
    "batch of one": lambda a, b: a[:1] @ b.mT,
    "four axes": lambda a, b: (a[None] @ b[:, None].mT)[0],
    "mv": lambda a, b: a[0].mv(b[0, 0]),
    "matrix by vector": lambda a, b: a[0] @ b[0, 0],
    "batch by vector": lambda a, b: a @ b[0, 0],
    "vector by batch": lambda a, b: a[0, 0] @ b.mT,
    "vector by matrix": lambda a, b: a[0, 0] @ b[0].t(),
    "vector by vector": lambda a, b: (a[0, 0] @ b[1, 1]).expand(6),
    "dot": lambda a, b: torch.dot(a[0, 0], b[1, 1]).expand(6),
    "vdot": lambda a, b: torch.vdot(a[0, 0], b[1, 1]).expand(6),
    "inner": lambda a, b: torch.inner(a, b[0]),
    "inner of vectors": lambda a, b: torch.inner(a[0, 0], b[0, 1]).expand(6),
    "vecdot": lambda a, b: torch.linalg.vecdot(a, b),
    "vecdot broadcast": lambda a, b: torch.linalg.vecdot(a.mT, b[0].t(), dim=-2),
    "tensordot": lambda a, b: torch.tensordot(a, b.mT[0], 1),
    "tensordot of axes": lambda a, b: torch.tensordot(a, b, dims=([0, 2], [0, -1])),
    "tensordot of two": lambda a, b: torch.tensordot(a.flatten(0, 1), b[:, 0].t(), dims=1)[:, :1].expand(-1, 6),
    "addmm": lambda a, b: torch.addmm(torch.ones(6, dtype=a.dtype), a[0], b[0].t(), beta=0.5, alpha=2),
    "addmv": lambda a, b: torch.addmv(torch.ones(6, dtype=a.dtype), a[0], b[0, 0]),
    "baddbmm": lambda a, b: torch.baddbmm(torch.ones(6, 6, dtype=a.dtype), a, b.mT, alpha=0.3),
    "baddbmm in place": lambda a, b: torch.ones(3, 6, 6, dtype=a.dtype).baddbmm_(a, b.mT),
    "addbmm": lambda a, b: torch.addbmm(torch.ones(6, dtype=a.dtype), a, b.mT),
    "chain": lambda a, b: torch.linalg.multi_dot([a[0], b[0].t(), a[1], b[1].t()]),
    "chain of vectors": lambda a, b: torch.linalg.multi_dot((a[0, 0], b[0].t(), a[1], b[1, 2])).expand(6),
}


@pytest.mark.parametrize("name", WIDTH_SUMMED)
def test_what_is_summed_leaves_together(law: Any, name: str) -> None:
    model = Product(WIDTH_SUMMED[name], out=6)
    law(model, tokens(law), {"a.weight": (4, 5), "b.weight": (4, 5), "read.weight": (4, 6)}, seeds=2)


CARRIED: dict[str, Callable[..., Tensor]] = {
    "matmul": lambda a, b: a.mT @ b,
    "broadcast": lambda a, b: a.mT[:, None] @ b[:1],
    "bmm": lambda a, b: torch.bmm(a.mT, b),
    "mm": lambda a, b: a[0].t().mm(b[0]),
    "outer": lambda a, b: torch.outer(a[0, 0], b[0, 0]),
    "ger": lambda a, b: a[0, 0].ger(b[0, 0]),
    "inner": lambda a, b: torch.inner(a[0].t(), b[0].t()),
    "tensordot": lambda a, b: torch.tensordot(a, b, ([0, 1], [0, 1])),
    "tensordot of nothing": lambda a, b: torch.tensordot(a[0, 0], b[0, 0], 0),
    "chain": lambda a, b: torch.linalg.multi_dot((a[0].t(), b[1] @ b[1].t(), b[0])),
}


@pytest.mark.parametrize("name", CARRIED)
def test_both_widths_are_carried(law: Any, name: str) -> None:
    """The rows are summed afterwards, which is exact only because the product is zero where a factor is."""
    body = CARRIED[name]
    model = Product(lambda a, b: body(a, b).sum(-2))
    law(model, tokens(law), {"a.weight": (4, 5), "b.weight": (4, 5), "read.weight": (4, 4)}, seeds=2)


def test_vectors_times_matrices_carry_the_matrix(law: Any) -> None:
    model = Product(lambda a, b: a[0, 0, :6] @ b + torch.mv(b[0].t(), a[0, 0, :6]))
    law(model, tokens(law), {"b.weight": (4, 5), "read.weight": (4, 4)})


def test_batch_axes_are_tied_and_stretched_ones_stay(law: Any) -> None:
    def batched(a: Tensor, b: Tensor) -> Tensor:
        return (a.mT[..., None, :] @ b.mT[..., :, None]).flatten(1)  # (batch, width, 1, 1)

    law(Product(batched), tokens(law), {"a.weight": (4, 5), "b.weight": (4, 5), "read.weight": (4, 4)})

    def stretched(a: Tensor, b: Tensor) -> Tensor:
        first = b.chunk(8, dim=-1)[0]  # (batch, n, 1)
        return (a.mT[:, :, None] @ first.mT[:, :, :, None]).flatten(1)

    reason = "stretched over other channels, in matmul at"
    law.refuses(Product(stretched), tokens(law), "b.weight", reason)
    assert law(Product(stretched), tokens(law)).a.weight.shape == (4, 5)


def test_a_sum_needs_one_factor_that_is_zero(law: Any) -> None:
    one = Product(lambda a, b: a.sigmoid() @ b.mT, out=6)
    law(one, tokens(law), {"a.weight": (4, 5), "b.weight": (4, 5)})
    none = Product(lambda a, b: a.sigmoid() @ b.cos().mT, out=6)
    for parameter in ("a.weight", "b.weight"):
        law.refuses(none, tokens(law), parameter, "in which nothing is zero on pruned slices, in matmul at")


class Added(nn.Module):
    """A product with an added tensor, summed over its last axis: exact only if both are zero on what leaves."""

    def __init__(self, body: Callable[..., Tensor], *shape: int) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(5, 8), nn.Linear(5, 8)
        self.added = nn.Parameter(torch.empty(*shape))
        self.read = nn.Linear(8, 4)
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return self.read(self.body(self.added, self.a(x).mT, self.b(x)).sum(-1))  # (batch, width of a) is read


ADDED: dict[str, tuple[Callable[..., Tensor], tuple[int, ...], tuple[int, ...]]] = {
    "row": (lambda z, a, b: torch.addmm(z, a[0], b[0]), (8,), (4,)),
    "table": (lambda z, a, b: z.addmm(a[0], b[0], beta=2.0), (8, 8), (4, 4)),
    "in place": (lambda z, a, b: (z * 2).addmm_(a[0], b[0], alpha=0.2), (8, 8), (4, 4)),
    "batches": (lambda z, a, b: torch.baddbmm(z, a, b), (1, 8, 8), (1, 4, 4)),
    "sum of batches": (lambda z, a, b: torch.addbmm(z, a, b), (8, 8), (4, 4)),
    "outer": (lambda z, a, b: torch.addr(z, a[0, :, 0], b[0, 0]), (8, 8), (4, 4)),
    "vector": (lambda z, a, b: torch.addmv(z, a[0], b[0, :, :4].sum(-1))[None, :, None], (8,), (4,)),
}


@pytest.mark.parametrize("name", ADDED)
def test_what_is_added_leaves_with_the_product(law: Any, name: str) -> None:
    body, shape, kept = ADDED[name]
    law(Added(body, *shape), tokens(law), {"added": kept, "a.weight": (4, 5)})


ADDED_NONZERO: dict[str, tuple[Callable[..., Tensor], tuple[int, ...]]] = {
    "not zero itself": (lambda z, a, b: torch.baddbmm(z.cos(), a, b) @ b.cos().mT, (1, 8, 8)),
    "broadcast": (lambda z, a, b: torch.baddbmm(z, a, b) @ b.cos().mT, (1, 8, 1)),
    "sum of batches": (lambda z, a, b: torch.addbmm(z, a, b) @ b.cos().mT, (8, 1)),
}


@pytest.mark.parametrize("name", ADDED_NONZERO)
def test_a_sum_with_what_is_not_zero_is_not_zero(law: Any, name: str) -> None:
    body, shape = ADDED_NONZERO[name]
    law.refuses(Added(body, *shape), tokens(law), "b.weight", "nothing is zero on pruned slices, in matmul at")


class Learned(nn.Module):
    """A parameter that mixes what a linear layer writes."""

    def __init__(self, body: Callable[..., Tensor], rows: int, columns: int) -> None:
        super().__init__()
        self.a = nn.Linear(5, 8)
        self.w = nn.Parameter(torch.empty(rows, columns))
        self.v = nn.Parameter(torch.empty(columns, 4))
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return self.body(self, self.a(x))


READERS: dict[str, tuple[Callable[..., Tensor], int]] = {
    "from the left": (lambda m, y: m.w.t() @ y.mT, 0),
    "from the right": (lambda m, y: y @ m.w, 0),
    "transposed": (lambda m, y: y @ m.w.t(), 1),
    "chain from the right": (lambda m, y: torch.linalg.multi_dot((y[0], m.w, m.v)), 0),
    "chain from the left": (lambda m, y: torch.chain_matmul(m.v.t(), m.w.t(), y[0].t()), 0),
    "multiplied before": (lambda m, y: y @ (m.w @ m.v), 0),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.filterwarnings("ignore:torch.chain_matmul")
def test_a_parameter_reads_the_data(law: Any, name: str) -> None:
    body, axis = READERS[name]
    model = Learned(body, *((8, 6) if axis == 0 else (6, 8)))
    thinned = law(model, tokens(law))
    assert (thinned.a.weight.shape[0], thinned.w.shape[axis]) == (4, 4)
    (dim,) = [dim for dim in law.plan(model, tokens(law)).dims if dim.name == "a"]
    assert dim.readers == {("w", axis)}


@pytest.mark.parametrize("name", ["chain from the left", "chain from the right"])
@pytest.mark.filterwarnings("ignore:torch.chain_matmul")
def test_of_learned_factors_one_reads_the_other(law: Any, name: str) -> None:
    """Data flows through the parameter beside it first."""
    model = Learned(READERS[name][0], 8, 6)
    thinned = law(model, tokens(law))
    assert (thinned.w.shape, thinned.v.shape) == ((4, 3), (3, 4))
    (dim,) = [dim for dim in law.plan(model, tokens(law)).dims if dim.name == "w"]
    assert dim.readers == {("v", 0)}


@pytest.mark.parametrize("body", [lambda a, b: a @ b.mT, lambda a, b: F.linear(a, b[0])], ids=["matmul", "linear"])
def test_two_activations_have_no_reader(law: Any, body: Any) -> None:
    model = Product(body, out=6)
    law(model, tokens(law), {"a.weight": (4, 5), "b.weight": (4, 5)})
    (dim,) = law.plan(model, tokens(law)).dims
    assert dim.readers == set()


def test_weights_made_of_weights_are_looked_at_once(law: Any) -> None:
    """A weight that doubles its history 40 times has 2 ** 40 ways back to the parameter."""

    def doubled(model: Any, y: Tensor) -> Tensor:
        w = model.w
        for _ in range(40):
            w = w + w.tanh() / 100
        return y @ w

    law(Learned(doubled, 8, 6), tokens(law), {"a.weight": (4, 5), "w": (4, 6)}, seeds=1)


def test_forms_that_are_not_followed_say_so(law: Any) -> None:
    def into(a: Tensor, b: Tensor) -> Tensor:
        return torch.matmul(a.detach(), b.detach().mT, out=a.new_empty(0))

    def steered(a: Tensor, b: Tensor) -> Tensor:
        return torch.tensordot(a, b.mT[0], torch.tensor([[2], [0]]))

    with torch.no_grad():
        law.refuses(Product(into, out=6), tokens(law), "a.weight", "written into another tensor, in matmul at")
    model = Product(steered, out=6)
    law.refuses(model, tokens(law), "a.weight", "the axes of tensordot are given as a tensor")


MACS: dict[str, tuple[Callable[..., Tensor], int]] = {
    "matmul": (lambda a, b: a @ b.mT, 3 * 6 * 8 * 6),
    "broadcast": (lambda a, b: a[:1] @ b[0].t(), 6 * 8 * 6),
    "matrix by vector": (lambda a, b: (a[0] @ b[0, 0])[None], 6 * 8),
    "baddbmm": (lambda a, b: torch.baddbmm(a, input2(a), b), 3 * 6 * 6 * 8),
    "outer": (lambda a, b: torch.outer(a[0, 0], b[0, 0]), 8 * 8),
    "multi_dot": (lambda a, b: torch.linalg.multi_dot((a[0], b[0].t(), a[1])), 6 * 8 * 6 + 6 * 6 * 8),
    "einsum": (lambda a, b: torch.einsum("bik,bjk->bij", a, b), 3 * 6 * 8 * 6),
    "einsum of one": (lambda a, b: torch.einsum("bik->bi", a), 0),
    "einsum of three": (lambda a, b: torch.einsum("bik,bjk,bjl->bil", a, b, b), 3 * 6 * 8 * 6 + 3 * 6 * 6 * 8),
    "bilinear": (lambda a, b: torch.bilinear(a, b, a.new_ones(2, 8, 8), None), 3 * 6 * (2 * 8 * 8 + 2 * 8)),
    "tensordot by a tensor": (lambda a, b: torch.tensordot(a, b.mT[0], torch.tensor(1)), 0),
}


def input2(a: Tensor) -> Tensor:
    return a[:, :, :6]


@pytest.mark.parametrize("name", MACS)
def test_multiply_accumulates(law: Any, name: str) -> None:
    body, expected = MACS[name]

    class Bare(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return body(x, x.tanh())[None]

    assert macs(Bare(), (law.normal(3, 6, 8),)) == expected // 3
