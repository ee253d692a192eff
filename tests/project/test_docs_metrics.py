"""The examples in the docstrings and on the page about metrics are true."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


@pytest.mark.parametrize("name", ["ranking", "decisions", "profiles", "additional", "accumulate"])
def test_docstrings(name):
    failed, tried = doctest.testmod(importlib.import_module(f"manylabel.metrics.{name}"))
    assert tried > 0
    assert failed == 0


def test_page():
    examples = "\n".join(re.findall(r"```pycon\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL))
    test = doctest.DocTestParser().get_doctest(examples, {}, PAGE.name, str(PAGE), 0)
    failed, tried = doctest.DocTestRunner().run(test)
    assert tried > 15
    assert failed == 0
