"""What is installed for a library that asks for it, and is never used."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import rnabench

ROOT = Path(rnabench.__file__).parent
IMPORT_ALL = """
import importlib, sys
for name in ("requests", "urllib3", "idna", "chardet"):
    sys.modules[name] = None  # whoever imports it gets an ImportError
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def test_nothing_imports_what_torchattacks_pins() -> None:
    """SECURITY.md says so: their advisories concern those who make web requests."""
    files = [file.relative_to(ROOT.parent).with_suffix("") for file in sorted(ROOT.rglob("*.py"))]
    names = [".".join(file.parts).removesuffix(".__init__") for file in files if file.name != "__main__"]
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", IMPORT_ALL, "torchattacks", "pyautoattack", *names],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_pin_is_told() -> None:
    required = ["".join(each for each in line if each not in " ()") for line in metadata.requires("torchattacks") or ()]
    pins = [line for line in required if line.startswith("requests")]
    if pins != ["requests~=2.25.1"]:
        pytest.skip("this release of torchattacks has another one")
    text = (ROOT.parent / "SECURITY.md").read_text()
    assert all(word in text for word in ("requests~=2.25.1", "pip install --upgrade requests urllib3 idna"))
