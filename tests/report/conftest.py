from __future__ import annotations

import pytest

from rnabench.report.record_file import read_record
from tests.report.planted import RESULTS, Records


@pytest.fixture(scope="session")
def committed() -> Records:
    """Of the quickstart; not to be changed."""
    return {name: read_record(RESULTS / "quickstart" / f"{name}.json").content() for name in ("bn", "bn+in")}
