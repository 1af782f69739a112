"""Files of tensors that are joined from pieces are what the library would have written of the whole."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from rnabench.errors import RnabenchError
from rnabench.runtime.tensor_files import join, opened

LENGTHS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=4)


def piece(folder: Path, number: int, rows: int, others: int, seed: int) -> Path:
    rng = np.random.default_rng([seed, number])
    save_file({"bytes": rng.integers(0, 256, (rows, 3, 5), dtype=np.uint8), "numbers": rng.integers(0, 9, others),
               "floats": rng.random((others, 2), dtype=np.float32)}, folder / f"{number}.safetensors")
    return folder / f"{number}.safetensors"


@given(lengths=LENGTHS, seed=st.integers(0, 99))
def test_joined_pieces_are_the_concatenation(lengths: list[tuple[int, int]], seed: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pieces = [piece(folder, number, *each, seed) for number, each in enumerate(lengths)]
        join(pieces, folder / "deep" / "whole.safetensors", {"what": "all\nof it"}, "images")
        parts, whole = [load_file(each) for each in pieces], load_file(folder / "deep" / "whole.safetensors")
        assert whole.keys() == parts[0].keys()
        for tensor, found in whole.items():
            assert np.array_equal(found, np.concatenate([part[tensor] for part in parts]))
            assert found.dtype == parts[0][tensor].dtype
        assert opened(folder / "deep" / "whole.safetensors", "images").metadata() == {"what": "all\nof it"}
        assert [file.name for file in (folder / "deep").iterdir()] == ["whole.safetensors"]


@pytest.mark.parametrize("fault", ["missing", "cut", "text"])
def test_a_bad_piece_is_an_error_of_one_line_and_leaves_nothing(fault: str, tmp_path: Path) -> None:
    pieces = [piece(tmp_path, number, 3, 3, 0) for number in range(2)]
    if fault == "missing":
        pieces[1].unlink()
    else:
        pieces[1].write_bytes(pieces[1].read_bytes()[:-8] if fault == "cut" else b"hello, this is no tensor")
    with pytest.raises(RnabenchError, match=r"images: .*1\.safetensors.*expected") as raised:
        join(pieces, tmp_path / "out" / "whole.safetensors", {}, "images")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out").exists()
