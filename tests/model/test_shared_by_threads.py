"""What several threads may do with one network, and with the package, without changing each other's results."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor

from rnabench.model.classifier import in_mode
from rnabench.model.factory import build_model
from rnabench.norm.layers import Norm, frozen_statistics
from rnabench.seeding import globals_at
from tests.helpers import lively_model


def test_weights_depend_on_the_seed_alone_and_the_hosts_numbers_go_on() -> None:
    def weights(_: int) -> Tensor:
        model = build_model("resnet18", "bn+in", width=2, seed=0)
        return torch.cat([each.detach().flatten() for each in model.parameters()])

    right, before = weights(0), torch.get_rng_state()
    with ThreadPoolExecutor(4) as pool:
        assert all(torch.equal(each, right) for each in pool.map(weights, range(12)))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.skipif(sys.platform == "win32", reason="has no fork")
def test_a_forked_process_does_not_wait_for_a_thread_that_it_does_not_have() -> None:
    code = ("import os, threading; from rnabench.seeding import globals_at\n"
            "inside, over = threading.Event(), threading.Event()\n"
            "def work():\n"
            "    with globals_at(0): inside.set(); over.wait()\n"
            "threading.Thread(target=work).start(); inside.wait()\n"
            "if not (child := os.fork()):\n"
            "    with globals_at(0): os._exit(7)\n"
            "code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]); over.set(); exit(code)")
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], timeout=120).returncode == 7


def test_names_are_known_to_all_threads_from_the_first_on() -> None:
    code = ("from concurrent.futures import ThreadPoolExecutor\nimport rnabench\n"
            "with ThreadPoolExecutor(4) as pool:\n"
            "    list(pool.map(lambda _: rnabench.build_model('resnet18', 'bn+in', width=2), range(4)))")
    done = subprocess.run([sys.executable, "-c", code], timeout=120, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("first_to_end", [0, 1])
def test_a_state_that_two_threads_hold_ends_with_the_last_of_them(first_to_end: int) -> None:
    """Evaluations of one network that overlap: it is frozen until both are over, and then as before the first."""
    model = lively_model().train()
    norms = [module for module in model.modules() if isinstance(module, Norm)]
    entered, go = [threading.Event(), threading.Event()], [threading.Event(), threading.Event()]

    def work(number: int) -> None:
        with in_mode(model, training=False), frozen_statistics(model):
            entered[number].set()
            go[number].wait(30)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread, event in zip(threads, entered, strict=True):
        thread.start()
        event.wait(30)
    for number, over in ((first_to_end, False), (1 - first_to_end, True)):
        go[number].set()
        threads[number].join()
        assert all(module.training is over for module in model.modules())
        assert all(norm.update_running is over for norm in norms)


def test_to_ask_whether_batch_mates_matter_changes_no_mode() -> None:
    model, seen = lively_model("bn-batch+in").train(), []
    for module in model.modules():
        module.train = lambda mode=True: seen.append(mode)  # type: ignore[method-assign, assignment]
    assert model.batch_dependent
    assert not lively_model("bn+in").train().batch_dependent
    assert not seen


def test_forward_passes_on_any_paths_share_a_backward_pass() -> None:
    """Of the same layers' running statistics, which each of them moves."""
    model = build_model("resnet18", "bn+in", width=2).train()
    images = torch.rand(4, 3, 16, 16)
    one, each = (model.space.sample(torch.Generator().manual_seed(0), rows) for rows in (1, 4))
    (model.on(one)(images).sum() + model.on(each)(images).sum()).backward()


def test_weights_are_float32_whatever_the_host_prefers() -> None:
    right = build_model("resnet18", "bn+in", width=2).state_dict()
    torch.set_default_dtype(torch.float64)
    try:
        found = build_model("resnet18", "bn+in", width=2).state_dict()
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(found[name].dtype == value.dtype and torch.equal(found[name], value) for name, value in right.items())


def test_seeds_nest() -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    with globals_at(1):
        first = torch.rand(2)
        with globals_at(1):
            assert torch.equal(torch.rand(2), first)
    assert torch.equal(torch.get_rng_state(), before)
