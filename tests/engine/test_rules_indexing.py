"""Index tensors, masks and writing in place: what is pointed into stays, everything else is carried."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from secateur.thinning.planner import couple

Body = Callable[..., Tensor]
PICK = torch.tensor([3, 0, 2, 2])
GRID = torch.tensor([[0, 3], [2, 1], [1, 1]])
MASK = torch.tensor([True, False, True, True, False])


class Around(nn.Module):
    """linear, the body, linear; channels are the last axis of (2, 5, 8)."""

    def __init__(self, body: Body, out: int = 0, width: int = 8) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(3, width), nn.Linear(out or width, 4)
        self.token, self.body, self.width = nn.Parameter(torch.ones(width)), body, width
        self.register_buffer("pick", PICK)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.body(self, self.a(x)))


def rows(law: Any) -> Tensor:
    return law.normal(2, 5, 3)


def changed(x: Tensor, index: Any, value: Any) -> Tensor:
    y = x.clone()
    y[index] = value
    return y


FREE: dict[str, Body] = {
    "buffer": lambda m, x: x[:, m.pick],
    "two buffers": lambda m, x: x[torch.tensor([0, 1, 1, 0]), m.pick],
    "grid": lambda m, x: x[:, GRID],
    "grid first": lambda m, x: x[GRID % 2],
    "list": lambda m, x: x[:, [0, 2, 2]],
    "list alone": lambda m, x: x[[1, 0]],
    "nested list": lambda m, x: x[:, [[0, 2], [1, 4]]],
    "negative list": lambda m, x: x[:, [-1, -3]],
    "mask": lambda m, x: x[:, MASK],
    "mask list": lambda m, x: x[:, [True, False, True, True, False]],
    "mask of two axes": lambda m, x: x[(x.sum(-1) > 0)],
    "tensor of one integer": lambda m, x: x[:, torch.tensor(3)],
    "tensor as a bound": lambda m, x: x[:, torch.tensor(1) :],
    "parted by none": lambda m, x: x[torch.tensor([0, 1, 1]), None, torch.tensor([0, 3, 2])],
    "largest row": lambda m, x: x[torch.arange(2), x.sum(-1).argmax(1)],
    "ids": lambda m, x: x[:, :4][:, torch.argsort(m.pick)],
    "gather": lambda m, x: x.gather(1, PICK[None, :, None].expand(2, -1, x.shape[-1])),
    "gather a repeated index": lambda m, x: torch.gather(x, 1, PICK[None, :, None].repeat(2, 1, x.size(2))),
    "gather by attribute": lambda m, x: torch.gather(x, dim=1, index=PICK[None, :, None].expand(2, 4, m.width)),
    "gather like": lambda m, x: x.gather(1, (PICK[None, :, None] + 1).expand_as(x[:, :4])),
    "gather contiguous": lambda m, x: x.gather(-2, PICK[None, :, None].expand(2, -1, x.shape[-1]).contiguous()),
    "gather sorted": lambda m, x: x.gather(1, x.argsort(1)),
    "take_along_dim": lambda m, x: torch.take_along_dim(x, PICK[None, :, None], 1),
    "take_along_dim sorted": lambda m, x: x.take_along_dim(x.argsort(dim=1), dim=1),
    "index_select": lambda m, x: x.index_select(1, PICK),
    "index_add": lambda m, x: x.index_add(1, PICK, x[:, :4], alpha=2),
    "index_copy": lambda m, x: x.index_copy(1, torch.tensor([3, 0]), x[:, 1:3]),
    "index_fill": lambda m, x: x.index_fill(1, PICK, 0.0),
    "index_fill with a number": lambda m, x: x.index_fill(1, PICK, 0.5),
    "scatter": lambda m, x: x.scatter(1, PICK[None, :1, None].expand(2, 1, x.shape[2]), x[:, 1:2]),
    "scatter a number": lambda m, x: x.scatter(1, PICK[None, :, None].expand(2, 4, x.shape[2]), 1.0),
    "scatter_add": lambda m, x: x.scatter_add(1, PICK[None, :, None].expand(2, -1, x.shape[2]), x[:, 1:].tanh()),
    "scatter_reduce": lambda m, x: x.scatter_reduce(1, PICK[None, :, None].expand(2, -1, x.shape[2]), x[:, 1:], "amax"),
    "set rows": lambda m, x: changed(x, (slice(None), slice(None, 2)), x[:, 2:4]),
    "set rows of zeros": lambda m, x: changed(torch.zeros_like(x), (slice(None), slice(0, 3)), x[:, 1:4]),
    "set one row": lambda m, x: changed(x, (slice(None), 1), 0.0),
    "set one row to a number": lambda m, x: changed(x, (slice(None), -1), 1.0),
    "set all": lambda m, x: changed(x, slice(None), x.sigmoid()),
    "set by ellipsis": lambda m, x: changed(x, (Ellipsis, slice(1, 3), slice(None)), m.token),
    "set by an index": lambda m, x: changed(x, (slice(None), torch.tensor([1, 3])), x[:, :2]),
    "set by an index in front": lambda m, x: changed(x, torch.tensor([1]), x[:1]),
    "set by a list": lambda m, x: changed(x, (slice(None), [1, 3]), x[:, :2]),
    "set by a mask": lambda m, x: changed(x, (slice(None), MASK), 0),
    "set by a mask to a parameter": lambda m, x: changed(x, x.sum(-1) > 0, m.token),
    "set by a mask of all": lambda m, x: changed(x, x < 0, 0.0),
    "set by a mask of all to a number": lambda m, x: changed(x, x < 0, -1.0),
    "set with a longer value": lambda m, x: changed(x, (0, 1), x[:1, 2]),
    "channels by their own length": lambda m, x: changed(x, (Ellipsis, slice(None, x.shape[-1])), x.tanh()),
    "narrow_copy": lambda m, x: torch.narrow_copy(x, 1, 1, 2),
}


@pytest.mark.parametrize("name", FREE)
def test_channels_are_carried(law: Any, name: str) -> None:
    law(Around(FREE[name]), rows(law), {"a.weight": (4, 3), "b.weight": (4, 4)}, seeds=3)


@pytest.mark.parametrize("name", FREE)
def test_sums_over_channels_are_exact_or_refused(law: Any, name: str) -> None:
    """A sum reads no weights, so it shows whether pruned slices are zero where the rule says so."""

    class Sums(Around):
        def forward(self, x: Tensor) -> Tensor:
            return self.body(self, self.a(x)).sum(-1)

    law(Sums(FREE[name]), rows(law), seeds=2)


POINTED = "it is indexed by a tensor or a list, which would not change with it"
REFUSED: dict[str, tuple[Body, str]] = {
    "buffer": (lambda m, x: x.transpose(1, 2)[:, torch.arange(8)].transpose(1, 2), POINTED),
    "mask of all": (lambda m, x: x.expand(2, 5, x.shape[2])[x > 0].sum().reshape(1, 1).expand(2, 8), POINTED),
    "mask of channels": (lambda m, x: x[..., torch.ones(8, dtype=torch.bool)], POINTED),
    "a truth value": (lambda m, x: x[True][0], "it is indexed by a truth value"),
    "tensor of one integer": (lambda m, x: x + x[..., torch.tensor(7)][..., None], POINTED),
    "tensor as a bound": (lambda m, x: x[..., torch.tensor(0) :], "the bound of a slice is a tensor"),
    "gather": (lambda m, x: x.gather(2, x.argsort(2)), "an index tensor points into it"),
    "gather a part": (
        lambda m, x: x.gather(1, torch.zeros(2, 5, 4, dtype=torch.long)).repeat(1, 1, 2),
        "an index tensor spans it only in part",
    ),
    "gather a written size": (
        lambda m, x: x.gather(1, PICK[None, :, None].expand(2, -1, 8)),
        "an index tensor spans it whose size does not follow",
    ),
    "gather a table": (
        lambda m, x: x.gather(1, torch.zeros(2, 4, 8, dtype=torch.long)),
        "an index tensor spans it whose size does not follow",
    ),
    "take_along_dim": (lambda m, x: x.take_along_dim(x.argsort(2), 2), "an index tensor points into it"),
    "take_along_dim of all": (
        lambda m, x: torch.take_along_dim(x, torch.arange(80)).view(2, 5, 8),
        "its elements are read as one long row",
    ),
    "take": (lambda m, x: torch.take(x, torch.arange(80)).view(2, 5, 8), "its elements are read as one long row"),
    "index_add": (lambda m, x: x.index_add(2, torch.arange(8), x), "an index tensor points into it"),
    "index_fill": (lambda m, x: x.index_fill(2, PICK, 0), "an index tensor points into it"),
    "scatter": (lambda m, x: x.scatter(2, x.argsort(2), x), "an index tensor points into it"),
    "scatter a longer source": (
        lambda m, x: x.scatter(1, PICK[None, :, None].expand(2, -1, 4), x[:, 1:]),
        "an index tensor spans it only in part",
    ),
    "masked_select": (
        lambda m, x: x.masked_select(x > 0).sum() + m.token,
        "how many entries are taken depends on values",
    ),
    "masked_scatter": (lambda m, x: x.masked_scatter(x > 0, x), "how many entries are taken depends on values"),
    "where of one": (lambda m, x: x + torch.where(x > 0)[0].sum(), "the shape of its results depends on values"),
    "index_put": (
        lambda m, x: x.index_put((torch.tensor([0]), torch.tensor([1])), x[0, 0]),
        "values are written at places that tensors give",
    ),
    "set half": (lambda m, x: changed(x, (Ellipsis, slice(None, 7)), 0.0), "written as the number 7"),
    "set one channel": (lambda m, x: changed(x, (Ellipsis, 7), 0.0), "index 7 is taken out of it"),
    "set by a mask of all to a tensor": (lambda m, x: changed(x, x < 9, torch.ones(80, dtype=x.dtype)), POINTED),
    "set in steps": (lambda m, x: changed(x, (Ellipsis, slice(None, None, 2)), 0.0), "it is read in steps"),
    "set one channel to all": (
        lambda m, x: changed(x, slice(None), x[..., 7:]),
        "the bound of a slice is written as the number 7",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_pointed_into_stays(law: Any, name: str) -> None:
    body, reason = REFUSED[name]
    line = (changed if name.startswith("set") else body).__code__.co_firstlineno + 2 * name.startswith("set")
    law.refuses(Around(body), rows(law), "a.weight", reason, f"test_rules_indexing.py:{line}")


def test_a_list_keeps_only_what_lies_before_its_largest_entry(law: Any) -> None:
    model = law.randomised(Around(lambda m, x: x + x[..., [2, 0]].sum(-1, keepdim=True)))
    thinned = law(model, rows(law))
    assert thinned.a.weight.shape[0] == 6  # half of the five channels after the first three leave
    (refusal,) = (r for r in law.plan(model, rows(law)).refusals if r.parameter == "a.weight" and r.axis == 0)
    assert refusal.indices == 3


def test_an_expanded_index_that_is_read_twice_stays(law: Any) -> None:
    def twice(m: Around, x: Tensor) -> Tensor:
        index = PICK[None, :, None].expand(2, -1, x.shape[-1])
        return x.gather(1, index) + index

    law.refuses(Around(twice), rows(law), "a.weight", "an index tensor spans it whose size does not follow")


def test_gather_at_other_widths_of_two_tensors(law: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.c, self.b = nn.Linear(3, 8), nn.Linear(3, 8), nn.Linear(8, 4)

        def forward(self, x: Tensor) -> Tensor:
            y, z = self.a(x), self.c(x)
            # The index takes its size from y and reads z: both must be equally wide.
            return self.b(z.gather(1, PICK[None, :, None].expand(2, -1, y.shape[-1]))) + y.sum(-1, True).mean(1, True)

    law(Net(), rows(law), seeds=12)


class Bias(nn.Module):
    """The relative position bias of windowed attention: a table [places, heads], read at fixed places."""

    def __init__(self) -> None:
        super().__init__()
        self.heads = 4
        self.qkv, self.out = nn.Linear(6, 24), nn.Linear(8, 5)
        self.table = nn.Parameter(torch.zeros(9, 4))
        self.register_buffer("places", torch.arange(25).view(5, 5) % 9)

    def forward(self, x: Tensor) -> Tensor:
        b, n, _ = x.shape
        q, k, v = self.qkv(x).reshape(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        bias = self.table[self.places.view(-1)].view(n, n, -1).permute(2, 0, 1).contiguous()
        scores = (q @ k.transpose(-2, -1) + bias.unsqueeze(0)).softmax(-1)
        return self.out((scores @ v).transpose(1, 2).reshape(b, n, -1))


def test_a_table_of_biases_loses_the_columns_of_heads(law: Any) -> None:
    thinned = law(Bias(), law.normal(2, 5, 6), seeds=8)
    assert thinned.table.shape == (9, thinned.heads)
    assert thinned.heads == 2


ENTRIES: dict[str, Any] = {
    ":": slice(None),
    "1:": slice(1, None),
    "0": 0,
    "none": None,
    "row": torch.tensor([0, 2, 1]),
    "grid": torch.tensor([[0, 1, 1], [2, 0, 0]]),
    "one": torch.tensor([1]),
    "single": torch.tensor(1),
    "list": [1, 0, 2],
    "mask": torch.tensor([True, True, True]),
}


@pytest.mark.parametrize("first", ENTRIES)
def test_axes_stand_where_torch_puts_them(first: str) -> None:
    """All indices of up to three entries of a tensor whose axes have one length, so that no shape tells them apart."""

    class Net(nn.Module):
        def __init__(self, index: Any) -> None:
            super().__init__()
            self.p, self.index = nn.Parameter(torch.zeros(3, 3, 3, 3)), index

        def forward(self, x: Tensor) -> Tensor:
            return self.p[self.index]

    for rest in itertools.product(ENTRIES, repeat=2):
        names = [first, *rest]
        index = tuple(ENTRIES[name] for name in names)
        coupling = couple(Net(index), (torch.zeros(1),))
        taken = coupling.labelling.labels[coupling.graph.outputs[0]]
        source = coupling.labelling.labels["p"]
        expected = _origins(index)
        for place, origin in expected.items():
            assert set(taken[place].atoms) <= set(source[origin].atoms), (names, place)
        assert {place for place, axis in enumerate(taken.axes) if axis.free} == set(expected), names


def _origins(index: tuple[Any, ...]) -> dict[int, int]:
    """{axis of p[index]: the axis of p that runs along it}, found out with coordinates."""
    coordinates = torch.stack(torch.meshgrid(*[torch.arange(3)] * 4, indexing="ij"))
    taken = torch.stack([part[index] for part in coordinates])
    found = {}
    count = sum(entry is not None for entry in index)
    plain = [k for k, entry in enumerate(e for e in index if e is not None) if isinstance(entry, slice)]
    for origin in [*plain, *range(count, 4)]:
        for place in range(taken.dim() - 1):
            if taken.shape[place + 1] > 1 and (taken[origin].diff(dim=place) == 1).all():
                found[place] = origin
    return found
