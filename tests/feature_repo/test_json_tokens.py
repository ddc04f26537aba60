"""Numbers as the compiled kernels read them: as Python does, or not at all."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from feature_repo.market.json_tokens import decimal, whole


def _decimal(text):
    return decimal(np.frombuffer(b'"' + text.encode() + b'"\n', np.uint8), 0)


@pytest.mark.slow
@settings(max_examples=500, deadline=None)
@given(
    st.one_of(
        st.from_regex(r"[0-9]{0,18}\.?[0-9]{0,20}", fullmatch=True),
        st.decimals(0, 10**12, places=8).map(str),
        st.floats(0, 1e12).map(lambda x: f"{x:.8f}"),
    )
)
@example("9007199254740993")
@example("9007199254.740993")
@example("0.00000000")
@example("134180599.12000000")
def test_a_decimal_is_float_bit_for_bit_or_left_to_the_parser(text):
    value, end = _decimal(text)
    if end >= 0:
        assert end == len(text) + 2
        assert np.float64(value).tobytes() == np.float64(float(text)).tobytes()


@given(st.integers(0, 10**9), st.integers(0, 8), st.integers(0, 6))
def test_ordinary_decimals_are_read(mantissa, places, zeros):
    text = f"{mantissa / 10**places:.{places}f}" + ("0" * zeros if places else "")
    assert _decimal(text)[1] >= 0


@pytest.mark.parametrize("text", ["", ".", "1.", ".5", "-1", "+1", "1e5", "nan", " 1", "1 ", "1_0", "0x1", "1,0"])
def test_other_texts_are_left_to_the_parser(text):
    assert _decimal(text)[1] == -1


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("7", 7), ("999999999999999999", 10**18 - 1)])
def test_whole_numbers(text, value):
    assert whole(np.frombuffer(text.encode() + b"\n", np.uint8), 0) == (value, len(text))


@pytest.mark.parametrize("text", ["", "00", "01", "-1", "1000000000000000000", "x"])
def test_whole_numbers_left_to_the_parser(text):
    assert whole(np.frombuffer(text.encode() + b"\n", np.uint8), 0)[1] == -1
