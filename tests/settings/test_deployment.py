"""How a network is used: what may be said, what is left out, and what a reader sees of it."""

from __future__ import annotations

import pytest

from rnabench.errors import InvalidSettings
from rnabench.settings.base import from_options
from rnabench.settings.deployment import CHOICES, Deployment, with_use


def test_what_is_the_default_is_not_said() -> None:
    assert Deployment().changes() == {}
    assert Deployment(statistics="own", average=1).changes() == {}
    assert with_use("bn", Deployment().changes()) == "bn"
    used = Deployment(statistics="Running + batch", average=2)
    assert used.changes() == {"statistics": "running+batch", "average": 2}
    assert with_use("bn", used.changes()) == "bn, statistics running+batch, average 2"
    assert Deployment.model_validate(used.changes()) == used


@pytest.mark.parametrize("statistics", [*CHOICES, "own", "batch+running", "running+batch+running-mean"])
def test_the_sources_in_the_order_in_which_they_are_said(statistics: str) -> None:
    assert "+".join(Deployment(statistics=statistics).sources) == statistics


@pytest.mark.parametrize(("options", "words"), [
    ({"statistics": "bacth"}, "--statistics: 'bacth' is not valid; expected own, or one of running, batch, "
     "running-mean, or several of them joined by \\+; did you mean 'batch'\\?"),
    ({"statistics": "running+runing-mean"}, "did you mean 'running-mean'"),
    ({"statistics": "own+batch"}, "expected own"), ({"statistics": ""}, "expected own"),
    ({"statistics": "batch+batch"}, "each kind of statistics once"),
    ({"average": 0}, "--average: 0 is not valid; expected at least 1"), ({"average": "2"}, "expected an integer"),
    ({"averag": 2}, "did you mean 'average'"),
])
def test_errors(options: dict[str, object], words: str) -> None:
    with pytest.raises(InvalidSettings, match=words) as caught:
        from_options(Deployment, options)
    assert "\n" not in str(caught.value)
