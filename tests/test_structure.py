"""The arrows between packages point one way, and what must start fast loads little."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

import rnabench

ROOT = Path(rnabench.__file__).parent
ALLOWED = {  # package -> what it may import of this project, besides the modules at the top
    "path": set(),
    "norm": {"path"},
    "model": {"norm", "path"},
    "data": set(),
    "attack": {"path"},
    "training": {"attack", "data", "model", "norm", "path"},
    "evaluation": {"attack", "data", "model", "norm", "path"},
    "reference": set(),
    "report": {"attack", "evaluation", "norm", "reference"},
    "analysis": {"attack", "data", "model", "norm", "path", "training", "evaluation"},
    "cli": {"analysis", "attack", "data", "evaluation", "model", "norm", "path", "report", "training"},
}


def imports(file: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
    return found


@pytest.mark.parametrize("package", ALLOWED)
def test_arrows(package: str) -> None:
    packages = set(ALLOWED)
    for file in (ROOT / package).rglob("*.py"):
        used = {name.split(".")[1] for name in imports(file) if name.startswith("rnabench.")}
        assert (used & packages) - {package} <= ALLOWED[package], file


def test_what_is_random_knows_nothing_of_norms() -> None:
    for file in (ROOT / "path").rglob("*.py"):
        code = "\n".join(line for line in file.read_text().lower().splitlines())
        assert "norm" not in code.replace("nothing here knows", ""), file


@pytest.mark.parametrize("module", ["rnabench", "rnabench.recipe", "rnabench.report.table", "rnabench.report.record",
                                    "rnabench.cli.main", "rnabench.evaluation.interval",
                                    "rnabench.study_plan", "rnabench.report.studies", "rnabench.report.regression",
                                    "rnabench.report.page.render", "rnabench.recipe_file"])
def test_loads_without_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_help_is_fast_and_loads_no_torch() -> None:
    code = ("import sys; from rnabench.cli.main import main\n"
            "try: main(['--help'])\nexcept SystemExit: pass\nsys.exit('torch' in sys.modules)")
    fastest = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        fastest = min(fastest, time.perf_counter() - started)
        assert done.returncode == 0, done.stderr
        assert "train" in done.stdout
    assert fastest < 0.5
