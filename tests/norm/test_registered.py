"""What holds of every normaliser that is registered, and how one is registered, here or by another package."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path as File

import pytest
import torch
from torch import Tensor

from rnabench.errors import InvalidValue, RnabenchError
from rnabench.exchange.export import frozen
from rnabench.model.normalizers import build_norm, norm_factory
from rnabench.norm import group_norm, robust, statistics
from rnabench.norm.choice import NormChoice
from rnabench.norm.layers import Norm
from rnabench.norm.statistics import Statistic
from rnabench.path.choice import use_path
from rnabench.path.path import Path
from rnabench.settings.spaces import NORMS, parse_space
from tests.helpers import lively_model

ALL = ["bn", "in", "ln", *(name + "2" * kind.takes_groups for name, kind in NORMS.items())]
ROOT = File(__file__).parents[2]


def test_all_are_here() -> None:
    assert {spec.name for label in ALL for spec in parse_space(label).norms} == set(NORMS)


@pytest.mark.parametrize("label", ALL)
def test_frozen_and_traced_it_computes_the_same(label: str) -> None:
    """For another number of images than it was traced with; and nothing of the frozen network is the model's."""
    model, images = lively_model(f"{label}+gn4"), torch.rand(5, 3, 8, 8)
    path = Path.of(0, 1, 0, 0, 1, 0)
    plain = frozen(model, path)
    torch.testing.assert_close(plain(images), model.on(path)(images))
    with warnings.catch_warnings(action="ignore"):  # as the export does
        traced = torch.jit.trace(plain, images[:2], check_trace=False)  # type: ignore[no-untyped-call]
    torch.testing.assert_close(traced(images), model.on(path)(images))
    own = {tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    assert not own & {tensor.data_ptr() for tensor in (*plain.parameters(), *plain.buffers())}


@pytest.mark.parametrize("training", [True, pytest.param(False, marks=pytest.mark.slow)])
@pytest.mark.parametrize("label", ALL)
def test_what_is_compiled_for_one_path_serves_all(label: str, training: bool) -> None:
    """Where a graph breaks, pieces of it may be used where they do not belong, in silence (torch 2.11)."""
    torch._dynamo.reset()
    plain, compiled = (lively_model(f"{label}+gn4", layers=2).train(training) for _ in range(2))
    graphs: list[object] = []

    def counted(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., object]:
        graphs.append(graph)
        return graph.forward

    compiled.network.compile(backend=counted, fullgraph=True)
    images = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    made = []
    for row in ((0, 1), (1, 0), (0, 0)):
        with use_path(compiled, Path.of(*row), as_tensor=True):
            ours = compiled(images)
        torch.testing.assert_close(ours, plain.on(Path.of(*row))(images), rtol=1e-4, atol=1e-5)
        made.append(len(graphs))
    assert made[0] == made[-1]


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("label", ALL)
def test_no_leaf_enters_a_function_of_ours(label: str, rows: int) -> None:
    """As `no_leaves` says: two threads that run the network would come to a standstill."""
    model, images = lively_model(f"{label}+gn4+gn8"), torch.rand(5, 3, 8, 8, requires_grad=True)
    path = model.space.sample(torch.Generator().manual_seed(0), rows)
    assert ours_before(model.on(path)(images)) & {"_StackedBackward", "_GroupNormBackward", "_ScaleShiftBackward"}
    layer, x = model.network[1], torch.rand(5, 8, 8, 8, requires_grad=True)
    for number in range(3):
        with use_path(layer, Path(torch.full((rows, 1), number))):
            ours_before(layer(x))


def ours_before(result: Tensor) -> set[str]:
    """The names of the Functions of Python's that autograd would go through, none of which may follow a leaf."""
    waiting = [result.grad_fn]
    seen, ours = set(waiting), set()
    while waiting:
        node = waiting.pop()
        before = {each for each, _ in node.next_functions if each is not None}
        if isinstance(node, torch.autograd.function.BackwardCFunction):
            ours.add(type(node).__name__)
            assert not [each for each in before if hasattr(each, "variable")], node
        waiting += before - seen
        seen |= before
    return ours


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("label", ALL)
def test_its_statistics_and_dtype(label: str, training: bool) -> None:
    """It gets by with what it says it needs, in bfloat16 too, and keeps running statistics in float32."""
    norm = build_norm(parse_space(label).norms[0], 8).train(training)
    x = torch.rand(4, 8, 6, 6, generator=torch.Generator().manual_seed(0))
    expected = norm(x)
    scale, shift = norm.coefficients(statistics.sample_statistics(x, norm.needs))
    torch.testing.assert_close(statistics.scale_shift(x, scale, shift), expected)
    assert norm(x.bfloat16()).dtype == torch.bfloat16
    assert all(buffer.dtype != torch.bfloat16 for buffer in norm.buffers())


@pytest.mark.parametrize(("space", "training", "passes"), [
    ("bn+in+ln+gn2+bgn2", True, "moments"), ("bn+bgn2+mbn", False, ""), ("bn+robust-running", False, ""),
    ("bn-batch+robust+robust-running-mean+in+ln", False, "extremes moments"),
])
def test_every_statistic_is_taken_once_for_all_options(space: str, training: bool, passes: str,
                                                       monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []

    def counted(name: str) -> Callable[[Tensor], object]:
        compute = getattr(statistics, name)

        def counting(x: Tensor) -> object:
            taken.append(name)
            return compute(x)
        return counting

    for name in ("moments", "extremes"):
        monkeypatch.setattr(statistics, name, counted(name))
    norm = norm_factory(parse_space(space))(8).train(training)
    assert isinstance(norm, NormChoice)
    with use_path(norm, Path(tuple((k % len(norm.options),) for k in range(6)))):
        norm(torch.rand(6, 8, 4, 4))
    assert sorted(taken) == passes.split()


def test_a_norm_may_need_no_statistics() -> None:
    class Halved(Norm):
        def standardization(self, statistics: Mapping[Statistic, Tensor]) -> tuple[Tensor, Tensor]:
            assert not statistics
            return self.weight.new_zeros(1, self.groups), self.weight.new_full((1, self.groups), 0.5)

    x = torch.rand(3, 8, 4, 4)
    norm = NormChoice({"halved": Halved(8, 8), "in": build_norm(parse_space("in").norms[0], 8)})
    assert not list(norm.options[0].buffers())
    for path in (Path.of(0), Path(((0,), (0,), (0,)))):
        with use_path(norm, path):
            torch.testing.assert_close(norm(x), x / 2)


def test_a_name_without_groups_takes_no_number() -> None:
    for text in ("robust32", "robust[4]", "bn-batch[1-4]", "mbn2", "robust+robust", "robust-rnm"):
        with pytest.raises(InvalidValue, match="space"):
            parse_space(text)
    assert str(parse_space("BN-batch+mbn+gn[1-2]+Robust")) == "bn-batch+mbn+in+gn[2]+robust"


@pytest.mark.parametrize("spellings", [(("ln", "size", 1),), (("gn", "size", 1),), (("x2", "size", 1),)])
def test_an_ambiguous_spelling_is_refused(spellings: tuple[tuple[str, str, int], ...],
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_norm.PlainInstanceNorm, "spellings", spellings)
    with pytest.raises(RnabenchError, match=r"normaliser: .* is spelled .*; expected lower-case words"):
        parse_space("bn")


@pytest.mark.parametrize("declared", [{"takes_groups": True}, {"spellings": (("halved", "size", 1),)}])
def test_a_number_behind_a_name_with_another_meaning_is_refused(declared: dict[str, object],
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in declared.items():
        monkeypatch.setattr(robust.RobustNorm, name, value)
    with pytest.raises(RnabenchError, match=r"normaliser: 'robust.*' takes a number and has groupings or other"):
        parse_space("bn")


def test_the_example_joins_by_an_entry_point(tmp_path: File) -> None:
    """tests/other_package/rnabench_example/norm.py as the module of another, installed package."""
    (tmp_path / "their_norm.py").write_text((ROOT / "tests/other_package/rnabench_example/norm.py").read_text())
    about = tmp_path / "their_norm-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: their-norm\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[rnabench.norms]\nrms = their_norm\n")
    code = """
import torch, rnabench
from rnabench.model.normalizers import norm_factory
from rnabench.path.choice import use_path
from rnabench.path.path import Path
from rnabench.settings.spaces import parse_space
from rnabench.settings.training import TrainingSettings

assert TrainingSettings(dataset="digits", space="RMS[1-4]+bn").space == "rms[1]+rms[2]+rms[4]+bn"
norm = norm_factory(parse_space("bn+rms2"))(6).double()
x = torch.randn(3, 6, 4, 4, dtype=torch.float64) + 1
groups = x.reshape(3, 2, -1)
expected = (groups / (groups.square().mean(2, keepdim=True) + 1e-5).sqrt()).view_as(x)
for path in (Path.of(1), Path(((1,), (1,), (1,)))):
    with use_path(norm, path):
        torch.testing.assert_close(norm(x), expected, rtol=1e-10, atol=1e-10)
rnabench.build_model("resnet18", "rms32+bn", width=4)(torch.rand(2, 3, 32, 32)).sum().backward()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"})
    assert done.returncode == 0, done.stderr
