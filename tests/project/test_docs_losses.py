"""The examples on the page about losses are true, and it tells every loss and setting."""

from __future__ import annotations

import doctest
import re
import tomllib
from pathlib import Path

import pytest

from manylabel.losses import LOSSES
from manylabel.losses import counts as counts_module

PAGE = Path(__file__).parents[2] / "docs" / "losses.md"
TEXT = PAGE.read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def section(name):
    return TEXT.split(f"\n## {name}\n")[1].split("\n## ")[0]


def test_examples():
    test = doctest.DocTestParser().get_doctest("".join(blocks("pycon")), {}, PAGE.name, "", 0)
    failed, tried = doctest.DocTestRunner().run(test)
    assert tried >= 6
    assert failed == 0
    assert doctest.testmod(counts_module).failed == 0


def test_recipes():
    for recipe in blocks("toml"):
        loss = tomllib.loads(recipe)["loss"]
        LOSSES[loss["name"]][0].model_validate(loss)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_has_a_row_and_a_section_with_its_settings(name):
    assert re.search(rf"^\| `{name}` \|", TEXT, re.MULTILINE)
    common = {"name", "reduction", "unknown"}
    for setting in LOSSES[name][0].model_fields.keys() - common:
        assert f"`{setting}" in section(name), setting


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("option", ["negative", "smoothed-negative", "entropy"])
def test_the_table_says_which_unknowns_go_with_it(name, option):
    row = re.search(rf"^\| `{name}` \|.*\|(.*)\|$", TEXT, re.MULTILINE)
    assert row is not None
    goes, but, without = row[1].partition("but")
    said = f"`{option}`" not in without if but else "any" in goes or f"`{option}`" in goes
    try:
        LOSSES[name][0].model_validate({"unknown": {"name": option}})
    except ValueError:
        assert not said
    else:
        assert said
