"""`rnabench convert` and `rnabench export` as a user meets them."""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rnabench import load_model
from rnabench.cli.main import main
from tests.exchange.released_networks import on_path, released, wrapped

WIDTH = 4
STEM = "module.bn1.norm.1.weight"


def run(*arguments: str | Path) -> int:
    with pytest.raises(SystemExit) as exited:
        main(list(map(str, arguments)))
    return int(exited.value.code or 0)


def saved(folder: Path, content: object) -> Path:
    torch.save(content, folder / "file.pt")
    return folder / "file.pt"


def make_run(folder: Path, space: str, arch: str = "resnet18") -> Path:
    file = saved(folder, wrapped(released(arch, space, width=WIDTH if arch == "resnet18" else 1)))
    named = re.sub(r"\bgn(\d)", r"gn_\1", space)  # numbers of groups, in the file's own words
    assert run("convert", file, "--arch", arch, "--space", named, "--dataset", "digits", "--out", folder / "run") == 0
    return folder / "run"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("bn+in"), "bn+in")


def test_a_converted_run_is_attacked_like_any_other(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
                                                    ) -> None:
    assert {file.name for file in made.iterdir()} == {"model.safetensors", "run.json"}
    assert run("attack", made, "--attacks", "fgsm", "--n-examples", "8", "--draws", "2", "--device", "cpu",
               "--no-sanity", "--out", tmp_path / "out") == 0
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert record["model"]["trained_on"]["name"] == "digits"
    assert "best on the test set" in record["model"]["selected"]["by"]
    model = load_model(made)
    x = torch.rand(2, 3, 16, 16)
    path = model.space.sample(torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = on_path(released("resnet18", "bn+in", width=WIDTH), path.rows[0], x)
        torch.testing.assert_close(model.on(path)(x), expected, rtol=1e-5, atol=1e-5)


def test_what_is_not_in_the_file_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = wrapped(released("resnet18", "bn+in", classes=100, width=WIDTH))
    file = saved(tmp_path, {name: tensor for name, tensor in state.items() if "num_batches" not in name})
    out = tmp_path / "run"
    assert run("convert", file, "--space", "bn+gnr_1", "--dataset", "cifar100", "--objective", "standard",
               "--out", out) == 0
    shown = capsys.readouterr().out
    for phrase in ("width 4", "100 classes", "20 counters", "read as: gnr_1: groups of 1 channel\n",
                   "mean 0.4914", "--data-dir"):
        assert phrase in shown
    described = json.loads((out / "run.json").read_text())
    assert described["recipe"]["objective"] == "standard"
    assert described["source"]["file"] == "file.pt"
    assert len(described["model"]["classes"]) == 100
    assert described["model"]["mean"] == [0.4914, 0.4822, 0.4465]  # CIFAR-10's: the released code has no other


def without(name: str) -> Callable[[dict[str, Tensor]], object]:
    return lambda state: {key: tensor for key, tensor in state.items() if key != name}


@pytest.mark.parametrize(("change", "told"), [
    (lambda state: state | {"module.extra.weight": torch.ones(1)}, "not used: 'module.extra.weight'"),
    (lambda state: state | {"module.a\nb": torch.ones(1)}, r"not used: 'module.a\nb'"),
    (without(STEM), f"missing: '{STEM}'"),
    (lambda state: state | {STEM: torch.ones(5)}, f"wrong: '{STEM}' is (5,) instead of (4,)"),
    (lambda state: state | {STEM: torch.ones(4).long()}, f"wrong: '{STEM}' holds int64 numbers"),
    (lambda state: state | {STEM: torch.ones(4).to(torch.float8_e4m3fn)}, f"'{STEM}' holds float8_e4m3fn numbers"),
    (lambda state: state | {STEM: torch.full((4,), float("nan"))}, f"wrong: '{STEM}' holds numbers that are not fin"),
    (lambda state: state | {STEM: torch.ones(4).to_sparse()}, f"'{STEM}' in a form that is no plain tensor"),
    (lambda state: state | {"module.x": torch.ones(1).expand(1 << 40)}, "'module.x' in a form that is no plain tensor"),
    (lambda state: state | {"epoch": 3}, "'epoch', which is int"),
    (lambda state: state | {"module.x": argparse.Namespace()}, "the object argparse.Namespace"),
    (lambda state: nn.Linear(2, 2), "the object torch.nn.modules.linear.Linear"),
    (lambda state: {}, "holds no state_dict"),
    (lambda state: [torch.ones(1)], "holds no state_dict"),
    (lambda state: wrapped(released("wrn32", "bn+in", width=1)), "did you mean --arch wrn32?"),
    (lambda state: wrapped(released("resnet18", "bn", width=WIDTH)), "layers of the file have 1 options"),
    (lambda state: wrapped(released("resnet18", "in+bn", width=WIDTH)), "missing: 'module.bn1.norm.0.running_mean'"),
    (lambda state: wrapped(released("resnet18", "bn+in", 0, 100, WIDTH)), "did you mean 'cifar100'?"),
])
def test_a_wrong_file_gets_one_line_and_leaves_nothing(change: Callable[[dict[str, Tensor]], object], told: str,
                                                       tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = saved(tmp_path, change(wrapped(released("resnet18", "bn+in", width=WIDTH))))
    assert run("convert", file, "--out", tmp_path / "run") == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file.pt"]


class Hostile:
    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.trace,)


def test_nothing_is_unpickled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = saved(tmp_path, {"module.x": Hostile(tmp_path / "trace")})
    assert run("convert", file, "--out", tmp_path / "run") == 2
    assert not (tmp_path / "trace").exists()
    for content in (b"", b"hello", file.read_bytes()[:300]):
        file.write_bytes(content)
        assert run("convert", file, "--out", tmp_path / "run") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == error.count("cannot be read as tensors") == 4


@pytest.mark.parametrize(("options", "told"), [
    (["--arch", "resnet50"], "for 224-pixel images"),
    (["--arch", "resnet50", "--dataset", "imagenet"], "did you mean --arch resnet18?"),
    (["--arch", "wrn"], "did you mean 'wrn32'?"),
    (["--space", "bn+xn"], "'xn' is none of them"),
    (["--space", "gn[1-2]"], "gn_N for N groups or gnr_N for groups of N channels"),
    (["--mean", "0.5,0.5"], "--mean: '0.5,0.5' is not valid; expected three numbers"),
    (["--std", "0,0.2,0.2"], "--std"),
    (["--dataset", "cifar"], "did you mean 'cifar10'?"),
    (["--dataset", "imagenet"], "one of cifar10, cifar100, digits, folder: the network"),
    (["--dataset", "folder"], "--data-dir"),
])
def test_a_wrong_option_gets_one_line(options: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
                                      ) -> None:
    file = saved(tmp_path, wrapped(released("resnet18", "bn+in", width=WIDTH)))
    assert run("convert", file, *options, "--out", tmp_path / "run") == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_a_folder_in_use_stays_as_it_is(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {file.name: file.read_bytes() for file in made.iterdir()}
    file = saved(tmp_path, wrapped(released("resnet18", "bn+in", seed=1, width=WIDTH)))
    assert run("convert", file, "--out", made) == 2
    assert "a new or an empty folder" in capsys.readouterr().err
    assert {file.name: file.read_bytes() for file in made.iterdir()} == before
    assert run("export", made, "--out", made / "model.safetensors") == 2
    assert "not there yet" in capsys.readouterr().err
    assert run("convert", tmp_path / "absent.pt", "--out", tmp_path / "run") == 2
    assert "absent.pt' is not a file" in capsys.readouterr().err


def test_exported_state_dicts(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("export", made, "--out", tmp_path / "own.pt") == 0
    own = torch.load(tmp_path / "own.pt", weights_only=True)
    model = load_model(made)
    assert own.keys() == model.state_dict().keys()
    model.load_state_dict(own)
    assert run("export", made, "--names", "released", "--out", tmp_path / "new" / "released.pt") == 0
    assert "rnabench convert --arch resnet18 --space bn+in --mean 0.4914,0.4822,0.4465" in capsys.readouterr().out
    state = torch.load(tmp_path / "new" / "released.pt", weights_only=True)
    expected = wrapped(released("resnet18", "bn+in", width=WIDTH))
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[name], expected[name]) for name in expected)
    again = tmp_path / "again"
    assert run("convert", tmp_path / "new" / "released.pt", "--dataset", "digits", "--out", again) == 0
    assert (again / "model.safetensors").read_bytes() == (made / "model.safetensors").read_bytes()


@pytest.mark.filterwarnings("ignore:.torch.jit.load. is deprecated")
@pytest.mark.parametrize(("space", "options"), [
    ("bn+in", ["--path", "bn"]), ("bn+in", ["--path", "1"]), ("bn+in", ["--seed", "7"]), ("bn+in", []),
    ("bn+in", ["--path", "01101001100101101001"]), ("bn+in", ["--path", "1,1,0,0" + ",0,1" * 8]),
    ("bn", []), ("in", []), ("bgn2+gn2", []),
])
def test_torchscript_computes_what_the_path_does(space: str, options: list[str], tmp_path: Path,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_run(tmp_path, space)
    file = tmp_path / "path.ts"
    capsys.readouterr()
    assert run("export", folder, "--format", "torchscript", *options, "--out", file) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    about = {"rnabench.json": ""}
    loaded = torch.jit.load(str(file), _extra_files=about)
    model = load_model(folder)
    path = model.space.parse(json.loads(about["rnabench.json"])["path"]) if model.space.is_random else None
    for count, size in ((1, 32), (2, 32), (5, 16)):
        x = torch.rand(count, 3, size, size)
        with torch.no_grad():
            expected = model(x) if path is None else model.on(path)(x)
            torch.testing.assert_close(loaded(x), expected, rtol=1e-5, atol=1e-5)
    if "--path" in options:
        assert path == model.space.parse(options[1])
        assert str(path) in captured.out


def test_torchscript_needs_nothing_but_torch(made: Path, tmp_path: Path) -> None:
    assert run("export", made, "--format", "torchscript", "--path", "in", "--out", tmp_path / "path.ts") == 0
    x = torch.rand(3, 3, 32, 32)
    torch.save(x, tmp_path / "x.pt")
    code = ("import sys, torch; y = torch.jit.load('path.ts')(torch.load('x.pt')); torch.save(y.detach(), 'y.pt'); "
            "sys.exit('rnabench' in sys.modules)")
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], cwd=tmp_path).returncode == 0
    model = load_model(made)
    expected = model.on(model.space.uniform_paths()["in"])(x).detach()
    torch.testing.assert_close(torch.load(tmp_path / "y.pt", weights_only=True), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("options", "told"), [
    (["--format", "torchscript", "--path", "gn"], "an option for all layers (bn, in), or a number for each of 20"),
    (["--format", "torchscript", "--path", "011"], "for each of 20 layers"),
    (["--format", "torchscript", "--path", "2"], "for each of 20 layers"),
    (["--format", "torchscript", "--names", "released"], "--names"),
    (["--path", "bn"], "holds all options"),
    (["--format", "onnx"], "--format"),
])
def test_a_wrong_export_gets_one_line(made: Path, options: list[str], told: str, tmp_path: Path,
                                      capsys: pytest.CaptureFixture[str]) -> None:
    assert run("export", made, *options, "--out", tmp_path / "file") == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_network_of_one_path_takes_no_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = make_run(tmp_path, "bn")
    assert run("export", folder, "--format", "torchscript", "--path", "0", "--out", tmp_path / "file") == 2
    assert "a single one" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["digits", "a/b/c", "a b/c", "-x/y", "a/b@", "a/..", "@x/y", "~no-such-user/x", ""])
@pytest.mark.parametrize("command", [["push", "run"], ["pull"]])
def test_names_that_are_no_repository(command: list[str], name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(*command, "--", name) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: REPO_ID: {name!r} is not valid; expected OWNER/NAME")
