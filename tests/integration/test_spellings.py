"""Classes named as another tool names them: keys and values are translated, and messages cite what was written."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, ClassVar, Literal

import pytest
from attrs import field, frozen

from secateur.config import loads
from secateur.config.validators import in_range
from secateur.errors import ConfigError
from secateur.hookspecs import hookimpl
from secateur.plugins import PluginManager
from secateur.pruning.base import Decision, Moment, Network, Pruner
from secateur.pruning.regularizer import Regularizer
from secateur.pruning.spelling import Spelling
from secateur.schedule.grammar import read_schedule
from secateur.schedule.policy import Policy, PolicyArgs

WEIGHTS = {"desired_sparsity": "sparsity"}


@frozen(kw_only=True)
class Ranked(Pruner):
    """Ranks structures."""

    name: ClassVar[str] = "ranked"
    spellings: ClassVar[tuple[Spelling, ...]] = (
        Spelling(
            name="TheirRanked",
            keys={"desired_sparsity": "sparsity", "group_type": "structure", "kwargs.rounding": "round_to"},
            values={"structure": {"Filters": "filters", "3D": "filters", "Channels": "channels"}},
            presets={"criterion": "l1"},
            ignored={"magnitude_fn": "the name says it", "kwargs.noise": "not supported by the paper"},
            when={"group_type": frozenset({"Filters", "3D", "Channels"})},
        ),
    )

    weights: str | list[str]
    sparsity: float = field(validator=in_range(0, 1))
    structure: Literal["filters", "channels"] = "filters"
    criterion: str = "random"
    round_to: int = 1

    def __attrs_post_init__(self) -> None:
        if self.sparsity == 0.5:
            raise ValueError("sparsity must not be a half, give weights less")

    def decide(self, network: Network, moment: Moment) -> Decision:
        return Decision()


@frozen(kw_only=True)
class Columns(Pruner):
    """Masks columns."""

    name: ClassVar[str] = "columns"
    spellings: ClassVar[tuple[Spelling, ...]] = (
        Spelling(
            name="TheirRanked",
            keys={**WEIGHTS, "kwargs.block_shape": "block"},
            required=("weights", "kwargs.block_shape"),
            ignored={"group_type": "the name of the class says it"},
            when={"group_type": frozenset({"Rows"})},
        ),
    )

    weights: str | list[str]
    sparsity: float
    block: tuple[int, int] = (1, 1)

    def decide(self, network: Network, moment: Moment) -> Decision:
        return Decision()


@frozen(kw_only=True)
class Level(Pruner):
    """Masks shares by parameter; not in windows of one epoch."""

    name: ClassVar[str] = "level"
    spellings: ClassVar[tuple[Spelling, ...]] = (Spelling(name="TheirLevel"),)

    levels: dict[str, float] = field(factory=dict)

    @levels.validator
    def _check(self, attribute: Any, value: dict[str, float]) -> None:
        if any(level > 1 for level in value.values()):
            raise ValueError("must be in [0, 1]")

    def decide(self, network: Network, moment: Moment) -> Decision:
        return Decision()


@frozen(kw_only=True)
class Lasso(Regularizer):
    """Adds norms of groups."""

    name: ClassVar[str] = "lasso"
    spellings: ClassVar[tuple[Spelling, ...]] = (
        Spelling(name="TheirLasso", keys={"reg_regims": "strengths"}, ignored={"model": "the model at hand"}),
    )

    strengths: dict[str, tuple[float, str]]

    def loss(self, network: Network, moment: Moment) -> Any:
        raise AssertionError("not called")

    def check(self, window: Moment) -> None:
        if window.end > 100:
            raise ValueError("lasso takes at most 100 epochs")


def manager() -> PluginManager:
    plugin = SimpleNamespace(
        secateur_pruners=hookimpl(specname="secateur_pruners")(lambda: [Ranked, Columns, Level]),
        secateur_regularizers=hookimpl(specname="secateur_regularizers")(lambda: [Lasso]),
        secateur_criteria=hookimpl(specname="secateur_criteria")(criteria),
    )
    plugins = PluginManager.bare()
    plugins.register(plugin, "small")
    return plugins


def criteria() -> list[Any]:
    from secateur.records import Criterion

    return [Criterion(name=name, score=lambda members: None, summary="") for name in ("l1", "random")]


def read(text: str) -> tuple[Policy, ...]:
    return read_schedule(loads(text, "s.yaml"), manager()).policies


def pruner(entry: str, args: str = "") -> Any:
    policy = (
        "policies:\n- pruner:\n    instance_name: p" + (f"\n    args: {args}" if args else "") + "\n  epochs: [0]\n"
    )
    return read(f"pruners:\n  p:\n{entry}{policy}")[0].instance


def entry(*lines: str) -> str:
    return "".join(f"    {line}\n" for line in lines)


THEIRS = entry("class: TheirRanked", "weights: [a.weight]", "desired_sparsity: 0.25", "group_type: 3D")


def test_keys_and_values_are_translated_and_presets_added() -> None:
    found = pruner(THEIRS + entry("magnitude_fn: l1", "kwargs: {rounding: 8, noise: 0.5}"))
    assert found == Ranked(weights=["a.weight"], sparsity=0.25, structure="filters", criterion="l1", round_to=8)


def test_our_own_name_knows_no_spelling() -> None:
    text = entry("class: ranked", "weights: a", "sparsity: 0.25")
    assert pruner(text) == Ranked(weights="a", sparsity=0.25, criterion="random")
    with pytest.raises(ConfigError, match=r"s\.yaml:5: pruners\.p: unknown key 'desired_sparsity'; did you mean 'sp"):
        pruner(text.replace("sparsity", "desired_sparsity"))


def test_classes_share_a_name_and_the_first_that_serves_is_meant() -> None:
    text = THEIRS.replace("3D", "Rows") + entry("kwargs: {block_shape: [2, 4]}")
    assert pruner(text) == Columns(weights=["a.weight"], sparsity=0.25, block=(2, 4))


BAD = {
    "their value": (THEIRS.replace("3D", "Filter"), "s.yaml:6: pruners.p.group_type: unknown value 'Filter'; did you"),
    "their missing key": (
        THEIRS.replace("    group_type: 3D\n", ""),
        "s.yaml:3: pruners.p: required key missing: 'group_type'; give one of 3D, Channels, Filters, Rows",
    ),
    "an unknown key before a missing one": (
        THEIRS.replace("group_type", "group_typ"),
        "s.yaml:6: pruners.p: unknown key 'group_typ'; did you mean 'group_type'? (known: ",
    ),
    "their unknown key": (
        THEIRS + entry("desired_sparsty: 1"),
        "s.yaml:7: pruners.p: unknown key 'desired_sparsty'; did you mean 'desired_sparsity'? (known: ",
    ),
    "required by the name": (
        THEIRS.replace("3D", "Rows"),
        "s.yaml:3: pruners.p: required key missing: 'kwargs.block_shape'",
    ),
    "nested unknown key": (
        THEIRS + entry("kwargs:", "  roundin: 8"),
        "s.yaml:8: pruners.p.kwargs: unknown key 'kwargs.roundin'; did you mean 'kwargs.rounding'? (known: ",
    ),
    "nested value": (
        THEIRS + entry("kwargs:", "  rounding: eight"),
        "s.yaml:8: pruners.p.kwargs.rounding: expected an integer, got 'eight'",
    ),
    "nested no mapping": (THEIRS + entry("kwargs: 3"), "s.yaml:7: pruners.p.kwargs: expected a mapping, got 3"),
    "their key by ours missing": (
        THEIRS.replace("    desired_sparsity: 0.25\n", ""),
        "s.yaml:3: pruners.p: required key missing: 'desired_sparsity'",
    ),
    "value out of range": (
        THEIRS.replace("0.25", "1.5"),
        "s.yaml:5: pruners.p.desired_sparsity: must be in [0, 1], got 1.5",
    ),
    "refused by the class": (
        THEIRS.replace("0.25", "0.5"),
        "s.yaml:3: pruners.p: desired_sparsity must not be a half, give weights less",
    ),
    "both keys": (THEIRS + entry("sparsity: 0.25"), "s.yaml:7: pruners.p: 'desired_sparsity' and 'sparsity' say the"),
    "against the name": (
        THEIRS + entry("criterion: l2"),
        "s.yaml:7: pruners.p: TheirRanked says that 'criterion' is 'l1'; leave the key out",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_messages_cite_what_was_written(name: str) -> None:
    text, message = BAD[name]
    with pytest.raises(ConfigError) as caught:
        pruner(text)
    assert str(caught.value).startswith(message)


def test_what_the_name_says_may_be_said_again() -> None:
    assert pruner(THEIRS + entry("criterion: l1")).criterion == "l1"


def test_levels_of_a_policy_replace_those_of_the_pruner() -> None:
    text = """\
pruners:
  p: {class: CLASS, levels: {"*": 0.5}}
policies:
- pruner: {instance_name: p}
  epochs: [0]
- pruner: {instance_name: p, args: {levels: {"*": 0.25}}}
  epochs: [1]
"""
    for name in ("level", "TheirLevel"):
        first, second = read(text.replace("CLASS", name))
        assert (first.instance, second.instance) == (Level(levels={"*": 0.5}), Level(levels={"*": 0.25}))
    with pytest.raises(ConfigError, match=r"s\.yaml:6: policies\[1\]\.pruner\.args\.levels: must be in \[0, 1\]"):
        read(text.replace("CLASS", "level").replace("0.25", "2.5"))
    with pytest.raises(ConfigError, match=r"s\.yaml:6: policies\[1\]\.pruner\.args\.levels\['\*'\]: expected a number"):
        read(text.replace("CLASS", "level").replace("0.25", "much"))


def test_levels_for_a_pruner_without_levels_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"pruner\.args\.levels: TheirRanked has no levels; leave args\.levels out"):
        pruner(THEIRS, "{levels: 3}")


def test_regularizers_have_their_section_and_their_policies() -> None:
    text = """\
regularizers:
  r:
    class: TheirLasso
    model: any
    reg_regims: {a.weight: [0.1, Filters]}
policies:
- regularizer: {instance_name: r, args: {keep_mask: true}}
  starting_epoch: 0
  ending_epoch: 9
"""
    (policy,) = read(text)
    assert (policy.kind, policy.name, policy.window.frequency) == ("regularizer", "r", 1)
    assert policy.instance == Lasso(strengths={"a.weight": (0.1, "Filters")})
    assert policy.args == PolicyArgs(keep_mask=True)
    with pytest.raises(ConfigError, match=r"s\.yaml:7: policies\[0\]: TheirLasso takes at most 100 epochs"):
        read(text.replace("9", "900"))
    with pytest.raises(ConfigError, match=r"s\.yaml:7: policies\[0\]\.regularizer\.args: a policy of kind regularizer"):
        read(text.replace("keep_mask", "mask_gradients"))
    with pytest.raises(ConfigError, match=r"s\.yaml:3: regularizers\.r\.class: no regularizer named 'TheirLaso'; did"):
        read(text.replace("TheirLasso", "TheirLaso"))


def test_policies_carry_their_arguments() -> None:
    args = "{mini_batch_pruning_frequency: 16, mask_on_forward_only: true, mask_gradients: true, keep_mask: yes}"
    text = f"pruners:\n  p:\n{THEIRS}policies:\n- pruner: {{instance_name: p, args: {args}}}\n  epochs: [0]\n"
    assert read(text)[0].args == PolicyArgs(
        mini_batch_pruning_frequency=16, mask_on_forward_only=True, mask_gradients=True, keep_mask=True
    )
    assert read(text.replace(args, ""))[0].args == PolicyArgs()
