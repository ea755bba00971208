"""Operations over space, channel by channel: pooling, interpolation, sampling. Spatial axes stay."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from secateur.coupling.labels import Axis, fixed
from secateur.coupling.site import Site
from secateur.hookspecs import hookimpl
from secateur.records import OpRule

STEERED = (
    "input, *args, kernel_size=None, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False, "
    "count_include_pad=True, divisor_override=None, output_size=None, norm_type=None, output_ratio=None, "
    "_random_samples=None, size=None, scale_factor=None, mode=None, align_corners=None, "
    "recompute_scale_factor=None, antialias=False"
)


def spatial(axes: int | None) -> Callable[[Site], list[Sequence[Axis]]]:
    """The rule of an operation over the last `axes` axes (None: all but the first two)."""

    def apply(site: Site) -> list[Sequence[Axis]]:
        data = site["input"]
        space = len(data) - 2 if axes is None else axes
        for axis in data.axes[len(data) - space :]:
            site.fix(axis, f"{site.op.kind} slides over it")
        carried = list(data.axes[: len(data) - space])
        made: list[Sequence[Axis]] = []
        for output, shape in enumerate(site.shapes):  # a second output holds indices, which are not zero
            kept = carried if output == 0 else [axis.nonzero() for axis in carried]
            made.append([*kept, *(fixed(length) for length in shape[len(shape) - space :])])
        return made

    return apply


def grid_sample(site: Site) -> Sequence[Axis]:
    """Space is sampled at the places a grid gives."""
    data, grid = site["input"], site["grid"]
    for axis in [*data.axes[2:], *grid.axes]:
        site.fix(axis, "grid_sample reads places from it")
    return [*data.axes[:2], *(fixed(length) for length in site.shape[2:])]


@hookimpl
def secateur_op_rules() -> list[OpRule]:
    """Rules for spatial operations."""
    kinds = ["max_pool", "avg_pool", "adaptive_avg_pool", "adaptive_max_pool", "lp_pool", "fractional_max_pool"]

    def rule(name: str, ops: Iterable[str], axes: int | None) -> OpRule:
        return OpRule(name=name, ops=tuple(ops), signature=STEERED, apply=spatial(axes))

    pools = [
        rule(
            f"pool{space}d",
            [f"{kind}{space}d{ending}" for kind in kinds for ending in _endings(kind)],
            space,
        )
        for space in (1, 2, 3)
    ]
    resize = rule("interpolate", ["interpolate", "upsample", "upsample_nearest", "upsample_bilinear"], None)
    sample: Any = OpRule(
        name="grid_sample",
        ops=("grid_sample",),
        signature="input, grid, mode='bilinear', padding_mode='zeros', align_corners=None",
        apply=grid_sample,
    )
    return [*pools, resize, sample]


def _endings(kind: str) -> tuple[str, ...]:
    return ("", "_with_indices") if "max_pool" in kind else ("",)
