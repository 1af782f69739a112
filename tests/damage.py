"""Whole files damaged as editors, disks and strangers damage them, for tests that all of it is refused in words."""

from __future__ import annotations

import copy
import os
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from rnabench.errors import MOST_LINES

MANY = settings(max_examples=int(os.environ.get("RNABENCH_FUZZ", "15")), deadline=None, derandomize=True,
                suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture,
                                       HealthCheck.data_too_large, HealthCheck.large_base_example])
"""Few examples of a property that takes long; RNABENCH_FUZZ says how many instead."""


def nested(depth: int) -> Any:
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


SCALARS = (None, True, 0, -1, 3, 10**6, 2**31, 2**63, 10**400, 0.5, -1e-9, 1e308, float("nan"), float("inf"), "", "x",
           "1", "../x", "/", "a\nb", "[/]", "x" * 5000, "\ud800", "\0", "8/255", "pgd20", "eot:0", "bn+in")
values = st.sampled_from(SCALARS) | st.sampled_from(
    ([], {}, [1], ["x"], [[]], {"x": 1}, {"": None}, [None] * 40, nested(40), nested(400))).map(copy.deepcopy)


def places(content: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) in a JSON-like value."""
    if not isinstance(content, dict | list):
        return []
    keys = list(content) if isinstance(content, dict) else list(range(len(content)))[:20]
    return [place for key in keys for place in [(content, key), *places(content[key])]]


@st.composite
def damaged(draw: st.DrawFn, content: Any) -> Any:
    """The content with one to three faults: a value of another kind, a missing key, one too many, a value twice."""
    content = copy.deepcopy(content)
    for _ in range(draw(st.integers(1, 3))):
        found = places(content)
        if not found:
            return content
        container, key = found[draw(st.integers(0, len(found) - 1))]
        kind = draw(st.sampled_from(("replace", "replace", "replace", "remove", "add", "again")))
        if kind == "replace":
            container[key] = draw(values)
        elif kind == "remove":
            del container[key]
        elif kind == "add" and isinstance(container, dict):
            container[draw(st.sampled_from(("x", "", "a\nb", "../x", "eps", "name")))] = draw(values)
        elif kind == "again" and isinstance(container, list):
            container.append(copy.deepcopy(container[key]))
    return content


def assert_told(error: Exception, lines: int = MOST_LINES + 1) -> None:
    """An error in words: lines that say something, none of which is broken or without an end."""
    told = str(error).split("\n")
    assert len(told) <= lines
    for line in told:
        assert line.strip()
        assert line.splitlines() == [line]
        assert len(line) < 10_000
