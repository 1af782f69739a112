"""The command line as a user meets it: what it leaves behind, and one clear line for every mistake."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from rnabench.cli.main import main
from tests.helpers import visible

TRAIN = ["train", "--width", "2", "--steps", "1", "--epochs", "1", "--n-train", "64", "--n-holdout", "32",
         "--batch-size", "32", "--device", "cpu"]
ATTACK = ["--steps", "1", "--n-examples", "20", "--draws", "3", "--protocols", "paper,eot:2", "--device", "cpu",
          "--no-sanity"]


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exited:
        main(list(arguments))
    return int(exited.value.code or 0)


def figures(name: str) -> set[str]:
    """The files of a figure and of its numbers."""
    return {f"{name}.{ending}" for ending in ("csv", "png", "svg")}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    assert run(*TRAIN, "--out", str(folder)) == 0
    return folder


def test_train_then_attack(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert {file.name for file in trained.iterdir()} >= {"model.safetensors", "run.json", "log.csv"}
    for _ in range(2):  # the second time from the record's own folder
        assert run("attack", str(trained), *ATTACK, "--out", str(tmp_path / "out")) == 0
        shown = capsys.readouterr().out
        assert "natural" in shown
        assert "eot:2" in shown
    assert visible(tmp_path / "out") == {"record.json", "table.csv", "table.md", "randomness.md", *figures("tries"),
                                         *figures("passes")}
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert [(r["attack"], r["protocol"]) for r in record["results"]] == [
        ("natural", "any"), ("fgsm", "paper"), ("fgsm", "eot:2"), ("pgd1", "paper"), ("pgd1", "eot:2")]
    assert record["results"][0]["outcomes"]["correct"]["shape"] == [len(record["data"]["indices"]), 3] == [20, 3]


def test_reproduce_a_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "tiny.yaml"
    file.write_text("name: tiny\ntitle: Tiny\n"
                    "train: {width: 2, steps: 1, epochs: 1, n_train: 64, n_holdout: 32, batch_size: 32}\n"
                    "models: {bn: {space: bn}, bn+in: {space: bn+in}}\n"
                    "evaluate: {attacks: [fgsm], protocols: [paper], n_examples: 16, draws: 2, sanity: false}\n")
    command = ["reproduce", str(file), "--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "results")]
    assert run(*command, "--max-minutes", "0.000001") == 3
    assert "same command" in capsys.readouterr().err
    assert run(*command) == 0
    results = tmp_path / "results" / "tiny"
    assert visible(results) == {"bn.json", "bn+in.json", "table.csv", "table.md", "randomness.md", *figures("tries")}
    before = (results / "table.csv").read_text()
    assert run(*command) == 0
    assert (results / "table.csv").read_text() == before
    assert "already trained" in capsys.readouterr().err


def test_lists_need_no_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("attack", "--list") == 0
    shown = capsys.readouterr().out
    for name in ("adaptive", "eot-samples", "deepfool", "autoattack", "eot:K", "same-path"):
        assert name in shown


def test_chosen_images_a_baseline_and_a_sweeps_figure(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
                                                      ) -> None:
    from rnabench.data.sources import load_images
    from rnabench.settings.datasets import DataSettings

    chosen = load_images(DataSettings(), "test").indices[[5, 1, 2]].tolist()
    plain = tmp_path / "plain"
    assert run(*TRAIN, "--space", "bn", "--out", str(plain)) == 0
    sweep = ["--suite", "eot-samples", "--attacks", "pgd2", "--indices", ",".join(map(str, chosen)), "--draws", "2",
             "--device", "cpu", "--no-sanity"]
    assert run("attack", str(plain), *sweep, "--out", str(tmp_path / "bn")) == 0
    record = tmp_path / "bn" / "record.json"
    assert json.loads(record.read_text())["data"]["indices"] == chosen
    capsys.readouterr()
    assert run("attack", str(trained), *sweep, "--out", str(tmp_path / "out"), "--baseline", str(record)) == 0
    shown = capsys.readouterr().out
    assert "deterministic baseline" in shown
    assert {"eot-samples.png", "eot-samples.svg"} <= {file.name for file in (tmp_path / "out").iterdir()}
    other = [part if "," not in part else str(chosen[0]) for part in sweep]
    assert run("attack", str(trained), *other, "--baseline", str(record), "--out", str(tmp_path / "no")) == 2
    assert "same images" in capsys.readouterr().err
    assert not (tmp_path / "no").exists()


def test_a_finished_record_is_kept_unless_asked_to_start_anew(trained: Path, tmp_path: Path) -> None:
    command = ["attack", str(trained), *ATTACK, "--out", str(tmp_path / "out")]
    assert run(*command) == 0
    file = tmp_path / "out" / "record.json"
    first = file.stat().st_mtime_ns
    assert run(*command) == 0
    assert file.stat().st_mtime_ns == first
    assert run(*command, "--no-resume") == 0
    assert file.stat().st_mtime_ns > first


def test_the_papers_own_calls(trained: Path, tmp_path: Path) -> None:
    assert run("attack", str(trained), "--attacks", "fgsm,pgd2,mifgsm2,cw5,deepfool2", "--protocols", "paper",
               "--backend", "torchattacks", "--n-examples", "4", "--draws", "2", "--device", "cpu", "--out",
               str(tmp_path / "out")) == 0
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    attacked = record["results"][1:]
    assert {each["parameters"]["backend"] for each in attacked} == {"torchattacks"}
    assert [each["bounded"] for each in attacked] == [True, True, True, False, False]
    assert all(len(each["outcomes"]["distances"]) == 4 for each in attacked if not each["bounded"])


def test_crosscheck(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("crosscheck", str(trained), "--attacks", "fgsm,bim10,mifgsm,deepfool", "--n-examples", "6", "--device",
               "cpu", "--out", str(tmp_path)) == 0
    assert "times" in capsys.readouterr().out
    cases = json.loads((tmp_path / "crosscheck.json").read_text())["cases"]
    assert [case["same_outcomes"] for case in cases[:3]] == [1, 1, 1]
    assert (tmp_path / "crosscheck.md").exists()


def test_describe(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("describe", "--space", "bn+gn32", "--width", "16") == 0
    shown = capsys.readouterr().out
    assert "choice layers: 20" in shown
    assert "1,048,576" in shown
    assert "16*" in shown  # 32 groups clipped to 16 channels


@pytest.mark.slow
def test_bench(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("bench", "--width", "2", "--steps", "1", "--batch-size", "4", "--repeats", "1", "--out",
               str(tmp_path)) == 0
    assert "textbook" in capsys.readouterr().out
    cases = json.loads((tmp_path / "bench.json").read_text())["cases"]
    assert all(min(case["seconds"]) > 0 for case in cases)


BAD = [
    (["train", "--arch", "resnet81"], "--arch", "resnet18"),
    (["train", "--space", "gn[3-5]"], "--space", "powers of two"),
    (["train", "--space", "bn+bn"], "--space", "twice"),
    (["train", "--space", "gn7"], "space", "64 channels of normalisation layer 1"),
    (["train", "--space", ""], "--space", "bn"),
    (["train", "--dataset", "cifra10"], "--dataset", "cifar10"),
    (["train", "--dataset", "cifar10"], "--data-dir", "folder"),
    (["train", "--dataset", "folder", "--data-dir", "/nonexistent/images"], "data-dir", "train"),
    (["train", "--eps", "8"], "--eps", "8/255"),
    (["train", "--eps", "-0.1"], "--eps", "0 to 1"),
    (["train", "--epochs", "0"], "--epochs", "1 or more, or weights that are used as they are (init)"),
    (["train", "--epochs", "many"], "--epochs", "many"),
    (["train", "--epocs", "3"], "--epocs", "--epochs"),
    (["train", "--objective", "blackbox"], "--objective", "black-box"),
    (["train", "--n-train", "100000"], "n-train", "at most"),
    (["train", "--batch-size", "2000"], "--batch-size", "at most"),
    (["train", "--device", "gpu"], "--device", "cuda"),
    (["train", "--max-minutes", "-1"], "--max-minutes", "positive"),
    (["attack"], "RUN", "--model"),
    (["attack", "x", "--attacks", "fgsm", "--seed", "1", "--attacks=pgd20"], "--attacks: given 2 times", "commas"),
    (["attack", "/nonexistent/run"], "run", "rnabench train"),
    (["attack", "x", "--suite", "quik"], "--suite", "quick"),
    (["attack", "x", "--protocols", "papers"], "--protocols", "paper"),
    (["attack", "x", "--attacks", "fgms"], "--attacks", "fgsm"),
    (["attack", "x", "--attacks", "pgd20-magin"], "--attacks", "'margin'"),
    (["attack", "x", "--attacks", "fgsm,fgsm"], "--attacks", "different names"),
    (["attack", "x", "--indices", "9-3"], "--indices", "0-99,250"),
    (["attack", "x", "--indices", "0-3", "--n-examples", "2"], "--indices", "not both"),
    (["attack", "x", "--norm", "l3"], "--norm", "L2"),
    (["attack", "x", "--backend", "foolbox"], "--backend", "torchattacks"),
    (["attack", "x", "--baseline", "/nonexistent.json"], "record", "rnabench attack"),
    (["attack", "--model", "tests.cli.models:linear", "--indices", "99999"], "indices", "such as"),
    (["attack", "--model", "tests.cli.models:linear", "--norm", "L2", "--attacks", "square"], "square", "Linf"),
    (["attack", "--model", "tests.cli.models:linear", "--backend", "torchattacks", "--attacks", "pgd5-dlr"], "pgd5-dlr",
     "native"),
    (["attack", "--model", "tests.cli.models:noisy", "--cumulative"], "cumulative", "deterministic"),
    (["crosscheck", "/nonexistent", "--attacks", "fgms"], "--attacks", "fgsm"),
    (["attack", "--model", "no_such_module:f"], "--model", "no_such_module"),
    (["attack", "--model", "tests.cli.models:images_back"], "model", "logits"),
    (["attack", "--model", "tests.cli.models:not_a_number"], "model", "finite"),
    (["attack", "--model", "tests.cli.models:seven_classes"], "model", "7 classes"),
    (["attack", "--model", "tests.cli.models:leaves"], "--model", "SystemExit"),
    (["attack", "--model", "tests.cli.models:fails"], "model", "on two lines"),
    (["attack", "--model", "tests.cli.models:noisy", "--granularity", "sample"], "--granularity", "batch"),
    (["train", "--epochs=many"], "--epochs", "many"),
    (["train", "--dataset-name", "x" * 300], "--dataset-name", "..."),
    (["train", "--n-holdout", "5000"], "n-holdout", "1400"),
    (["reproduce", "/nonexistent.yaml"], "recipe", "YAML"),
    (["describe", "--dataset", "mnist"], "dataset", "digits"),
    (["trian"], "trian", "train"),
]


@pytest.mark.parametrize(("arguments", "names", "hint"), BAD, ids=lambda value: " ".join(value)[:60])
def test_bad_input_gets_one_line_and_exit_code_2(
    arguments: list[str], names: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 2
    said = capsys.readouterr().err
    lines = said.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: ")
    assert names in lines[0]
    assert hint in lines[0]
    assert not any(tmp_path.rglob("*.safetensors"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_asked_for_and_absent(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run("train", "--device", "cuda", "--out", str(tmp_path / "x")) == 2
    assert "0 CUDA devices" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_class_count_that_does_not_fit(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tests.data.test_data import write_folder

    folder = str(write_folder(tmp_path))
    assert run("attack", str(trained), "--dataset", "folder", "--data-dir", folder) == 2
    assert "expected the 3 classes" in capsys.readouterr().err
    assert run("attack", str(trained), "--data-dir", folder) == 2  # never silently the run's own data instead
    assert "--dataset folder" in capsys.readouterr().err


def test_a_run_on_a_folder_keeps_its_data_and_refuses_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]
                                                             ) -> None:
    from tests.data.test_data import write_folder

    first, second = (str(write_folder(tmp_path / name, size=16 + k, per_class=12)) for k, name in enumerate("ab"))
    train = [*TRAIN[:-4], "--n-train", "24", "--n-holdout", "8", "--batch-size", "8", "--dataset", "folder",
             "--dataset-name", "animals", "--out", str(tmp_path / "run")]
    assert run(*train, "--data-dir", first) == 0
    assert run(*train, "--data-dir", second) == 2
    assert "other images" in capsys.readouterr().err
    assert run("attack", str(tmp_path / "run"), "--attacks", "fgsm", "--draws", "2", "--dataset-name", "beasts",
               "--no-sanity", "--out", str(tmp_path / "out")) == 0
    record = json.loads((tmp_path / "out" / "record.json").read_text())
    assert record["data"]["name"] == "beasts"
    assert record["data"]["classes"] == ["cat", "dog", "eel"]
    (tmp_path / "b" / "test" / "eel").rename(tmp_path / "b" / "test" / "auk")
    assert run("attack", str(tmp_path / "run"), "--data-dir", second) == 2
    assert "knows class 0 as 'cat'; expected 'auk'" in capsys.readouterr().err


def test_a_recipe_fails_before_its_first_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "late.yaml"
    file.write_text("name: late\ntitle: Late\nmodels: {a: {space: bn}, b: {space: gn7}}\n")
    assert run("reproduce", str(file), "--runs", str(tmp_path / "runs")) == 2
    assert "models.b: space: 'gn7'" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_no_space_left(capsys: pytest.CaptureFixture[str]) -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("needs /dev/full")
    from rnabench.errors import RnabenchError
    from rnabench.runtime.files import writing

    with pytest.raises(RnabenchError, match="no space left"), writing(full):
        full.write_text("x" * 100_000)
    assert run(*TRAIN, "--out", "/proc/nowhere/run") == 2
    assert "cannot write" in capsys.readouterr().err


def test_every_option_has_help_with_its_unit(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("train", "attack", "reproduce", "describe", "bench", "crosscheck", "convert", "export"):
        assert run(command, "--help") == 0
        shown = capsys.readouterr().out
        assert "--" in shown
    assert run("train", "--help") == 0
    text = " ".join(capsys.readouterr().out.split())
    for phrase in ("pixel units", "[default: 8/255]", "minutes"):
        assert phrase in text
    assert run("attack", "--help") == 0
    assert "path per batch" not in " ".join(capsys.readouterr().out.split())  # an attack's draws serve groups
