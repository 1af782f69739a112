"""The grammar of spaces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnabench.errors import InvalidValue
from rnabench.settings.spaces import NormSpec, Space, parse_space

specs = st.builds(NormSpec, st.sampled_from(["gn", "bgn"]), st.sampled_from(["groups", "size"]), st.integers(1, 512))


@given(st.lists(specs, min_size=1, max_size=6, unique=True))
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
    ],
)
def test_meaning(text: str, labels: str) -> None:
    assert [norm.label for norm in parse_space(text).norms] == labels.split()


@pytest.mark.parametrize(
    "text",
    ["", "+", "bn+", "bn+bn", "bn+bgn[1]", "in+gn[1]", "ln+gn1", "gn", "bgn+bn", "gn[3-5]", "gn[4-2]", "gn[0]", "gn0",
     "bn2", "in[1]", "gn[1-]", "gn[a]", "gn-3", "xn", "in-plain+in-plain", "in-plain2", "bn-plain", "bgn+gn32",
     "gn[1-4]+in"],
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
