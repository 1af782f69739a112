"""One model in many threads and in copies: each forward runs on its own path, and nothing stays behind."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

from rnabench import RandomizedClassifier, use_path
from rnabench.errors import InvalidValue
from rnabench.path.choice import PathNotSet, choice_layers
from rnabench.path.path import Path
from tests.helpers import lively_model

IMAGES = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def _no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


def uniform(model: RandomizedClassifier, choice: int) -> Path:
    return Path.of(*[choice] * len(model.space.layers))


def draws_fresh_paths(model: nn.Module) -> bool:
    return len({float(model(IMAGES)[0, 0]) for _ in range(20)}) > 1


class Halfway(nn.Module):
    """Stops in the middle of a forward pass to do something else."""

    def __init__(self, act: Callable[[], object]) -> None:
        super().__init__()
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        self.act()
        return x


def stopping_halfway(model: RandomizedClassifier, act: Callable[[], object]) -> None:
    assert isinstance(model.network, nn.Sequential)
    model.network.insert(7, Halfway(act))


def test_each_thread_runs_on_its_own_path() -> None:
    """Two threads meet halfway through their forward passes, on two views and on the model itself."""
    model = lively_model()
    views = [model.on(uniform(model, choice)) for choice in (0, 1)]
    expected = [view(IMAGES) for view in views]
    meeting = threading.Barrier(3, timeout=30)
    stopping_halfway(model, meeting.wait)
    model.reseed(0)
    with ThreadPoolExecutor(3) as pool:
        *logits, drawn = pool.map(lambda function: function(IMAGES), [*views, model])
    meeting.abort()  # nobody is waited for from here on
    model.network[7].act = lambda: None  # type: ignore[index, union-attr, operator, assignment]
    model.reseed(0)
    for ours, right in zip([*logits, drawn], [*expected, model(IMAGES)], strict=True):
        assert torch.equal(ours, right)
    assert draws_fresh_paths(model)


def test_many_forwards_in_many_threads() -> None:
    model = lively_model()
    paths = [model.space.sample(torch.Generator().manual_seed(seed), rows) for seed in range(4) for rows in (1, 4)]
    expected = [model.on(path)(IMAGES) for path in paths]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            for logits, right in zip(pool.map(lambda path: model.on(path)(IMAGES), paths), expected, strict=True):
                assert torch.equal(logits, right)
    assert draws_fresh_paths(model)


def test_another_thread_does_not_see_the_path() -> None:
    model, alone = lively_model(), lively_model().network
    with ThreadPoolExecutor(1) as pool, use_path(model, uniform(model, 0)), use_path(alone, uniform(model, 0)):
        assert len({float(pool.submit(model, IMAGES).result()[0, 0]) for _ in range(20)}) > 1
        with pytest.raises(PathNotSet, match="thread"):
            pool.submit(alone, IMAGES).result()
        assert not draws_fresh_paths(model)


def test_after_errors_the_model_draws_again() -> None:
    model = lively_model()

    def fail() -> None:
        raise RuntimeError("in the middle of a forward pass")

    stopping_halfway(model, fail)
    with ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(model, IMAGES) for _ in range(8)]:
            assert isinstance(future.exception(), RuntimeError)
    with pytest.raises(InvalidValue):
        model.on(Path.of(0))(IMAGES)
    del model.network[7]  # type: ignore[operator]
    assert draws_fresh_paths(model)


@pytest.mark.parametrize("elsewhere", [False, True])
def test_blocks_may_end_in_any_order(elsewhere: bool) -> None:
    """A generator that is abandoned inside a block ends it late, perhaps in another thread."""
    model = lively_model()

    def suspended() -> Iterator[None]:
        with use_path(model, uniform(model, 0)):
            yield

    generator = suspended()
    next(generator)
    with use_path(model, uniform(model, 1)):
        expected = model(IMAGES)
        if elsewhere:
            thread = threading.Thread(target=generator.close)  # type: ignore[attr-defined]
            thread.start()
            thread.join()
        else:
            generator.close()  # type: ignore[attr-defined]
        assert torch.equal(model(IMAGES), expected)
    assert draws_fresh_paths(model)


def replicas(network: nn.Module, count: int = 2) -> list[nn.Module]:
    """What torch.nn.parallel.replicate makes for as many devices, without the devices."""
    made: list[dict[nn.Module, nn.Module]] = [
        {module: module._replicate_for_data_parallel() for module in network.modules()}  # type: ignore[no-untyped-call]
        for _ in range(count)]
    for copies in made:
        for module, replica in copies.items():
            for name, child in module.named_children():
                setattr(replica, name, copies[child])
            for name, tensor in [*module._parameters.items(), *module._buffers.items()]:
                setattr(replica, name, None if tensor is None else tensor.detach().clone())
    return [copies[network] for copies in made]


def test_replicas_own_their_layers() -> None:
    """As DataParallel runs them: each in its thread, each on a draw of its own that the model's seed settles."""
    model = lively_model()
    made = []
    for _ in range(2):
        model.reseed(5)
        with ThreadPoolExecutor(2) as pool:
            made.append(list(pool.map(lambda replica: [replica(IMAGES) for _ in range(10)], replicas(model))))
    for once, again in zip(*made, strict=True):
        assert len({float(logits[0, 0]) for logits in once}) > 1
        assert all(torch.equal(a, b) for a, b in zip(once, again, strict=True))
    assert not torch.equal(torch.stack(made[0][0]), torch.stack(made[0][1]))
    first, second = (set(choice_layers(replica).values()) for replica in replicas(model))
    assert not first & second
    assert not first & set(choice_layers(model).values())
    # DataParallel makes new ones in every forward
    assert len({float(replicas(model)[0](IMAGES)[0, 0]) for _ in range(20)}) > 1


def test_replicas_of_a_view_run_on_its_path() -> None:
    model = lively_model()
    view = model.on(model.space.sample(torch.Generator().manual_seed(1)))
    with ThreadPoolExecutor(2) as pool:
        for logits in pool.map(lambda replica: replica(IMAGES), replicas(view)):
            assert torch.equal(logits, view(IMAGES))
    with use_path(model, view.path), pytest.raises(PathNotSet, match=r"model\.on\(path\)"):
        replicas(model)


def test_a_copy_has_layers_and_a_stream_of_its_own() -> None:
    model = lively_model()
    with use_path(model, uniform(model, 0)):
        twin = copy.deepcopy(model)  # does not take the path along
    assert not set(choice_layers(twin).values()) & set(choice_layers(model).values())
    first, second = ([float(each(IMAGES)[0, 0]) for _ in range(20)] for each in (model, twin))
    assert first == second  # from the same state on, one did not draw from the other's
    assert len(set(first)) > 1


def test_a_view_has_the_classifiers_mode() -> None:
    model = lively_model()
    view = model.on(uniform(model, 0))
    for mode in (True, False):
        model.train(mode)
        assert view.training is mode
        view.train(not mode)
        assert model.training is model.network.training is view.training is not mode
