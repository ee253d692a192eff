"""What reads files of users: images are opened in one place, and no program is started."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src" / "manylabel"
OPENING = {"images/opening.py"}

STARTING = {
    "data/formats/matlab.py",  # a child of our own, because scipy can crash on damaged files
    "data/synthetic/folder.py",  # processes of our own that draw images and read nothing
}

STARTS = ("system", "popen", "exec", "spawn", "posix_spawn", "fork", "startfile")
IMPORTS = {"subprocess", "multiprocessing", "pty", "ProcessPoolExecutor"}


def calls(path: Path) -> Iterator[str]:
    """What a module calls, as it is written: `Image.open`, `os.system`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def imports(path: Path) -> Iterator[str]:
    """The modules that a module imports, and the names that it takes from them."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module)
            yield from (alias.name for alias in node.names)


def modules_where(search: Callable[[Path], list[str]]) -> set[str]:
    """The modules in which the search finds something."""
    return {path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*.py") if search(path)}


def opens_images(path: Path) -> list[str]:
    return [
        call
        for call in calls(path)
        if call in {"Image.open", "PIL.Image.open", "imread", "plt.imread", "read_image"}
        or call.split(".")[-1].endswith("ImageFile")
    ]


def starts_programs(path: Path) -> list[str]:
    found = [call for call in calls(path) if call.startswith("os.")]
    return [call for call in found if call.removeprefix("os.").startswith(STARTS)] + [
        name for name in imports(path) if name in IMPORTS
    ]


def test_images_are_opened_in_one_place() -> None:
    assert modules_where(opens_images) == OPENING


def test_nothing_that_reads_files_starts_a_program() -> None:
    assert modules_where(starts_programs) == STARTING


def test_the_search_finds_what_it_looks_for(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("Image.open(a)\nJpegImageFile(b)\nos.system(c)\nfrom subprocess import run\n")
    assert opens_images(module) == ["Image.open", "JpegImageFile"]
    assert starts_programs(module) == ["os.system", "subprocess"]
