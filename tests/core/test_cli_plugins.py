"""`secateur plugins`: the table, JSON, and the check."""

from __future__ import annotations

import json
from typing import Any

import pytest

from secateur.cli.main import main

LONG = "this reason is long enough to be folded into several lines of the last column, and no word of it is lost"


@pytest.fixture(autouse=True)
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("COLUMNS", "FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def mixed(dists: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """One plugin of each status."""
    dists.add_model("zoo", "lion", version="2.1.0")
    dists.add("broken", f"raise ValueError({LONG!r})", dist="secateur-recurrent")
    dists.add_model("ark", "dove")
    monkeypatch.setenv("SECATEUR_DISABLE", "ark")
    return dists


def column(text: str, header: str, after: str) -> str:
    """Everything in the column under `header`, of the lines below the header, without its line breaks."""
    lines = text.splitlines()
    top = next(index for index, line in enumerate(lines) if after in line and header in line)
    start = lines[top].index(header)
    return " ".join(part for line in lines[top + 2 :] if (part := line[start:].strip()))


@pytest.mark.parametrize("columns", ["80", "100", ""])
def test_the_table_is_whole_when_piped(
    mixed: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    if columns:
        monkeypatch.setenv("COLUMNS", columns)
    assert main(["plugins"]) == 0
    out, err = capsys.readouterr()
    assert max(map(len, out.splitlines())) <= int(columns or "100")
    assert f"ValueError: {LONG}" in column(out, "hooks / reason", "status")
    assert "…" not in out
    assert "secateur-recurrent" in out
    for word in ("loaded", "disabled", "failed", "2.1.0", "models", "listed"):
        assert word in out
    assert "\x1b" not in out
    assert err == f"warning: plugin 'broken' (secateur-recurrent 1.0) failed: ValueError: {LONG}\n"


def test_one_row_per_plugin(dists: Any, capsys: pytest.CaptureFixture[str]) -> None:
    dists.add_model("zoo", "lion")
    assert main(["plugins"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[0] == ["name", "status", "dist", "version", "hooks", "/", "reason"]
    assert lines[2:] == [
        ["core", "loaded", "secateur", "0.1.0", "commands"],
        ["zoo", "loaded", "fake-zoo", "1.0", "models"],
    ]


def test_markup_in_a_reason_is_text(dists: Any, capsys: pytest.CaptureFixture[str]) -> None:
    dists.add("broken", "raise ValueError('[red]x[/red]')")
    assert main(["plugins"]) == 0
    assert "[red]x[/red]" in column(capsys.readouterr().out, "hooks / reason", "status")


def test_json(mixed: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert main(["plugins", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["name"], row["status"]) for row in rows] == [
        ("ark", "disabled"),
        ("broken", "failed"),
        ("core", "loaded"),
        ("zoo", "loaded"),
    ]
    assert rows[1]["reason"] == f"ValueError: {LONG}"
    assert rows[3] == {
        "name": "zoo",
        "status": "loaded",
        "dist": "fake-zoo",
        "version": "2.1.0",
        "hooks": ["secateur_models"],
        "reason": "",
    }


def test_check_is_0_when_all_is_well(dists: Any, capsys: pytest.CaptureFixture[str]) -> None:
    dists.add_model("zoo", "lion")
    assert main(["plugins", "--check"]) == 0
    assert capsys.readouterr().err == ""


def test_check_is_1_when_a_plugin_failed(mixed: Any) -> None:
    assert main(["plugins", "--check"]) == 1


def test_check_calls_the_hooks(dists: Any, capsys: pytest.CaptureFixture[str]) -> None:
    dists.add("late", "@hookimpl\ndef secateur_models(): raise ValueError('late')")
    assert main(["plugins"]) == 0
    assert "failed" not in capsys.readouterr().out
    assert main(["plugins", "--check"]) == 1
    out, err = capsys.readouterr()
    assert "models secateur_models: ValueError: late" in column(out, "hooks / reason", "status")
    assert err == "warning: plugin 'late' (fake-late 1.0) failed: secateur_models: ValueError: late\n"


def test_check_finds_clashes(dists: Any, capsys: pytest.CaptureFixture[str]) -> None:
    dists.add_model("a", "lion")
    dists.add_model("b", "lion")
    assert main(["plugins", "--check"]) == 1
    assert capsys.readouterr().err == (
        "error: the model 'lion' is provided by fake-a 1.0 (plugin a) and by fake-b 1.0 (plugin b); "
        "disable one plugin, or choose with prefer={'lion': 'a'}\n"
    )


def test_colour_on_request_and_never_with_no_color(
    dists: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dists.add_model("zoo", "lion")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    main(["plugins"])
    assert "\x1b[32mloaded" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    main(["plugins"])
    assert "\x1b[32m" not in capsys.readouterr().out
