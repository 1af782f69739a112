"""The grammar of activations and denoisers, and what settings make of it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnabench.errors import InvalidSettings, InvalidValue
from rnabench.jobs.train import run_name
from rnabench.report.published import is_row
from rnabench.settings.base import from_options
from rnabench.settings.parts import ACTIVATIONS, DENOISERS, ENDINGS, activations, denoisers, spelled, with_parts
from rnabench.settings.recipe import Defined
from rnabench.settings.training import TrainingSettings

ONE = [*ACTIVATIONS, "softplus10", "elu2", "celu1.5", "smoothrelu100"]
BLOCKS = ["none", *DENOISERS, *(f"{name}{ending}" for name in DENOISERS for ending in ENDINGS)]


@given(st.lists(st.sampled_from(ONE), min_size=1, unique=True), st.lists(st.sampled_from(BLOCKS), min_size=1,
                                                                         unique=True))
def test_what_is_spelled_is_read_again(names: list[str], blocks: list[str]) -> None:
    for text, parse in (("+".join(names), activations), ("+".join(blocks), denoisers)):
        assert spelled(parse(text)) == text
        assert parse(text.upper().replace("+", " + ")) == parse(text)


def test_a_number_that_is_usual_is_not_spelled() -> None:
    assert spelled(activations("softplus1+elu1.0+celu01+smoothrelu400+softplus10.0")) == (
        "softplus+elu+celu+smoothrelu+softplus10")


@pytest.mark.parametrize(("field", "text", "line"), [
    ("activation", "relu+sillu", r"'sillu' is none of them\); did you mean 'relu\+silu'\?"),
    ("activation", "silu2", r"'silu2' is none of them\); did you mean 'silu'\?"),
    ("activation", "softpls10", r"did you mean 'softplus10'\?"),
    ("activation", "softplus0", r"expected a number behind 'softplus' \(a, its sharpness, above 0 and at most 1e\+06"),
    ("activation", "elu101", r"expected a number behind 'elu' .* at most 100\), as in elu1; did you mean 'elu'\?"),
    ("activation", "elu+relu+elu1", r"expected each once \('elu' stands twice\)"),
    ("activation", "", r"\('' is none of them\)"),
    ("denoise", "none+gausian", r"'gausian' is none of them\); did you mean 'none\+gaussian'\?"),
    ("denoise", "none+none", r"expected each once \('none' stands twice\)"),
    ("denoise", "none-no-bn", r"\('none-no-bn' is none of them\)"),
    ("denoise", "mean-no-1x", r"did you mean 'mean-no-1x1'\?"),
    ("denoise", "mean3", r"\('mean3' is none of them\); did you mean 'mean'\?"),
])
def test_a_bad_value_is_one_line(field: str, text: str, line: str) -> None:
    with pytest.raises(InvalidValue, match=line):
        (activations if field == "activation" else denoisers)(text)
    with pytest.raises(InvalidSettings, match=line) as raised:
        from_options(TrainingSettings, {field: text})
    assert len(str(raised.value).splitlines()) == 1


def test_settings_of_today_are_those_of_before() -> None:
    plain = from_options(TrainingSettings, {})
    said = from_options(TrainingSettings, {"activation": "ReLU", "denoise": "none", "denoise_at": "stages",
                                           "smooth_gradient": "none"})
    assert said.digest() == plain.digest()
    assert (run_name(said), str(said)) == (run_name(plain), str(plain))
    assert not {"activation", "denoise", "denoise_at", "smooth_gradient"} & set(plain.identity())


def test_a_choice_is_random_and_is_told() -> None:
    made = from_options(TrainingSettings, {"space": "bn", "activation": "relu+silu", "denoise": "none+dot+mean"})
    assert (made.options, from_options(TrainingSettings, {"space": "bn", "activation": "silu"}).options) == (3, 1)
    assert str(made) == "digits-resnet18-bn-relu+silu-none+dot+mean"
    assert run_name(made).startswith(str(made))
    assert with_parts("resnet18", made.network) == "resnet18, activation relu+silu, denoise none+dot+mean"
    with pytest.raises(InvalidSettings, match="--denoise-at: 'blocks' is not valid; expected 'stages' without"):
        from_options(TrainingSettings, {"denoise_at": "blocks"})


def test_published_rows_are_told_apart() -> None:
    row = dict.fromkeys(["statistics", "average", "operators", "teacher", "training", "randomization"], "")
    row |= {"dataset": "cifar10", "arch": "resnet18", "space": "bn"}
    defined = {"dataset": "cifar10", "space": "bn"}
    for column, value in (("activation", "silu"), ("denoise", "gaussian"), ("smooth_gradient", "both")):
        plain, other = Defined(**defined), Defined(**defined, **{column: value})
        for said, model in ((row, plain), (row | {column: ""}, plain), (row | {column: value}, other)):
            assert is_row(said, model)
        for said, model in ((row, other), (row | {column: value}, plain)):
            assert not is_row(said, model)
