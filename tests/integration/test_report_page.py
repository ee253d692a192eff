"""A run's page in a real browser: it opens without an error, and its table can be sorted."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from manylabel.train.page.content import Result, RunPage, write_run_page

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

AP = {"cat": 0.9, "owl": None, "bee": 0.05, "dog": 0.3}


def result(name: str, gain: float) -> Result:
    labels = [
        {"label": label, "positives": 10 * i, "AP": None if ap is None else ap + gain * i}
        for i, (label, ap) in enumerate(AP.items())
    ]
    return Result(name, {"num_images": 9, "mAP": 0.4 + gain, "top3": {}, "labels": labels})


def dump(page: Path, profile: Path) -> tuple[str, list[str]]:
    """The page's DOM after its scripts ran, and what the console said."""
    flags = (
        "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking "
        "--disable-component-update --disable-sync --enable-logging=stderr --dump-dom"
    )
    command = [str(CHROMIUM), *flags.split(), f"--user-data-dir={profile}", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def rows(dom: str) -> list[str]:
    table = dom.partition("<table data-sortable")[2].partition("</table>")[0]
    return re.findall(r'<th scope="row">(\w+)</th>', table)


@pytest.mark.parametrize(
    ("presses", "order", "sort"),
    [
        ([], ["cat", "owl", "bee", "dog"], None),
        ([0], ["bee", "cat", "dog", "owl"], "ascending"),
        ([0, 0], ["owl", "dog", "cat", "bee"], "descending"),
        ([2], ["cat", "dog", "bee", "owl"], "descending"),
        ([2, 2], ["bee", "dog", "cat", "owl"], "ascending"),
        ([2, 4], ["dog", "bee", "cat", "owl"], "descending"),
    ],
)
def test_the_table_sorts_without_a_complaint(tmp_path, presses, order, sort):
    report = RunPage(title="t", results=[result("baseline", 0), result("SRN", 0.1)])
    page = write_run_page(tmp_path / "report.html", report)
    press = "".join(
        f'document.querySelectorAll("table[data-sortable] button")[{i}].click();' for i in presses
    )
    html = page.read_text("utf-8").replace("</body>", f"<script>{press}</script></body>")
    page.write_text(html, "utf-8")
    dom, complaints = dump(page, tmp_path / "profile")
    assert complaints == []
    assert rows(dom) == order
    assert re.findall(r'aria-sort="(\w+)"', dom) == ([sort] if sort else [])
