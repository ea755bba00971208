"""Reshapes, permutations, joins, cuts and indices: sizes follow, or the reason names file and line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

Body = Callable[..., Tensor]


class Around(nn.Module):
    """conv, the body, conv. The body may use `self` for attributes."""

    def __init__(self, body: Body, width: int = 8, out: int = 0, attributes: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, width, 3)
        self.b = nn.Conv2d(out or width, 4, 1)
        self.body, self.own = body, attributes is not None
        self.__dict__.update(attributes or {})

    def forward(self, x: Tensor) -> Tensor:
        y = self.a(x)
        return self.b(self.body(self, y) if self.own else self.body(y))


def image(law: Any) -> Tensor:
    return law.normal(2, 3, 6, 7)


def put(into: Tensor, x: Tensor) -> Tensor:
    into[:, :, 1:5] = x
    return into


FREE: dict[str, Body] = {
    "view and back": lambda x: x.view(x.size(0), x.size(1), -1).view_as(x),
    "reshape by shape": lambda x: x.reshape(x.shape[0], x.shape[1], x.shape[2] * x.shape[3]).reshape(x.shape),
    "minus one for channels": lambda x: x.flatten(2).view(2, -1, 4, 5),
    "size tuple": lambda x: x.flatten(2).view(*x.size()),
    "flatten and unflatten": lambda x: x.flatten(2).unflatten(2, (4, 5)),
    "unflatten module": lambda x: nn.Unflatten(2, (4, 5))(x.flatten(2)),
    "permute twice": lambda x: x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
    "permute of a tuple": lambda x: torch.permute(x, (0, 3, 2, 1)).permute(dims=(0, 3, 2, 1)),
    "transpose": lambda x: x.transpose(1, 3).transpose(-1, 1),
    "swapaxes": lambda x: x.swapaxes(1, 2).swapdims(1, 2),
    "movedim": lambda x: x.movedim(1, -1).moveaxis(-1, 1),
    "movedim of tuples": lambda x: x.movedim((1, 2), (2, 3)).movedim((2, 3), (1, 2)),
    "T": lambda x: x.flatten(2)[0].T.t().view(1, -1, 4, 5),
    "mT": lambda x: x.flatten(2).mT.mT.unflatten(2, (4, 5)),
    "squeeze and unsqueeze": lambda x: x.unsqueeze(1).squeeze(1).unsqueeze(-1).squeeze(-1),
    "unsqueeze of nothing": lambda x: x[None][0],
    "expand": lambda x: x + x.mean((2, 3), keepdim=True).expand(-1, -1, 4, 5),
    "expand to shape": lambda x: x.mean((2, 3), keepdim=True).expand(x.shape) + x,
    "expand_as": lambda x: x.amax((2, 3), keepdim=True).expand_as(x) + x,
    "broadcast_to": lambda x: torch.broadcast_to(x.mean((2, 3), True), x.size()) * x,
    "repeat space": lambda x: x.repeat(1, 1, 2, 1),
    "tile space": lambda x: x.tile(2, 1),
    "tile": lambda x: torch.tile(x, (1, 1, 2, 2)),
    "flip channels": lambda x: x.flip(1),
    "flip all": lambda x: torch.flip(x, [0, 1, 2]),
    "stack and sum": lambda x: torch.stack([x, x.tanh()], dim=1).sum(1),
    "stack last": lambda x: torch.stack((x, x.relu()), -1).amax(-1),
    "cat and take": lambda x: torch.cat([x, x.relu()], dim=2)[:, :, 2:6],
    "chunk of space": lambda x: torch.cat(x.chunk(2, dim=2)[::-1], 2),
    "split of space": lambda x: torch.cat(x.split([1, 4], dim=3), dim=-1),
    "unbind of batch": lambda x: torch.stack(x.unbind(0)),
    "narrow": lambda x: x.narrow(2, 1, 3),
    "select": lambda x: x.select(3, 1).unsqueeze(3),
    "ellipsis": lambda x: x[..., 1:, :-1],
    "whole slice": lambda x: x[:, :, ::2][:, 0:8],
    "slice by its own length": lambda x: x[:, : x.shape[1]],
    "slice of batch": lambda x: x[1:],
    "index list of space": lambda x: x.transpose(1, 2).transpose(1, 2)[:, :, :, 1:3],
    "none": lambda x: x[:, :, None].squeeze(2),
    "new_zeros": lambda x: x + x.new_zeros(1),
    "new_zeros of its shape": lambda x: x + x.new_zeros(x.shape),
    "new_ones of its size": lambda x: x * x.new_ones(x.shape[1], 1, 1),
    "ones of its size": lambda x: x * torch.ones(x.shape[1], 1, 1, dtype=x.dtype),
    "written into zeros": lambda x: put(torch.zeros((2, x.shape[1], 6, 5), dtype=x.dtype), x),
    "written into zeros by name": lambda x: put(torch.zeros(size=(2, x.shape[1], 6, 5), dtype=x.dtype), x),
    "written into empty": lambda x: put(torch.empty(2, x.shape[1], 6, 5, dtype=x.dtype).fill_(0.5), x),
    "new_full": lambda x: x + x.new_full((1,), 2.0) + x.new_full(size=(1,), fill_value=2.0) + x.new_tensor([1.0]),
    "written into new": lambda x: put(x.new_empty((2, x.shape[1], 6, 5)).fill_(0.0), x),
    "numel": lambda x: x.view(x.numel() // (x.size(1) * 20), x.size(1), 4, 5),
    "len": lambda x: x.view(len(x), -1, 4, 5),
    "negative size": lambda x: x.view(x.size(-4), x.size(-3), -1, 5),
    "meshed": lambda x: x.reshape(-1, x.size(1) * 4, 5).reshape(-1, x.size(1), 4, 5),
    "ravel": lambda x: x.ravel().view(x.shape),
    "roll space": lambda x: x.roll(1, 2),
    "roll a window": lambda x: torch.roll(x, shifts=(-1, 2), dims=(2, 3)),
    "roll by nothing": lambda x: x.roll((0, 1), (1, 2)),
    "repeat_interleave space": lambda x: x.repeat_interleave(2, 3),
    "repeat_interleave by a tensor": lambda x: x.repeat_interleave(torch.tensor([1, 2, 1, 0]), dim=2),
    "atleast": lambda x: torch.atleast_3d(torch.atleast_2d(x)),
    "atleast of several": lambda x: sum(torch.atleast_1d(x, x.tanh())),
    "atleast more": lambda x: torch.atleast_3d(x[0, :, 0].mT).squeeze(2).mT[None, :, None].expand(2, -1, -1, -1),
    "triangle of space": lambda x: x.tril() + x.triu(diagonal=1),
    "diagonal of space": lambda x: x.diagonal(1, 2, 3)[..., None],
    "diagonal embedded": lambda x: torch.diag_embed(x.diagonal(dim1=-2, dim2=-1), offset=1),
    "diagonal of channels": lambda x: (x[:, :, None] * x[:, None]).diagonal(0, 1, 2).movedim(-1, 1),
    "channels embedded": lambda x: torch.diag_embed(x[..., 0].mT).sum(-1).mT[..., None],
    "rows of a diagonal matrix": lambda x: torch.diag(x[0, :, 0, 0]).sum(0)[None, :, None, None] + x,
    "diagonal of a matrix": lambda x: torch.diag(torch.diag(x[0, :, 0, 0]))[None, :, None, None] + x,
    "broadcast_tensors": lambda x: sum(torch.broadcast_tensors(x, x.mean((2, 3), keepdim=True))),
    "broadcast_tensors of fewer axes": lambda x: torch.stack(torch.broadcast_tensors(x[0].sigmoid(), x)).sum(0),
    "stretched by broadcast_tensors": lambda x: torch.broadcast_tensors(x.sum(1, True), x)[0],
    "stretched as": lambda x: x.sum(1, keepdim=True).expand_as(x) * x,
    "more axes as": lambda x: x[0, :, 0, 0][:, None, None].expand_as(x),
    "meshgrid": lambda x: torch.meshgrid(x[0, :, 0, 0], x[1].sum((0, 1)), indexing="ij")[0][None, ..., None],
    "meshgrid of copies": lambda x: torch.meshgrid(x[0, :, 0, 1], x[1, :, 0, 0], indexing="xy")[0].sum(1)[
        None, :, None, None
    ],
    "rot90 of space": lambda x: x.rot90(1, (2, 3)) + x.rot90(-1, (3, 2)),
    "rot90 of channels": lambda x: x.rot90(3, (1, 2)).rot90(1, [1, 2]).rot90(2, (1, 3)),
    "fliplr": lambda x: x.fliplr().flipud(),
    "unfold of space": lambda x: x.unfold(2, 2, 1).unfold(3, 2, 2).flatten(4).amax(-1),
    "unfold of a named axis": lambda x: x.unfold(dimension=-1, size=3, step=1)[..., 1],
    "fold back": lambda x: F.fold(F.unfold(x, 3, padding=1), (4, 5), 3, padding=1),
    "fold modules": lambda x: nn.Fold((4, 5), 2)(nn.Unfold(2)(x)),
    "unfold without batch": lambda x: F.fold(F.unfold(x[0], (2, 3)), (4, 5), (2, 3))[None],
    "narrow_copy": lambda x: torch.narrow_copy(x, 2, 1, 3),
    "batch times channel": lambda x: x.view(-1, 1, 4, 5).tanh().view(x.shape[0], -1, 4, 5),
    "channel times rows": lambda x: x.view(x.size(0), -1, 5).view(x.size(0), x.size(1), -1, 5),
}


@pytest.mark.parametrize("name", FREE)
def test_channels_pass(law: Any, name: str) -> None:
    law(Around(FREE[name]), image(law), {"a.weight": (4, 3, 3, 3), "b.weight": (4, 4, 1, 1)}, seeds=2)


@pytest.mark.parametrize("name", FREE)
def test_sums_over_channels_are_exact_or_refused(law: Any, name: str) -> None:
    """A sum reads no weights, so it shows whether pruned slices are zero where the rule says so."""

    class Sums(Around):
        def forward(self, x: Tensor) -> Tensor:
            return self.body(self.a(x)).sum(1)

    law(Sums(FREE[name]), image(law), seeds=2)


LITERAL: dict[str, tuple[Body, str]] = {
    "view": (lambda x: x.view(-1, 8, 20).view(-1, 8, 4, 5), "a size of this reshape is written as the number 8"),
    "reshape": (lambda x: x.flatten(2).reshape(2, 8, 4, 5), "a size of this reshape is written as the number 8"),
    "flat": (lambda x: x.view(-1, 160).unflatten(1, (8, 4, 5)), "a size of this reshape is written as the number 160"),
    "unflatten": (lambda x: x.flatten(1).unflatten(1, (8, 20)).unflatten(2, (4, 5)), "written as the number 8"),
    "expand": (
        lambda x: x.mean((2, 3), True).expand(2, 8, 4, 5),
        "a size of this expansion is written as the number 8",
    ),
    "split": (lambda x: torch.cat(x.split(4, 1), 1), "the size of a part is written as the number 4"),
    "split sizes": (
        lambda x: torch.cat(torch.split(x, [3, 5], dim=1)[::-1], 1),
        "the size of a part is written as the number",
    ),
    "narrow": (
        lambda x: torch.cat([x.narrow(1, 0, 4), x.narrow(1, 4, 4)], 1),
        "the length of a slice is written as the number 4",
    ),
    "slice": (
        lambda x: torch.cat([x[:, 8:], x[:, :7], x[:, 7:]], 1),
        "the bound of a slice is written as the number 7",
    ),
    "slice from the end": (
        lambda x: torch.cat([x[:, -8:], x[:, :-8]], 1),
        "the bound of a slice is counted from the end",
    ),
    "step": (lambda x: torch.cat([x[:, ::2], x[:, 1::2]], 1), "it is read in steps"),
    "index": (lambda x: x * x[:, 7][:, None], "index 7 is taken out of it"),
    "select": (lambda x: x + x.select(1, -8).unsqueeze(1), "index -8 is taken out of it"),
    "index_select": (lambda x: x.index_select(1, torch.arange(7, -1, -1)), "indices are taken out of it"),
    "list": (lambda x: x[:, [7, 6, 5, 4, 3, 2, 1, 0]], "it is indexed by a tensor or a list"),
    "list alone": (
        lambda x: x.transpose(0, 1)[[0, 1, 2, 3, 4, 5, 6, 7]].transpose(0, 1),
        "it is indexed by a tensor or a list",
    ),
    "tensor": (lambda x: x[:, torch.arange(8)], "it is indexed by a tensor or a list"),
    "unbind": (lambda x: torch.stack(x.unbind(1), 1), "each index becomes a tensor of its own"),
    "iteration": (lambda x: torch.stack(list(x.transpose(0, 1)), 1), "each index becomes a tensor of its own"),
    "pieces": (lambda x: torch.cat(x.chunk(3, 1), 1), "it is cut into parts of unequal length"),
    "tensor_split": (lambda x: torch.cat(x.tensor_split((2, 5), 1), 1), "it is cut at given places"),
    "reflect pad": (
        lambda x: F.pad(x.transpose(1, 3)[0], (1, 1), mode="reflect")[None, ..., 1:9].transpose(1, 3),
        "it is padded by its own entries",
    ),
    "crop": (
        lambda x: torch.cat([x, F.pad(x, (0, 0, 0, 0, -4, 0))], 1)[:, :8],
        "it is padded by its own entries, or cropped",
    ),
    "integer of a computation": (
        lambda x: torch.cat([x[:, int(x.shape[1] * 0.5) :], x[:, :4]], 1),
        "written as the number 4",
    ),
    "roll": (lambda x: x.roll(1, 1), "its entries are rolled by a number of places"),
    "roll of all": (lambda x: x.roll(3), "its entries are rolled by a number of places"),
    "repeat_interleave by a tensor": (
        lambda x: x.repeat_interleave(torch.ones(8, dtype=torch.long), 1),
        "its entries are repeated as often as a tensor says",
    ),
    "triangle": (
        lambda x: x.transpose(1, 2).tril().transpose(1, 2),
        "which of its entries become zero depends on their places",
    ),
    "diagonal beside": (
        lambda x: (x[:, :, None] * x[:, None]).diagonal(1, 1, 2).sum(-1)[:, None] + x,
        "a diagonal is read off its places",
    ),
    "diagonal matrix beside": (
        lambda x: torch.diag(x[0, :, 0, 0], 1).sum() + x,
        "a diagonal is read off its places",
    ),
    "embedded beside": (
        lambda x: torch.diag_embed(x[0, :, 0, 0], -1).sum() + x,
        "a diagonal is read off its places",
    ),
    "unfold": (lambda x: x.unfold(1, 3, 1).sum(-1).sum(1, keepdim=True) + x, "windows slide over it"),
    "unfold of an image": (
        lambda x: F.unfold(x.transpose(1, 2), (2, 1)).sum(1)[:, None, :, None].sum(2, True) + x,
        "windows slide over it",
    ),
    "fold": (
        lambda x: F.fold(x.flatten(2).mT, (3, 5), (2, 2)).sum() + x[..., :1],
        "windows are laid side by side",
    ),
    "dtype view": (
        lambda x: x.view(torch.int64).view(torch.float64),
        "the elements are reinterpreted as another dtype",
    ),
}


@pytest.mark.parametrize("name", LITERAL)
def test_literals_are_refused_with_file_and_line(law: Any, name: str) -> None:
    body, reason = LITERAL[name]
    line = body.__code__.co_firstlineno
    law.refuses(Around(body), image(law), "a.weight", reason, f"test_rules_shape.py:{line}")


OWN: dict[str, tuple[Body, dict[str, Any], dict[str, Any]]] = {
    "attribute": (lambda self, x: x.view(-1, self.width, 20).view(-1, self.width, 4, 5), {"width": 8}, {"width": 4}),
    "product of attributes": (
        lambda self, x: x.view(-1, self.width * 4 * 5).view(-1, self.width, 4, 5),
        {"width": 8},
        {"width": 4},
    ),
    "flat features": (lambda self, x: x.view(-1, self.flat).view(len(x), -1, 4, 5), {"flat": 160}, {"flat": 80}),
    "tuple": (lambda self, x: x.flatten(2).view(2, *self.shape), {"shape": (8, 4, 5)}, {"shape": (4, 4, 5)}),
    "list": (lambda self, x: x.flatten(2).view([2, *self.shape]), {"shape": [8, 4, 5]}, {"shape": [4, 4, 5]}),
    "split sizes": (lambda self, x: torch.cat(x.split(self.sizes, 1)[::-1], 1), {"sizes": (2, 6)}, {}),
    "split size": (lambda self, x: torch.cat(x.split(self.half, 1)[::-1], 1), {"half": 4}, {"half": 2}),
    "split at the whole": (lambda self, x: x.split(self.half, 1)[0], {"half": 8}, {"half": 4}),
    "split beyond the end": (lambda self, x: x.split(self.half, 1)[0], {"half": 100}, {"half": 100}),
    "slice": (lambda self, x: torch.cat([x[:, self.half :], x[:, : self.half]], 1), {"half": 4}, {}),
    "slice beyond the end": (lambda self, x: x[:, : self.half], {"half": 100}, {"half": 100}),
    "narrow": (
        lambda self, x: torch.cat([x.narrow(1, self.part, x.size(1) - self.part), x.narrow(1, 0, self.part)], 1),
        {"part": 2},
        {},
    ),
    "outer part": (lambda self, x: x.view(2, self.groups, -1, 4, 5).tanh().flatten(1, 2), {"groups": 4}, {}),
    "unused": (lambda self, x: x.relu(), {"width": 8, "shape": (8, 8)}, {"width": 8, "shape": (8, 8)}),
    "number, not a size": (lambda self, x: x * self.scale, {"scale": 8}, {"scale": 8}),
}


@pytest.mark.parametrize("name", OWN)
def test_attributes_follow(law: Any, name: str) -> None:
    body, before, after = OWN[name]
    model = Around(body, attributes=before)
    thinned = law(model, image(law), seeds=6)
    assert thinned.a.weight.shape[0] < 8
    assert {key: thinned.__dict__[key] for key in after} == after
    assert {key: type(thinned.__dict__[key]) for key in before} == {key: type(value) for key, value in before.items()}
    assert {key: model.__dict__[key] for key in before} == before


def test_an_attribute_that_would_need_two_values_ties_them(law: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.c, self.b = nn.Conv2d(3, 8, 3), nn.Conv2d(3, 8, 3), nn.Conv2d(16, 4, 1)
            self.width = 8

        def forward(self, x: Tensor) -> Tensor:
            parts = [conv(x).view(len(x), self.width, 20) for conv in (self.a, self.c)]
            return self.b(torch.cat(parts, 1).unflatten(2, (4, 5)))

    thinned = law(Net(), image(law), {"a.weight": (4, 3, 3, 3), "c.weight": (4, 3, 3, 3)}, seeds=8)
    assert thinned.width == 4


CONTRADICTIONS: dict[str, Body] = {
    "untied halves": lambda x: torch.cat([x[:, x.shape[1] // 2 :], x[:, : x.shape[1] // 2].tanh()], 1),
    "untied thirds": lambda x: torch.cat([x[:, x.shape[1] // 3 :], x[:, : x.shape[1] // 3].tanh()], 1),
    "narrowed half": lambda x: torch.cat([x.narrow(1, 0, x.size(1) // 2), x[:, x.size(1) // 2 :]], 1),
    "quarters": lambda x: torch.cat([x[:, : x.size(1) // 4 * 3], x[:, x.size(1) // 4 * 3 :]], 1),
    "remainder": lambda x: torch.cat([x[:, : x.size(1) % 5], x[:, x.size(1) % 5 :]], 1),
    "padded to a size": lambda x: F.pad(x, (0, 0, 0, 0, 0, 10 - x.size(1)))[:, 1:9],
    "zeros of its size": lambda x: torch.cat([x, torch.zeros(2, 10 - x.size(1), 4, 5, dtype=x.dtype)], 1)[:, 1:9],
    "more ones": lambda x: x * torch.ones(x.shape[1] + 1, 1, 1, dtype=x.dtype)[1:],
    "places of its size": lambda x: x[:, torch.zeros(x.shape[1], dtype=torch.long)] + x,
    "arange of its size": lambda x: x * torch.arange(x.shape[1], dtype=x.dtype).view(-1, 1, 1),
    "new_ones of its size": lambda x: x * x.new_ones(x.shape[1], 1, 1),
    "full of its size": lambda x: x + torch.full((x.size(1), 1, 1), 2.0, dtype=x.dtype),
    "times its size": lambda x: x * x.shape[1],
    "minus its size": lambda x: (x - x.size(1)).relu(),
    "over its size": lambda x: x / x.shape[1],
    "root of its size": lambda x: x / x.shape[1] ** 0.5,
    "fraction of its size": lambda x: torch.cat([x[:, int(x.shape[1] * 0.5) :], x[:, : int(x.shape[1] * 0.5)]], 1),
    "repeated by its size": lambda x: x.mean(1, keepdim=True).repeat(1, x.size(1), 1, 1),
    "expanded by its size": lambda x: x[:, :1].expand(-1, x.size(1), -1, -1),
    "mean by hand": lambda x: x * (x.sum(1, keepdim=True) / x.size(1)),
}


@pytest.mark.parametrize("name", CONTRADICTIONS)
def test_sizes_that_cannot_follow_are_never_wrong(law: Any, name: str) -> None:
    law(Around(CONTRADICTIONS[name]), image(law), seeds=12)


@pytest.mark.parametrize("name", ["times its size", "root of its size", "fraction of its size"])
def test_sizes_that_cannot_follow_say_why(law: Any, name: str) -> None:
    law.refuses(Around(CONTRADICTIONS[name]), image(law), "a.weight", "a.conv2d.shape[1]", "test_rules_shape.py")


@pytest.mark.parametrize("way", ["chunk", "split", "slice", "view", "unflatten", "tensor_split"])
def test_gated_halves_stay_equal(law: Any, way: str) -> None:
    def halves(x: Tensor) -> tuple[Tensor, ...]:
        c = x.size(1) // 2
        if way == "chunk":
            return x.chunk(2, dim=1)
        if way == "split":
            return x.split(c, dim=1)
        if way == "slice":
            return x[:, :c], x[:, c:]
        if way == "view":
            return x.view(x.size(0), 2, c, 4, 5).unbind(1)
        if way == "unflatten":
            return tuple(x.unflatten(1, (2, -1))[:, i] for i in range(2))
        return x.tensor_split(2, 1)

    def gate(x: Tensor) -> Tensor:
        left, right = halves(x)
        return left * right.sigmoid()

    law(Around(gate, width=8, out=4), image(law), {"a.weight": (4, 3, 3, 3), "b.weight": (4, 2, 1, 1)}, seeds=6)


def test_gated_linear_unit(law: Any) -> None:
    law(Around(lambda x: F.glu(x, 1), 8, 4), image(law), {"a.weight": (4, 3, 3, 3), "b.weight": (4, 2, 1, 1)}, seeds=4)
    law(Around(nn.GLU(1), 8, 4), image(law), {"a.weight": (4, 3, 3, 3), "b.weight": (4, 2, 1, 1)}, seeds=2)
    law(Around(nn.GLU(2)), image(law), {"a.weight": (4, 3, 3, 3), "b.weight": (4, 4, 1, 1)}, seeds=2)


@pytest.mark.parametrize("factor", [2, 3])
def test_pixel_shuffle_and_back(law: Any, factor: int) -> None:
    width = 4 * factor**2
    model = Around(nn.PixelShuffle(factor), width, 4)
    law(model, image(law), {"a.weight": (2 * factor**2, 3, 3, 3), "b.weight": (4, 2, 1, 1)})
    down = Around(lambda x: F.pixel_unshuffle(x, 2), 4, 16)
    law(down, law.normal(2, 3, 6, 8), {"a.weight": (2, 3, 3, 3), "b.weight": (4, 8, 1, 1)})


@pytest.mark.parametrize("way", ["module", "by hand", "by attribute"])
def test_channel_shuffle(law: Any, way: str) -> None:
    def shuffle(self: nn.Module, x: Tensor) -> Tensor:
        if way == "module":
            return F.channel_shuffle(x, self.groups) if hasattr(F, "channel_shuffle") else nn.ChannelShuffle(2)(x)
        b, c, h, w = x.size()
        groups = self.groups if way == "by attribute" else 2
        return x.view(b, groups, c // groups, h, w).transpose(1, 2).contiguous().view(b, -1, h, w)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1, groups=2)
            self.c, self.groups = nn.Conv2d(8, 4, 1), 2

        def forward(self, x: Tensor) -> Tensor:
            return self.c(shuffle(self, self.b(shuffle(self, self.a(x)))))

    thinned = law(Net(), image(law), seeds=12)
    assert thinned.a.weight.shape[0] < 8


def test_concatenation_in_the_manner_of_dense_and_inception_networks(law: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem = nn.Conv2d(3, 6, 3, padding=1)
            self.layers = nn.ModuleList(
                nn.Sequential(nn.BatchNorm2d(6 + 4 * i), nn.ReLU(), nn.Conv2d(6 + 4 * i, 4, 3, padding=1))
                for i in range(3)
            )
            self.branches = nn.ModuleDict({str(d): nn.Conv2d(18, 6, 3, padding=d, dilation=d) for d in (1, 2, 3)})
            self.out = nn.Conv2d(18, 5, 1)

        def forward(self, x: Tensor) -> Tensor:
            features = [self.stem(x)]
            for layer in self.layers:
                features.append(layer(torch.cat(features, 1)))
            y = torch.cat(features, dim=-3)
            return self.out(torch.concat([branch(y) for branch in self.branches.values()], 1))

    shapes = {"stem.weight": (3, 3, 3, 3), "layers.2.0.weight": (7,), "layers.2.2.weight": (2, 7, 3, 3)}
    shapes |= {"branches.2.weight": (3, 9, 3, 3), "out.weight": (5, 9, 1, 1)}
    law(Net(), image(law), shapes)


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_channel_padding_of_a_shortcut(law: Any, value: float) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.wide, self.out = (
                nn.Conv2d(3, 8, 3, padding=1),
                nn.Conv2d(8, 12, 3, stride=2, padding=1),
                nn.Conv2d(12, 4, 1),
            )
            self.planes = 12

        def forward(self, x: Tensor) -> Tensor:
            y = F.relu(self.stem(x))
            extra = (self.planes - y.shape[1]) // 2
            shortcut = F.pad(y[:, :, ::2, ::2], (0, 0, 0, 0, extra, extra), value=value)
            return self.out(F.relu(self.wide(y) + shortcut))

    law(Net(), image(law), seeds=8)


def test_spatial_and_channel_padding_with_numbers(law: Any) -> None:
    model = Around(lambda x: F.pad(x, (1, 1, 0, 0, 2, 1)), 8, 11)
    law(model, image(law), {"a.weight": (4, 3, 3, 3), "b.weight": (4, 7, 1, 1)})


def test_empty_batch(law: Any) -> None:
    model = law.randomised(Around(lambda x: x.flatten(2).unflatten(2, (4, 5))))
    inputs = (torch.zeros(0, 3, 6, 7, dtype=torch.float64),)
    law.plan(model, inputs)


class Grouped(nn.Module):
    """Attention in which several query heads share one head of keys and values."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way, self.n_heads, self.n_kv_heads, self.n_rep = way, 8, 4, 2
        self.q, self.k, self.v = nn.Linear(12, 32), nn.Linear(12, 16), nn.Linear(12, 16)
        self.o = nn.Linear(32, 12)

    def share(self, x: Tensor) -> Tensor:
        """[b, t, kv, d] becomes [b, t, kv * rep, d]."""
        b, t, kv, d = x.shape
        if self.way == "repeat_interleave":
            return x.repeat_interleave(self.n_rep, dim=2)
        if self.way == "repeat_interleave by attributes":
            return torch.repeat_interleave(x, self.n_heads // self.n_kv_heads, 2)
        if self.way == "repeat":
            return x.unsqueeze(3).repeat(1, 1, 1, self.n_rep, 1).flatten(2, 3)
        if self.way == "stack":
            return torch.stack([x] * self.n_rep, 3).reshape(b, t, kv * self.n_rep, d)
        return x[:, :, :, None, :].expand(b, t, kv, self.n_rep, d).reshape(b, t, kv * self.n_rep, d)

    def forward(self, x: Tensor) -> Tensor:
        b, t, _ = x.shape
        q = self.q(x).view(b, t, self.n_heads, -1)
        k, v = (self.share(part(x).view(b, t, self.n_kv_heads, -1)) for part in (self.k, self.v))
        scores = torch.einsum("bqhd,bkhd->bhqk", q, k).softmax(-1)
        return self.o(torch.einsum("bhqk,bkhd->bqhd", scores, v).flatten(2))


@pytest.mark.parametrize("way", ["repeat_interleave", "repeat_interleave by attributes", "repeat", "stack", "expand"])
def test_query_heads_are_tied_to_the_head_whose_keys_they_share(law: Any, way: str) -> None:
    model = Grouped(way)
    thinned = law(model, law.normal(2, 5, 12), seeds=8)
    assert (thinned.n_heads, thinned.n_kv_heads, thinned.n_rep) == (4, 2, 2)
    kept = law.plan(model, (law.normal(2, 5, 12),)).cuts
    heads, shared = (sorted({int(i) // 4 for i in range(n) if i not in set(kept[name][0])}) for name, n in PARTS)
    assert heads == [head for one in shared for head in (2 * one, 2 * one + 1)]


PARTS = (("q.weight", 32), ("v.weight", 16))


def test_number_of_repeats_that_would_change_keeps_the_heads(law: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(3, 4), nn.Linear(16, 5)

        def forward(self, x: Tensor) -> Tensor:
            y = self.a(x)
            return self.b(y.repeat_interleave(y.shape[-1], dim=-1))

    law.refuses(Net(), law.normal(2, 3), "a.weight", "a.linear.shape[1]")


def test_patches_are_read_by_a_linear_layer(law: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.kernel, self.b = nn.Conv2d(3, 8, 1), nn.Linear(8 * 9, 6), nn.Conv2d(6, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.kernel(F.unfold(self.a(x), 3).mT).mT
            return self.b(y.unflatten(2, (4, 5)))

    law(Net(), image(law), {"a.weight": (4, 3, 1, 1), "kernel.weight": (3, 36), "b.weight": (4, 3, 1, 1)})


def test_all_rows_of_a_folded_channel_leave_together(law: Any) -> None:
    model = Around(lambda x: F.fold(x.flatten(2), (8, 10), 2, stride=2), 8, 2)
    law(model, image(law), {"a.weight": (4, 3, 3, 3), "b.weight": (4, 1, 1, 1)})


def test_shifted_windows(law: Any) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.mix, self.b = nn.Linear(3, 8), nn.Linear(8, 8), nn.Linear(8, 4)
            self.window, self.shift = 2, 1

        def forward(self, x: Tensor) -> Tensor:
            y = torch.roll(self.a(x), shifts=(-self.shift, -self.shift), dims=(1, 2))
            b, h, w, c = y.shape
            m = self.window
            y = y.view(b, h // m, m, w // m, m, c).permute(0, 1, 3, 2, 4, 5).reshape(-1, m * m, c)
            y = self.mix(y) * y.mean(1, keepdim=True)
            y = y.view(b, h // m, w // m, m, m, c).permute(0, 1, 3, 2, 4, 5).reshape(b, h, w, c)
            return self.b(torch.roll(y, shifts=(self.shift, self.shift), dims=(1, 2)))

    thinned = law(Net(), law.normal(2, 4, 6, 3), {"a.weight": (4, 3), "mix.weight": (4, 4), "b.weight": (4, 4)})
    assert (thinned.window, thinned.shift) == (2, 1)
