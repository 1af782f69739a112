"""rnabench: a robustness benchmark for randomised defences, built around Random Normalization Aggregation.

Importing the package is cheap: torch is loaded when one of the names below is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Path", "PathSpace", "RandomizedClassifier", "build_model", "load_model", "read_results", "use_path"]

if TYPE_CHECKING:
    from rnabench.model.classifier import RandomizedClassifier
    from rnabench.model.factory import build_model
    from rnabench.model.saved import load_model
    from rnabench.path.choice import use_path
    from rnabench.path.path import Path
    from rnabench.path.space import PathSpace
    from rnabench.report.table import read_results

_HOMES = {
    "Path": "rnabench.path.path",
    "PathSpace": "rnabench.path.space",
    "RandomizedClassifier": "rnabench.model.classifier",
    "build_model": "rnabench.model.factory",
    "load_model": "rnabench.model.saved",
    "read_results": "rnabench.report.table",
    "use_path": "rnabench.path.choice",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'rnabench' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
