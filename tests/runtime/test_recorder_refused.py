"""What a recorder refuses, a line or a parameter, and the most that it takes."""

from __future__ import annotations

import numpy as np
import pytest

from feature_repo.errors import InputError
from runtime.live.recorder import LineRecorder

from .recorder_lines import NEVER, NS, files_of, put_all, text, unpacked


@pytest.mark.parametrize(
    ("local_ns", "payload", "says"),
    [
        (0, b"{}", "19 digits"),
        (-NS, b"{}", "19 digits"),
        (10**18 - 1, b"{}", "19 digits"),
        (2**63, b"{}", "19 digits"),
        (10**100, b"{}", "19 digits"),
        (float(NS), b"{}", "float"),
        (None, b"{}", "NoneType"),
        (str(NS), b"{}", "str"),
        (NS, "{}", "str"),
        (NS, None, "NoneType"),
        (NS, 10**9, "int"),
    ],
)
def test_an_unusable_line_is_counted_as_lost_and_never_raised(tmp_path, local_ns, payload, says):
    with LineRecorder(tmp_path, "ETHUSDT", flush_s=NEVER) as recorder:
        recorder.put(local_ns, payload)
        assert says in recorder.last_error
        assert (recorder.lines, recorder.lost) == (1, 1)
        recorder.put(NS, b"good")
        recorder.flush()
        assert (recorder.lines, recorder.written, recorder.lost, recorder.last_error) == (2, 1, 1, None)
    assert unpacked(files_of(tmp_path)[0]) == text([(NS, b"good")])


def test_times_of_nineteen_digits_are_taken(tmp_path):
    lines = [(10**18, b"a"), (np.int64(NS), b"b"), (2**63 - 1, b"c")]
    with LineRecorder(tmp_path, "ETHUSDT", flush_s=NEVER) as recorder:
        put_all(recorder, lines)
    assert (recorder.written, recorder.lost) == (3, 0)
    assert unpacked(files_of(tmp_path)[0]) == text((int(at), b) for at, b in lines)


@pytest.mark.parametrize(
    "wrong",
    [
        *({name: value} for name in ("flush_s", "rotate_s") for value in (0, -1.0, np.inf, np.nan, "1", None, True)),
        *({"most_bytes": value} for value in (0, -1, 1.5, None, True)),
        *({"symbol": value} for value in ("", "ethusdt", "ETH/USDT", "../ETH", "ETH USDT", "ETHUSDT\n", None)),
    ],
    ids=str,
)
def test_a_bad_parameter_is_named_and_no_folder_made(tmp_path, wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        LineRecorder(tmp_path / "new", **{"symbol": "ETHUSDT", **wrong})
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file/live"):
        LineRecorder(tmp_path / "file" / "live", "ETHUSDT")


def test_the_longest_times_are_taken(tmp_path):
    with LineRecorder(str(tmp_path), "1000PEPE_USDT", flush_s=1e300, rotate_s=1e300) as recorder:
        recorder.put(NS, b"{}")
        recorder.flush()
        recorder.put(2 * NS, b"{}")
        recorder.flush()
        assert recorder.written == 2
    assert [p.name for p in tmp_path.iterdir()] == [f"1000PEPE_USDT-{NS}.gz"]
