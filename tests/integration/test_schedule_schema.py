"""The JSON Schema of schedules accepts what the grammar reads, and the published one is up to date."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest
from attrs import field, frozen
from jsonschema import Draft202012Validator

from secateur.cli.main import main
from secateur.config import Node, load, loads, plain
from secateur.config.json_schema import class_schema, value_schema
from secateur.plugins import PluginManager, current
from secateur.schedule.schema import published, schedule_schema
from secateur.training.config import RunConfig

ROOT = Path(__file__).parents[2]
OURS = {f"secateur-{name}" for name in ("builders", "pruners", "thinners", "models")}


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    return schedule_schema(current(), {"run": RunConfig})


def complaints(schema: dict[str, Any], node: Node) -> list[str]:
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(plain(node))]


def test_it_is_a_schema(schema: dict[str, Any]) -> None:
    Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("file", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda file: file.name)
def test_the_examples_fit(file: Path, schema: dict[str, Any]) -> None:
    assert complaints(schema, load(file)) == []


@pytest.mark.parametrize("file", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda file: file.name)
def test_the_examples_are_read_by_the_published_one_too(file: Path) -> None:
    assert complaints(json.loads(published()), load(file)) == []


def test_every_class_and_every_other_name_has_its_definition(schema: dict[str, Any]) -> None:
    plugins = current()
    for kind, registry in (("pruner", plugins.pruners), ("regularizer", plugins.regularizers)):
        assert schema["$defs"][kind]["properties"]["class"]["enum"] == [*registry, *registry.aliases]
    assert "MultiStepMultiGammaLR" in schema["$defs"]["lr_scheduler"]["properties"]["class"]["enum"]


def test_the_published_schema_is_what_our_own_plugins_give() -> None:
    others = [row.name for row in PluginManager.discover().rows if row.dist not in OURS]
    made = schedule_schema(PluginManager.discover(disable=others), {"run": RunConfig})
    stored = json.loads(published())
    for each in (made, stored):  # releases of torch differ in the arguments of their schedulers
        each["$defs"] = {name: text for name, text in each["$defs"].items() if not name.startswith("lr_scheduler")}
    assert made == stored, "write it anew: secateur schema -o core/src/secateur/schedule/schedule.schema.json"


GOOD = """\
pruners: {half: {class: agp, initial_sparsity: 0.1, final_sparsity: 0.5}}
lr_schedulers: {poly: {class: PolynomialLR, T_max: 3}}
extensions: {thin: {class: FilterRemover, thinning_func_str: remove_filters, arch: a, dataset: b}}
policies:
- pruner: {instance_name: half, args: {keep_mask: true}}
  starting_epoch: 0
  ending_epoch: 3
- extension: {instance_name: thin}
  epochs: [3]
"""
BAD = {
    "section": ("pruners:", "pruner:", "'pruner' was unexpected"),
    "class": ("class: agp", "class: apg", "'apg' is not one of"),
    "no class": ("class: agp, ", "", "'class' is a required property"),
    "key": ("initial_", "intial_", "'intial_sparsity' was unexpected"),
    "missing": ("initial_sparsity: 0.1, ", "", "'initial_sparsity' is a required property"),
    "type": ("0.5}", "half}", "'half' is not of type 'number'"),
    "scheduler key": ("T_max", "T_mox", "'T_mox' was unexpected"),
    "thinning function": ("remove_filters", "remove_filter", "is not valid under any of the given schemas"),
    "args": ("keep_mask", "keep_masks", "'keep_masks' was unexpected"),
    "args of an extension": (
        "{instance_name: thin}",
        "{instance_name: thin, args: {keep_mask: true}}",
        "'keep_mask' was unexpected",
    ),
    "two windows": ("  ending_epoch: 3", "  epochs: [1]", "is not valid under any of the given schemas"),
    "criterion": ("0.5}", "0.5, criterion: l3}", "'l3' is not one of"),
}


def test_what_is_good_fits(schema: dict[str, Any]) -> None:
    assert complaints(schema, loads(GOOD)) == []


@pytest.mark.parametrize("name", BAD)
def test_what_is_bad_does_not_fit(name: str, schema: dict[str, Any]) -> None:
    old, new, message = BAD[name]
    assert old in GOOD
    found = complaints(schema, loads(GOOD.replace(old, new, 1)))
    assert any(message in complaint for complaint in found), found


@frozen
class Small:
    """Small things. `one` and `two`: their sizes,
    in pixels. `three`: more.

    Further text: `one`.
    """

    one: int
    two: tuple[int, str] = (1, "a")
    three: Literal["a", "b"] | None = None
    four: dict[str, list[float]] = field(factory=dict)
    """Below."""
    five: Node | None = None
    hidden: int = field(default=1, init=False)


def test_a_class_says_its_keys_types_and_texts() -> None:
    assert class_schema(Small) == {
        "description": "Small things. `one` and `two`: their sizes, in pixels. `three`: more.",
        "type": "object",
        "properties": {
            "one": {"type": "integer", "description": "their sizes, in pixels."},
            "two": {
                "type": "array",
                "prefixItems": [{"type": "integer"}, {"type": "string"}],
                "minItems": 2,
                "maxItems": 2,
                "description": "their sizes, in pixels.",
            },
            "three": {"anyOf": [{"enum": ["a", "b"]}, {"type": "null"}], "description": "more."},
            "four": {
                "type": "object",
                "additionalProperties": {"type": "array", "items": {"type": "number"}},
                "description": "Below.",
            },
            "five": {},
        },
        "additionalProperties": False,
        "required": ["one"],
    }
    assert value_schema(Any) == {}


def test_the_command_prints_it_and_writes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    printed = capsys.readouterr().out
    file = tmp_path / "s.json"
    assert main(["schema", "-o", str(file)]) == 0
    assert capsys.readouterr().out == ""
    assert file.read_text(encoding="utf-8") == printed
    assert json.loads(printed)["title"] == "Secateur schedule"


def test_a_file_that_cannot_be_written_is_one_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "-o", str(tmp_path / "none" / "s.json")]) == 2
    assert "cannot be written: No such file or directory" in capsys.readouterr().err
