"""The program: help, options in front, dispatch to plugins' commands, errors and exit statuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import secateur
from secateur.cli import builtin
from secateur.cli.main import main

CORE = [command.name for command in builtin.secateur_commands()]

COMMAND = """
    def configure(parser):
        parser.add_argument("--times", type=int, default=1)

    def run(arguments):
        {body}

    @hookimpl
    def secateur_commands():
        summary = "Say hello, 100% sure."
        return [Command(name="{name}", summary=summary, configure=configure, run=run, order={order})]
"""


def command(body: str = "print('hello', arguments.times)", *, name: str = "hello", order: int = 50) -> str:
    return COMMAND.format(body=body, name=name, order=order)


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_lists_the_commands_of_plugins_in_order(
    dists: Any, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    dists.add("late", command(name="zulu", order=10))
    dists.add("early", command(name="alpha", order=10))
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    assert out.startswith("usage: secateur [OPTIONS] COMMAND ...\n")
    lines = [line.split() for line in out.splitlines()]
    names = [line[0] for line in lines if line and line[0] in {"alpha", "zulu", "plugins"}]
    assert names == ["alpha", "zulu", "plugins"]
    assert "Say hello, 100% sure." in out
    assert err == ""


def test_the_core_alone_works(dists: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECATEUR_PLUGINS", "")
    assert main(["--help"]) == 0
    assert "plugins" in capsys.readouterr().out


def test_version(dists: Any, capsys: pytest.CaptureFixture[str]) -> None:
    dists.add("broken", "raise ValueError")
    assert main(["--version"]) == 0
    assert capsys.readouterr() == (f"secateur {secateur.__version__}\n", "")


def test_a_command_gets_its_arguments(dists: Any, capsys: pytest.CaptureFixture[str]) -> None:
    dists.add("greet", command())
    assert main(["hello", "--times", "3"]) == 0
    assert capsys.readouterr() == ("hello 3\n", "")


def test_a_command_has_its_own_help(dists: Any, capsys: pytest.CaptureFixture[str]) -> None:
    dists.add("greet", command())
    assert main(["hello", "--help"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("usage: secateur hello ")
    assert "Say hello, 100% sure." in out
    assert "--times" in out


@pytest.mark.parametrize(
    ("body", "status"),
    [("return 7", 7), ("return None", 0), ("raise SystemExit(5)", 5), ("raise SystemExit", 0)],
)
def test_the_exit_status_is_the_commands(dists: Any, body: str, status: int) -> None:
    dists.add("greet", command(body))
    assert main(["hello"]) == status


def test_a_command_that_exits_with_a_message(dists: Any, capsys: pytest.CaptureFixture[str]) -> None:
    dists.add("greet", command("raise SystemExit('enough')"))
    assert main(["hello"]) == 1
    assert capsys.readouterr().err == "error: enough\n"


def test_a_command_runs_with_the_programs_plugins(dists: Any, capsys: pytest.CaptureFixture[str]) -> None:
    dists.add("greet", command("from secateur.plugins import current; print(list(current().commands))"))
    assert main(["hello"]) == 0
    assert capsys.readouterr().out == f"{sorted(['hello', *CORE])}\n"


# -- what goes wrong -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["helo"],
            f"no command named 'helo'; did you mean 'hello'? (known: {', '.join(sorted(['hello', *CORE]))})",
        ),
        (
            ["hello", "--tims=3"],
            "secateur hello: unknown option '--tims=3'; did you mean '--times'? (known: --help, --times)",
        ),
        (["hello", "x"], "secateur hello: unexpected argument 'x'; see secateur hello --help"),
        (
            ["hello", "--times", "x"],
            "secateur hello: argument --times: invalid int value: 'x'; see secateur hello --help",
        ),
        (
            ["--debg"],
            "secateur: unknown option '--debg'; did you mean '--debug'? "
            "(known: --debug, --disable, --help, --plugin-file, --version)",
        ),
        (["--disable"], "secateur: argument --disable: expected one argument; see secateur --help"),
        (
            ["--disable", "gret", "hello"],
            "--disable: plugin 'gret' is not installed; did you mean 'greet'? (known: greet)",
        ),
        (["--disable", "core", "hello"], "--disable: plugin 'core' cannot be disabled"),
        (
            ["--plugin-file", "no/such.py", "hello"],
            "no/such.py: there is no such plugin file; check the path",
        ),
    ],
)
def test_refusals_are_one_line_on_stderr(
    dists: Any, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    dists.add("greet", command())
    assert main(arguments) == 2
    assert capsys.readouterr() == ("", f"error: {message}\n")


LONG = "raise SecateurError('w ' * 200, where='a[/b]', hint='do [bold]that[/bold]')"


def test_an_error_is_not_wrapped_nor_read_as_markup(
    dists: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    dists.add("greet", command(f"from secateur.errors import SecateurError; {LONG}"))
    assert main(["hello"]) == 2
    assert capsys.readouterr().err == f"error: a[/b]: {'w ' * 200}; do [bold]that[/bold]\n"


def test_debug_shows_the_traceback_of_an_error_and_its_cause(dists: Any, capsys: pytest.CaptureFixture[str]) -> None:
    body = "from secateur.errors import SecateurError; raise SecateurError('bad') from KeyError('why')"
    dists.add("greet", command(body))
    assert main(["--debug", "hello"]) == 2
    err = capsys.readouterr().err
    assert "Traceback (most recent call last)" in err
    assert "KeyError: 'why'" in err
    assert err.endswith("error: bad\n")


def test_a_bug_propagates_with_a_note_on_whose_it_is(dists: Any) -> None:
    dists.add("greet", command("raise ZeroDivisionError('oops')"))
    with pytest.raises(ZeroDivisionError) as error:
        main(["hello"])
    assert error.value.__notes__ == [
        "internal error in 'secateur hello' of fake-greet 1.0 (plugin greet): please report it there"
    ]


def test_an_interrupt_is_130(dists: Any, capsys: pytest.CaptureFixture[str]) -> None:
    dists.add("greet", command("raise KeyboardInterrupt"))
    assert main(["hello"]) == 130
    assert capsys.readouterr().err == "interrupted: stopped by the user\n"


def test_failed_plugins_are_warned_of_once_and_the_command_runs(dists: Any, capsys: pytest.CaptureFixture[str]) -> None:
    dists.add("greet", command())
    dists.add("broken", "import no_such_module")
    assert main(["hello"]) == 0
    out, err = capsys.readouterr()
    assert out == "hello 1\n"
    assert err == (
        "warning: plugin 'broken' (fake-broken 1.0) failed: ModuleNotFoundError: No module named 'no_such_module'\n"
    )


def test_a_plugin_that_fails_while_the_command_runs_is_warned_of_too(
    dists: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    dists.add("greet", command("from secateur.plugins import current; current().models"))
    dists.add("empty", "@hookimpl\ndef secateur_models(): pass")
    assert main(["hello"]) == 0
    assert capsys.readouterr().err == (
        "warning: plugin 'empty' (fake-empty 1.0) failed: "
        "secateur_models: secateur_models returned None; return a list of ModelEntry\n"
    )


def test_debug_shows_why_a_plugin_failed(dists: Any, capsys: pytest.CaptureFixture[str]) -> None:
    dists.add("broken", "import no_such_module")
    assert main(["--debug"]) == 0
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_disabling_a_plugin_takes_its_command_away(dists: Any, capsys: pytest.CaptureFixture[str]) -> None:
    dists.add("greet", command())
    assert main(["--disable", "greet", "hello"]) == 2
    assert capsys.readouterr().err == (
        f"error: no command named 'hello'; (known: {', '.join(sorted(CORE))}); disabled plugins: greet\n"
    )


def test_options_after_the_command_are_the_commands(dists: Any, capsys: pytest.CaptureFixture[str]) -> None:
    dists.add("greet", command())
    assert main(["hello", "--debug"]) == 2
    assert capsys.readouterr().err.startswith("error: secateur hello: unknown option '--debug'; ")


def test_a_plugin_file_adds_a_command(dists: Any, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    import textwrap

    file = tmp_path / "mine.py"
    source = "from secateur.hookspecs import hookimpl\nfrom secateur.records import Command\n"
    file.write_text(source + textwrap.dedent(command(name="mine")))
    assert main(["--plugin-file", str(file), "mine"]) == 0
    assert capsys.readouterr().out == "hello 1\n"


def test_two_plugins_with_one_command_are_refused_and_disabling_one_helps(
    dists: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    dists.add("one", command())
    dists.add("two", command())
    assert main(["hello"]) == 2
    assert capsys.readouterr().err.startswith(
        "error: the command 'hello' is provided by fake-one 1.0 (plugin one) "
        "and by fake-two 1.0 (plugin two); disable one plugin"
    )
    assert main(["--disable", "two", "hello"]) == 0
