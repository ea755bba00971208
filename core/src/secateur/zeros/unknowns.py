"""Do one operation on tensors in which NaN stands for an entry that is not known.

An entry of the result is NaN if it may depend on an entry that is not known. A factor that is exactly zero silences
the other one: 0 · NaN = 0 in products and in the weights of norms. Tensors of integers and booleans cannot hold NaN;
those that depend on something unknown are remembered by their memory, as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import define, field

from secateur.records import Contraction, OpRule
from secateur.zeros.arguments import bound, replaced, tensors_within
from secateur.zeros.tables import CHANNEL_NORMS, NORMS, PASSES, READS

if TYPE_CHECKING:
    from torch import Tensor

Function = Callable[..., Any]


class NotFollowedError(Exception):
    """The forward does something that hides what depends on what; says what."""


@define(eq=False)
class Unknowns:
    """Does operations; `rules` by operation name. `random`: whether random numbers count as unknown."""

    rules: Mapping[str, OpRule]
    random: bool = True
    hidden: set[int] = field(factory=set)
    """Memory of integers and booleans that are not known."""
    alive: list[Any] = field(factory=list)
    """Tensors whose memory must not be given to others meanwhile."""

    def hide(self, tensor: Tensor) -> None:
        """Remember that the numbers of a tensor of integers or booleans are not known."""
        self.hidden.add(_memory(tensor))
        self.alive.append(tensor)

    def unknown(self, tensor: Tensor) -> bool:
        """Whether anything in a tensor is not known."""
        return bool(tensor.isnan().any()) if _holds_nan(tensor) else _memory(tensor) in self.hidden

    def do(self, kind: str, function: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """The result of one operation; raises `NotFollowedError` if nothing can be said of it."""
        import torch

        given = list(tensors_within((args, kwargs)))
        touched = [tensor for tensor in given if self.unknown(tensor)]
        hidden = any(not _holds_nan(tensor) for tensor in touched)
        memories = {_memory(tensor) for tensor in given}
        state = torch.get_rng_state()
        result = self._result(kind, function, args, kwargs) if touched else function(*args, **kwargs)
        drawn = self.random and not torch.equal(state, torch.get_rng_state())
        whole = drawn or hidden or (bool(touched) and kind not in PASSES)
        made = list(tensors_within(result))
        if touched and kind in READS and not made:  # `x.int()` is a cast, `int(x)` is not
            raise NotFollowedError(f"the forward reads values ({kind}) that depend on what is not known")
        if kind == "setitem":
            made = given[:1]
        for tensor in made:
            if not _holds_nan(tensor):
                if touched or drawn:
                    self.hide(tensor)
            elif whole and not (kind == "embedding" and not drawn):
                self._forget(kind, tensor, given, memories)
        if kind == "embedding" and hidden:
            self._looked_up(made[0], args, kwargs)
        return result

    def _forget(self, kind: str, tensor: Tensor, given: list[Tensor], memories: set[int]) -> None:
        """Nothing of a result is known; the memory it shares with an argument is not known either."""
        if _memory(tensor) in memories and tensor is not given[0]:
            raise NotFollowedError(f"{kind!r} gives a view of what it reads")
        tensor.fill_(float("nan"))

    # -- operations in which zero silences -----------------------------------------------------------------

    def _result(self, kind: str, function: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        rule = self.rules[kind] if kind in self.rules else None  # noqa: SIM401 - a registry refuses unknown names
        named = bound(rule.signature, args, kwargs) if rule is not None else None
        in_place = getattr(function, "__name__", "").endswith("_")
        if kind == "mul" and len(args) == 2:
            return _product(function, args, kwargs)
        if kind == "scaled_dot_product_attention":
            return self._attention(args, kwargs)
        if rule is None or named is None:
            return function(*args, **kwargs)
        if rule.contracts is not None and not in_place:
            return _contraction(rule.contracts, rule.signature, named, function, args, kwargs)
        result = function(*args, **kwargs)
        return _weighted(kind, named, result) if kind in NORMS else result

    def _looked_up(self, result: Tensor, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Rows of a table, it is not known which: known are the columns in which all rows agree."""
        weight = args[1] if len(args) > 1 else kwargs["weight"]
        constant = (weight == weight[:1]).all(0)
        result[..., ~constant] = float("nan")

    def _attention(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """softmax(q kᵀ · scale + mask) v, step by step."""
        import torch

        names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
        given: dict[str, Any] = {**dict(zip(names, args, strict=False)), **kwargs}
        q, k, v, mask = given["query"], given["key"], given["value"], given.get("attn_mask")
        if given.get("dropout_p"):
            raise NotFollowedError("attention drops entries at random")
        if given.get("enable_gqa"):
            k, v = (t.repeat_interleave(q.shape[-3] // t.shape[-3], -3) for t in (k, v))
        scale = given.get("scale") or q.shape[-1] ** -0.5
        scores = self.do("matmul", torch.matmul, (q, k.transpose(-2, -1)), {}) * scale
        if given.get("is_causal"):
            mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask
        return self.do("matmul", torch.matmul, (scores.softmax(-1), v), {})


def _holds_nan(tensor: Tensor) -> bool:
    return tensor.is_floating_point() or tensor.is_complex()


def _memory(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)


def _product(function: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    import torch

    zeros = [argument == 0 for argument in args]
    result = function(*args, **kwargs)
    silent = torch.zeros(result.shape, dtype=torch.bool, device=result.device)
    for zero in zeros:
        silent |= zero
    result.masked_fill_(silent & result.isnan(), 0)
    return result


def _contraction(
    form: Contraction,
    signature: str,
    named: Mapping[str, Any],
    function: Function,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> Any:
    """The sums over what is known; a sum with a term that is neither known nor silenced is not known."""
    import torch

    first, second = (named[name] for name in form.factors)
    plain = named.get("alpha", 1) == 1 and named.get("beta", 1) == 1 and named.get("out") is None
    if not (plain and isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor)):
        return function(*args, **kwargs)

    def with_factors(left: Tensor, right: Tensor, bare: bool) -> Tensor:
        new: dict[str, Any] = dict(zip(form.factors, (left, right), strict=True))
        added = named.get(form.added) if form.added else None
        if bare and isinstance(added, torch.Tensor):
            new[form.added] = torch.zeros_like(added)
        positional, keywords = replaced(signature, args, kwargs, new)
        made: Tensor = function(*positional, **keywords)
        return made

    lost_first, lost_second = first.isnan(), second.isnan()
    if not (bool(lost_first.any()) or bool(lost_second.any())):
        return function(*args, **kwargs)
    result = with_factors(first.masked_fill(lost_first, 0), second.masked_fill(lost_second, 0), bare=False)
    dtype = first.dtype
    sides = (
        (lost_first, (second != 0)),  # NaN != 0
        ((first != 0), lost_second),
    )
    for left, right in sides:
        if bool(left.any()) and bool(right.any()):
            count = with_factors(left.to(dtype), right.to(dtype), bare=True)
            result = result.masked_fill(count > 0.5, float("nan"))
    return result


def _weighted(kind: str, named: Mapping[str, Any], result: Any) -> Any:
    """Where the weight of a norm is zero, it gives its bias, whatever it reads."""
    import torch

    weight, bias = named.get("weight"), named.get("bias")
    if not isinstance(weight, torch.Tensor) or not bool((weight == 0).any()):
        return result
    shape = (1, -1, *(1 for _ in result.shape[2:])) if kind in CHANNEL_NORMS else weight.shape
    there = torch.zeros_like(weight) if bias is None else bias
    return torch.where((weight == 0).reshape(shape), there.reshape(shape), result)
