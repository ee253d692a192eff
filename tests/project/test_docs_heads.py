"""The heads' pages: their examples run and their recipes are recipes."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest
import torch

from manylabel.config import read_toml
from manylabel.models.heads import HEADS
from manylabel.train.config import resolve

PAGES = Path(__file__).parents[2] / "docs" / "heads"
NAMES = (
    "linear",
    "srn-att",
    "semantic",
    "ml-gcn",
    "csra",
    "ml-decoder",
    "query2label",
    "srn-modern",
)


def blocks(name: str, language: str) -> list[str]:
    page = (PAGES / f"{name}.md").read_text("utf-8")
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


@pytest.mark.parametrize("name", ["linear", "ml-gcn", "srn-modern"])
def test_examples(name):
    with torch.random.fork_rng(devices=[]):
        examples = "\n".join(blocks(name, "pycon"))
        test = doctest.DocTestParser().get_doctest(examples, {}, name, "", 0)
        failed, tried = doctest.DocTestRunner().run(test)
    assert tried
    assert failed == 0


@pytest.mark.parametrize("name", NAMES)
def test_the_recipe_trains_this_head(name, tmp_path):
    (example,) = blocks(name, "toml")
    path = tmp_path / "recipe.toml"
    path.write_text(example)
    run = resolve(read_toml(path), where="recipe")
    assert isinstance(run.head, HEADS[name].Config)


@pytest.mark.parametrize("name", ["srn-att", "semantic"])
def test_the_table_of_steps_is_the_codes(name):
    page = (PAGES / f"{name}.md").read_text("utf-8")
    rows = re.findall(r"^\| \d \| `([\w-]+)` \| .* \| (.*) \| (.*) \|$", page, re.MULTILINE)
    assert len(rows) == 3
    for kind, losses, scores in rows:
        plan = HEADS[name].steps[kind]
        named = {"final": "y", "cls": "y_cls", "att": "y_att"}
        assert losses == " + ".join(named[branch] for branch in plan.losses)
        assert scores == named[plan.scores]
