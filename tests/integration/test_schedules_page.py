"""What docs/schedules.md says of the grammar is so: its example is read, and its tables are complete."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from attrs import fields
from jsonschema import Draft202012Validator

from secateur.config import loads, plain
from secateur.plugins import current
from secateur.schedule.grammar import SECTIONS, read_schedule
from secateur.schedule.lr import REFUSED
from secateur.schedule.policies import ARGS
from secateur.schedule.policy import PolicyArgs
from secateur.schedule.schema import schedule_schema
from secateur.schedule.thinner import Thinner

PAGE = (Path(__file__).parents[2] / "docs" / "schedules.md").read_text(encoding="utf-8")


def rows(header: str) -> list[tuple[str, str]]:
    """The rows of the table with this first header, two cells each."""
    table = PAGE.split(f"| {header} |", 1)[1].split("\n\n", 1)[0].splitlines()[2:]
    return [(cells[1], cells[2]) for cells in (line.split("|") for line in table)]


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_the_example_is_read_and_fits_the_schema() -> None:
    (text,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    node = loads(text, "page.yaml")
    policies = read_schedule(node, current()).policies
    assert {policy.kind for policy in policies} == {"pruner", "regularizer", "extension", "lr_scheduler"}
    assert not list(Draft202012Validator(schedule_schema(current())).iter_errors(plain(node)))


def test_the_tables_of_sections_and_arguments_are_complete() -> None:
    assert {name for left, _ in rows("section") for name in quoted(left)} == set(SECTIONS)
    of_pruners = {name for left, _ in rows("`args`") for name in quoted(left)}
    assert of_pruners == set(ARGS["pruner"])
    told = {name for args in ARGS.values() for name in args}
    assert told == {each.name for each in fields(PolicyArgs)} == {name for name in told if f"`{name}`" in PAGE}


def spelled() -> dict[str, set[str]]:
    """{Distiller's name: our classes}, as the page says."""
    found: dict[str, set[str]] = {}
    for left, right in rows("in Distiller"):
        ours = {name for name in quoted(right) if name.islower()}
        names = [name for name in quoted(left) if name != "_AGP"]
        for name in names + [f"{name}_AGP" for name in names if "_AGP" in left]:
            found[name] = ours
    return found


def test_the_table_of_names_says_what_the_plugins_say() -> None:
    plugins, said = current(), spelled()
    for name, ours in said.items():
        registry = next((each for each in (plugins.pruners, plugins.regularizers) if name in each), None)
        if registry is None:
            assert name in Thinner.aliases
            assert ours == {Thinner.name}
        else:
            assert {cls.name for cls in registry.candidates(name)} == ours
    theirs = {name for name in (*plugins.pruners.aliases, *plugins.regularizers.aliases) if name[0].isupper()}
    assert theirs | set(Thinner.aliases) == set(said)


@pytest.mark.parametrize("name", ["LambdaLR", "MultiplicativeLR", "SequentialLR", "ChainedScheduler"])
def test_the_schedulers_that_the_page_calls_refused_are(name: str) -> None:
    assert f"`{name}`" in PAGE
    assert name in REFUSED
