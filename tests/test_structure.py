"""Every file lies in a room, the arrows between rooms point one way, and what must start fast loads little."""

from __future__ import annotations

import ast
import importlib
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import rnabench

ROOT = Path(rnabench.__file__).parent
LOOSE = {"__init__.py", "__main__.py", "errors.py", "seeding.py"}  # all that lies at the top
GROUND = {"errors", "seeding"}
ROOMS = {  # room -> the rooms that it may import from; what a room is for stands in its __init__.py
    "reference": set(),
    "settings": {"reference"},  # a recipe names a paper's table
    "path": set(),
    "runtime": {"settings"},
    "norm": {"path", "settings"},
    "model": {"norm", "path", "runtime", "settings"},
    "data": {"runtime", "settings"},
    "defence": {"data", "model", "path", "settings"},
    "attack": {"path", "settings"},
    "dense": {"attack", "data", "model", "settings"},
    "scoring": {"settings"},
    "training": {"attack", "data", "model", "norm", "path", "runtime", "settings"},
    "evaluation": {"attack", "data", "defence", "model", "norm", "path", "runtime", "scoring", "settings"},
    "report": {"reference", "runtime", "scoring", "settings"},
    "studies": {"attack", "data", "defence", "evaluation", "model", "norm", "path", "reference", "report", "runtime",
                "scoring", "settings"},
    "exchange": {"data", "model", "norm", "path", "runtime", "settings"},
    "jobs": {"attack", "data", "defence", "dense", "evaluation", "exchange", "model", "norm", "path", "report",
             "runtime", "scoring", "settings", "studies", "training"},
    "cli": {"exchange", "jobs", "model", "report", "runtime", "settings", "studies"},  # studies: only reads its files
}


def imports(file: Path) -> set[str]:
    """The dotted names of this project that a file imports, also inside functions and for types only."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} if node.module != "rnabench" else {f"rnabench.{name.name}" for name in node.names}
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return {name for name in found if name.startswith("rnabench.") and not name.startswith("rnabench.__")}


def test_nothing_lies_loose_and_every_room_is_named() -> None:
    assert {file.name for file in ROOT.glob("*.py")} == LOOSE
    assert {folder.name for folder in ROOT.iterdir() if (folder / "__init__.py").exists()} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_says_what_it_is_for(room: str) -> None:
    assert (importlib.import_module(f"rnabench.{room}").__doc__ or "").strip()


@pytest.mark.parametrize("room", ROOMS)
def test_arrows(room: str) -> None:
    for file in (ROOT / room).rglob("*.py"):
        used = {name.split(".")[1] for name in imports(file)}
        assert used - GROUND - {room} <= ROOMS[room], file


def test_no_circle_of_rooms() -> None:
    open_rooms = dict(ROOMS)
    while ground := [room for room, used in open_rooms.items() if not used & set(open_rooms)]:
        for room in ground:
            del open_rooms[room]
    assert not open_rooms


def test_no_circle_of_files() -> None:
    """Also inside a room, and not even by an import inside a function."""
    files = {"rnabench." + ".".join(file.relative_to(ROOT).with_suffix("").parts): imports(file)
             for file in ROOT.rglob("*.py") if file.name != "__init__.py"}
    while ground := [name for name, used in files.items() if not (used - {name}) & set(files)]:
        for name in ground:
            del files[name]
    assert not files


def test_the_ground_imports_nothing() -> None:
    assert not imports(ROOT / "errors.py")
    assert imports(ROOT / "seeding.py") <= {"rnabench.errors"}


def test_what_is_random_knows_nothing_of_norms() -> None:
    for file in (ROOT / "path").rglob("*.py"):
        code = "\n".join(line for line in file.read_text().lower().splitlines())
        assert "norm" not in code.replace("nothing here knows", ""), file


WITHOUT_TORCH = ["rnabench", "rnabench.cli.main", *(
    "rnabench." + ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for room in ("settings", "scoring", "report", "reference") for file in sorted((ROOT / room).rglob("*.py"))),
    *(f"rnabench.studies.{file.stem}" for file in sorted((ROOT / "studies").glob("*.py")) if file.stem != "__init__")]


def test_settings_scoring_report_and_studies_load_without_torch() -> None:
    code = (f"import importlib, sys\nfor name in {WITHOUT_TORCH}:\n    importlib.import_module(name)\n"
            "    if 'torch' in sys.modules: sys.exit(name)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_help_is_fast_and_loads_no_torch() -> None:
    code = ("import sys; from rnabench.cli.main import main\n"
            "try: main(['--help'])\nexcept SystemExit: pass\nsys.exit('torch' in sys.modules)")
    fastest = float("inf")
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # the processor's time: what a user waits for on a machine that does nothing else
        fastest = min(fastest, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert done.returncode == 0, done.stderr
        assert "train" in done.stdout
    assert fastest < 0.4
