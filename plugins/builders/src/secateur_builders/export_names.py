"""From ATen to the vocabulary of the rules: names of operations, and arguments as the Python functions take them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from secateur.graph.ir import Ref
from secateur.graph.sizes import Size
from secateur_builders.calls import SPELLINGS

Args = tuple[Any, ...]
Kwargs = dict[str, Any]

NAMES = {
    "_adaptive_avg_pool2d": "adaptive_avg_pool2d",
    "_adaptive_avg_pool3d": "adaptive_avg_pool3d",
    "_log_softmax": "log_softmax",
    "_reshape_alias": "reshape",
    "_softmax": "softmax",
    "_to_copy": "to",
    "_unsafe_view": "view",
    "alias": "identity",
    "col2im": "fold",
    "im2col": "unfold",
    "lift": "clone",
    "lift_fresh": "clone",
    "lift_fresh_copy": "clone",
    "linalg_vector_norm": "vector_norm",
    "numpy_T": "T",
    "matrix_H": "H",
    "upsample_bicubic2d": "interpolate",
    "upsample_bilinear2d": "interpolate",
    "upsample_linear1d": "interpolate",
    "upsample_nearest1d": "interpolate",
    "upsample_nearest2d": "interpolate",
    "upsample_nearest3d": "interpolate",
    "upsample_trilinear3d": "interpolate",
    "_upsample_bicubic2d_aa": "interpolate",
    "_upsample_bilinear2d_aa": "interpolate",
    "_upsample_nearest_exact1d": "interpolate",
    "_upsample_nearest_exact2d": "interpolate",
    "_upsample_nearest_exact3d": "interpolate",
}
"""ATen operations whose Python function has another name."""

KEYWORDS = {
    "batch_norm": "input weight bias running_mean running_var training momentum eps -",
    "instance_norm": "input weight bias running_mean running_var use_input_stats momentum eps -",
    "layer_norm": "input normalized_shape weight bias eps -",
    "group_norm": "input num_groups weight bias eps -",
    "rms_norm": "input normalized_shape weight eps",
    "embedding": "weight input padding_idx scale_grad_by_freq sparse",
    "softmax": "input dim dtype",
    "log_softmax": "input dim dtype",
    "var": "input dim correction keepdim",
    "std": "input dim correction keepdim",
}
"""Operations whose ATen arguments come in another order: the keywords of the Python function in ATen's order, `-` for
an argument that it does not have."""

DROPPED: Mapping[str, frozenset[str]] = {"expand": frozenset({"implicit"}), "sort": frozenset({"stable"})}
"""Keywords of ATen operations that the Python function does not have."""

SILENT = frozenset({"_assert_tensor_metadata", "_assert_async", "_assert_scalar", "sym_constrain_range_for_size"})
"""Checks that compute nothing."""


TORCHS = frozenset({"aten", "prims"})
"""The libraries whose operators are torch's own; those of any other keep their full name, `library::name`."""


@frozen(eq=False)
class Spoken:
    """A call in the vocabulary of the rules."""

    kind: str
    args: Args
    kwargs: Kwargs


def spoken(target: Any, args: Args, kwargs: Kwargs, rank: int) -> Spoken:
    """Say what a node does as a Python user would have written it.

    `args` and `kwargs` as the graph holds them, with `Ref` for tensors and `Size` for integers; `rank`: the number of
    axes of the first tensor.
    """
    schema = getattr(target, "_schema", None)
    name = schema.name if schema is not None else getattr(target, "__name__", str(target))
    library, _, bare = name.partition("::")
    if bare and library not in TORCHS:
        return Spoken(name, args, kwargs)
    name = bare or name
    overload = schema.overload_name if schema is not None else ""
    if name.endswith("_") and not name.startswith("__"):
        name = name[:-1]
    kind = NAMES.get(name, SPELLINGS.get(name, name))
    if name in FORMS:
        return FORMS[name](args, kwargs, rank)
    if kind in KEYWORDS and not (kind in ("var", "std") and overload != "correction"):
        args, kwargs = _by_keyword(KEYWORDS[kind].split(), schema, args, kwargs)
    kwargs = {key: entry for key, entry in kwargs.items() if key not in DROPPED.get(kind, ())}
    return Spoken(kind, args, kwargs)


def is_own(kind: str) -> bool:
    """Whether an operation is none of torch's."""
    return "::" in kind


def _by_keyword(keywords: list[str], schema: Any, args: Args, kwargs: Kwargs) -> tuple[Args, Kwargs]:
    names = [argument.name for argument in schema.arguments]
    translated = dict(zip(names, keywords, strict=False))
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    made = {translated.get(name, name): entry for name, entry in given.items()}
    made.pop("-", None)
    return (), made


def _slice(args: Args, kwargs: Kwargs, rank: int) -> Spoken:
    """`aten.slice(x, dim, start, end, step)`: `x[:, start:end:step]`."""
    given = dict(zip(("self", "dim", "start", "end", "step"), args, strict=False)) | kwargs
    place = _int(given.get("dim", 0)) % rank
    start, end, step = given.get("start"), given.get("end"), given.get("step")
    taken = slice(
        None if start is None or _int(start) == 0 else start,
        None if end is None or _int(end) == sys.maxsize else end,
        None if step is None or _int(step) == 1 else step,
    )
    whole = (slice(None),) * place
    return Spoken("getitem", (given["self"], (*whole, taken)), {})


def _index(args: Args, kwargs: Kwargs, rank: int) -> Spoken:
    """`aten.index(x, [None, i])`: `x[:, i]`."""
    entries = tuple(slice(None) if entry is None else entry for entry in args[1])
    return Spoken("getitem", (args[0], entries), kwargs)


def _index_put(args: Args, kwargs: Kwargs, rank: int) -> Spoken:
    """`aten.index_put(x, [None, i], values)`: `x[:, i] = values`."""
    entries = tuple(slice(None) if entry is None else entry for entry in args[1])
    return Spoken("index_put", (args[0], entries, *args[2:]), kwargs)


def _reflected(args: Args, kwargs: Kwargs, rank: int) -> Spoken:
    """`aten.rsub(x, 1)`: `1 - x`."""
    kwargs = {key: entry for key, entry in kwargs.items() if key != "alpha"}
    return Spoken("sub", (args[1], args[0], *args[2:]), kwargs)


def _int(number: Any) -> int:
    return number.value if isinstance(number, Size) else int(number)


FORMS: Mapping[str, Callable[[Args, Kwargs, int], Spoken]] = {
    "slice": _slice,
    "index": _index,
    "index_put": _index_put,
    "rsub": _reflected,
}
"""Operations that Python writes in another form, by ATen name."""


def first_tensor(args: Args, kwargs: Kwargs) -> str:
    """The name of the first tensor among the arguments, "" if there is none."""
    for entry in [*args, *kwargs.values()]:
        if isinstance(entry, Ref):
            return entry.name
        if isinstance(entry, tuple) and (name := first_tensor(entry, {})):
            return name
    return ""
