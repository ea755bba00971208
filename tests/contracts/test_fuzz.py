"""Random networks: the law holds on them, and the fuzzer finds, shrinks and prints what breaks it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from attrs import evolve

from secateur.plugins import PluginManager, using
from secateur.testing import LawBroken
from secateur.testing.fuzz import Summary, check_seeds, main, normalised, program_of, report
from secateur.testing.networks import Program, random_network
from secateur.testing.shrinking import check_program, fault, shrink

WRONG = """
from secateur.hookspecs import hookimpl
from secateur.records import OpRule

def apply(site):
    return list(site["input"].axes)

@hookimpl
def secateur_op_rules():
    return [OpRule(name="flip", ops=("flip",), signature="input, *dims", apply=apply)]
"""


@pytest.mark.parametrize("seed", range(60))
def test_masked_and_thinned_agree(seed: int) -> None:
    program = program_of(seed, renormalise=0.3)
    try:
        check_program(program)
    except BaseException as error:
        error.add_note(str(program))
        raise


@pytest.mark.parametrize("seed", range(120))
def test_masked_and_thinned_agree_in_long_convolutional_networks(seed: int) -> None:
    program = random_network(seed, steps=24, inputs="map")
    for plan in ("secateur.plan(model, inputs, 0.5)", f"testing.random_plan(model, inputs, {seed})"):
        try:
            check_program(evolve(program, plan=plan))
        except BaseException as error:
            error.add_note(str(program))
            raise


def test_most_networks_can_be_pruned_and_some_renormalise() -> None:
    summary = check_seeds(range(100, 140), renormalise=0.5)
    assert summary.failures == []
    assert summary.networks == 40
    assert summary.pruned > 24
    assert 10 < summary.renormalised < 30
    assert summary.reasons


def test_a_seed_gives_one_program_and_one_model() -> None:
    first, second = random_network(11), random_network(11)
    assert str(first) == str(second)
    ours, theirs = first.build().state_dict(), second.build().state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert str(random_network(12)) != str(first)


@pytest.mark.parametrize(
    ("kind", "text"),
    [("map", "randn(2, 3, 4, 4)"), ("tokens", "randn(2, 5, 6)"), ("ids", "randint("), ("vector", "6)")],
)
def test_inputs_are_of_the_kind_that_is_asked_for(kind: str, text: str) -> None:
    for seed in range(20):
        assert all(text in made for made in random_network(seed, inputs=kind).inputs.values())


def test_networks_of_any_length_can_be_drawn() -> None:
    for seed in range(60):
        program = random_network(seed, steps=40)
        assert program.outputs


def test_networks_hold_what_networks_hold() -> None:
    text = "\n".join(random_network(seed).network for seed in range(400))
    layers = "Conv2d ConvTranspose2d BatchNorm2d InstanceNorm2d GroupNorm LayerNorm RMSNorm PReLU Embedding Sequential"
    layers += " MultiheadAttention TransformerEncoderLayer"
    calls = "scaled_dot_product_attention einsum cat chunk split channel_shuffle view softmax pixel_shuffle flatten glu"
    calls += " repeat_interleave adaptive_avg_pool2d reshape permute unbind stack"
    parts = [f"nn.{name}(" for name in layers.split()] + [f".{name}(" for name in calls.split()]
    parts += ["groups=", "enable_gqa=True", "scale=", "batch_first=True", ".weight = ", "self.heads"]
    missing = [part for part in parts if part not in text]
    assert missing == []


def test_a_program_runs_as_it_is_printed(tmp_path: Path) -> None:
    file = tmp_path / "program.py"
    file.write_text(str(random_network(4)))
    done = subprocess.run([sys.executable, file], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def wrong(tmp_path: Path) -> PluginManager:
    """The installed plugins, but for a rule that is wrong: it says that flipped entries are where they were."""
    file = tmp_path / "wrong.py"
    file.write_text(WRONG)
    return PluginManager.discover(files=[file], prefer={"flip": "wrong"})


@pytest.fixture
def _dtype() -> Iterator[None]:
    """A program is a script: it sets the default dtype for good."""
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("_dtype")
def test_a_wrong_rule_is_found_and_shrunk_to_a_program_that_fails(wrong: PluginManager) -> None:
    found = 0
    for seed in range(4000):
        program = random_network(seed)
        if not any(".flip(" in line for line in program.forward):
            continue
        with using(wrong):
            if not fault(program):
                continue
            small = shrink(program)
            assert fault(small).startswith("output #")
            assert len(small.forward) <= min(len(program.forward), 4), str(small)
            assert any(".flip(" in line for line in small.forward)
            with pytest.raises(LawBroken, match="masked and thinned differ by"):
                exec(str(small), {})
        exec(str(small), {})  # with the installed rules it holds
        found += 1
        if found == 2:
            return
    pytest.fail("no seed shows it")


def test_what_does_not_run_is_no_fault_of_ours() -> None:
    program = random_network(3)
    broken = Program(3, program.inputs, program.init, (*program.forward, "z = undefined"), (*program.outputs, "z"))
    assert fault(broken) == ""
    assert shrink(program) is program


def test_the_program_of_the_fuzzer(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "found.json"
    assert main(["--seeds", "0:60", "--jobs", "1", "--renormalise", "0.2", "--json", str(out)]) == 0
    text = capsys.readouterr().out
    assert "60 networks in" in text
    assert "wrong: 0" in text
    found = json.loads(out.read_text())
    assert (found["networks"], found["wrong"], found["failures"]) == (60, 0, [])
    assert 0 < found["pruned"] <= 60


def test_programs_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--seeds", "7", "--show"]) == 0
    assert capsys.readouterr().out.rstrip() == str(random_network(7)).rstrip()


def test_bad_seeds_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--seeds", "many"])
    assert "--seeds: expected FIRST:LAST, got 'many'" in capsys.readouterr().err


def test_failures_are_summed_up_and_printed(wrong: PluginManager, capsys: pytest.CaptureFixture[str]) -> None:
    from rich.console import Console

    seed = next(s for s in range(4000) if any(".flip(" in line for line in random_network(s).forward))
    total = Summary()
    with using(wrong):
        for each in range(seed, seed + 400):
            if any(".flip(" in line for line in random_network(each).forward):
                total.add(check_seeds([each]))
            if total.failures:
                break
    assert [failure.kind for failure in total.failures] == [
        "LawBroken: output #: masked and thinned differ by # (relative)"
    ]
    report(total, Console(file=sys.stdout, width=100))
    text = capsys.readouterr().out
    assert f"seed {total.failures[0].seed}" in text
    assert "wrong: 1" in text


def test_reasons_are_counted_without_their_numbers() -> None:
    assert normalised("a size of this reshape is written as the number 12") == (
        "a size of this reshape is written as the number #"
    )
