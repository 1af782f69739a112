"""Factories with arguments and weights, and a line for everything that may be wrong with them."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from rnabench.defence.importing import import_model
from rnabench.errors import InvalidValue, ModelError, RnabenchError
from rnabench.settings.imported import IN_RECIPE, Imported
from tests.defence.networks import linear

HERE = "tests.defence.networks"


def test_arguments_are_read_as_yaml() -> None:
    args = Imported.of("a:b", ["width=32", "rate=0.5", "on=true", "name=bn", "sizes=[1, 2]", "text='3'"]).args
    assert args == {"width": 32, "rate": 0.5, "on": True, "name": "bn", "sizes": [1, 2], "text": "3"}


def test_the_factory_gets_its_arguments() -> None:
    network = import_model(Imported.of(f"{HERE}:linear", ["width=3", "scale=2.0"]))
    assert torch.equal(network[3].weight, linear(3, 2.0)[3].weight)  # type: ignore[index]


@pytest.mark.parametrize("suffix", ["safetensors", "pt", "nested", "parallel"])
def test_weights_are_filled_in(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"weights.{suffix}"
    state = {name: tensor + 1 for name, tensor in linear(3).state_dict().items()}
    if suffix == "safetensors":
        save_file(state, file)
    elif suffix == "parallel":
        torch.save({f"module.{name}": tensor for name, tensor in state.items()}, file)
    else:
        torch.save({"state_dict": state, "epoch": 3} if suffix == "nested" else state, file)
    found = import_model(Imported.of(f"{HERE}:linear", ["width=3"], file)).state_dict()
    assert all(torch.equal(found[name], state[name]) for name in state)


@pytest.mark.parametrize(("reference", "arguments", "words"), [
    ("linear", [], "--model-args: missing; expected width, which tests.defence.networks:linear needs: "
                   "--model-args width=VALUE"),
    ("linear", ["wdth=3"], "--model-args: 'wdth' is not valid; expected one of width, scale; did you mean 'width'?"),
    ("unseeded", ["width=3"], "takes no arguments"),
    ("linear", ["width"], "--model-args: 'width' is not valid; expected key=value"),
    ("linear", ["width=3", "width=4"], "expected width once"),
    ("linear", ["width=[3"], "read as YAML"),
    ("fragile", ["width=3"], "called with width, failed with ValueError: no network of width 3"),
])
def test_what_is_wrong_with_arguments_is_said_in_a_line(reference: str, arguments: list[str], words: str) -> None:
    with pytest.raises(RnabenchError) as caught:
        import_model(Imported.of(f"{HERE}:{reference}", arguments))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_name_beside_that_of_the_factory_is_told_with_the_nearest() -> None:
    with pytest.raises(InvalidValue, match=rf"a callable of {HERE} that .*; did you mean '{HERE}:linear'\?$"):
        import_model(f"{HERE}:liner")


def test_a_file_is_told_by_its_modules_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text("")
    for file in ("mine.py", "./mine.py", "../mine", str(tmp_path / "mine.py")):
        with pytest.raises(InvalidValue, match=r"a module's name, not a file's: mine:net, from the folder"):
            import_model(f"{file}:net")


def test_in_a_recipe_the_words_are_a_recipes() -> None:
    with pytest.raises(InvalidValue, match=r"^args: missing; expected width, .* needs: \{width: VALUE\}$"):
        import_model(Imported.of(f"{HERE}:linear"), IN_RECIPE)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("executed",)


def test_what_is_wrong_with_weights_is_said_in_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = linear(3).state_dict()
    contents: dict[str, object] = {
        "lacks '1.weight'; expected all tensors of the network; the nearest name is '1.wieght'":
            {"1.wieght" if name == "1.weight" else name: tensor for name, tensor in state.items()},
        "holds '5.bias', which the network does not have": {**state, "5.bias": torch.zeros(1)},
        "holds '1.bias' of shape [4]; expected [3]": {**state, "1.bias": torch.zeros(4)},
        "'1.bias' holds int8 numbers": {**state, "1.bias": torch.zeros(3, dtype=torch.int8)},
        "holds no state_dict": [1, 2], "cannot be read as tensors": Evil(),
    }
    for words, content in contents.items():
        file = tmp_path / "weights.pt"
        with file.open("wb") as opened:
            (pickle.dump if isinstance(content, Evil) else torch.save)(content, opened)
        with pytest.raises(ModelError, match="--model-weights") as caught:
            import_model(Imported.of(f"{HERE}:linear", ["width=3"], file))
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
    assert "executed" not in capsys.readouterr().out
    with pytest.raises(InvalidValue, match=r"--model-weights: .* expected a file"):
        Imported.of(f"{HERE}:linear", [], tmp_path / "none.pt")
