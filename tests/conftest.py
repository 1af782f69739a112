"""Shared by all tests: few threads, a cache of their own, and the smallest networks that have every part."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings

settings.register_profile("rnabench", deadline=None)  # a slow machine is no wrong result
settings.load_profile("rnabench")
torch.set_num_threads(1)  # the networks here are too small to share among threads


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    patch.setenv("RNABENCH_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
