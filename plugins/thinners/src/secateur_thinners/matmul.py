"""Products of matrices and vectors: y[..., m, n] = sum over k of a[..., m, k] * b[..., k, n].

Every operation is an equation over its arguments (see `secateur_thinners.equations`), and some add a tensor. So the
scores q @ k.transpose(-2, -1) of attention couple the widths of queries and keys, and carry heads as a batch axis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from string import ascii_letters
from typing import Any

from secateur.coupling.labels import Labels
from secateur.coupling.site import plain
from secateur.graph.ir import Ref
from secateur.hookspecs import hookimpl
from secateur.records import OpRule
from secateur_thinners.equations import Product, constant


def matmul(ranks: Sequence[int], arguments: Mapping[str, Any]) -> str:
    """Vectors have no axis m (on the left) or n (on the right); batch axes are broadcast.

    >>> matmul((3, 1), {})
    '...mk,k->...m'
    """
    m, n = "m" * (ranks[0] > 1), "n" * (ranks[1] > 1)
    left, right = ("..." if rank > 2 else "" for rank in ranks)
    return f"{left}{m}k,{right}k{n}->{left or right}{m}{n}"


def inner(ranks: Sequence[int], arguments: Mapping[str, Any]) -> str:
    """Sum over the last axes of both; a tensor without axes multiplies.

    >>> inner((2, 3), {})
    'ba,cda->bcd'
    """
    if min(ranks) == 0:
        return "...,...->..."
    return _tensordot(ranks, [ranks[0] - 1], [ranks[1] - 1])


def tensordot(ranks: Sequence[int], arguments: Mapping[str, Any]) -> str:
    """Sum over the last axes of the first and the first axes of the second, or over those that are named."""
    dims = plain(arguments["dims"])
    if isinstance(dims, Labels | Ref):
        raise NotImplementedError("the axes of tensordot are given as a tensor")
    left, right = dims if isinstance(dims, tuple) else (range(-dims, 0), range(dims))
    return _tensordot(ranks, left, right)


def _tensordot(ranks: Sequence[int], left: Sequence[int], right: Sequence[int]) -> str:
    pool = iter(ascii_letters)
    sides = [dict[int, str]() for _ in ranks]
    for axes in zip(left, right, strict=True):
        letter = next(pool)
        for side, rank, axis in zip(sides, ranks, axes, strict=True):
            side[axis % rank] = letter
    rest = []
    for side, rank in zip(sides, ranks, strict=True):
        free = [axis for axis in range(rank) if axis not in side]
        side |= {axis: next(pool) for axis in free}
        rest += [side[axis] for axis in free]
    first, second = ("".join(side[axis] for axis in range(rank)) for side, rank in zip(sides, ranks, strict=True))
    return f"{first},{second}->{''.join(rest)}"


def chain(ranks: Sequence[int], arguments: Mapping[str, Any]) -> str:
    """A product of several matrices, of which the first and the last may be vectors.

    >>> chain((1, 2, 2), {})
    'b,bc,cd->d'
    """
    if len(ranks) >= len(ascii_letters):
        raise NotImplementedError(f"a product of {len(ranks)} matrices")
    parts = [ascii_letters[place : place + 2] for place in range(len(ranks))]
    if ranks[0] == 1:
        parts[0] = parts[0][1]
    if ranks[-1] == 1:
        parts[-1] = parts[-1][0]
    return f"{','.join(parts)}->{parts[0][:-1]}{parts[-1][1:]}"


def vecdot(ranks: Sequence[int], arguments: Mapping[str, Any]) -> str:
    """Sum over one axis of two tensors that are broadcast against each other.

    >>> vecdot((3, 2), {"dim": -1})
    'abc,bc->ab'
    """
    letters = ascii_letters[: max(ranks)]
    summed = letters[plain(arguments["dim"])]
    first, second = (letters[len(letters) - rank :] for rank in ranks)
    return f"{first},{second}->{letters.replace(summed, '')}"


SCALED = "beta=1, alpha=1, out=None"


@hookimpl
def secateur_op_rules() -> list[OpRule]:
    """Rules for products of matrices and vectors, with or without an added tensor."""
    one: tuple[tuple[str, str, Any], ...] = (
        ("matmul linalg_matmul", "input, other, out=None", matmul),
        ("mm", "input, mat2, out_dtype=None, out=None", constant("mk,kn->mn")),
        ("bmm", "input, mat2, out_dtype=None, out=None", constant("bmk,bkn->bmn")),
        ("mv", "input, vec, out=None", constant("mk,k->m")),
        ("dot", "input, other|tensor, out=None", constant("k,k->")),
        ("vdot", "input, other, out=None", constant("k,k->")),
        ("outer ger", "input, vec2, out=None", constant("m,n->mn")),
        ("inner", "input, other, out=None", inner),
        ("tensordot", "a, b, dims=2, out=None", tensordot),
        ("linalg_vecdot", "x, y, dim=-1, out=None", vecdot),
    )
    several = (("chain_matmul", "*matrices, out=None"), ("linalg_multi_dot", "tensors, out=None"))
    adding = (
        ("addmm", f"input, mat1, mat2, out_dtype=None, {SCALED}", "mk,kn->mn"),
        ("addmv", f"input, mat, vec, {SCALED}", "mk,k->m"),
        ("addr", f"input, vec1, vec2, {SCALED}", "m,n->mn"),
        ("addbmm", f"input, batch1, batch2, {SCALED}", "bmk,bkn->mn"),
        ("baddbmm", f"input, batch1, batch2, out_dtype=None, {SCALED}", "bmk,bkn->bmn"),
    )
    products = [
        Product(ops=ops, signature=signature, factors=_named(signature, 0), equation=equation, reads=_reads(ops))
        for ops, signature, equation in one
    ]
    products += [
        Product(ops=ops, signature=signature, factors=(signature.partition(",")[0].strip("*"),), equation=chain)
        for ops, signature in several
    ]
    products += [
        Product(
            ops=ops,
            signature=signature,
            factors=_named(signature, 1),
            equation=constant(text),
            added="input",
            reads=_reads(ops),
        )
        for ops, signature, text in adding
    ]
    return [product.rule() for product in products]


def _reads(ops: str) -> int | None:
    """A matrix on the right reads along its first axis."""
    return 0 if ops.split()[0] in ("matmul", "mm", "addmm") else None


def _named(signature: str, first: int) -> tuple[str, ...]:
    """Two neighbouring parameters of a signature."""
    return tuple(part.partition("|")[0] for part in signature.split(", ")[first : first + 2])
