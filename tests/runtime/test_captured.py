"""Recordings under the rules of CUDA, on a device that is simulated (tests/simulated_gpu.py); and these rules."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from rnabench.errors import NumericalError
from rnabench.runtime.captured import Captured, CapturedPass, Shared, replayed
from tests.simulated_gpu import simulated_gpu
from tests.simulated_tensors import CUDA


def test_tensors_of_two_devices_do_not_meet() -> None:
    with simulated_gpu():
        there, here = torch.ones(2, device="cuda"), torch.ones(2)
        assert there.is_cuda
        assert (there + torch.tensor(1.0)).device == CUDA  # one number may be the host's
        with pytest.raises(RuntimeError, match="same device"):
            there + here
        with pytest.raises(RuntimeError, match="indices"):
            here[there.long()]
        with pytest.raises(TypeError):
            there.numpy()


def test_what_waits_is_told() -> None:
    with simulated_gpu() as gpu:
        x = torch.arange(4.0).pin_memory().to("cuda", non_blocking=True)
        y = (x * 2).clamp(0, 3).sum() + torch.zeros_like(x).sum()
        assert gpu.waits == []
        assert float(y) == 8
        assert x[x > 1].tolist() == [2, 3]
        assert len(gpu.waits) == 3  # the number, the boolean index, and the list


def test_gradients_are_those_of_the_cpu() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    images = torch.rand(2, 3, 5, 5)
    network(images).square().sum().backward()
    slopes = [parameter.grad for parameter in network.parameters()]
    with simulated_gpu():
        network.zero_grad()
        network.to("cuda")(images.to("cuda")).square().sum().backward()
        assert all(torch.equal(parameter.grad.cpu(), slope)
                   for parameter, slope in zip(network.parameters(), slopes, strict=True))


def test_a_recording_runs_nothing_until_it_is_replayed() -> None:
    with simulated_gpu():
        x, total = torch.ones(3, device="cuda"), torch.zeros(3, device="cuda")
        recording = torch.cuda.CUDAGraph()
        with torch.cuda.graph(recording):
            total.add_(x)
            doubled = total * 2
        assert total.tolist() == [0, 0, 0]
        assert doubled.isnan().all()
        for time in (1, 2):
            recording.replay()
            assert doubled.tolist() == [2 * time] * 3


@pytest.mark.parametrize("waits", [lambda x: x.sum().item(), lambda x: x[x > 0], lambda x: x.cpu(),
                                   lambda x: torch.tensor([1.0], device="cuda"), lambda x: x.nonzero()])
def test_a_recording_forbids_to_wait(waits: object) -> None:
    with simulated_gpu():
        x = torch.ones(3, device="cuda")
        with pytest.raises(RuntimeError, match="capturing"), torch.cuda.graph(torch.cuda.CUDAGraph()):
            waits(x)  # type: ignore[operator]


def test_what_python_decides_is_frozen_in_a_recording_which_is_refused() -> None:
    """The fault that a test on a CPU does not see: there every call runs the function."""
    calls: list[int] = []

    def counted(x: Tensor) -> tuple[Tensor]:
        calls.append(1)
        return (x + len(calls),)

    with simulated_gpu(), pytest.raises(NumericalError, match=r"--capture: .* off by 33%"):
        Captured(counted, [], CUDA)(torch.zeros(1, device="cuda"))
    assert len(calls) == 4  # three runs to warm up, of which the last gave 3, and the recording


def test_what_cannot_be_recorded_is_refused_in_one_line() -> None:
    with simulated_gpu(), pytest.raises(NumericalError, match=r"^--capture: torch .* cannot record this here \(.*"
                                        r"capturing.*\); do without --capture \(capture: false in a recipe\)$"):
        Captured(lambda x: (x[x > 0],), [], CUDA)(torch.ones(2, device="cuda"))


def test_a_recording_that_leaves_something_as_it_was_is_refused() -> None:
    calls: list[int] = []

    def work(x: Tensor) -> tuple[Tensor]:
        calls.append(1)
        if len(calls) < 4:
            weight.add_(x)
        return (x * 2,)

    with simulated_gpu():
        weight = torch.ones(2, device="cuda")
        with pytest.raises(NumericalError, match=r"--capture: .*\(1 of 2 tensors are zeros\)"):
            Captured(work, [weight], CUDA)(torch.ones(2, device="cuda"))


def passes(device: torch.device, count: int) -> list[CapturedPass]:
    """Of networks with activations that backward passes need, in one memory."""
    shared, weights = Shared(), torch.linspace(0.5, 2, 3, device=device)
    return [CapturedPass(lambda x, scale=scale: (x * weights * scale).tanh().exp(), (torch.zeros(2, 3, device=device),),  # type: ignore[misc]
                         device, shared) for scale in range(1, count + 1)]


def test_passes_that_share_their_memory_overwrite_each_other_and_are_run_again() -> None:
    """Forward passes one after the other, then their backward passes in any order: the gradients are autograd's."""
    images = torch.rand(3, 2, 3)

    def slopes(device: torch.device) -> list[Tensor]:
        networks = passes(device, 3)
        own = [each.to(device).requires_grad_() for each in images.unbind()]
        found = [replayed(network, each) for network, each in zip(networks, own, strict=True)]
        order = (1, 0, 2)
        return [torch.autograd.grad(found[number].sum(), own[number])[0].cpu() for number in order]

    expected = slopes(torch.device("cpu"))
    with simulated_gpu():
        assert all(torch.equal(*pair) for pair in zip(slopes(CUDA), expected, strict=True))


def test_the_memory_that_recordings_share_is_spoiled() -> None:
    """What the simulation would be worthless without: results that are read too late are not there any more."""
    with simulated_gpu():
        first, second = passes(CUDA, 2)
        x = torch.rand(2, 3, device="cuda")
        second.forward([x])
        kept = second.logits.clone()
        first.forward([x])
        assert kept.isfinite().all()
        assert second.logits.isnan().all()
