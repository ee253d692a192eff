"""Every example in Python of the documents runs, with a small bundle and a few images."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from manylabel.data.synthetic import LABELS, draw_scenes
from manylabel.models.heads import SRNConfig

ROOT = Path(__file__).parents[2]
TEXTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES = [
    pytest.param(content, id=f"{path.stem}-{number}")
    for path in TEXTS
    for number, (mark, content) in enumerate(BLOCK.findall(path.read_text("utf-8")), start=1)
    if not mark.strip()
]

NOT_RUN: dict[str, int] = {}
"""Pages with examples that cannot run here, marked by `python not-run`, and how many they have."""


@pytest.fixture(scope="module")
def place(make_bundle, make_image, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the examples name: a run of the demo, scenes and photographs."""
    folder = tmp_path_factory.mktemp("docs")
    head = SRNConfig(attention_channels=8, relation_channels=8)
    make_bundle(folder / "runs" / "demo" / "bundle", head=head, labels=tuple(LABELS))
    draw_scenes(
        folder / "scenes", seed=0, counts={"train": 2, "val": 2, "test": 8}, size=64, workers=1
    )
    (folder / "runs" / "demo" / "scenes").symlink_to(folder / "scenes")
    (folder / "docs" / "images").mkdir(parents=True)
    for seed, name in enumerate(["photo.jpg", "one.jpg", "two.jpg", "photos/a.jpg"]):
        make_image(folder / name, seed)
    (folder / "photos" / "bad.jpg").write_bytes(b"no image")
    rows = [
        f"{i}.jpg,{'cat' if i % 2 else 'dog'},{'test' if i < 4 else 'train'}" for i in range(16)
    ]
    (folder / "photos.csv").write_text("\n".join(["image,labels,split", *rows]), "utf-8")
    for seed in range(16):
        make_image(folder / f"{seed}.jpg", seed)
    return folder


def given() -> dict[str, object]:
    """What examples about figures have at hand: scores and targets [N, C] of any model."""
    rng = np.random.default_rng(0)
    targets = (rng.random((80, 3)) < 0.4).astype(np.int8)
    scores = np.clip(0.3 + 0.4 * targets + rng.normal(0, 0.2, targets.shape), 0, 1)
    return {"scores": scores, "targets": targets, "new_scores": scores[:5]}


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_runs(example: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    with torch.random.fork_rng(devices=[]):
        exec(compile(example, "example", "exec"), {"__name__": "example", **given()})
    assert Path(os.getcwd()) == place


def test_every_example_is_run_or_counted() -> None:
    found: dict[str, int] = {}
    for path in TEXTS:
        text = path.read_text("utf-8")
        opened = re.findall(r"^ *```+ *(?:python|py)\b(?!con)(.*)$", text, re.MULTILINE)
        run = [mark for mark, _ in BLOCK.findall(text) if not mark.strip()]
        if left := len(opened) - len(run):
            found[path.name] = left
    assert found == NOT_RUN
    assert len(EXAMPLES) > 12
