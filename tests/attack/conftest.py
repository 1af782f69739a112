"""Shared by the tests of attacks."""

from __future__ import annotations

from typing import Any

import pyautoattack
import pytest


@pytest.fixture
def short_autoattack(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library with few steps, whoever calls it."""
    whole = pyautoattack.AutoAttack._set_version

    def shortened(self: Any, *arguments: Any, **keywords: Any) -> None:
        whole(self, *arguments, **keywords)
        self.apgd.n_iter, self.apgd_targeted.n_iter, self.fab.n_iter, self.square.n_queries = 6, 4, 3, 30

    monkeypatch.setattr(pyautoattack.AutoAttack, "_set_version", shortened)
