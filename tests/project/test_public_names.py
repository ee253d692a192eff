"""What `import manylabel` offers."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

import manylabel


def test_all_is_what_is_exported() -> None:
    assert manylabel.__all__ == sorted(manylabel.__all__)
    assert set(manylabel.__all__) == set(manylabel._HOMES)
    assert set(manylabel.__all__) <= set(dir(manylabel))


def test_type_checkers_see_what_is_loaded() -> None:
    tree = ast.parse(Path(manylabel.__file__).read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == manylabel._HOMES


@pytest.mark.parametrize("name", manylabel.__all__)
def test_a_name_is_the_thing_itself(name: str) -> None:
    value = getattr(manylabel, name)
    assert value is getattr(import_module(manylabel._HOMES[name]), name)
    assert value.__module__ == manylabel._HOMES[name]
    assert value.__doc__


@pytest.mark.parametrize("name", ["Nonsense", "torch", "evaluated"])
def test_other_names_are_not_there(name: str) -> None:
    with pytest.raises(AttributeError, match=f"no attribute '{name}'"):
        getattr(manylabel, name)
