"""The documents say what the code does."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from docs.generate import DOCS, PAGES
from manylabel.data.read import READERS

ROOT = DOCS.parent
TEXTS = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md")])


@pytest.fixture(scope="module")
def pages():
    """The pages made from the code, in a process of its own: click remembers its first call."""
    code = "import json, docs.generate as g; print(json.dumps({k: g.PAGES[k]() for k in g.PAGES}))"
    made = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return json.loads(made.stdout)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_made_from_the_code_is_up_to_date(pages, name):
    assert (DOCS / name).read_text(encoding="utf-8") == pages[name], "run: make docs"


def test_links_within_the_project_lead_somewhere():
    broken = [
        f"{path.name}: {target}"
        for path in TEXTS
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text(encoding="utf-8"))
        if not target.startswith(("http:", "https:")) and not (path.parent / target).exists()
    ]
    assert not broken


def test_files_that_are_named_exist():
    """Names in code style that look like files of the project."""
    names = r"`((?:src|tests|docs|recipes|benchmarks)/[\w./-]+)`"
    missing = [
        f"{path.name}: {name}"
        for path in TEXTS
        for name in re.findall(names, path.read_text(encoding="utf-8"))
        if not (ROOT / name).exists()
    ]
    assert not missing


def test_the_readme_draws_every_module():
    """The annotated tree names each file and folder right under the package."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in sorted((ROOT / "src" / "manylabel").iterdir()):
        if path.name not in {"__pycache__", "__main__.py", "py.typed"}:
            assert path.name in text, path.name


def test_every_recipe_is_in_the_readme_or_the_docs():
    texts = "".join(path.read_text(encoding="utf-8") for path in TEXTS)
    for path in sorted((ROOT / "recipes").glob("*.toml")):
        assert path.stem in texts, path.stem
    assert Path(ROOT / "recipes").is_dir()


def test_the_data_page_lists_every_kind():
    text = (DOCS / "data.md").read_text(encoding="utf-8")
    assert re.findall(r"\]\(formats/([\w-]+)\.md\)", text) == sorted(
        READERS, key=lambda kind: text.index(f"formats/{kind}.md")
    )
