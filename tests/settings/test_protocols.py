"""Names of protocols: what they say, what was always meant by them, and what is none."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnabench.errors import InvalidValue
from rnabench.settings.protocols import Average, Protocol, eot, parse_protocol


@given(st.integers(1, 9999), st.sampled_from(["losses", "probabilities", "logits"]))
def test_a_name_says_how_many_draws_and_what_is_averaged(samples: int, average: Average) -> None:
    protocol = eot(samples, average)
    assert parse_protocol(protocol.name) == protocol
    assert (protocol.samples, protocol.average, protocol.same_path) == (samples, average, False)


def test_names_of_old_mean_what_they_did() -> None:
    assert parse_protocol("eot:7") == Protocol("eot:7", samples=7)
    assert parse_protocol("eot") == Protocol("eot:20", samples=20)
    assert parse_protocol("resample") == Protocol("resample", samples=1)
    for name in ("paper", "same-path"):
        assert (parse_protocol(name).samples, parse_protocol(name).average) == (0, "losses")


@pytest.mark.parametrize(("name", "near"), [
    ("eot:20:logit", "'eot:20:logits'"), ("eot:20:probs", "eot:K:probabilities"), ("eot:0:logits", "K from 1"),
    ("eot:20:losses", "eot:K"), ("paper:logits", "paper"), ("eot::logits", "eot:K:logits"), ("eot:x", "eot:K"),
])
def test_what_is_no_protocol_is_told_with_one_that_is(name: str, near: str) -> None:
    with pytest.raises(InvalidValue) as raised:
        parse_protocol(name)
    assert near in str(raised.value).split("is not valid; expected ")[1]
