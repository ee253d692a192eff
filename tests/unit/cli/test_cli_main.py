"""The frame of the command line: what it imports, what it catches, how it ends."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import click
import pytest

from manylabel import __version__, errors
from manylabel.cli import main as frame
from manylabel.cli.main import COMMANDS, CommandEntry, cli, main

HEAVY = ("torch", "numpy", "pydantic", "rich", "timm", "PIL")


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    return int(ended.value.code or 0)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch):
    """Registers `manylabel boom`, which does what the test wants."""

    def register(does) -> None:
        boom = click.Command("boom", callback=does)
        monkeypatch.setattr(frame, "boom", boom, raising=False)
        monkeypatch.setitem(COMMANDS, "boom", CommandEntry("manylabel.cli.main:boom", "Fails."))

    return register


# What is imported


LIGHT = ["--help", "--version", *(f"{name} --help" for name in COMMANDS), "nonsense"]


def test_help_imports_nothing_heavy() -> None:
    """In one process of its own: the first call that imports too much is named."""
    code = (
        "import sys\n"
        "import manylabel\n"
        "def check(call):\n"
        f"    heavy = [name for name in {HEAVY} if name in sys.modules]\n"
        "    assert not heavy, f'{call} imports {heavy}'\n"
        "check('import manylabel')\n"
        "from manylabel.cli.main import main\n"
        "for call in sys.argv[1:]:\n"
        "    try: main(call.split())\n"
        "    except SystemExit: pass\n"
        "    check(call)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *LIGHT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage: ") == 1 + len(COMMANDS)


# The list of commands


def test_help_lists_the_commands_in_the_order_of_the_work(capsys) -> None:
    assert run("--help") == 0
    listed = capsys.readouterr().out.partition("Commands:\n")[2].splitlines()
    names = [line.split()[0] for line in listed if not line.startswith("   ")]
    assert names == list(COMMANDS)
    assert list(COMMANDS) == [
        "demo",
        "label",
        "train",
        "evaluate",
        "score",
        "compare",
        "tune",
        "report",
        "predict",
        "explain",
        "audit",
        "relations",
        "models",
        "data",
    ]


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_what_the_command_says(name: str) -> None:
    found = cli.get_command(click.Context(cli), name)
    assert found is not None
    assert found.name == name
    assert found.get_short_help_str(limit=200) == COMMANDS[name].help


def commands(group: click.Command, path: tuple[str, ...] = ()) -> dict[str, click.Command]:
    if not isinstance(group, click.Group):
        return {" ".join(path): group}
    context = click.Context(group)
    found = {}
    for name in group.list_commands(context):
        inner = group.get_command(context, name)
        assert inner is not None
        found |= commands(inner, (*path, name))
    return found


def test_every_command_shows_an_example(capsys) -> None:
    for path in commands(cli):
        assert run(*path.split(), "--help") == 0
        shown = capsys.readouterr().out
        assert f"    manylabel {path}" in shown, f"{path}: lines of the example are kept"
        assert "\b" not in shown


def test_the_version_is_the_packages(capsys) -> None:
    assert run("--version") == 0
    assert __version__ in capsys.readouterr().out


def test_python_m_manylabel_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "manylabel", "--version"], capture_output=True, text=True, check=True
    )
    assert __version__ in done.stdout


# How it ends


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (errors.ConfigError, 2),
        (errors.DataError, 2),
        (errors.ImageError, 2),
        (errors.BundleError, 2),
        (errors.CheckpointError, 2),
        (errors.MissingExtraError, 2),
        (errors.RunError, 1),
        (errors.StoppedError, 130),
    ],
)
def test_a_users_mistake_is_told_without_a_traceback(command, capsys, kind, code: int) -> None:
    def fails() -> None:
        raise kind("It broke.", where="here", fix="Mend it.")

    command(fails)
    assert run("boom") == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "Error: It broke.\n  where: here\n  fix:   Mend it.\n"


@pytest.mark.parametrize("kind", [ValueError, AssertionError, EOFError, KeyError, OSError])
def test_our_own_faults_are_not_caught(command, kind) -> None:
    def fails() -> None:
        raise kind("ours")

    command(fails)
    with pytest.raises((kind, click.Abort)) as caught:
        main(["boom"])
    assert isinstance(caught.value, kind) or isinstance(caught.value.__cause__, kind)


def test_an_interrupt_ends_with_130_and_a_line(command, capsys) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    command(interrupted)
    assert run("boom") == 130
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.strip() == "Interrupted."


def test_a_commands_own_exit_code_is_kept(command) -> None:
    command(lambda: click.get_current_context().exit(1))
    assert run("boom") == 1


def test_a_commands_result_is_no_exit_code(command) -> None:
    command(lambda: 3)
    assert run("boom") == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["--nonsense"], "No such option"),
        (["predict"], "Missing argument 'BUNDLE'"),
        (["predict", "bundle"], "Missing argument 'PATHS...'"),
        (["evaluate", "bundle"], "Missing option '--data'"),
        (["evaluate", "bundle", "--data", "x", "--split", "tset"], "'tset'"),
        (["predict", "bundle", "x.jpg", "--top", "0"], "--top"),
        (["predict", "bundle", "x.jpg", "--threshold", "1.5"], "--threshold"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_wrong_usage_exits_2(capsys, arguments: list[str], said: str) -> None:
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert said in captured.err


@pytest.mark.xdist_group("processes")
def test_ctrl_c_in_the_middle_of_work() -> None:
    code = (
        "import click, signal, sys, time\n"
        # A test run in the background of a script is started with Ctrl-C ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from manylabel.cli import main as frame\n"
        "def work():\n"
        "    print('working', flush=True)\n"
        "    time.sleep(30)\n"
        "frame.work = click.Command('work', callback=work)\n"
        "frame.COMMANDS['work'] = frame.CommandEntry('manylabel.cli.main:work', '')\n"
        "frame.main(['work'])\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "working\n"
            began = time.monotonic()
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=20)
        finally:
            process.kill()
    assert process.returncode == 130
    assert said.strip() == "Interrupted."
    assert time.monotonic() - began < 10


def test_too_little_memory_is_told_in_words(command, capsys) -> None:
    np = pytest.importorskip("numpy")
    for work in (lambda: np.empty(2**62, np.int8), lambda: bytearray(2**62)):
        command(work)
        assert run("boom") == 1
        said = capsys.readouterr().err
        assert said.startswith("Error: There is not enough memory")
        assert "Traceback" not in said
