"""The examples on the page about unknown labels are true, and it tells every option."""

from __future__ import annotations

import doctest
import re
import tomllib
from pathlib import Path
from typing import get_args

from manylabel.losses import LOSSES, UnknownConfig

PAGE = Path(__file__).parents[2] / "docs" / "unknown-labels.md"
TEXT = PAGE.read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_examples():
    test = doctest.DocTestParser().get_doctest("".join(blocks("pycon")), {}, PAGE.name, "", 0)
    failed, tried = doctest.DocTestRunner().run(test)
    assert tried > 8
    assert failed == 0


def test_recipes():
    (recipe,) = blocks("toml")
    loss = tomllib.loads(recipe)["loss"]
    assert LOSSES[loss["name"]][0].model_validate(loss).unknown.name == "entropy"


def test_every_option_and_setting_has_a_row():
    rows = [line for line in TEXT.splitlines() if line.startswith("| `")]
    choices, *_ = get_args(UnknownConfig)
    for choice in get_args(choices):
        name = choice.model_fields["name"].default
        (row,) = [row for row in rows if row.startswith(f"| `{name}` |")]
        for setting in choice.model_fields.keys() - {"name"}:
            assert f"`{setting}`" in row, setting
