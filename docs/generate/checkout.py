"""The repository that the pages describe: this checkout, whatever else is installed."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))
