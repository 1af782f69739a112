"""The grammar of spaces."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnabench.errors import InvalidValue
from rnabench.settings.spaces import NormSpec, Space, parse_space

specs = st.builds(NormSpec, st.sampled_from(["gn", "bgn"]), st.sampled_from(["groups", "size"]), st.integers(1, 512))
robust = st.builds(NormSpec, st.sampled_from(["robust", "robust-running", "robust-running-mean"]), st.just("size"),
                   st.just(1), st.floats(0, 1, exclude_min=True))


@given(st.lists(specs | robust, min_size=1, max_size=6, unique=True))
def test_what_is_printed_parses_to_the_same_space(norms: list[NormSpec]) -> None:
    space = Space(tuple(norms))
    assert parse_space(str(space)) == space
    assert parse_space(str(space).upper()) == space


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("bn+in", "bn in"),
        ("gn[1-64]", "in gn[2] gn[4] gn[8] gn[16] gn[32] gn[64]"),
        ("bgn+gn[1-4]", "bn bgn[2] bgn[4] in gn[2] gn[4]"),
        ("BGN+GN[1-1]", "bn in"),
        ("gn32 + bgn32", "gn32 bgn32"),
        ("gn1", "ln"),
        ("gn[4]", "gn[4]"),
        ("BN+in-plain+in", "bn in-plain in"),
        ("none+bn", "none bn"),
        ("robust0.2+ROBUST0.05+robust1", "robust robust0.05 robust1"),
        ("robust-running-mean0.10+robust-running0.200", "robust-running-mean0.1 robust-running"),
    ],
)
def test_meaning(text: str, labels: str) -> None:
    assert [norm.label for norm in parse_space(text).norms] == labels.split()


@pytest.mark.parametrize(
    "text",
    ["", "+", "bn+", "bn+bn", "bn+bgn[1]", "in+gn[1]", "ln+gn1", "gn", "bgn+bn", "gn[3-5]", "gn[4-2]", "gn[0]", "gn0",
     "bn2", "in[1]", "gn[1-]", "gn[a]", "gn-3", "xn", "in-plain+in-plain", "in-plain2", "bn-plain", "bgn+gn32",
     "gn[1-4]+in", "none2", "robust0", "robust0.0", "robust1.5", "robust.", "robust[0.2]", "robust+robust0.2",
     "robust0.1+robust0.10", "gn0.5", "gn2.0", "bn0.2", "robust-running-mean2"],
)
def test_malformed(text: str) -> None:
    with pytest.raises(InvalidValue, match="space"):
        parse_space(text)


@given(specs, st.integers(1, 512))
def test_groups_divide_the_channels_or_are_refused(spec: NormSpec, channels: int) -> None:
    count = min(spec.count, channels)
    if channels % count:
        with pytest.raises(InvalidValue, match=f"{channels} channels of stem"):
            spec.groups(channels, "stem")
    else:
        groups = spec.groups(channels)
        assert channels % groups == 0
        assert (groups if spec.by == "groups" else channels // groups) == count
        assert spec.clipped(channels) == (spec.count > channels)


@pytest.mark.parametrize(("text", "words"), [
    ("robust1.5", "expected a number behind 'robust' (power of the range, above 0 and at most 1), as in robust0.2; did "
     "you mean 'robust'?"),
    ("robsut0.05", "did you mean 'robust0.05'?"), ("robust-runing-mean0.1", "did you mean 'robust-running-mean0.1'?"),
    ("nome", "did you mean 'none'?"),
])
def test_a_wrong_name_or_number_is_told_with_the_nearest_valid_one(text: str, words: str) -> None:
    with pytest.raises(InvalidValue, match=re.escape(words)) as caught:
        parse_space(text)
    assert "\n" not in str(caught.value)
