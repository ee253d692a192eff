"""The rules of CONTRIBUTING.md that no linter checks."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import Counter
from importlib import import_module
from pathlib import Path

import click
import pytest

from manylabel.cli.main import cli

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "manylabel"
TESTS = ROOT / "tests"
MODULES = sorted(SOURCE.rglob("*.py"))
LONGEST_FUNCTION, LONGEST_FILE = 60, 400


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# Sizes


def test_no_function_is_too_long():
    """Lines from `def` to the last one, the docstring included."""
    long = [
        f"{relative(path)}: {node.name} has {lines} lines"
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > LONGEST_FUNCTION
    ]
    assert not long


def test_no_file_is_too_long():
    lengths = {
        relative(path): len(path.read_text(encoding="utf-8").splitlines()) for path in MODULES
    }
    assert len(lengths) > 100
    assert not {name: lines for name, lines in lengths.items() if lines > LONGEST_FILE}


# Imports

IMPORT_ALL = """
import logging, os, sys, threading
from importlib import import_module
from pkgutil import walk_packages

import manylabel
import manylabel.cli.main
assert "torch" not in sys.modules, "torch is imported by the command line's frame"

names = {}
exec("from manylabel import *", names)  # in a fresh process, where nothing is loaded yet
assert set(manylabel.__all__) <= set(names)

import lightning_fabric, timm, torch  # these set environment variables of their own
before = dict(os.environ), logging.root.handlers[:], threading.active_count(), set(sys.path)
count = 0
for module in walk_packages(manylabel.__path__, "manylabel."):
    if module.name != "manylabel.__main__":
        import_module(module.name)
        after = dict(os.environ), logging.root.handlers[:], threading.active_count(), set(sys.path)
        assert after == before, f"importing {module.name} has an effect"
        count += 1
assert count > 100, count
"""


def test_importing_a_module_has_no_effect():
    """No output, warning, thread, environment variable or log handler; all in one process."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORT_ALL], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# Names

PACKAGES = {
    ".".join(["manylabel", *path.parent.relative_to(SOURCE).parts]): path
    for path in MODULES
    if path.name == "__init__.py" and path.parent != SOURCE
}


def exported(package: str) -> set[str]:
    """The public names that a package defines, or takes from its own modules."""
    names: set[str] = set()
    for node in ast.parse(PACKAGES[package].read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith(f"{package}."):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return {name for name in names if not name.startswith("_")}


@pytest.mark.parametrize("package", PACKAGES)
def test_all_is_what_a_package_exports(package: str):
    listed = getattr(import_module(package), "__all__", [])
    assert len(listed) == len(set(listed))
    assert set(listed) == exported(package)


# The command line


def parameters(command: click.Command, path: str) -> dict[str, click.Parameter]:
    """Every flag below a command, by the words it is called with."""
    found = {f"{path} {each.opts[0]}": each for each in command.params}
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            found |= parameters(inner, f"{path} {name}")
    return found


def test_every_flag_says_what_it_does():
    """The page of the command line is made of these words."""
    flags = {
        name: each
        for name, each in parameters(cli, "manylabel").items()
        if isinstance(each, click.Option)
    }
    assert len(flags) > 60
    assert not [name for name, each in flags.items() if not each.help]
    assert not [name for name, each in flags.items() if each.hidden]


# The tests


def test_unit_tests_mirror_the_package():
    """`tests/unit/ROOM/test_ROOM_MODULE.py`; what is right under the package needs no room."""
    strays = []
    for path in sorted((TESTS / "unit").rglob("test_*.py")):
        rooms = path.parent.relative_to(TESTS / "unit").parts
        names = ["_".join(rooms[start:]) for start in range(len(rooms))] or [
            module.stem for module in SOURCE.glob("[a-z]*.py")
        ]
        there = (SOURCE / Path(*rooms)).is_dir()
        if not there or not any(f"{path.stem}_".startswith(f"test_{name}_") for name in names):
            strays.append(relative(path))
    assert not strays


def test_names_of_test_files_are_unique():
    """pytest imports them by their name alone."""
    names = Counter(path.name for path in TESTS.rglob("*.py"))
    assert not [name for name, number in names.items() if number > 1]
